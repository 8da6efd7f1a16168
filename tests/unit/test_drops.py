"""Files in the drop bucket, read by the collect function's own handler over stores in memory."""

import gzip
import hashlib
import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from candor import credentials, drops, imports
from candor.ports import Unavailable
from cli.target import ROOT
from tests.served import Served
from tests.worlds import order

Json = dict[str, Any]
PEOPLE = b"Record ID,Email,First Name,Last Name,Phone Number,Company Name,City,Create Date,"
PEOPLE += b"Last Modified Date,Newsletter opt-in,Unsubscribed from all email\n"


class Dropped:
    """A shop with a drop bucket, as S3 and SQS would serve it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served = Served(monkeypatch)
        self.shop = self.served.shop
        self.bucket, self.queue = self.served.drop_bucket, self.served.drop_queue
        self.source = self.issue("server")

    def issue(self, trust: str) -> str:
        spec = {"kind": "source", "name": "CRM", "source": "crm", "trust": trust}
        return credentials.issue(self.shop.rows, spec, self.shop.clock())[0]

    def put(self, key: str, body: bytes) -> None:
        """Put a file; S3 tells the queue of it."""
        self.bucket.put(key, body)
        self.tell(key, self.etag(body))

    def tell(self, key: str, etag: str) -> None:
        told = {"object": {"key": quote_plus(key), "eTag": etag}}
        self.queue.send(json.dumps({"Records": [{"s3": told}]}))

    @staticmethod
    def etag(body: bytes) -> str:
        return hashlib.md5(body).hexdigest()  # noqa: S324  as S3 does

    def drop(self, body: bytes, mapping: str = "ndjson", name: str = "of may.csv") -> str:
        key = f"drop/{self.source}/{mapping}/{name}"
        self.put(key, body)
        return key

    def read(self, left: int = 300_000) -> int:
        """Hand one message of the queue on; how many failed and stay in the queue."""
        body = self.queue.bodies.pop(0)
        record = {"messageId": "1", "body": body}
        answer = self.served.invoke("collect", {"Records": [record]}, left)
        if answer["batchItemFailures"]:
            self.queue.bodies.insert(0, body)
        return len(answer["batchItemFailures"])

    def read_all(self, left: int = 300_000) -> int:
        """Until nothing waits; how many messages that took."""
        count = 0
        while self.queue.bodies:
            assert self.read(left) == 0
            count += 1
        return count

    def report(self, name: str = "of may.csv", mapping: str = "ndjson") -> list[Json]:
        body = self.bucket.objects.get(f"rejected/{self.source}/{mapping}/{name}.ndjson", b"")
        return [json.loads(line) for line in body.splitlines()]

    def messages(self) -> list[Json]:
        return [self.served.wiring.transit.open(body) for body in self.shop.queue.bodies]

    def sent(self) -> list[str]:
        return [event["id"] for message in self.messages() for event in message["events"]]


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> Dropped:
    return Dropped(monkeypatch)


def orders(*ids: int) -> bytes:
    return b"".join(json.dumps(order(f"o-{n}", userId="42")).encode() + b"\n" for n in ids)


def test_a_file_becomes_profiles_and_is_gone(dropped: Dropped) -> None:
    body = (ROOT / "events/imports/hubspot-contacts.csv").read_bytes()
    key = dropped.drop(body, "hubspot_contacts")
    assert dropped.read_all() == 1
    assert key not in dropped.bucket.objects
    assert [(one["line"], one["code"]) for one in dropped.report(mapping="hubspot_contacts")] == [
        (6, "ragged_row"),
        (7, "bad_boolean"),
    ]
    dropped.served.unify()
    assert dropped.shop.read("user_id:9001")["traits"]["firstName"]["value"] == "Ann"
    assert dropped.shop.state("user_id:9001", "marketing") == "granted"
    assert dropped.shop.state("user_id:9002", "marketing") == "denied"


def test_a_report_says_where_and_why_and_nothing_of_what_was_sent(dropped: Dropped) -> None:
    dropped.served.wiring._environ = {"UNNAMED_EVENTS": "strip"}
    canary = "ann-canary"
    lines = [
        {"type": "track", "event": canary, "userId": canary, "timestamp": "2026-09-01"},
        {"type": canary, "userId": canary, "timestamp": canary},
        {"type": "track", "event": "Signed In", "userId": canary, "timestamp": canary},
        {"type": "track", "event": "Signed In", "timestamp": "2026-09-01", "x": canary},
        {"type": "track", "event": "Signed In", "userId": canary},
        {"type": "identify", "userId": canary, "traits": canary},
        [canary],
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + f'{{"{canary}": "{canary}'
    dropped.drop(text.encode())
    dropped.drop(f"{canary},b\n1,2\n".encode(), "hubspot_contacts")
    header = PEOPLE.replace(b"Email", b"email")
    dropped.drop(header + f"1,{canary},{canary}\n".encode() + b"1" + b",x" * 10, "hubspot_contacts")
    dropped.read_all()
    assert [(one["line"], one["code"]) for one in dropped.report()] == [
        (1, "not_in_policy"),
        (2, "unknown_type"),
        (3, "bad_timestamp"),
        (4, "no_identifier"),
        (5, "no_timestamp"),
        (6, "not_an_object"),
        (7, "not_an_object"),
        (8, "bad_json"),
    ]
    reports = [body for key, body in dropped.bucket.objects.items() if key.startswith("rejected/")]
    assert len(reports) == 2
    assert canary.encode() not in b"".join(reports)


def test_what_was_refused_is_counted_with_what_was_taken(dropped: Dropped) -> None:
    dropped.drop(orders(1) + b"{\n" + orders(2) + b"[]\n")
    dropped.read_all()
    (message,) = dropped.messages()
    assert message["counts"] == {"refused:bad_json": 1, "refused:not_an_object": 1}
    assert message["source"]["id"] == dropped.source


@pytest.mark.parametrize("packed", [False, True])
def test_a_long_file_goes_on_by_another_message(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """And makes the very messages that it makes at once."""
    monkeypatch.setattr(imports, "CHUNK_LINES", 3)
    monkeypatch.setattr(drops, "BLOCK", 100)
    body = orders(1, 2) + b"{\n" + orders(*range(3, 9)) + b"[]\n" + orders(9)
    stored = gzip.compress(body) if packed else body
    dropped.drop(stored)
    assert dropped.read_all() == 1
    at_once, report = dropped.messages(), dropped.report()
    assert [one["line"] for one in report] == [3, 10]
    dropped.shop.queue.bodies.clear()
    dropped.bucket.objects.clear()

    key = dropped.drop(stored)
    assert dropped.read_all(left=1) == 5
    assert dropped.messages() == at_once
    assert dropped.report() == report
    assert key not in dropped.bucket.objects


def test_a_message_that_comes_twice_changes_nothing(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK_LINES", 2)
    dropped.drop(orders(1, 2, 3) + b"{\n" + orders(4, 5))
    told = dropped.queue.bodies[0]
    dropped.read(left=1)
    first = dropped.messages()
    dropped.queue.bodies.append(told)
    dropped.read_all(left=1)
    assert [one["events"] for one in dropped.messages()[:1]] == [first[0]["events"]]
    dropped.queue.send(told)  # once more when the file is gone
    dropped.read_all()
    dropped.served.unify()
    assert sorted(dropped.shop.event_ids("user_id:42")) == [f"o-{n}" for n in range(1, 6)]
    assert len(dropped.shop.rows.held("events")) == 3  # as many bundles as parts with orders
    assert [one["line"] for one in dropped.report()] == [4]


def test_a_crash_between_any_two_calls_repeats_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    body = orders(1, 2, 3) + b"{\n" + orders(4, 5)
    monkeypatch.setattr(imports, "CHUNK_LINES", 2)
    steps, place = 1, 0
    while place < steps:
        dropped, seen = Dropped(monkeypatch), 0
        key = dropped.drop(body)

        def tap(call: str, detail: Any, at: int = place) -> None:
            nonlocal seen
            seen += 1
            if seen == at + 1:
                raise Unavailable(call)

        for store in (dropped.bucket, dropped.queue, dropped.shop.queue, dropped.shop.rows):
            store.tap = tap
        while dropped.queue.bodies:
            dropped.read(left=1)
        for store in (dropped.bucket, dropped.queue, dropped.shop.queue, dropped.shop.rows):
            store.tap = None
        steps, place = seen, place + 1
        assert key not in dropped.bucket.objects
        assert [one["line"] for one in dropped.report()] == [4]
        dropped.served.unify()
        ids = dropped.shop.event_ids("user_id:42")
        assert sorted(ids) == [f"o-{n}" for n in range(1, 6)]
        assert len(dropped.shop.rows.held("events")) == 3
    assert steps > 15


@pytest.mark.parametrize("who", ["unknown", "revoked", "client", "token", "nobody"])
def test_a_file_of_no_trusted_source_is_refused_and_left_to_expire(
    dropped: Dropped, who: str
) -> None:
    token = {"kind": "token", "name": "Kim", "role": "admin", "purposes": []}
    issued = {
        "unknown": "0" * 32,
        "revoked": dropped.issue("server"),
        "client": dropped.issue("client"),
        "token": credentials.issue(dropped.shop.rows, token, dropped.shop.clock())[0],
        "nobody": "",
    }
    dropped.source = issued[who]
    if who == "revoked":
        credentials.revoke(dropped.shop.rows, dropped.source, dropped.shop.clock())
    key = dropped.drop(orders(1))
    dropped.read_all()
    assert [one["code"] for one in dropped.report()] == ["unknown_source"]
    assert key in dropped.bucket.objects
    assert dropped.shop.queue.bodies == []


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("drop/x.csv", "bad_path"),
        ("drop/SOURCE/x.csv", "bad_path"),
        ("drop/SOURCE/nothing/x.csv", "unknown_mapping"),
    ],
)
def test_a_file_that_lies_wrong_is_said_to(dropped: Dropped, key: str, code: str) -> None:
    key = key.replace("SOURCE", dropped.source)
    dropped.put(key, orders(1))
    dropped.read_all()
    report = dropped.bucket.objects[key.replace("drop/", "rejected/") + ".ndjson"]
    assert json.loads(report)["code"] == code
    assert key in dropped.bucket.objects


def test_folders_reports_and_tests_of_s3_are_no_files(dropped: Dropped) -> None:
    for key in (f"drop/{dropped.source}/ndjson/", "rejected/x/ndjson/y.ndjson", "other"):
        dropped.put(key, b"")
    dropped.queue.send(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}))
    before = dict(dropped.bucket.objects)
    dropped.read_all()
    assert dropped.bucket.objects == before
    assert dropped.shop.queue.bodies == []


def test_a_file_that_is_overwritten_is_read_as_it_is_then(dropped: Dropped) -> None:
    key = dropped.drop(orders(1))
    dropped.bucket.put(key, orders(2))
    dropped.read()
    assert dropped.shop.queue.bodies == []
    dropped.tell(key, dropped.etag(orders(2)))
    dropped.read_all()
    assert dropped.sent() == ["o-2"]


def test_a_file_that_is_overwritten_while_it_is_read_is_not_taken_for_shorter(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drops, "BLOCK", 100)
    monkeypatch.setattr(imports, "HEAD_BYTES", 100)
    key, seen = dropped.drop(orders(*range(9))), 0

    def tap(call: str, _: Any) -> None:
        nonlocal seen
        seen += call == "objects.part:before"
        if seen == 4:
            dropped.bucket.objects[key] = b"another\n"

    dropped.bucket.tap = tap
    dropped.read()
    dropped.bucket.tap = None
    assert seen == 4
    assert dropped.report() == []
    assert dropped.bucket.objects[key] == b"another\n"


@pytest.mark.parametrize(
    ("body", "mapping", "code"),
    [
        (b"", "hubspot_contacts", "no_header"),
        (b"a,b\n1,2\n", "hubspot_contacts", "bad_columns"),
        (PEOPLE.decode().encode("utf-16"), "hubspot_contacts", "bad_encoding"),
        (b"\x1f\x8b no gzip", "ndjson", "bad_gzip"),
        (gzip.compress(b"{}\n" * 9, mtime=0)[:-9], "ndjson", "bad_gzip"),
        (gzip.compress(b"\n" * 2_000_000, mtime=0), "ndjson", "too_large"),
        (b"x" * 2_000_000, "ndjson", "line_too_long"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_so_and_gone(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch, body: bytes, mapping: str, code: str
) -> None:
    monkeypatch.setattr(drops, "MOST_INFLATED", 1_900_000)
    key = dropped.drop(body, mapping)
    dropped.read_all()
    assert [one["code"] for one in dropped.report(mapping=mapping)][-1] == code
    assert key not in dropped.bucket.objects


def test_an_empty_file_of_events_is_just_gone(dropped: Dropped) -> None:
    key = dropped.drop(b"")
    dropped.read_all()
    assert dropped.bucket.objects == {}
    assert key


def test_a_corrected_file_takes_its_report_away(dropped: Dropped) -> None:
    dropped.drop(orders(1) + b"{\n")
    dropped.read_all()
    assert dropped.report()
    dropped.drop(orders(1))
    dropped.read_all()
    assert dropped.report() == []


def test_a_report_does_not_grow_without_end(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drops, "MOST_REPORTED", 5)
    monkeypatch.setattr(imports, "CHUNK_LINES", 3)
    dropped.drop(b"{\n" * 20)
    dropped.read_all(left=1)
    assert [(one["line"], one["code"]) for one in dropped.report()] == [
        *((line, "bad_json") for line in range(1, 6)),
        (6, "more"),
    ]
    counts = [message["counts"]["refused:bad_json"] for message in dropped.messages()]
    assert sum(counts) == 20
    assert len({message["once"] for message in dropped.messages()}) == len(counts)
