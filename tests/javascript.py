"""JavaScript of `node/`, run by the Node that came from PyPI with the packages of its lock."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cli import npm
from cli.npm import NODE
from cli.problem import Problem

SOURCES = Path(__file__).parent / "node"
SECONDS = 180

Json = dict[str, Any]


def run(script: str, given: Json) -> Any:
    """What a script answers that is given this on standard input. Fails the test where it fails."""
    done = subprocess.run(
        [NODE, SOURCES / script],
        input=json.dumps(given),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{script} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


@contextmanager
def running(script: str, given: Json) -> Iterator[Any]:
    """What a script answers first that is given this as its argument. It goes on until the end of
    the block, which it must survive."""
    process = subprocess.Popen(
        [NODE, SOURCES / script, json.dumps(given)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        answer = process.stdout.readline()
        yield json.loads(answer) if answer else pytest.fail(process.communicate()[1][-2000:])
        assert process.communicate(timeout=SECONDS) == ("", "")
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "NODE_PATH": str(packages())}


@cache
def packages() -> Path:
    """The folder of the packages, installed if this lock's are not yet."""
    try:
        return npm.packages(SOURCES)
    except Problem as problem:
        pytest.fail(str(problem))
