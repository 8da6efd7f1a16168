"""What people on the internet wrote is shown to staff, and neither obeyed nor tripped over."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import demo, journey, privacy, show, tail
from cli.api import Api
from cli.main import main
from cli.problem import Problem
from cli.screen import Screen
from cli.signature import Verdict
from cli.status import picture
from cli.target import load_stack

EVIL = (
    "[/x][bold red]b[link=https://evil.example]c :smile: "
    "\x1b[31m\x1b]0;title\x07\x9b2J\x7f\u202e\ud800\u2028\r\n\ttail"
)
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
NAMED = {"type": EVIL, "value": EVIL}
PART = {"identifiers": [NAMED], "traits": [EVIL], "events": EVIL, "moves": True}
CALLS: dict[str, dict[str, Any]] = {
    "keys list": {"data": [{"id": EVIL, "name": EVIL, "role": EVIL, "purposes": [EVIL]}]},
    "keys create [/x] --source website": {"id": EVIL, "key": "wk_1", "name": "x"},
    "keys revoke 1": {"success": True, "of": EVIL},
    "profile show user_id:[/x] --why": {
        "purpose": EVIL,
        "traits": {EVIL: EVIL, "more": {EVIL: [EVIL]}},
        "identifiers": {
            "data": [{"type": EVIL, "value": EVIL, "first_seen": EVIL, "last_seen": f"T{EVIL}"}]
        },
        "events": {"data": [{"event": EVIL, "timestamp": EVIL, "properties": {EVIL: EVIL}}]},
        "consents": {EVIL: {"state": EVIL, "because": EVIL}},
        "withheld": [{"name": EVIL, "purpose": EVIL, "because": EVIL, "fix": EVIL}],
        "data": [
            {
                "a": {"type": "user_id", "value": "[/x]"},
                "b": {"type": EVIL, "value": EVIL},
                "rule": EVIL,
                "source": EVIL,
                "trust": EVIL,
            },
            {
                "a": {"type": EVIL, "value": EVIL},
                "b": {"type": EVIL, "value": EVIL},
                "refused": EVIL,
            },
        ],
    },
    "consent set user_id:[/x] [/x]=granted": {"success": True, "of": EVIL},
    "consent explain user_id:[/x] [/x]": {
        "about": EVIL,
        "at": EVIL,
        "basis": EVIL,
        "allowed": EVIL,
        "because": EVIL,
        "fix": EVIL,
        "devices": [{"identifier": NAMED, "allowed": False, "because": EVIL, "fix": EVIL}],
        "data": [{"identifier": NAMED, "said": EVIL, "decides": EVIL, "because": EVIL}],
        "left_out": EVIL,
        "later": EVIL,
        "withheld": [{"name": EVIL, "purpose": EVIL, "because": EVIL, "fix": EVIL}],
    },
    "consent rebuild user_id:[/x]": {
        "dry_run": EVIL,
        "differences": [
            {
                "identifier": NAMED,
                "purpose": EVIL,
                "register": {EVIL: EVIL},
                "records": {"granted": 10**30},
                "becomes": EVIL,
                "because": EVIL,
            }
        ],
        "withheld": [{"name": EVIL, "purpose": EVIL, "because": EVIL, "fix": EVIL}],
    },
    "privacy status": {"data": [{"id": EVIL, "type": EVIL, "status": EVIL, "due": EVIL}]},
    "privacy status 1": {
        "id": EVIL,
        "type": EVIL,
        "status": EVIL,
        "due": EVIL,
        "receipts": [{"store": EVIL, "found": EVIL, "because": EVIL}],
        "horizons": [{"what": EVIL, "until": EVIL}],
    },
    "privacy erase user_id:[/x]": {
        "id": EVIL,
        "status": "completed",
        "certificate": {"document": json.dumps({EVIL: EVIL}), "signature": EVIL, "key_id": EVIL},
    },
    "identity why user_id:[/x] user_id:2": {
        "together": True,
        "because": EVIL,
        "chain": [{"a": NAMED, "b": NAMED, "said": EVIL}, {"a": NAMED, "b": NAMED, "said": EVIL}],
        "withheld": [{"name": EVIL, "purpose": EVIL, "because": EVIL, "fix": EVIL}],
    },
    "identity split user_id:[/x] user_id:2 --reason [/x] --dry-run": {
        "parts": [PART, PART | {"moves": False}],
        "withheld": [{"name": EVIL, "purpose": EVIL, "because": EVIL, "fix": EVIL}],
    },
    "identity split user_id:[/x] user_id:2 --reason [/x] --yes": {"parts": [PART]},
    "identity quarantine": {
        "data": [
            {"identifier": NAMED, "at": EVIL, "by": EVIL, "because": {"reason": EVIL}},
            {
                "identifier": NAMED | {"value": None},
                "at": EVIL,
                "by": "candor",
                "because": {"met": {EVIL: EVIL}, "source": EVIL, "trust": EVIL},
            },
        ]
    },
    "identity stats": {
        "data": [
            {
                "id": EVIL,
                "name": EVIL,
                "source": EVIL,
                "day": int(time.time() // 86_400),
                "outcomes": {f"refused_link:{EVIL}": 1},
            }
        ]
    },
    "identity picture user_id:[/x]": {
        "data": [
            {
                **NAMED,
                "a": NAMED,
                "b": {"type": "user_id", "value": "[/x]"},
                "first_seen": EVIL,
                "rule": EVIL,
                "source": EVIL,
                "trust": EVIL,
                "time": EVIL,
                "refused": EVIL,
            }
        ],
        "withheld": [{"name": EVIL, "purpose": EVIL, "because": EVIL, "fix": EVIL}],
    },
    "privacy certificate 1": {"id": EVIL, "status": "partial", "certificate": {"document": EVIL}},
}


@pytest.fixture(autouse=True)
def a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = {
        "api_url": "http://127.0.0.1:1",
        "write_keys": {"client": "wk", "server": "wk"},
        "tokens": dict.fromkeys(("admin", "dpo", "analyst", "marketer"), "tk"),
        "outputs": {},
    }
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    monkeypatch.setattr(load_stack, "__defaults__", (tmp_path,))
    monkeypatch.setattr(privacy, "check", lambda *_: Verdict("valid", EVIL))
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    monkeypatch.setenv("COLUMNS", "400")


def answers(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> None:
    monkeypatch.setattr(Api, "_call", lambda *_: answer)


def words_of(words: str) -> list[str]:
    return words.split(" ")


@pytest.mark.parametrize("words", CALLS)
def test_what_came_from_outside_is_shown_as_it_is(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, CALLS[words])
    main(words_of(words))
    said = "".join(capsys.readouterr())
    assert not OBEYED.search(said)
    if words != "keys revoke 1":  # which shows nothing of the answer
        assert "[/x]" in said
        if "consent set" not in words:
            assert "[/x][bold red]b[link=https://evil.example]c :smile:" in said


@pytest.mark.parametrize("words", CALLS)
def test_json_is_json_whatever_came_from_outside(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, CALLS[words])
    main([*words_of(words), "--json"])
    said = capsys.readouterr()
    assert said.err == ""
    assert not OBEYED.search(said.out)
    assert repr(EVIL)[1:-1] in repr(json.loads(said.out))


def test_a_partial_erasure_is_no_success_and_says_who_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, {"id": "1", "status": "partial"})
    assert main(["privacy", "erase", "user_id:1"]) == 1
    said = capsys.readouterr().err
    assert "sweep" in said
    assert "same person again" in said


@pytest.mark.parametrize("as_json", [False, True])
def test_a_refusal_of_the_api_is_shown_as_it_is(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Screen(as_json).problem(Problem(EVIL, EVIL))
    said = "".join(capsys.readouterr())
    assert not OBEYED.search(said)
    assert said.count("[/x][bold red]b") == 2
    assert not as_json or json.loads(said)["error"]["fix"] == EVIL


def test_progress_warnings_and_notes_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen()
    screen.note(EVIL)
    screen.warn(EVIL)
    screen.line(EVIL)
    screen.show(EVIL)
    with screen.progress(EVIL) as progress:
        progress.tick(EVIL)
    said = "".join(capsys.readouterr())
    assert not OBEYED.search(said)
    assert said.count("[/x][bold red]b") == 5


def test_a_spinner_shows_what_it_is_given() -> None:
    screen = Screen()
    screen.err = Console(stderr=True, force_terminal=True, width=200)
    with screen.err.capture() as caught, screen.progress(f"1 {EVIL}") as progress:
        progress.tick(f"2 {EVIL}")
    assert "2 [/x][bold red]b" in caught.get()
    assert "\x1b[31m" not in caught.get()


def test_the_demo_shows_what_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    profile = CALLS["profile show user_id:[/x] --why"]
    step = journey.Step(EVIL, ())
    entry = {"name": EVIL, "message": EVIL, "fix": EVIL, "kept": EVIL}
    played = [journey.Played(step, ({"stripped": [entry]},))]
    why = show.why(profile["data"], EVIL, {EVIL: EVIL})
    person = journey.Person(EVIL, "1", journey.now())
    screen = Screen()
    demo.tell_steps(screen, played)
    demo.tell(screen, person, profile, why, profile, played)
    said = capsys.readouterr().out
    assert not OBEYED.search(said)
    assert said.count("[/x][bold red]b") > 20


def test_status_and_tail_show_what_they_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {
        "endpoint": EVIL,
        "api_url": EVIL,
        "functions": {},
        "queues": {EVIL: 1},
        "keys": 1,
        "requests": [{"id": EVIL, "type": EVIL, "status": EVIL, "due": EVIL}],
        "outcomes": [
            dict.fromkeys(("source", "outcome", "reason"), EVIL) | {"today": 1, "week": 1}
        ],
        "unknown_names": 1,
        "problems": [EVIL],
        "healthy": False,
    }
    line = {"at": 0, "outcome": EVIL, "name": EVIL, "type": "track", "source": EVIL, "reason": EVIL}
    Screen().show(picture(facts), tail.told(line))
    said = capsys.readouterr().out
    assert not OBEYED.search(said)
    assert said.count("[/x][bold red]b") == 15
