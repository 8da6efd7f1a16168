"""Endpoints for the tests that need AWS's protocols spoken over a socket.

`CANDOR_ENDPOINTS` lists them, separated by spaces: URLs of running emulators, and the word
`ministack` (the default) for the MiniStack that the test session starts and ends itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from hypothesis import HealthCheck, settings
from localstack_client.session import Session  # type: ignore[import-untyped]

REGION = "us-east-1"
START_SECONDS = 60
STOP_SECONDS = 60

# Nothing here may reach a real account, whatever the caller's shell and home folder hold.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

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

Clients = Callable[[str], Any]
"""Makes a boto3 client of a service, by its name."""


def endpoints() -> list[str]:
    return os.environ.get("CANDOR_ENDPOINTS", "ministack").split()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "endpoint" in metafunc.fixturenames and "backend" not in metafunc.fixturenames:
        metafunc.parametrize("endpoint", endpoints(), indirect=True, scope="session")


class MiniStack:
    """A MiniStack of this session's own: a free port, IAM enforced, root key test/test.

    Its home, its state, its log and its temporary files are in `home`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers. After a `stop` it goes on with the state it had."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=_ministack_environment(self.home, self.port),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.endpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.home / "log").read_text(errors="replace")[-2000:]
                pytest.fail(f"The tests' own MiniStack did not start; its log ends with:\n{said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it cleanly: it writes its state down first."""
        if self._process:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        if self._process:
            # With the group go the Lambda workers, which would outlive it.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


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
    if not _answers(name):
        pytest.fail(f"Nothing answers at {name}, which CANDOR_ENDPOINTS names. Start it first.")
    return name


def clients_for(endpoint: str) -> Clients:
    place = urlsplit(endpoint)
    session = Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name=REGION,
        localstack_host=f"{place.hostname}:{place.port or 80}",
    )
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=32)
    return lambda service: session.client(service, config=config)


def _ministack_environment(home: Path, port: int) -> dict[str, str]:
    # A small one, because MiniStack hands its own environment to every Lambda.
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "AUTH": "true",
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(home / "state"),
        "S3_DATA_DIR": str(home / "s3"),
        # They would listen on fixed ports, which two sessions cannot share.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(endpoint: str) -> bool:
    """Whether an emulator (MiniStack and LocalStack share the path) is there and ready."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=3) as answer:
            return "services" in json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return False
