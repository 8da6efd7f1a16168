"""The demo's journey: what it sends, and whom it is about the next time."""

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli import demo, first_keys, journey
from cli.api import Answered
from cli.policy import compile_policy
from cli.target import ROOT

FOLDER = ROOT / "events" / "journey"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANN = journey.Person("ann-123", "+447700900123", NOON)


def messages(person: journey.Person = ANN) -> list[dict[str, Any]]:
    """Every event that the journey sends."""
    found = []
    for step in journey.steps(FOLDER, person):
        for call in step.calls:
            body = call["body"]
            found += body.get("batch", [{"type": call["path"].strip("/"), **body}])
    return found


def test_the_journey_is_filled_in_completely() -> None:
    text = json.dumps([step.calls for step in journey.steps(FOLDER, ANN)])
    assert not re.search(r"\{[a-z]", text)
    assert '"2026-05-04T11:08:00.000Z"' in text


def test_a_retried_journey_is_the_same_to_the_byte() -> None:
    assert messages() == messages()
    ids = [message["messageId"] for message in messages()]
    assert len(set(ids)) == len(ids)


def test_two_people_share_nothing_that_names_them() -> None:
    bob = journey.Person("ann-124", "+447700900124", NOON)
    assert not ANN.expected() & bob.expected()
    assert "ann-123" not in json.dumps(messages(bob))


def test_the_journey_carries_every_identifier_that_is_waited_for() -> None:
    text = json.dumps(messages())
    for each in ANN.expected():
        assert each.partition(":")[2] in text


def test_the_journey_shows_one_unnamed_event_and_unnamed_attributes() -> None:
    policy = compile_policy((ROOT / "policy.yaml").read_text())
    unnamed_events, unnamed_attributes = set(), set()
    for message in messages():
        name = message.get("event", message["type"])
        if name not in policy["events"]:
            unnamed_events.add(name)
            continue
        known = policy["events"][name]["properties"]
        unnamed_attributes |= set(message.get("properties", {})) - set(known) - {"name"}
        unnamed_attributes |= set(message.get("traits", {})) - set(policy["traits"])
    assert unnamed_events == {"Wishlist Shared"}
    assert unnamed_attributes == {"scroll_depth", "shoe_size"}


def test_each_step_is_sent_with_the_key_of_where_it_happens() -> None:
    sources = [{call["source"] for call in step.calls} for step in journey.steps(FOLDER, ANN)]
    assert sources == [{"client"}, {"client", "server"}, {"app"}, {"crm"}]
    assert set().union(*sources) <= first_keys.SOURCES.keys()
    assert [first_keys.SOURCES[each]["source"] for each in ("app", "crm")] == ["app", "crm"]
    assert [first_keys.SOURCES[each]["trust"] for each in ("app", "crm")] == ["client", "server"]


class FakeApi:
    def __init__(self, there: bool) -> None:
        self.there = there

    def staff(self, *_: Any, **__: Any) -> dict[str, Any]:
        if self.there:
            return {"identifiers": {"data": []}}
        raise Answered(404, "not_found", "No", "")


@pytest.mark.parametrize(
    ("there", "hours", "same"), [(True, 1, True), (True, 30, False), (False, 1, False)]
)
def test_playing_again_meets_the_same_person_unless_gone(
    there: bool, hours: int, same: bool
) -> None:
    later = NOON + timedelta(hours=hours)
    chosen = journey.choose(FakeApi(there), ANN, later)  # type: ignore[arg-type]
    assert (chosen == ANN) is same
    assert (chosen.name == ANN.name) is same


def test_the_first_time_meets_somebody_new() -> None:
    chosen = journey.choose(FakeApi(False), None, NOON)  # type: ignore[arg-type]
    assert re.fullmatch(r"ann-\d{3}", chosen.name)
    assert re.fullmatch(r"\+447700900\d{3}", chosen.phone)


def test_the_commands_to_paste_are_words_for_a_shell() -> None:
    stack = {
        "api_url": "http://127.0.0.1:4566/_aws/execute-api/abc",
        "write_keys": {"server": "wk"},
    }
    commands = demo.to_paste(stack, ANN)
    assert len(commands) == 5
    curl = shlex.split(commands[0]["command"])
    assert curl[0] == "curl"
    assert json.loads(curl[-1])["userId"] == ANN.name
    assert "wk:" in curl
    for one in commands[1:]:
        assert one["command"].startswith(".venv/bin/candor ")
