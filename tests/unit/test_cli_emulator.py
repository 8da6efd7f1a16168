"""The emulator as a process: started, stopped, found dead. With a real MiniStack."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.emulator import (
    Emulator,
    emulator_environment,
    forget_stream_positions,
    gone,
    health,
    is_ministack,
)
from cli.problem import Problem
from cli.screen import Screen
from cli.target import Target, choose


@pytest.fixture
def quiet() -> Screen:
    return Screen(as_json=True)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Target(tmp_path, "local", f"http://127.0.0.1:{port}", ours=True)


@pytest.fixture
def emulator(target: Target, quiet: Screen) -> Iterator[Emulator]:
    made = Emulator(target)
    yield made
    if made.look() == "running":
        made.stop(quiet)


def pid_of(emulator: Emulator) -> int:
    return int(json.loads(emulator.places.mark.read_text())["pid"])


def test_it_starts_stops_and_keeps_its_state(emulator: Emulator, quiet: Screen) -> None:
    assert emulator.look() == "stopped"
    emulator.start(quiet)
    pid = pid_of(emulator)
    assert (health(emulator.endpoint) or {})["auth"] == "enabled"
    assert emulator.start(quiet) == "running"
    assert pid_of(emulator) == pid
    assert emulator.stop(quiet) == "running"
    assert health(emulator.endpoint) is None
    assert not is_ministack(pid)
    assert emulator.look() == "stopped"
    assert emulator.stop(quiet) == "stopped"


def test_a_kill_is_noticed_at_the_next_start(
    emulator: Emulator, target: Target, quiet: Screen
) -> None:
    emulator.start(quiet)
    pid = pid_of(emulator)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_ministack(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert emulator.look() == "killed"
    assert "killed" in gone(emulator.endpoint, target).what
    assert emulator.stop(quiet) == "killed"
    assert emulator.start(quiet) == "killed"
    assert emulator.look() == "running"


def test_what_is_forgotten_is_not_saved_first(
    emulator: Emulator, quiet: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.start(quiet)
    pid = pid_of(emulator)
    left: list[Path] = []
    monkeypatch.setattr(
        "shutil.rmtree", lambda *_, **__: left.extend(emulator.places.state.glob("*.json"))
    )
    emulator.forget(quiet)
    assert left == []
    monkeypatch.undo()
    assert not is_ministack(pid)
    emulator.forget(quiet)
    assert not emulator.places.home.exists()
    assert emulator.look() == "stopped"


def test_a_clean_stop_by_somebody_else_is_no_kill(emulator: Emulator, quiet: Screen) -> None:
    emulator.places.state.mkdir(parents=True)
    mark = {"pid": 2**22 + 1, "port": 1, "started": time.time() - 60}
    emulator.places.mark.write_text(json.dumps(mark))
    assert emulator.look() == "killed"
    (emulator.places.state / "s3.json").write_text("{}")
    assert emulator.look() == "stopped"


def test_a_process_that_got_the_same_id_is_not_ours(emulator: Emulator) -> None:
    emulator.places.home.mkdir(parents=True)
    mark = {"pid": os.getpid(), "port": emulator.port, "started": time.time()}
    emulator.places.mark.write_text(json.dumps(mark))
    assert emulator.look() == "killed"


def test_the_port_of_last_time_is_taken_again(
    emulator: Emulator, target: Target, quiet: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    emulator.start(quiet)
    emulator.stop(quiet)
    assert choose(None, "local", target.local) == target
    other = Target(target.local, "local", f"http://127.0.0.1:{emulator.port - 1}", ours=True)
    with pytest.raises(Problem, match=f"belongs to port {emulator.port}"):
        Emulator(other).start(quiet)


def test_a_taken_port_is_one_sentence(emulator: Emulator, quiet: Screen) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", emulator.port))
        other.listen()
        with pytest.raises(Problem, match="in use by another program"):
            emulator.start(quiet)


def test_functions_never_inherit_the_callers_environment(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("MY_SECRET", "x")
    made = emulator_environment(emulator.places, 4566)
    assert made["BIND_HOST"] == "127.0.0.1"
    assert made["AUTH"] == "true"
    assert not [name for name in made if name.startswith("AWS_") or name == "MY_SECRET"]
    assert made["TMPDIR"].startswith(f"{made['HOME']}/")


def test_readers_of_streams_begin_anew_after_a_stop(tmp_path: Path) -> None:
    saved = tmp_path / "lambda.json"
    kept = {"functions": {"f": 1}}
    saved.write_text(json.dumps({"payload": kept | {"dynamodb_stream_positions": {"e": 7}}}))

    forget_stream_positions(tmp_path)
    forget_stream_positions(tmp_path / "nothing was saved")

    assert json.loads(saved.read_text()) == {"payload": kept}
