"""An auditor at the command line, before the real handlers."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from candor.ports import Key, Unavailable, Update
from cli.api import Api
from tests.unit.test_cli_identity import Desk, opened, speaking
from tests.worlds import CRM, Json, order, says, sent

ANN, PHONE = "user_id:42", "anonymous_id:a1"


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    """Ann, who allowed analytics on her phone and denied marketing by a server, all on one day."""
    made = opened(monkeypatch, tmp_path, 220)
    page = sent("page", "p", 90, anonymousId="a1", context=says(analytics=True))
    made.send("client", page)
    made.send("server", order("o", userId="42", anonymousId="a1"))
    denied = {"marketing": False}
    made.shop.choose(ANN, denied, language="de-DE", text_version="2026-03")
    return made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return speaking(capsys, "consent")


def answered(said: Any, *words: str) -> Json:
    code, text = said(*words, "--json")
    answer: Json = json.loads(text)
    assert (code, answer.get("success", True)) == (0, True)
    return answer


def broken(desk: Desk) -> None:
    """Lose what Ann chose, and invent a grant of her phone's."""
    node = desk.shop.node(PHONE)
    assert node
    told = {"signals": node["signals"] | {"marketing": [60, 1]}}
    rows = desk.shop.rows
    rows.update(Update(Key("graph", node["pk"], "NODE"), set=told, add={"version": 1}))
    profile = Key("graph", f"P#{node['profile']}", "PROFILE")
    rows.update(Update(profile, set={"choices": {}}, add={"version": 1}))


def audited(desk: Desk) -> list[Json]:
    queue = desk._served.audit_queue
    return [json.loads(body) for body in queue.bodies]


def test_explain_tells_the_verdicts_and_the_records_in_order(desk: Desk, said: Any) -> None:
    code, text = said("explain", ANN, "marketing")

    assert code == 0
    assert "marketing for user_id:42, as of 2026-09-21" in text
    assert "the person: not allowed, because denied by choice on 2026-09-21." in text
    assert "anonymous_id:a1: not allowed" in text
    assert "Legal basis: consent." in text
    (record,) = (line for line in text.splitlines() if "●" in line)
    assert "Denied in a preference center, from crm on 2026-09-21" in record
    assert "the text shown was 2026-03, de-DE" in record
    assert "It decides for the person." in record


def test_explain_names_sources_and_devices(desk: Desk, said: Any) -> None:
    _, text = said("explain", ANN, "analytics")

    assert "the person: not allowed, because no consent is on record." in text
    assert "anonymous_id:a1: allowed, because granted on the device on 2026-09-21." in text
    assert "from web shop on 2026-09-21" in text
    assert desk.stack["ids"]["client"] not in text


def test_explain_as_of_a_time_before(desk: Desk, said: Any) -> None:
    desk.shop.clock.advance(86_400)
    desk.shop.choose(ANN, {"marketing": True}, CRM)
    assert answered(said, "explain", ANN, "marketing")["allowed"]

    then = answered(said, "explain", ANN, "marketing", "--at", "2026-09-22")
    before = answered(said, "explain", ANN, "marketing", "--at", "2026-09-01T12:00+02:00")

    assert [one["said"][:6] for one in then["data"]] == ["Denied"]
    assert not then["allowed"]
    assert (before["data"], before["because"]) == ([], "no consent is on record")
    assert (
        "No record of it was known." in said("explain", ANN, "marketing", "--at", "2020-01-01")[1]
    )


def test_explain_is_a_read_for_a_purpose_and_audited(desk: Desk, said: Any) -> None:
    told = answered(said, "explain", ANN, "marketing", "--as", "analyst", "--purpose", "analytics")

    assert told["purpose"] == "analytics"
    (entry,) = audited(desk)
    assert (entry["action"], entry["purpose"]) == ("profile.read.consents.explain", "analytics")
    assert entry["about"]
    assert ANN not in json.dumps(entry)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ([ANN, "marketing", "--at", "yesterday"], "'yesterday' is no time."),
        ([ANN, "astrology"], "The policy's purposes are: analytics, marketing"),
        (["user_id:nobody", "marketing"], "There is no profile for user_id:nobody."),
        (["42", "marketing"], "'42' is not an identifier."),
    ],
)
def test_explain_says_what_is_wrong(desk: Desk, said: Any, words: list[str], wrong: str) -> None:
    code, text = said("explain", *words)

    assert code == 1
    assert wrong in text


