"""A Chromium for the tests: the one on the PATH, else Debian's packages, unpacked into .local/.

Nothing is installed: apt's own copy of the archive's lists, the packages and what is in them stay
in this folder, so it needs no root and leaves the machine as it was.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cli.target import LOCAL

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGE = "chromium-headless-shell"
UNPACKED = LOCAL / "chromium"
SECONDS = 300
MISSING = (
    "The consent banner is tested in Chromium, and there is none: of "
    f"{', '.join(NAMES)} none is on the PATH and works, and Debian's packages could not be had "
    "({why}).\nInstall Chromium (on Debian `sudo apt install chromium`) and put it on the PATH, or "
    "connect to the network, and run it again."
)


@cache
def command() -> tuple[list[str], dict[str, str]]:
    """How Chromium is started: the command and the environment. Fails the test without one."""
    for name in NAMES:
        found = shutil.which(name)
        if found and _works([found], dict(os.environ)):
            return [found], dict(os.environ)
    if not _works(*_unpacked()):
        _unpack()
    made = _unpacked()
    return made if _works(*made) else pytest.fail(MISSING.format(why="they do not work here"))


def _works(command: list[str], environment: dict[str, str]) -> bool:
    try:
        done = subprocess.run(
            [*command, "--version"], env=environment, capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"Chrom" in done.stdout


def _unpacked() -> tuple[list[str], dict[str, str]]:
    """What starts the unpacked one: its libraries are where no loader looks by itself."""
    libraries = sorted({str(file.parent) for file in UNPACKED.rglob("*.so*")})
    program = UNPACKED / "usr" / "lib" / "chromium" / PACKAGE
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(libraries)}
    if (UNPACKED / "etc" / "fonts").is_dir():  # where the machine has no fonts of its own
        environment["FONTCONFIG_SYSROOT"] = str(UNPACKED)
    return [str(program)], environment


def _unpack() -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.fail(MISSING.format(why="this is no Debian"))
    LOCAL.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=LOCAL, ignore_cleanup_errors=True) as made:
        apt, root = Path(made, "apt"), Path(made, "root")
        for folder in ("lists/partial", "cache/archives/partial"):
            (apt / folder).mkdir(parents=True)
        root.mkdir()
        own = [f"Dir::State::lists={apt}/lists", f"Dir::Cache={apt}/cache", "Debug::NoLocking=1"]
        own += ["APT::Sandbox::User=", "Acquire::Retries=3"]
        options = [word for setting in own for word in ("-o", setting)]
        _run("apt-get", *options, "-q", "update")
        # What apt finds installed already, down to the C library, is used from there.
        quietly = ("-q", "-y", "--no-install-recommends", "--download-only")
        _run("apt-get", *options, *quietly, "install", PACKAGE)
        for package in sorted((apt / "cache" / "archives").glob("*.deb")):
            _run("dpkg-deb", "-x", str(package), str(root))
        shutil.rmtree(UNPACKED, ignore_errors=True)
        root.rename(UNPACKED)


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        pytest.fail(MISSING.format(why=f"{command[0]}: {' '.join(said)}"))
