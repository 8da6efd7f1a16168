"""A MiniStack for tests and measurements, clients for any emulator, no way to a real account."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from localstack_client.session import Session  # type: ignore[import-untyped]

from cli.emulator import forget_stream_positions

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

Clients = Callable[[str], Any]
"""Makes a boto3 client of a service, by its name."""


class MiniStack:
    """A MiniStack of one's own: a free port, IAM enforced, root key test/test.

    Its home, its state, its log and its temporary files are in `home`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers. After a `stop` it goes on with the state it had."""
        forget_stream_positions(self.home / "state")
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=_environment(self.home, self.port),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.endpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.home / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"MiniStack did not start; its log ends with:\n{said}")
            time.sleep(0.05)

    def scale_waits(self, factor: float) -> None:
        """How long the waits and the pauses before retries of state machines take from now on, in
        parts of what their definitions say."""
        body = json.dumps({"stepfunctions._SFN_WAIT_SCALE": factor}).encode()
        with urllib.request.urlopen(
            f"{self.endpoint}/_ministack/config", body, timeout=3
        ) as answer:
            assert len(json.load(answer)["applied"]) == 1

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


def _environment(home: Path, port: int) -> dict[str, str]:
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


def answers(endpoint: str) -> bool:
    """Whether an emulator (MiniStack and LocalStack share the path) is there and ready."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=3) as answer:
            return "services" in json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return False
