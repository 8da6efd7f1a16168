"""A crash between any two calls loses nothing and repeats cleanly, from the request to the archive.

A recorder lists the calls that the functions make of tables, queue and bucket while a story is told
to them. Then the story is told once for each step of each of these calls, which fails there (the
store does not answer, or its answer is lost) or dies there (the process ends); the sender, SQS and
the stream repeat what failed, as they do. All readers see what they see without any failure, and
the tables hold the same.
"""

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from candor import bundles, identity, outcomes
from candor.credentials import Credentials
from candor.errors import NotFound
from candor.ports import Key, Unavailable
from candor.stores.dynamo import pack_row
from candor.transit import Transit
from tests.interleaving import Killed
from tests.recorder import Recorder
from tests.served import Served
from tests.stories import PEOPLE, story
from tests.worlds import NOW, Json, broken_rules, order, sent

TRIES = 4
"""Of one failure nothing needs more: the failed try, what it left over, and its repetition."""
Error = Callable[[str], BaseException]


class Told:
    """A story that is told to the functions, with all that repeats what failed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Which profile survives a merge is by chance where both are of the same moment. Here it is
        # the older one, so that every telling makes the same calls.
        self._numbers = count()
        number = SimpleNamespace(token_hex=lambda _: f"{next(self._numbers):012x}")
        monkeypatch.setattr(identity, "secrets", number)
        self.served = Served(monkeypatch)
        self.shop = self.served.shop
        self.keys = {trust: self.served.write_key(trust) for trust in ("client", "server")}
        # Somebody was here, and was erased.
        self.shop.send(_server(self), order("o0", userId="erased"))
        self.shop.erase("user_id:erased")
        self._streamed = self._bundles().keys()
        self._before = dict(self.shop.rows._rows)

    def tell(self, recorder: Recorder) -> None:
        shop = self.shop
        # Everything as it was at the beginning.
        shop.rows._rows, shop.objects.objects = dict(self._before), {}
        shop.queue.bodies, self._handed = [], set(self._streamed)
        self._waiting: dict[str, list[Any]] = {}
        self._numbers = count(1000)
        self._restart()
        shop.rows.tap = shop.queue.tap = shop.objects.tap = recorder.tap
        try:
            for together in story():
                for trust, body in together:
                    self._send(trust, body)
                self._deliver()
        finally:
            shop.rows.tap = shop.queue.tap = shop.objects.tap = None

    def _restart(self) -> None:
        """A new environment of each function has nothing cached."""
        shop = self.shop
        self.served.wiring.__dict__.update(
            transit=Transit(shop.rows, shop.world.vault, shop.clock),
            credentials=Credentials(shop.rows, shop.clock, lambda: shop.world.vault),
        )

    def _invoke(self, name: str, event: Json) -> Any:
        """What a function answers; None where it died."""
        try:
            return self.served.invoke(name, event)
        except Killed:
            self._restart()
            return None

    def _send(self, trust: str, body: Json) -> None:
        """Until it is taken, with another sentAt each time, as SDKs do."""
        for late in range(TRIES):
            self.shop.clock.now = NOW + late
            stamp = sent("x", "", ago=-late)["timestamp"]
            event = {
                "httpMethod": "POST",
                "resource": "/batch",
                "headers": {"Authorization": f"Bearer {self.keys[trust]}"},
                "body": json.dumps({**body, "sentAt": stamp}),
            }
            answer = self._invoke("collect", event)
            self.shop.clock.now = NOW
            if answer and answer["statusCode"] == 200:
                return
            assert answer is None or answer["statusCode"] == 503
        raise AssertionError("it was never taken")

    def _deliver(self) -> None:
        """Until nothing waits. Messages that failed come again behind the others."""
        for _ in range(TRIES):
            self._receive()
            self._stream()
            if not self._waiting and not self.shop.queue.bodies:
                return
        raise AssertionError("a message fails for ever")

    def _receive(self) -> None:
        for body in self.shop.queue.bodies:
            self._waiting[f"m{len(self._waiting)}-{hash(body)}"] = [body, 0]
        self.shop.queue.bodies = []
        for one in self._waiting.values():
            one[1] += 1
        records = [
            {"messageId": id_, "body": b, "attributes": {"ApproximateReceiveCount": str(n)}}
            for id_, (b, n) in self._waiting.items()
        ]
        answer = self._invoke("unify", {"Records": records}) if records else None
        if answer:
            failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
            self._waiting = {i: one for i, one in self._waiting.items() if i in failed}

    def _stream(self) -> None:
        """Hand on what was inserted; the stream repeats a batch until it is through."""
        fresh = {k: row for k, row in self._bundles().items() if k not in self._handed}
        if not fresh:
            return
        images = [_image(row) for row in fresh.values()]
        event = {"Records": [{"dynamodb": {"NewImage": image}} for image in images]}
        for _ in range(TRIES):
            with suppress(Killed, Unavailable):
                self.served.invoke("archive", event)
                self._handed |= fresh.keys()
                return
        raise AssertionError("a batch of the stream fails for ever")

    def _bundles(self) -> dict[tuple[str, str], Json]:
        return {(row["pk"], row["sk"]): row for row in self.shop.rows.held("events")}

    def outcome(self) -> Json:
        """All that can be seen: by readers, in the tables, in the archive, in the counts."""
        shop = self.shop
        return {
            "read": {who: self._read(who) for who in PEOPLE},
            "broken": broken_rules(shop),
            "profiles": sorted(map(sorted, shop.profiles())),
            # Where counts lie depends on how the stream was cut; what they add up to does not.
            "rows": sorted(_name(key) for key in shop.rows._rows if key.table != "counts"),
            "archived": sorted(self._opened(line) for line in _archived(self)),
            "counts": outcomes.listing(shop.rows, 7, NOW),
        }

    def _read(self, who: str) -> Any:
        try:
            return self.shop.read_for_all(who)
        except NotFound:
            return "nobody"

    def _opened(self, line: Json) -> str:
        salts = {row["pk"]: row.get("salt") for row in self.shop.rows.held("keys")}
        row = line | {"data": base64.b64decode(line["data"])}
        events = bundles.opened(self.shop.world.vault, salts[line["pk"]], line["pk"], row)
        return json.dumps([line["pk"], line["sk"], events], sort_keys=True)


def _server(told: Told) -> Any:
    headers = {"authorization": f"Bearer {told.keys['server']}"}
    return told.served.wiring.credentials.source(headers)


def _name(key: Key) -> str:
    """Without what is random: the ids of profiles, and what tells consent records apart."""
    sort = str(key.sk)
    if sort.startswith("CONSENT#"):
        sort = sort.rpartition("#")[0]
    return f"{key.table} {'P#' if key.pk.startswith('P#') else key.pk} {sort}"


def _image(row: Json) -> Json:
    packed = pack_row(row)
    packed["data"] = {"B": base64.b64encode(row["data"]).decode()}
    return packed


def _archived(told: Told) -> list[Json]:
    bodies = [b for name, b in told.shop.objects.objects.items() if name.endswith(".gz")]
    return [json.loads(line) for body in bodies for line in gzip.decompress(body).splitlines()]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def test_the_story_has_in_it_what_can_go_wrong(told: Told) -> None:
    recorder = Recorder()
    told.tell(recorder)
    seen = told.outcome()

    assert seen["broken"] == []
    assert {"rows", "queue", "objects"} == {call.partition(".")[0] for call in recorder.places}
    ann = seen["read"]["user_id:42"]["service"]
    assert [event["messageId"] for event in ann["events"]] == ["o1", "o2"]
    assert len(ann["identifiers"]) == 6, "three merges"
    assert seen["read"]["user_id:erased"] == "nobody"
    bob = seen["read"]["user_id:43"]["service"]
    assert [event["messageId"] for event in bob["events"]] == ["o4", "o6"], "not by Ann's browser"
    assert len(seen["archived"]) == len(told.shop.rows.held("events"))
    counted = Counter[str]()
    for of_source in seen["counts"]:
        counted.update(of_source["outcomes"])
    assert counted == {
        "stored": 7,
        "refused:not_in_policy": 1,
        "refused:no_identifier": 1,
        "stripped:not_in_policy": 2,
        "dropped:no_consent": 1,
        "dropped:fenced": 1,
        "dropped:identity_conflict": 1,
        "refused_link:client_may_not_join_known_users": 1,
    }


@pytest.mark.parametrize("error", [Unavailable, Killed])
def test_wherever_a_call_fails_nothing_is_lost_and_nothing_doubled(
    told: Told, error: Error
) -> None:
    recorder = Recorder()
    told.tell(recorder)
    places, expected = recorder.places, told.outcome()
    assert len(places) > 150

    for number, place in enumerate(places):
        recorder.fail(number, error)
        told.tell(recorder)
        assert recorder.places[: number + 1] == places[: number + 1]
        assert told.outcome() == expected, f"after {place}, place {number} of {len(places)}"
