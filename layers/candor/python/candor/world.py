"""What every function of the domain works with, made once per process by `candor.wiring`."""

from dataclasses import dataclass

from candor.identifiers import Identifiers
from candor.policy import Policy
from candor.ports import Clock, Rows
from candor.sealing import Vault


@dataclass(frozen=True, slots=True)
class World:
    rows: Rows
    vault: Vault
    identifiers: Identifiers
    policy: Policy
    clock: Clock
