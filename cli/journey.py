"""A customer's journey from `events/journey`, played through the HTTP API."""

import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli.api import Answered, Api, profile_path
from cli.screen import Progress
from cli.target import Target, read_json, write_private

FRESH_HOURS = 20
WAIT_SECONDS = 60
EVENTS_SECONDS = 10
MOMENT = re.compile(r"\{now-(\d+)m\}")


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the journey is about. All that tells one journey from another comes from here."""

    name: str
    phone: str
    start: datetime

    @property
    def identifier(self) -> str:
        return f"user_id:{self.name}"

    def expected(self) -> frozenset[str]:
        """The identifiers that one profile must hold once everything is unified."""
        values = {
            "user_id": self.name,
            "email": f"{self.name}@example.com",
            "phone": self.phone,
            "device_id": f"phone-{self.name}",
        }
        browsers = {f"anonymous_id:browser-{self.name}", f"anonymous_id:app-{self.name}"}
        return frozenset({f"{kind}:{value}" for kind, value in values.items()} | browsers)


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    calls: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Played:
    step: Step
    answers: tuple[dict[str, Any], ...]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The entries of one list over all answers, such as `stripped`."""
        return [entry for answer in self.answers for entry in answer.get(kind, [])]


def steps(folder: Path, person: Person) -> list[Step]:
    """The journey, filled in for a person: `{person}`, `{phone}` and `{now-5m}`."""
    return [_step(path.read_text(), person) for path in sorted(folder.glob("*.json"))]


def _step(text: str, person: Person) -> Step:
    def moment(found: re.Match[str]) -> str:
        at = person.start - timedelta(minutes=int(found[1]))
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    filled = text.replace("{person}", person.name).replace("{phone}", person.phone)
    step = json.loads(MOMENT.sub(moment, filled))
    return Step(step["title"], tuple(step["calls"]))


def new_person(now: datetime) -> Person:
    """Somebody not met before (of erased people nothing is kept that could tell)."""
    number = secrets.randbelow(900) + 100
    # +44 7700 900xxx is reserved for fiction.
    return Person(f"ann-{number}", f"+447700900{number}", now)


class Memory:
    """Whom the last journey was about, so that playing it again shows the same person."""

    def __init__(self, target: Target) -> None:
        self._path = target.local / f"journey-{target.name}.json"

    def read(self) -> Person | None:
        found = read_json(self._path)
        if not found:
            return None
        return Person(found["name"], found["phone"], datetime.fromisoformat(found["start"]))

    def write(self, person: Person) -> None:
        content = {"name": person.name, "phone": person.phone, "start": person.start.isoformat()}
        write_private(self._path, json.dumps(content))


def choose(api: Api, last: Person | None, now: datetime) -> Person:
    """The person of last time if they are still there, somebody new if not.

    Played within a day, the journey is sent exactly as before, and nothing is stored twice. Later
    it would be too old for what is kept a day only, so somebody new comes.
    """
    if last is None:
        return new_person(now)
    if now - last.start < timedelta(hours=FRESH_HOURS) and known(api, last):
        return last
    person = new_person(now)
    return person if person.name != last.name else replace(person, name=f"{person.name}b")


def known(api: Api, person: Person) -> bool:
    return bool(look(api, person))


def look(api: Api, person: Person) -> dict[str, Any] | None:
    """The whole profile as the data protection officer sees it, None while there is none."""
    try:
        path = profile_path(person.identifier)
        return api.staff("dpo", "GET", path, purpose="privacy_rights", query={"limit": "100"})
    except Answered as answer:
        if answer.status == 404 and not answer.fix:
            return None
        raise


def play(api: Api, journey: list[Step]) -> Iterator[Played]:
    for step in journey:
        answers = tuple(
            api.collect(call["source"], call["path"], call["body"]) for call in step.calls
        )
        yield Played(step, answers)


def await_profile(
    api: Api, person: Person, journey: list[Step], progress: Progress
) -> tuple[dict[str, Any] | None, frozenset[str]]:
    """The profile once it is unified, or as it is at the deadline, and what it still lacks.

    Lacking is what must be there: events may rightly be dropped, so they are waited for in vain
    without being missed.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    patience = time.monotonic() + EVENTS_SECONDS
    while True:
        profile = look(api, person)
        missing = person.expected() - identifiers_of(profile)
        complete = not missing and sent(journey) <= event_ids(profile)
        if complete or time.monotonic() > (deadline if missing else patience):
            return profile, missing
        progress.tick(f"{len(person.expected()) - len(missing)} of {len(person.expected())}")
        time.sleep(0.2)


def sent(journey: list[Step]) -> frozenset[str]:
    """The messageIds of what happened in a journey; an identify is a fact and not an event."""
    bodies = [call["body"] for step in journey for call in step.calls]
    events = [event for body in bodies for event in body.get("batch", [])]
    return frozenset(event["messageId"] for event in events if event["type"] != "identify")


def event_ids(profile: dict[str, Any] | None) -> frozenset[str]:
    listed = ((profile or {}).get("events") or {}).get("data", [])
    return frozenset(str(event["messageId"]) for event in listed)


def identifiers_of(profile: dict[str, Any] | None) -> frozenset[str]:
    listed = ((profile or {}).get("identifiers") or {}).get("data", [])
    return frozenset(f"{one['type']}:{one['value']}" for one in listed)


def now() -> datetime:
    return datetime.now(UTC)
