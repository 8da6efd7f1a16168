"""Destinations of the deployed stack, which are receivers on this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import urllib3

from cli.api import Api
from tests.emulator.installation import Installation
from tests.receiver import Receiver

Json = dict[str, Any]
FUNCTIONS = ("Privacy", "Erase", "Sweep")
"""Those that are given the parameter LocalDestinations."""


@contextmanager
def receiving(
    api: Api, installation: Installation, *names: str, knows: tuple[str, ...]
) -> Iterator[Receiver]:
    """While it lasts the stack has these destinations. What they were told must be genuine, and
    what they answer taken."""
    base = api.stack["api_url"]
    key = urllib3.request("GET", f"{base}/v1/signing-key").data

    def answer(path: str, body: Json) -> None:
        # As many at once as there are destinations, each may need a new environment first.
        given = urllib3.request("POST", f"{base}{path}", json=body, timeout=30)
        assert given.status == 200, given.data

    with Receiver(key, answer) as made, ExitStack() as changed:
        told = made.destinations(*names, knows=knows)
        for function in FUNCTIONS:
            changed.enter_context(installation.environment(function, LOCAL_DESTINATIONS=told))
        yield made
    assert not [repr(fault) for fault in made.faults]
