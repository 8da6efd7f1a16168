"""MiniStack as a process of this folder: start it, stop it, notice what happened to it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import urllib3

from cli.problem import Problem
from cli.screen import Screen
from cli.target import REGION, Target, port_file, read_json, write_private

Found = Literal["running", "stopped", "killed"]

START_SECONDS = 60
STOP_SECONDS = 60
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the emulator keeps things, all under `.local/ministack`."""

    home: Path

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def objects(self) -> Path:
        return self.home / "s3"

    @property
    def scratch(self) -> Path:
        return self.home / "tmp"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def mark(self) -> Path:
        """Written at start, removed by a clean stop: one that is left over tells of a kill."""
        return self.home / "running.json"


class Emulator:
    def __init__(self, target: Target) -> None:
        self.places = Places(target.local / "ministack")
        self.endpoint = str(target.endpoint)
        self.port = urlsplit(self.endpoint).port or 80
        self._port_file = port_file(target.local)
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> Found:
        """Whether the emulator of this folder runs, was stopped, or died without saving."""
        mark = read_json(self.places.mark)
        if mark is None:
            return "stopped"
        if is_ministack(int(mark["pid"])):
            return "running"
        return "stopped" if self._saved_after(float(mark["started"])) else "killed"

    def running_port(self) -> int | None:
        """The port that the running emulator listens on."""
        mark = read_json(self.places.mark)
        return int(mark["port"]) if mark and self.look() == "running" else None

    def start(self, screen: Screen) -> Found:
        """Starts it unless it runs. Answers what was found before. Raises Problem."""
        found = self.look()
        if found == "running":
            port = self.running_port()
            if port != self.port:
                raise Problem(
                    f"This folder's emulator already runs, on port {port}.",
                    f"Use it (CANDOR_PORT={port}), or stop it with `make down` first.",
                )
            if health(self.endpoint) is None:
                raise Problem(
                    "The emulator runs but does not answer.",
                    f"Run `make down` and try again; its log is {self._short(self.places.log)}.",
                )
            return found
        self._refuse_other_port()
        refuse_taken_port(self.port, self.endpoint)
        if found == "killed" and not any(self._state_files()):
            # Nothing was ever saved, so objects on disk belong to tables that are gone.
            shutil.rmtree(self.places.objects, ignore_errors=True)
        with screen.progress("Starting MiniStack") as progress:
            self._spawn()
            deadline = time.monotonic() + START_SECONDS
            while health(self.endpoint) is None:
                self._refuse_dead(deadline)
                progress.tick()
                time.sleep(0.1)
        return found

    def stop(self, screen: Screen) -> Found:
        """Stops it and waits until its state is saved. Answers what was found before."""
        return self._end(screen, "Stopping MiniStack, saving its state", signal.SIGTERM)

    def forget(self, screen: Screen) -> None:
        """Ends it at once, for there is nothing to save, and removes everything that it kept."""
        self._end(screen, "Stopping MiniStack", signal.SIGKILL)
        shutil.rmtree(self.places.home, ignore_errors=True)

    def _end(self, screen: Screen, doing: str, how: signal.Signals) -> Found:
        found = self.look()
        if found == "running":
            pid = int((read_json(self.places.mark) or {})["pid"])
            with screen.progress(doing) as progress:
                os.kill(pid, how)
                deadline = time.monotonic() + STOP_SECONDS
                while is_ministack(pid):
                    if time.monotonic() > deadline:
                        raise Problem(
                            f"The emulator (process {pid}) did not stop in {STOP_SECONDS} s.",
                            f"It may still be saving. `kill -9 {pid}` ends it, without saving.",
                        )
                    progress.tick()
                    time.sleep(0.1)
            with contextlib.suppress(OSError):
                os.killpg(pid, how)
            if self._process:
                self._process.wait()
        if found != "killed":
            self.places.mark.unlink(missing_ok=True)
        return found

    def _refuse_other_port(self) -> None:
        made_for = self._port_file.read_text() if self._port_file.exists() else str(self.port)
        if made_for != str(self.port):
            raise Problem(
                f"What this folder's emulator keeps belongs to port {made_for}.",
                f"Leave CANDOR_PORT={self.port} out, or forget the state first: `make reset`.",
            )

    def _spawn(self) -> None:
        places = self.places
        shutil.rmtree(places.scratch, ignore_errors=True)
        for folder in (places.state, places.objects, places.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self._port_file.write_text(str(self.port))
        forget_stream_positions(places.state)
        with places.log.open("ab") as log:
            if self._process:
                self._process.poll()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=emulator_environment(places, self.port),
                cwd=places.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        mark = {"pid": self._process.pid, "port": self.port, "started": time.time()}
        write_private(places.mark, json.dumps(mark))

    def _refuse_dead(self, deadline: float) -> None:
        log = self._short(self.places.log)
        pid = int((read_json(self.places.mark) or {})["pid"])
        if not is_ministack(pid):
            self.places.mark.unlink(missing_ok=True)
            raise Problem(
                f"MiniStack stopped while starting: {last_line(self.places.log)}",
                f"Its log is {log}. `make reset` forgets its state, if that is what it trips over.",
            )
        if time.monotonic() > deadline:
            raise Problem(f"MiniStack did not answer in {START_SECONDS} s.", f"Its log is {log}.")

    def _state_files(self) -> list[Path]:
        return list(self.places.state.glob("*.json"))

    def _saved_after(self, started: float) -> bool:
        return any(path.stat().st_mtime > started for path in self._state_files())

    def _short(self, path: Path) -> str:
        return os.path.relpath(path)


def forget_stream_positions(state: Path) -> None:
    """Let readers of streams begin anew, before MiniStack starts with the state it saved.

    It saves how far they had read and not what they read, so that after a start they would wait
    until as many records have come again. What a stream held at the stop is lost with it.
    """
    functions = state / "lambda.json"
    saved = read_json(functions)
    if saved and saved.get("payload", {}).pop("dynamodb_stream_positions", None):
        write_private(functions, json.dumps(saved))


def emulator_environment(places: Places, port: int) -> dict[str, str]:
    """A small environment: MiniStack hands its own to every Lambda, so ours must not be in it."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return kept | {
        "HOME": str(places.home),
        "TMPDIR": str(places.scratch),
        "PYTHONUNBUFFERED": "1",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "AUTH": "true",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(places.state),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(places.objects),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


def gone(endpoint: str, target: Target) -> Problem:
    """What it means that nothing answers at `endpoint`."""
    ours = Emulator(target)
    mark = read_json(ours.places.mark) or {}
    if mark.get("port") == ours.port and ours.look() == "killed":
        return Problem(
            "The emulator was killed; what came in since its last clean start is lost.",
            "`make up` starts it again and deploys anew.",
        )
    return Problem(f"Nothing answers at {endpoint}.", f"Start it with `{target.again}`.")


def refuse_taken_port(port: int, endpoint: str) -> None:
    """Raises Problem when something listens there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return
    free = port + 1 if port < 65535 else 4567
    other = f"Choose another port: put `CANDOR_PORT={free}` before the command"
    if health(endpoint) is not None:
        raise Problem(
            f"Port {port} is in use by an emulator that this folder did not start.",
            f"{other}; or deploy to it: `make up ENDPOINT_URL={endpoint}`.",
        )
    raise Problem(f"Port {port} is in use by another program.", f"{other}, or stop that program.")


def health(endpoint: str) -> dict[str, Any] | None:
    """What an emulator says of itself (MiniStack and LocalStack alike), or None."""
    try:
        answer = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(3)).request(
            "GET", f"{endpoint}/_localstack/health"
        )
        body = answer.json() if answer.status == 200 else None
    except (urllib3.exceptions.HTTPError, ValueError):
        return None
    return body if isinstance(body, dict) and "services" in body else None


def is_ministack(pid: int) -> bool:
    """Whether that process lives and is MiniStack (process ids are used again)."""
    found = subprocess.run(
        ["ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, command = found.stdout.strip().partition(" ")
    return "ministack" in command and not state.startswith("Z")


def last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")
