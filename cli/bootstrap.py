"""Makes the two virtual environments that everything runs in. Standard library only.

Started by the Makefile with any Python 3; says so when none is new enough. sam has an environment
of its own because its pins contradict the emulator's. A second run costs nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / ".local" / "setup.log"
TTY = sys.stderr.isatty()
GIVEN = re.compile(r"^[A-Za-z0-9._-]+(\[[^\]]*\])?\s*==", re.MULTILINE)
STEP = re.compile(r"(?:Collecting|Using cached|Downloading|Installing) ([A-Za-z0-9._\[\]-]+)")

# What pip says, and what it means. The first that matches wins.
REASONS = [
    (
        r"NewConnectionError|Max retries exceeded|ProxyError|SSLError|No matching distribution",
        "pip could not get the packages from a package index.",
        "Connect to the network, or name a mirror (PIP_INDEX_URL=…), and run make again.",
    ),
    (
        r"No space left on device",
        "The disk is full.",
        "Candor needs about 1.6 GB beside itself.",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        "A package is not the one that requirements/ names.",
        "Do not install it. Look at what answers for your package index.",
    ),
    (
        r"ensurepip|python3-venv",
        "This Python cannot make virtual environments.",
        "On Debian or Ubuntu: sudo apt install python3-venv.",
    ),
]


class Failed(Exception):
    pass


class Environment:
    """One virtual environment, its requirements and how far pip is with them."""

    def __init__(self, folder: Path, requirements: Path) -> None:
        self.folder = folder
        self.requirements = requirements
        self.total = len(GIVEN.findall(requirements.read_text()))
        self.log = LOG.with_name(f"setup-{requirements.stem}.log")
        parts = [sys.version, sys.executable, str(folder), requirements.read_text()]
        self.wanted = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.folder / "candor-stamp"

    def ready(self) -> bool:
        try:
            return self.stamp.read_text() == self.wanted and self.python.exists()
        except OSError:
            return False

    def create(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            done = subprocess.run(
                [sys.executable, "-m", "venv", "--clear", str(self.folder)],
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise Failed(self.reason())

    def install(self) -> None:
        # A folder of the caller's that shadows packages would shadow them here too.
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(self.python), "-m", "pip", "install", "--progress-bar=off"]
        # The lock file is complete, so there is nothing to resolve.
        command += ["--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes"]
        command += ["-r", str(self.requirements)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=clean)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def progress(self) -> str:
        names = STEP.findall(self.log.read_text(errors="replace"))
        seen = min(len(set(names)), self.total)
        return f"{self.folder.name} {seen}/{self.total}"

    def finish(self, project: bool) -> None:
        if self.process is None or self.process.returncode:
            raise Failed(self.reason())
        if project:
            self._link_project()
        self.stamp.write_text(self.wanted)

    def _link_project(self) -> None:
        """What `pip install -e .` would do, without the build backend that it would fetch."""
        (packages,) = (self.folder / "lib").glob("python3*/site-packages")
        (packages / "candor.pth").write_text(f"{ROOT}\n{ROOT / 'layers/candor/python'}\n")
        script = self.folder / "bin" / "candor"
        script.write_text(
            f"#!{self.python}\nimport sys\n\nfrom cli.main import main\n\nsys.exit(main())\n"
        )
        script.chmod(0o755)

    def reason(self) -> str:
        text = self.log.read_text(errors="replace")
        where = f"The log is {self.log.relative_to(ROOT)}."
        for pattern, what, fix in REASONS:
            if re.search(pattern, text):
                return f"{what}\n  {fix} {where}"
        errors = [line for line in text.splitlines() if line.lower().startswith("error")]
        return f"pip failed: {errors[-1] if errors else 'it did not say why'}\n  {where}"


def newer_python() -> str | None:
    for name in ("python3.13", "python3.12", "python3.11", "python3.14"):
        found = shutil.which(name)
        if found:
            return found
    return None


def show(text: str, last: bool = False) -> None:
    if TTY:
        end = "\n" if last else ""
        sys.stderr.write(f"\r\033[K{text}{end}")
        sys.stderr.flush()


def main() -> int:
    if sys.version_info < OLDEST:
        other = newer_python()
        if other:
            return subprocess.call([other, __file__])
        found = ".".join(str(part) for part in sys.version_info[:2])
        sys.stderr.write(
            f"✗ Candor needs Python 3.11 or newer; python3 here is {found}.\n"
            "  Install one, or name it: make PYTHON=/path/to/python3.12 …\n"
        )
        return 1
    requirements = ROOT / "requirements"
    main_one = Environment(ROOT / ".venv", requirements / "dev.txt")
    sam = Environment(ROOT / ".local" / "sam-venv", requirements / "sam.txt")
    missing = [each for each in (main_one, sam) if not each.ready()]
    if not missing:
        return 0
    started = time.monotonic()
    sys.stderr.write("Setting up, once: Python packages into .venv and .local/sam-venv\n")
    try:
        for each in missing:
            show(f"  making {each.folder.name}")
            each.create()
            each.install()
        while any(each.running() for each in missing):
            seconds = int(time.monotonic() - started)
            show(f"  {' · '.join(each.progress() for each in missing)} packages · {seconds} s")
            time.sleep(0.25)
        for each in missing:
            each.finish(project=each is main_one)
    except Failed as failed:
        show("")
        sys.stderr.write(f"✗ {failed}\n")
        return 1
    finally:
        for each in missing:
            if each.running() and each.process:
                each.process.terminate()
    show("")
    sys.stderr.write(f"✓ set up in {time.monotonic() - started:.0f} s\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
