"""Who lets a changed policy reach what is stored, at the command line, before the real handlers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from candor import renewal
from cli import retention
from tests.unit.test_cli_identity import Desk, opened, speaking
from tests.unit.test_renewal import changed, lacking, stored, under


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    """A shop under another policy than what is stored came under. The sweep does a slice while the
    command waits."""
    made = opened(monkeypatch, tmp_path, 160)
    shop = stored(made.shop)
    made._served.wiring.__dict__["world"] = under(shop, changed(behaviour=10, transaction=2000))

    def slice_(_: float) -> None:
        left = iter(range(1))
        renewal.go_on(shop.world, lambda: next(left, None) is not None)

    monkeypatch.setattr(retention, "time", SimpleNamespace(sleep=slice_))
    return made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return speaking(capsys, "retention")


def test_a_dry_run_shows_what_would_change_and_asks_for_nothing_else(desk: Desk, said: Any) -> None:
    code, text = said("apply", "--dry-run")

    assert code == 0
    assert "would change: " in text
    rows = [line.split() for line in text.splitlines()]
    assert ["│", "bundles", "behaviour", "1", "0", "0"] in [row[:6] for row in rows]
    assert desk.changes == []
    assert lacking(desk.shop)


def test_it_is_told_first_and_done_then(desk: Desk, said: Any) -> None:
    code, text = said("apply", "--yes", "--as", "admin")

    assert code == 0
    assert text.index("would change: ") < text.index(" changed: ")
    assert desk.changes == ["POST retention"]
    assert lacking(desk.shop) == []
    assert desk.shop.sweeper.woken == 2


def test_nobody_who_cannot_be_asked_is_taken_to_agree(desk: Desk, said: Any) -> None:
    code, text = said("apply")

    assert code != 0
    assert "Nobody can be asked here" in text
    assert desk.changes == []


def test_where_nothing_changes_nothing_is_asked(desk: Desk, said: Any) -> None:
    said("apply", "--yes")
    desk.calls.clear()

    code, text = said("apply")

    assert code == 0
    assert "Nothing ends otherwise." in text
    assert desk.changes == []


def test_status_tells_how_far_it_is(desk: Desk, said: Any) -> None:
    assert "Nothing was begun yet." in said("status")[1]
    renewal.start(desk.shop.world, "staff", dry_run=False)

    code, text = said("status")
    assert code == 0
    assert "0 rows looked at, 3 tables to go" in text
    assert json.loads(said("status", "--json")[1])["status"] == "running"


def test_a_class_that_is_gone_is_told(desk: Desk, said: Any) -> None:
    del desk.shop.policy.retention["transaction"]  # type: ignore[attr-defined]

    text = said("apply", "--dry-run")[1]

    assert "2 of bundles are of transaction, which the policy does not name any more" in text
