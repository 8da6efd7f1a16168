"""What `status` makes of what it finds."""

import io
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cli import status
from cli.api import Api


@pytest.mark.parametrize(("count", "words"), [(1, "1 message failed"), (2, "2 messages failed")])
def test_a_failed_message_is_counted_and_there_is_a_way_on(
    count: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = {"ApproximateNumberOfMessages": str(count)}
    queues = SimpleNamespace(get_queue_attributes=lambda **_: {"Attributes": attributes})
    monkeypatch.setattr(status, "Clients", lambda _: SimpleNamespace(sqs=queues))
    monkeypatch.setattr(Api, "_call", lambda *_: {"data": []})
    stack: dict[str, Any] = {
        "api_url": "http://127.0.0.1:1",
        "tokens": {"admin": "tk", "dpo": "tk"},
        "outputs": {"EventsDlqUrl": "q"},
    }
    found = status.collect_facts(stack)
    assert not found["healthy"]
    (problem,) = found["problems"]
    assert problem.startswith(words)
    assert "docs/operations.md" in problem


def test_outcomes_are_added_up_by_source_and_reason_and_shown() -> None:
    today = int(time.time() // 86_400)
    counted = [
        {"source": "a", "day": today, "outcomes": {"stored": 3, "dropped:no_consent": 1}},
        {"source": "a", "day": today - 1, "outcomes": {"stored": 4}},
        {"source": "gone", "day": today - 2, "outcomes": {"refused:event_too_large": 5}},
    ]

    found = status.outcomes(counted, {"a": "web shop"})

    told = [tuple(one.values()) for one in found]
    assert told == [
        ("web shop", "dropped", "no_consent", 1, 1),
        ("web shop", "stored", "", 3, 7),
        ("gone", "refused", "event_too_large", 0, 5),
    ]
    screen = Console(width=100, file=io.StringIO())
    facts: dict[str, Any] = {
        "endpoint": "AWS",
        "api_url": "u",
        "functions": {},
        "queues": {},
        "keys": 1,
        "requests": [],
        "outcomes": found,
        "unknown_names": 2,
        "problems": [],
        "healthy": True,
    }
    screen.print(status.picture(facts))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "no_consent" in shown
    assert "does not know: 2" in shown
