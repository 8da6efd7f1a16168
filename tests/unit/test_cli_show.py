"""How answers look: nothing is left out, and evidence reads as a tree."""

import base64
import hashlib
import io
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console, RenderableType

from cli import certificate, show, signature, tail
from cli.status import picture

PROFILE: dict[str, Any] = {
    "profile": "01",
    "purpose": "marketing",
    "traits": {"firstName": "Ann", "address": {"city": "Bern"}, "vip": True},
    "identifiers": {
        "data": [
            {"type": "user_id", "value": "ann", "first_seen": 20000, "last_seen": "2026-05-04"}
        ],
        "next": None,
    },
    "events": {
        "data": [
            {
                "type": "track",
                "event": "Order Completed",
                "timestamp": "2026-05-04T12:00:00Z",
                "properties": {"total": 89.0},
            },
            {"type": "page", "timestamp": "2026-05-04T11:00:00Z"},
        ]
    },
    "consents": {"marketing": {"state": "denied", "because": "preference_center"}},
    "withheld": [
        {"name": "email", "purpose": "marketing", "because": "no consent", "fix": "ask"},
        {"name": "phone", "purpose": "marketing", "because": "no consent", "fix": "ask"},
    ],
}


def text_of(thing: RenderableType, width: int = 160) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(thing)
    return console.export_text()


def link(a: str, b: str, **more: Any) -> dict[str, Any]:
    def side(text: str) -> dict[str, str]:
        kind, _, value = text.partition(":")
        return {"type": kind, "value": value}

    return {"a": side(a), "b": side(b), "rule": "same event", "source": "s1", **more}


def test_a_profile_shows_all_that_it_holds_and_all_that_it_withholds() -> None:
    seen = text_of(show.profile(PROFILE, "user_id:ann"))
    for word in (
        "marketing", "Ann", "city=Bern", "true", "user_id", "Order Completed", "total=89.0",
        "page", "denied", "preference_center", "email, phone", "no consent", "ask",
    ):  # fmt: skip
        assert word in seen


def test_an_empty_profile_says_so() -> None:
    assert "Nothing may be shown" in text_of(show.profile({"purpose": "marketing"}, "x"))


def test_evidence_reads_as_a_tree_from_the_person_on() -> None:
    links = [
        link("anonymous_id:browser", "email:a@x"),
        link("user_id:ann", "anonymous_id:browser", trust="server"),
        link("user_id:ann", "user_id:bob", refused="two known users"),
    ]
    seen = text_of(show.why(links, "user_id:ann", {"s1": "web shop"})).splitlines()
    assert seen[0].strip() == "user_id:ann"
    names = [line.lstrip("│├└─ ") for line in seen]
    depth = {name.split()[0]: len(line) - len(name) for line, name in zip(seen, names, strict=True)}
    assert 0 < depth["anonymous_id:browser"] < depth["email:a@x"]
    assert any("web shop (server)" in line for line in seen)
    assert any("stay apart: two known users" in line for line in seen)


def test_evidence_of_a_circle_ends() -> None:
    links = [link("a:1", "b:1"), link("b:1", "c:1"), link("c:1", "a:1"), link("x:1", "y:1")]
    seen = text_of(show.why(links, "a:1", {}))
    assert all(name in seen for name in ("a:1", "b:1", "c:1", "x:1", "y:1"))


def test_a_request_shows_its_receipts_and_horizons() -> None:
    found = {
        "id": "r1",
        "type": "erasure",
        "status": "completed",
        "receipts": [{"store": "graph", "found": 7, "deleted": 7, "left": 0, "because": None}],
        "horizons": [{"what": "backups", "until": "2026-05-05T12:00:00Z"}],
    }
    seen = text_of(show.request(found))
    assert all(word in seen for word in ("r1", "completed", "graph", "7", "0", "backups"))


def test_a_certificate_is_checked_and_a_changed_one_is_found() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = {"subject": "x", "deleted": 7}
    signed = json.dumps(content, indent=1)
    digest = hashlib.sha256(signed.encode()).digest()
    made = key.sign(digest, ec.ECDSA(hashes.SHA256()))
    found = {
        "document": signed,
        "signature": base64.b64encode(made).decode(),
        "key_id": "k",
    }
    assert signature.verify(found, public).good is True
    assert certificate.document_of(found) == content
    found["document"] = signed.replace("7", "8")
    assert signature.verify(found, public).good is False
    assert signature.verify(found | {"signature": "?"}, public).good is False


def test_tail_tells_outcomes_and_nothing_else() -> None:
    line = {
        "message": "outcome",
        "type": "track",
        "event_name": "(unnamed)",
        "source": "shop",
        "outcome": "dropped",
        "reason": "no_consent",
        "email": "never@example.com",
    }
    found = tail.outcome(json.dumps(line))
    assert found is not None
    assert "email" not in found
    seen = text_of(tail.told(found | {"at": 1_777_900_000_000}))
    assert all(word in seen for word in ("dropped", "(unnamed)", "shop", "no_consent"))
    for other in ("START RequestId: 1", '{"message": "other"}', "[1]", '"outcome"'):
        assert tail.outcome(other) is None


class Logs:
    """One log group that grows."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.logs = self

    def get_paginator(self, _: str) -> "Logs":
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        found = [each for each in self.events if each["timestamp"] >= asked["startTime"]]
        return [{"events": found if asked["logGroupName"] == "unify" else []}]


def test_tail_tells_each_event_once() -> None:
    logs = Logs()
    reader = tail.Reader(logs, ["collect", "unify"])  # type: ignore[arg-type]
    message = json.dumps({"message": "outcome", "outcome": "stored"})
    logs.events.append({"eventId": "1", "timestamp": 1000, "message": message})
    assert len(reader.new(0)) == 1
    logs.events.append({"eventId": "2", "timestamp": 1000, "message": message})
    assert len(reader.new(0)) == 1
    assert reader.new(0) == []


def test_status_shows_what_is_wrong() -> None:
    seen = text_of(
        picture(
            {
                "endpoint": "http://127.0.0.1:4566",
                "api_url": "http://x",
                "functions": {"a": "Active", "b": "Failed"},
                "queues": {"events": 3, "events, failed": 1},
                "keys": None,
                "requests": [{"id": "r1", "type": "erasure", "status": "failed", "due": None}],
                "outcomes": [],
                "unknown_names": 0,
                "problems": ["The function b is not active."],
                "healthy": False,
            }
        )
    )
    for word in ("1 of 2", "events 3", "events, failed 1", "r1", "b is not active"):
        assert word in seen
