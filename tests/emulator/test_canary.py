"""THE CANARY SCAN. Personal values are planted in every field that the API takes. Nothing anywhere
in the stack shows one while it runs, and of people who were erased nothing opens any more.

`CANARY_PEOPLE` says how many people. Without it: 10,000 in the long run, 300 else, and 8 on another
emulator than MiniStack: LocalStack's DynamoDB copies every table for each transaction, so that what
40 people cause takes longer than functions may run.
"""

import base64
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import pytest
import urllib3

from cli import signature
from cli.api import Api, profile_path
from cli.privacy import ENDED
from tests.emulator.canaries import Canaries
from tests.emulator.conftest import await_true, paused
from tests.emulator.installation import Envelope, Installation, keys_of, opens
from tests.emulator.people import Call, Person
from tests.emulator.reading import idle, left, under
from tests.emulator.vacuuming import vacuumed
from tests.emulators import MiniStack

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
QUEUED = 2
"""People whose messages are looked at in the queue. More would pile up there."""
HOSTILE = 1
"""People whose values are in hostile requests."""
AT_ONCE = 8
"""Erasures under way together: an emulator starts a process for each of their parallel tasks."""
TRIALS = 3_000_000
"""Of opening what an erased person's key had sealed with every key that there is: all of three
hundred people, a sample of more."""
TRIES = 5
UNIFY_SECONDS = 420
"""As `await_true` has it, and for many."""
Json = dict[str, Any]


class Wire:
    """Plain HTTP, as a proxy would pass it on."""

    def __init__(self, api: Api) -> None:
        self._base = f"{api.stack['api_url']}/v1"
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(60), maxsize=4)

    def send(self, call: Call) -> tuple[int, bytes]:
        answer = self._pool.request(
            call.method, self._base + call.path, headers=call.headers, body=call.body or None
        )
        return answer.status, answer.data

    def insist(self, call: Call) -> tuple[int, bytes]:
        """As an SDK does that is asked to come again: LocalStack's DynamoDB fails now and then."""
        answer = self.send(call)
        for _ in range(TRIES):
            if answer[0] == 503:
                answer = self.send(call)
        return answer


@dataclass
class Planted:
    canaries: Canaries
    people: list[Person]
    queued: list[str]
    """The bodies of the queue's messages, as they were while nobody read them."""
    statuses: list[int]
    """Of the hostile requests."""
    read: dict[int, Json]
    """Everybody's profile, by number."""


@dataclass
class Erased:
    people: list[Person]
    kept: list[Person]
    salts: dict[str, bytes]
    bundles: dict[str, int]
    """How many each idkey had."""
    copies: list[Envelope]
    """Every sealed value that there was before the erasure, wherever it lay."""
    requests: list[Json]
    """As they ended."""
    too_early: list[str]
    """What was there when a certificate was."""


@pytest.fixture(scope="session")
def wire(api: Api) -> Wire:
    return Wire(api)


@pytest.fixture(scope="session")
def planted(
    api: Api, wire: Wire, installation: Installation, own_emulator: MiniStack | None
) -> Planted:
    """Everybody's events, choices and requests came in, and were unified and archived."""
    canaries = Canaries()
    usual = (10_000 if LONG else 300) if own_emulator else 8
    count = int(os.environ.get("CANARY_PEOPLE", usual))
    people = [Person(number, canaries) for number in range(count)]
    canaries.add_digests(people[0].identifiers)
    hostile = [
        call
        for person in people[:HOSTILE]
        for call in person.hostile(api.stack["write_keys"]["server"], _token(api))
    ]
    with ThreadPoolExecutor(4 if own_emulator else 2) as pool:
        with paused(installation, "EventsQueue"):
            answers = list(pool.map(wire.insist, _arrivals(api, people[:QUEUED])))
            queued = installation.peek("EventsQueue")
        answers += pool.map(wire.insist, _arrivals(api, people[QUEUED:]))
        statuses = [status for status, _ in pool.map(wire.send, hostile)]
    assert {status for status, _ in answers} == {200}
    await_true("everything is unified", lambda: idle(installation), UNIFY_SECONDS + count)
    return Planted(canaries, people, queued, statuses, _read_all(api, people))


