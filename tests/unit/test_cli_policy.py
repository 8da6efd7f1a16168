"""A mistake in policy.yaml is told with its place, before anything is started."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import policy, running
from cli.problem import Problem
from cli.screen import Screen
from cli.target import ROOT, choose

GOOD = (ROOT / "policy.yaml").read_text()


def broken(tmp_path: Path, **change: Any) -> Path:
    content = yaml.safe_load(GOOD)
    content["events"]["Order Completed"] |= change
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_policy_that_is_shipped_is_read() -> None:
    assert policy.read(ROOT / "policy.yaml")["hash"] == policy.compile_policy(GOOD)["hash"]


def test_a_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        policy.read(broken(tmp_path, retention="forever"))
    told = caught.value.what
    assert told.startswith(f"{tmp_path}/policy.yaml: line ")
    assert "events.Order Completed.retention: no class 'forever'" in told


def test_every_mistake_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        policy.read(broken(tmp_path, purposes=[], keep="yes"))
    assert "events.Order Completed.purposes: " in caught.value.what
    assert "events.Order Completed.keep: " in caught.value.what


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [1\nb: 2\n", "line 2"), ("", "mapping"), ("a: \x07", "U.0007"), ("[1]", "mapping")],
)
def test_what_is_no_policy_at_all_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(Problem, match=words):
        policy.read(path)


def test_a_missing_policy_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot be read"):
        policy.read(tmp_path / "policy.yaml")


def test_the_build_tells_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken(tmp_path, retention="forever")
    assert policy.main(["compile", str(path), str(tmp_path / "out.json")]) == 1
    assert "events.Order Completed.retention: no class 'forever'" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_nothing_is_started_with_a_policy_that_will_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken(tmp_path, retention="forever")
    monkeypatch.setattr(running, "ROOT", path.parent)
    monkeypatch.setattr(running, "start_ours", lambda *_: pytest.fail("it was started"))
    with pytest.raises(Problem, match="no class 'forever'"):
        running.up(choose(None, "local", tmp_path), Screen())
