"""Endpoints for the tests that need AWS's protocols spoken over a socket.

`CANDOR_ENDPOINTS` lists them, separated by spaces: URLs of running emulators, and the word
`ministack` (the default) for the MiniStack that the test session starts and ends itself.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.emulators import Clients, MiniStack, answers, clients_for

LONG_WAITS = ("test_canary.py", "test_faults.py")
"""Files that get a MiniStack of their own where workers run beside each other."""

# CI draws the same examples every time; the long run draws new ones, and many.
slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "ci",
    max_examples=40,
    stateful_step_count=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=slow_is_fine,
)
settings.register_profile(
    "long",
    max_examples=1500,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=slow_is_fine,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def endpoints() -> list[str]:
    return os.environ.get("CANDOR_ENDPOINTS", "ministack").split()


class Together(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """What each worker takes as one: tests that share an endpoint's stack, or a file."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        folder, name = path.split("/")[-2:]
        if folder == "moto":
            return nodeid  # each has a cloud of its own
        if folder not in ("emulator", "contract"):
            return path
        endpoint = next((one for one in endpoints() if one in test), name)
        alone = endpoint == "ministack" and name in LONG_WAITS
        return name if alone else f"{folder} {endpoint}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What mostly waits begins first."""
    order = ("emulator", "moto", "contract", "unit")
    items.sort(key=lambda item: order.index(item.path.parent.name))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "endpoint" in metafunc.fixturenames and "backend" not in metafunc.fixturenames:
        metafunc.parametrize("endpoint", endpoints(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """Killed at the end of the session."""
    made = MiniStack(tmp_path_factory.mktemp("ministack"))
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="session")
def ministack_endpoint(ministack: MiniStack) -> str:
    return ministack.endpoint


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> str:
    """The URL of each endpoint in CANDOR_ENDPOINTS in turn. One that is silent fails the test."""
    return resolve(request.param, request)


@pytest.fixture(scope="session")
def clients(endpoint: str) -> Clients:
    """boto3 clients for the endpoint, with the emulators' root key."""
    return clients_for(endpoint)


def resolve(name: str, request: pytest.FixtureRequest) -> str:
    """The URL of an entry of CANDOR_ENDPOINTS, once it answers."""
    if name == "ministack":
        url: str = request.getfixturevalue("ministack_endpoint")
        return url
    if not answers(name):
        pytest.fail(f"Nothing answers at {name}, which CANDOR_ENDPOINTS names. Start it first.")
    return name