def test_rebuild_shows_what_differs_and_mends_it_unless_it_is_a_dry_run(
    desk: Desk, said: Any
) -> None:
    broken(desk)
    assert desk.shop.state(ANN, "marketing") != "denied"

    code, text = said("rebuild", ANN, "--dry-run")
    assert code == 0
    assert "a dry run: nothing was changed" in text
    assert re.search(r"the person +marketing +nothing +denied 2026-09-21 \d\d:\d\d UTC", text)
    assert re.search(r"anonymous_id:a1 +marketing +granted 1970-01-01 00:01 UTC +nothing", text)
    assert desk.shop.state(ANN, "marketing") != "denied"

    told = answered(said, "rebuild", ANN)
    assert [one["purpose"] for one in told["differences"]] == ["marketing", "marketing"]
    assert desk.shop.state(ANN, "marketing") == "denied"
    assert "The registers say what the records say." in said("rebuild", ANN)[1]
    assert [one["action"] for one in audited(desk)] == [
        "consent.compared",
        "consent.rebuilt",
        "consent.rebuilt",
    ]


def test_rebuild_goes_through_a_file_and_tells_lines_and_no_identifiers(
    desk: Desk, said: Any, tmp_path: Path
) -> None:
    broken(desk)
    people = tmp_path / "people.txt"
    people.write_text(f"user_id:nobody\n\n{ANN}\n{PHONE}\n")

    tried = answered(said, "rebuild", "--file", str(people), "--dry-run")
    done = answered(said, "rebuild", "--file", str(people))

    assert tried["lines"] == [{"line": 3, "differences": 2}, {"line": 4, "differences": 2}]
    assert done["lines"] == [{"line": 3, "differences": 2}], "and the fourth is the same person"
    counts = {name: done[name] for name in ("people", "differing", "differences", "unknown")}
    assert counts == {"people": 2, "differing": 1, "differences": 2, "unknown": 1}
    code, text = said("rebuild", "--file", str(people))
    assert code == 0
    assert "2 compared: 0 entries of 0" in text
    assert "1 lines name nobody who is here." in text
    assert "42" not in text


def test_rebuild_reads_standard_input_and_goes_on_where_it_stopped(
    desk: Desk, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"{ANN}\nnot an identifier\n{PHONE}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    code, text = said("rebuild", "--file", "-")
    assert code == 1
    assert "Line 2 is not an identifier." in text
    assert "not an identifier\n" not in text.replace("Line 2 is not an identifier.", "")

    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    told = answered(said, "rebuild", "--file", "-", "--from", "3")
    assert (told["people"], len(desk.calls)) == (1, 2)


def test_rebuild_says_at_which_line_the_api_failed(
    desk: Desk, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{ANN}\n{PHONE}\n")
    work = desk.wire()

    def failing(*call: Any) -> Json:
        if len(desk.calls) == 1:
            monkeypatch.setattr(desk.shop.rows, "tap", _unavailable)
        return work(*call)

    monkeypatch.setattr(Api, "_call", failing)
    code, text = said("rebuild", "--file", str(people))

    assert code == 1
    assert "It stopped at line 2: go on with --from 2." in text


def _unavailable(*_: Any) -> None:
    raise Unavailable("table")


@pytest.mark.parametrize("words", [[], [ANN, "--file", "people.txt"], ["--file", "nowhere.txt"]])
def test_rebuild_needs_one_identifier_or_a_file_of_them(
    desk: Desk, said: Any, words: list[str]
) -> None:
    assert said("rebuild", *words)[0] == 1
    assert desk.calls == []


def test_set_tells_which_text_was_shown(desk: Desk, said: Any) -> None:
    words = ["profiling=granted", "--language", "de", "--text-version", "v3"]
    assert said("set", ANN, *words)[0] == 0

    (newest,) = (
        one for one in desk.shop.view(ANN).consent_records() if one["purpose"] == "profiling"
    )
    assert (newest["language"], newest["text_version"]) == ("de", "v3")


@pytest.mark.parametrize(
    "option",
    [
        ["--language", "deutsch, bitte"],
        ["--language", "a" * 36],
        ["--text-version", "v" * 65],
        ["--text-version", "ann@example.com"],
    ],
)
def test_what_is_no_language_or_version_is_not_recorded(
    desk: Desk, said: Any, option: list[str]
) -> None:
    code, text = said("set", ANN, "profiling=granted", *option)

    assert code == 1
    assert option[0].strip("-").replace("-", "_") in text
    assert option[1] not in text
