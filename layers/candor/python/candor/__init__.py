"""Candor's domain: pure functions and types over the ports in `candor.ports`."""
