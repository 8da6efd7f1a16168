"""Chromium for the tests: where there is none, a test fails and says what to do."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import chromium


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine without a Chromium, whose apt gets nothing."""
    for name in (*chromium.NAMES, "dpkg-deb", "apt-get"):
        script = "#!/bin/sh\necho E: no route to host >&2; exit 100\n"
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(chromium, "LOCAL", tmp_path / "local")
    monkeypatch.setattr(chromium, "UNPACKED", tmp_path / "local" / "chromium")
    chromium.command.cache_clear()
    yield
    chromium.command.cache_clear()  # or others would be given what was made up here


def test_one_on_the_path_that_works_is_taken(tmp_path: Path) -> None:
    (tmp_path / "chromium").write_text("#!/bin/sh\necho Chromium 156\n")
    assert chromium.command()[0] == [str(tmp_path / "chromium")]


def test_without_a_network_it_says_what_to_install() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no route to host(.|\n)*apt install chromium"):
        chromium.command()


def test_without_apt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(pytest.fail.Exception, match=r"this is no Debian(.|\n)*Install Chromium"):
        chromium.command()


def test_what_was_unpacked_and_works_no_more_is_unpacked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = Path(chromium._unpacked()[0][0])

    def unpack() -> None:
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\necho Chromium 156\n")
        program.chmod(0o755)

    monkeypatch.setattr(chromium, "_unpack", unpack)
    command, environment = chromium.command()
    assert subprocess.check_output(command, env=environment) == b"Chromium 156\n"
