"""One deployed stack per endpoint for every file here."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cli import running
from cli.api import Api
from cli.screen import Screen
from cli.target import Target
from tests.conftest import endpoints
from tests.emulator.installation import Installation
from tests.emulators import Clients, MiniStack

pytest.register_assert_rewrite("tests.emulator.reading")  # so that its failures say what was there
QUIET = Screen(as_json=True)
POLL_SECONDS = 0.1


@pytest.fixture(scope="session")
def target(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("local"), "local", endpoint, ours=False)


@pytest.fixture(scope="session")
def stack(target: Target) -> dict[str, Any]:
    """The template, built and deployed to the endpoint as `make up` does it."""
    return running.up(target, QUIET).stack


@pytest.fixture(scope="session")
def api(stack: dict[str, Any]) -> Api:
    return Api(stack)


@pytest.fixture(scope="session")
def installation(stack: dict[str, Any], clients: Clients) -> Installation:
    """The stack as somebody sees it who may look everywhere."""
    return Installation(stack, clients)


@pytest.fixture(scope="session")
def own_emulator(endpoint: str, request: pytest.FixtureRequest) -> MiniStack | None:
    """The session's MiniStack where that is the endpoint: only there IAM is enforced, and only it
    may be stopped and looked into."""
    if "ministack" not in endpoints():
        return None
    found: MiniStack = request.getfixturevalue("ministack")
    return found if found.endpoint == endpoint else None


def await_true(what: str, holds: Callable[[], Any], seconds: float = 240) -> Any:
    """The first true answer of `holds`; the test fails where there is none in time: in that of a
    message that a slow start left no time, which SQS hands out again after two minutes.
    """
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            pytest.fail(f"Not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)
    return found


@contextmanager
def paused(installation: Installation, *queues: str) -> Iterator[None]:
    """While it lasts nobody takes messages from these queues, so that they can be looked at."""
    for queue in queues:
        installation.switch(queue, on=False)
    try:
        yield
    finally:
        for queue in queues:
            installation.switch(queue, on=True)
