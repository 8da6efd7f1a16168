"""Which stack a command is about, and what is known of it on this machine."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.problem import Problem

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Target:
    """A stack: at an emulator's endpoint, or (endpoint None) in the caller's AWS account.

    `ours` is the emulator that this folder starts and stops.
    """

    local: Path
    """The folder that holds all that is known and kept of it: `.local`."""
    config_env: str
    endpoint: str | None
    ours: bool

    @property
    def name(self) -> str:
        if self.endpoint is None:
            return self.config_env
        if self.ours:
            return "ministack"  # the same state, whatever the port
        place = urlsplit(self.endpoint)
        return f"{place.hostname}-{place.port or 80}"

    @property
    def again(self) -> str:
        """The command that deploys this target."""
        if self.endpoint is None:
            return f"candor up --config-env {self.config_env}"
        return "make up" if self.ours else f"make up ENDPOINT_URL={self.endpoint}"


def port_file(local: Path) -> Path:
    """Holds the port that the emulator's state was made for: its queues have it in their names."""
    return local / "ministack" / "port"


def own_port(local: Path) -> int:
    """CANDOR_PORT, else the port of last time, else 4566. Raises Problem."""
    remembered = port_file(local).read_text() if port_file(local).exists() else "4566"
    text = os.environ.get("CANDOR_PORT", remembered)
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise Problem(
            f"CANDOR_PORT is {text!r}, which is not a port.", "Set it between 1024 and 65535."
        )
    return int(text)


def choose(endpoint_url: str | None, config_env: str, local: Path = LOCAL) -> Target:
    """The target that the options name."""
    if config_env != "local":
        if endpoint_url:
            raise Problem("--endpoint-url goes with the local configuration only.")
        return Target(local, config_env, None, ours=False)
    own = f"http://127.0.0.1:{own_port(local)}"
    if not endpoint_url:
        return Target(local, "local", own, ours=True)
    place = urlsplit(endpoint_url)
    if place.scheme not in {"http", "https"} or not place.hostname:
        raise Problem(
            f"{endpoint_url!r} is not an endpoint.", "Give it like http://127.0.0.1:4566."
        )
    endpoint = f"{place.scheme}://{place.netloc}"
    return Target(local, "local", endpoint, ours=endpoint == own)


class StackFile:
    """`.local/stack.json`, the stack last brought up, and one beside it for each target.

    It holds keys, so only its owner may read it.
    """

    def __init__(self, target: Target) -> None:
        self._current = target.local / "stack.json"
        self._own = target.local / f"stack-{target.name}.json"

    def read(self) -> dict[str, Any] | None:
        """What is known of this target's stack, or None."""
        return read_json(self._own)

    def is_current(self) -> bool:
        """Whether this target is the one last brought up."""
        return read_json(self._current) == read_json(self._own)

    def write(self, stack: dict[str, Any]) -> None:
        for path in (self._own, self._current):
            write_private(path, json.dumps(stack, indent=2) + "\n")


def load_stack(endpoint_url: str | None, config_env: str, local: Path = LOCAL) -> dict[str, Any]:
    """The stack that a command talks to: the named one, else the one last brought up.

    Raises Problem when there is none.
    """
    if endpoint_url or config_env != "local" or "CANDOR_PORT" in os.environ:
        target = choose(endpoint_url, config_env, local)
        stack = StackFile(target).read()
        again = target.again
    else:
        stack = read_json(local / "stack.json")
        again = "make up"
    if stack is None or not {"api_url", "outputs"} <= stack.keys():
        raise Problem("There is no stack here yet.", f"Run `{again}` first.")
    return stack


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, or None where there is no such file or it is damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_private(path: Path, text: str) -> None:
    """Replaces a file as a whole; its owner alone may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text)
    draft.replace(path)
