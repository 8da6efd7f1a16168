"""What `status` makes of what it finds."""

from types import SimpleNamespace
from typing import Any

import pytest

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