@pytest.fixture(scope="session")
def erased(planted: Planted, api: Api, wire: Wire, installation: Installation) -> Erased:
    """One in twenty was erased, and six at least (of few people a third), each by another kind
    of identifier."""
    total = len(planted.people)
    some = max(total // 20, min(6, total // 3))
    leaving = planted.people[:: total // some][:some]
    staying = [person for person in planted.people if person not in leaving]
    secret = installation.hmac_secret
    salts = installation.salts()
    bundles: dict[str, int] = {}
    for row in installation.rows("Events"):
        bundles[row["pk"]] = bundles.get(row["pk"], 0) + 1
    theirs = {idkey for person in planted.people for idkey in person.idkeys(secret)}
    copies = [each for each in installation.envelopes() if each.owner in theirs]
    waiting = list(enumerate(leaving))
    open_ones: dict[str, Person] = {}
    ended: list[Json] = []
    too_early: list[str] = []

    def ask(turn: int, person: Person) -> None:
        body = person.erasure(person.identifiers[turn % len(person.identifiers)])
        id_ = api.staff("dpo", "POST", "/privacy/requests", body)["id"]
        copies.extend(each for each in installation.sealed_in_requests() if id_ in each.place)
        assert _answers(wire, api, person, most=1) == {404}, "readable after it was acknowledged"
        open_ones[id_] = person

    def all_ended() -> bool:
        while waiting and len(open_ones) < AT_ONCE:
            ask(*waiting.pop())
        certified: list[str] = []
        for found in api.staff("dpo", "GET", "/privacy/requests")["data"]:
            if found["id"] in open_ones and found["status"] in ENDED:
                idkeys = open_ones.pop(found["id"]).idkeys(secret)
                certified += idkeys if found["certificate"] else []
                ended.append(found)
        look = under if LONG else left  # which goes through everything
        too_early.extend(look(installation, certified) if certified else [])
        return not (open_ones or waiting)

    await_true("every erasure ends", all_ended, 120 + 20 * some)
    return Erased(leaving, staying, salts, bundles, copies, ended, too_early)


def _arrivals(api: Api, people: list[Person]) -> Iterator[Call]:
    keys = api.stack["write_keys"]

    def call(person: Person, path: str, body: Json, authorization: str) -> Call:
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        return Call("POST", path, person.headers() | headers, json.dumps(body).encode())

    def basic(key: str) -> str:
        return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"

    for person in people:
        shared = {"ip": person.of("batch ip"), person.of("batch name"): 1}
        batch: Json = {"batch": person.as_browser(), "context": shared, person.of("batch"): 1}
        yield call(person, "/batch", batch, basic(keys["client"]))
        yield call(person, "/import", {"batch": person.as_server()}, basic(keys["server"]))
        yield call(person, "/consents", person.choice(), basic(keys["server"]))
    for person in people[:1]:
        event = person.as_browser()[0]
        yield call(person, "/page", event, basic(keys["client"]))
        dry = person.erasure(person.identifiers[0], dry_run=True)
        yield call(person, "/privacy/requests", dry, f"Bearer {_token(api)}")


def _token(api: Api) -> str:
    token: str = api.stack["tokens"]["dpo"]
    return token


def _read_all(api: Api, people: list[Person]) -> dict[int, Json]:
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda person: _read(api, person), people)
        return {person.number: one for person, one in zip(people, found, strict=True)}


def _read(api: Api, person: Person) -> Json:
    """All that the privacy officer may see."""
    path = profile_path(f"user_id:{person.user_id}")
    return api.staff("dpo", "GET", path, purpose="privacy_rights", query={"limit": "100"})


def _answers(wire: Wire, api: Api, person: Person, most: int = 9) -> set[int]:
    return {wire.send(call)[0] for call in _reads(api, person.identifiers[:most])}


def _reads(api: Api, identifiers: list[tuple[str, str]], part: str = "") -> Iterator[Call]:
    headers = {"Authorization": f"Bearer {_token(api)}", "X-Purpose": "privacy_rights"}
    for kind, value in identifiers:
        yield Call("GET", profile_path(f"{kind}:{value}") + part, headers)


def test_what_was_planted_is_stored_and_read(planted: Planted, api: Api) -> None:
    for person in planted.people:
        read = json.dumps(planted.read[person.number], ensure_ascii=False)
        assert not [value for value in person.seen_by_the_privacy_officer() if value not in read]
    person = planted.people[0]
    path = f"{profile_path(f'user_id:{person.user_id}')}/consents"
    records = api.staff("dpo", "GET", path, purpose="privacy_rights")
    assert person.of("form") in json.dumps(records)


def test_what_is_hostile_is_refused_and_breaks_nothing(planted: Planted) -> None:
    assert len(planted.statuses) > 30 * HOSTILE
    assert {status for status in planted.statuses if status >= 500} == set()


def test_no_canary_is_readable_while_the_stack_runs(
    planted: Planted, installation: Installation
) -> None:
    assert len(planted.queued) >= 2 * QUEUED
    queued = (("queue", body.encode()) for body in planted.queued)
    assert planted.canaries.found(queued) == []
    assert planted.canaries.found(installation.everything()) == []


def test_every_copy_opens_with_its_key_before_the_erasure(
    planted: Planted, erased: Erased, installation: Installation
) -> None:
    """Else that it does not open afterwards would mean nothing."""
    ciphers = keys_of(installation.masters, erased.salts)
    copies = [one for one in erased.copies if one.where != "requests"]
    assert {one.where for one in copies} == {"graph", "events", "stream", "archive"}
    for one in copies:
        assert opens(ciphers[one.owner, one.data[1]], one), one.where
    for one in _in_transit(planted):
        assert opens(ciphers[one.owner, one.data[1]], one)


def test_a_certificate_comes_when_everything_is_gone(
    erased: Erased, planted: Planted, installation: Installation
) -> None:
    assert erased.too_early == []
    assert {one["status"] for one in erased.requests} == {"completed"}
    assert len(erased.requests) == len(erased.people)
    idkeys = [i for person in erased.people for i in person.idkeys(installation.hmac_secret)]
    assert left(installation, idkeys) == []


def test_a_certificate_is_signed_and_says_what_was_done(
    erased: Erased, planted: Planted, installation: Installation
) -> None:
    arn = installation.outputs["SigningKeyArn"]
    public_key = installation.client("kms").get_public_key(KeyId=arn)["PublicKey"]
    shredded: set[str] = set()
    events = 0
    for request in erased.requests:
        signed = request["certificate"]
        assert signature.verify(signed, public_key).good is True
        forged = signed | {"document": signed["document"].replace('"left": 0', '"left": 1')}
        assert signature.verify(forged, public_key).good is False
        document = json.loads(signed["document"])
        shredded |= set(document["shredded_key_ids"])
        stores = {one["store"]: one for one in document["stores"]}
        assert not any(stores[store]["left"] for store in ("keys", "graph", "events"))
        assert stores["archive"]["left"] is None, "it is not claimed that somebody looked there"
        events += stores["events"]["deleted"]
    idkeys = [i for person in erased.people for i in person.idkeys(installation.hmac_secret)]
    assert shredded == {_key_id(erased.salts[idkey]) for idkey in idkeys}
    assert events == sum(erased.bundles.get(idkey, 0) for idkey in idkeys)
    told = [("certificate", json.dumps(request).encode()) for request in erased.requests]
    assert planted.canaries.found(told) == []


def test_nothing_of_the_erased_opens_and_everything_of_the_others_does(
    erased: Erased, installation: Installation
) -> None:
    """With every salt that is left, not only the one that an envelope names."""
    gone = {i for person in erased.people for i in person.idkeys(installation.hmac_secret)}
    salts = installation.salts()
    ciphers = keys_of(installation.masters, salts)
    theirs = [one for one in erased.copies if one.owner in gone]
    assert {one.where for one in theirs} == {"graph", "events", "stream", "archive", "requests"}
    assert not gone & salts.keys()
    for one in theirs[:: len(theirs) * len(ciphers) // TRIALS + 1]:
        assert not any(opens(cipher, one) for cipher in ciphers.values()), one.where
    others = [one for one in erased.copies if one.owner not in gone]
    assert len(others) > len(theirs)
    for one in others:
        assert opens(ciphers[one.owner, one.data[1]], one), one.where


def test_the_vacuum_drops_the_archived_copies_of_the_erased_and_no_others(
    erased: Erased, installation: Installation, api: Api
) -> None:
    gone = {i for person in erased.people for i in person.idkeys(installation.hmac_secret)}
    archived = {(one.owner, one.place) for one in erased.copies if one.where == "archive"}
    theirs = {one for one in archived if one[0] in gone}
    assert theirs

    counts = vacuumed(installation)

    found = {(r["pk"], f"events/{r['pk']}/{r['sk']}") for r in installation.archived()}
    assert archived & found == archived - theirs
    assert not gone & {owner for owner, _ in found}
    assert counts["records_dropped"] >= len(theirs)
    told = (api.staff("dpo", "GET", f"/privacy/requests/{one['id']}") for one in erased.requests)
    receipts = [{one["store"]: one for one in each["receipts"]} for each in told]
    assert sum(each["archive"]["deleted"] for each in receipts) == len(theirs)


def test_a_copy_of_a_queued_message_opens_no_longer_than_the_certificate_says(
    erased: Erased, planted: Planted, installation: Installation
) -> None:
    """Messages hold many people's events. Their hour's key is destroyed for all of them at once."""
    hours = {one.owner for one in _in_transit(planted)}
    rest = {owner: salt for owner, salt in installation.salts().items() if owner not in hours}
    for cipher in keys_of(installation.masters, rest).values():
        assert not any(opens(cipher, one) for one in _in_transit(planted))
    ends = [row["due"] for row in installation.rows("Keys") if row["pk"] in hours]
    assert len(ends) == len(hours)
    for request in erased.requests:
        (until,) = (h["until"] for h in request["horizons"] if "transit" in h["what"])
        assert _epoch(until) >= max(ends)


def test_the_others_read_as_before(erased: Erased, planted: Planted, api: Api) -> None:
    for number, read in _read_all(api, erased.kept).items():
        assert read == planted.read[number]


def test_the_erased_are_answered_like_somebody_unknown(
    erased: Erased, wire: Wire, api: Api
) -> None:
    for part in ("", "/traits", "/events", "/identifiers", "/links", "/consents"):
        (unknown,) = (wire.send(call) for call in _reads(api, [("email", "no@example.com")], part))
        assert unknown[0] == 404
        for person in erased.people if not part else erased.people[:1]:
            for call in _reads(api, person.identifiers, part):
                assert wire.send(call) == unknown


def test_what_comes_again_after_the_certificate_is_kept_out(
    erased: Erased, api: Api, wire: Wire, installation: Installation
) -> None:
    """Events lift no fence, and neither does a choice made before the erasure."""
    again = erased.people[:2]
    for call in _arrivals(api, again):
        if call.path != "/consents":
            assert wire.send(call)[0] == 200
    for person in again:
        old = person.choice() | {"timestamp": "2020-01-01T00:00:00Z"}
        assert api.collect("server", "/consents", old) == {"success": True}
    await_true("everything is unified", lambda: idle(installation))
    idkeys = [i for person in again for i in person.idkeys(installation.hmac_secret)]
    assert left(installation, idkeys) == []
    assert {status for person in again for status in _answers(wire, api, person)} == {404}


def test_no_canary_is_readable_after_the_erasure(
    erased: Erased, planted: Planted, installation: Installation
) -> None:
    assert planted.canaries.found(installation.everything()) == []


def test_no_canary_is_in_the_files_of_an_emulator_that_was_stopped(
    erased: Erased, planted: Planted, own_emulator: MiniStack | None, api: Api
) -> None:
    if own_emulator is None:
        pytest.skip("only the session's own MiniStack may be stopped and looked into")
    own_emulator.stop()
    # Its copies of our code are large, and cannot hold what came in later.
    code = {"layer_0", "layer_0.zip", "code", "code.zip"}
    files = [
        path
        for path in own_emulator.home.rglob("*")
        if path.is_file() and not code & {*path.relative_to(own_emulator.home).parts}
    ]
    found = planted.canaries.found(
        (str(path.relative_to(own_emulator.home)), path.read_bytes()) for path in files
    )
    own_emulator.start()
    assert found == []
    assert any(path.parent.name == "state" for path in files)
    (person, *_) = erased.kept
    assert _read(api, person) == planted.read[person.number]


def _in_transit(planted: Planted) -> list[Envelope]:
    found = []
    for body in planted.queued:
        hour, _, text = body.partition(".")
        found.append(Envelope("queue", f"T#{hour}", f"transit/{hour}", base64.b64decode(text)))
    return found


def _key_id(salt: bytes) -> str:
    return sha256(b"candor/key-id/" + salt).digest()[:8].hex()


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
