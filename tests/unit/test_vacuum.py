"""The vacuum: what nobody can read any more leaves the archive, and nothing else does."""

import gzip
import json
from collections.abc import Callable, Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candor import archive, keyring, requests, vacuum
from candor.keyring import KeyState
from candor.policy import DAY, iso
from candor.ports import Key, Row, Unavailable, Update
from candor.sealing import Vault, key_id, new_salt
from tests.fakes import FakeObjects
from tests.interleaving import Stage, Worker
from tests.recorder import Recorder
from tests.worlds import CRM, NOW, Shop, order

Json = dict[str, Any]
HOUR = 3600


def always() -> bool:
    return True


def times(amount: int) -> Callable[[], bool]:
    left = iter(range(amount))
    return lambda: next(left, None) is not None


def run(
    shop: Shop,
    name: str = "r",
    held: Collection[str] = (),
    more: Callable[[], Callable[[], bool]] = lambda: always,
) -> dict[str, int]:
    """statemachines/vacuum.asl.json."""
    if vacuum.begin(shop.rows, shop.objects, name, shop.clock(), held)["work"]:
        for one in json.loads(shop.objects.objects[f"vacuum/{name}/groups.json"]):
            state = one | {"more": True}
            while state.pop("more"):
                state = vacuum.sweep(shop.objects, **state, more=more())
    return vacuum.end(shop.rows, shop.objects, name, shop.clock(), held)


def records(shop: Shop, within: str = "events/") -> list[Row]:
    bodies = [body for key, body in shop.objects.objects.items() if key.startswith(within)]
    return [
        json.loads(line)
        for body in bodies
        if body[:2] == b"\x1f\x8b"
        for line in gzip.decompress(body).splitlines()
    ]


def people(shop: Shop, within: str = "events/") -> set[str]:
    named = {shop.id(f"user_id:{n}").key: str(n) for n in range(40, 50)}
    return {named[row["pk"]] for row in records(shop, within)}


def busy(*, together: bool = True) -> Shop:
    """Three people with orders of four days, archived together or each by themselves."""
    shop = Shop()
    for n in (42, 43, 44):
        orders = [order(f"{n}-{day}", ago=day * DAY, userId=str(n)) for day in range(4)]
        shop.send(CRM, *orders)
        if not together:
            archive.store(shop.objects, _of(shop, n))
    if together:
        shop.archive()
    return shop


def _of(shop: Shop, n: int) -> list[Row]:
    return [row for row in shop.rows.held("events") if row["pk"] == shop.id(f"user_id:{n}").key]


def told(shop: Shop, request: str) -> Json:
    shown = requests.shown(shop.request(request))
    receipt: Json
    (receipt,) = (one for one in shown["receipts"] if one["store"] == "archive")
    return receipt


# What is dropped, and when


@pytest.mark.parametrize("together", [True, False])
def test_the_erased_leave_the_archive_and_the_others_stay(together: bool) -> None:
    shop = busy(together=together)
    stayed = [row for row in records(shop) if row["pk"] != shop.id("user_id:42").key]
    shop.erase("user_id:42")
    assert people(shop) == {"42", "43", "44"}

    counts = run(shop)

    assert sorted(map(json.dumps, records(shop))) == sorted(map(json.dumps, stayed))
    assert counts["objects"] == 4
    assert counts["records_dropped"] == 4
    assert counts["records_before"] == (12 if together else 4)
    assert counts["records_after"] == (8 if together else 0)
    assert counts["unreadable"] == 0


def test_a_run_without_erasures_reads_no_manifest() -> None:
    shop = busy()
    read: list[str] = []
    shop.objects.tap = lambda call, key: read.append(key) if call == "objects.get:before" else None

    run(shop)

    assert not [key for key in read if not key.startswith("vacuum/")]


def test_only_objects_that_hold_them_are_opened() -> None:
    shop = busy(together=False)
    shop.erase("user_id:42")
    opened: list[str] = []

    def tap(call: str, key: Any) -> None:
        if call in ("objects.get:before", "objects.part:before") and key.startswith("events/"):
            opened.append(key)

    shop.objects.tap = tap
    run(shop)

    assert len(set(opened)) == 4


def test_somebody_whose_erasure_waits_keeps_everything() -> None:
    """A waiting request names its members and has shredded nothing yet."""
    shop = busy()
    row = {**_request(shop, "user_id:42"), "status": "pending"}
    shop.rows.update(Update(Key("requests", "waits"), set=row))

    assert run(shop)["requests"] == 0
    assert people(shop) == {"42", "43", "44"}


def _request(shop: Shop, who: str) -> Row:
    idkey = shop.id(who).key
    return {"type": "erasure", "members": keyring.key_ids(keyring.states(shop.rows, [idkey]))}


def test_what_is_no_erasure_is_left_alone() -> None:
    shop = busy()
    for type_ in ("hold", "restriction"):
        shop.rows.update(Update(Key("requests", type_), set={"type": type_}))

    assert run(shop)["requests"] == 0


def test_a_key_that_came_back_from_a_backup_is_not_dead() -> None:
    shop = busy()
    before = shop.rows.get([keyring.key_of(shop.id("user_id:42").key)])
    request = shop.erase("user_id:42")
    for key, row in before.items():
        shop.rows.update(Update(key, set={"salt": row["salt"]}, remove=("mode",)))
    shop.clock.advance(vacuum.LATE)

    run(shop)

    assert people(shop) == {"42", "43", "44"}
    assert told(shop, request)["left"] is None


def test_of_a_request_that_shredded_some_keys_only_these_are_dead() -> None:
    shop = busy()
    both = [shop.id("user_id:42").key, shop.id("user_id:43").key]
    row = {"type": "erasure", "members": keyring.key_ids(keyring.states(shop.rows, both))}
    shop.rows.update(Update(Key("requests", "stopped"), set=row))
    keyring.hide(shop.rows, both[0], KeyState(), "erase", "stopped", NOW)
    keyring.shred(shop.rows, both[0], "erase", "stopped", NOW)

    run(shop)

    assert people(shop) == {"43", "44"}


def test_who_registers_anew_keeps_what_is_new() -> None:
    shop = busy()
    shop.erase("user_id:42")
    shop.clock.advance(HOUR)
    shop.choose("user_id:42", {"analytics": True})
    shop.send(CRM, order("new", ago=-2 * HOUR, userId="42"))
    shop.archive()

    run(shop)

    assert [row["pk"] for row in records(shop)].count(shop.id("user_id:42").key) == 1


# What a request is told


def test_nothing_is_claimed_of_the_archive_before_a_run() -> None:
    shop = busy()
    request = shop.erase("user_id:42")

    receipt = told(shop, request)

    assert (receipt["found"], receipt["deleted"], receipt["left"]) == (None, 0, None)
    assert iso(NOW + vacuum.LATEST) in receipt["because"]
    document = json.loads(shop.request(request)["certificate"]["document"])
    assert receipt in document["stores"]
    (horizon,) = (one for one in document["horizons"] if "vacuum" in one["what"])
    assert horizon["until"] == iso(NOW + vacuum.LATEST)


def test_a_request_is_told_what_was_dropped_and_when_that_is_all() -> None:
    shop = busy()
    late = _of(shop, 42)
    request = shop.erase("user_id:42")

    run(shop, "first night")
    receipt = told(shop, request)
    assert (receipt["found"], receipt["deleted"], receipt["left"]) == (4, 4, None)

    archive.store(shop.objects, late[:1])  # what the stream had still to bring
    shop.clock.advance(vacuum.LATE)
    run(shop, "second night")
    receipt = told(shop, request)
    assert (receipt["found"], receipt["deleted"], receipt["left"]) == (5, 5, 0)
    assert iso(shop.clock()) in receipt["because"]
    assert people(shop) == {"43", "44"}

    archive.store(shop.objects, late[:1])
    assert run(shop, "third night")["requests"] == 0, "it is done"
    assert told(shop, request) == receipt


def test_somebody_unknown_is_told_too() -> None:
    shop = busy()
    request = shop.erase("user_id:49")
    assert told(shop, request)["left"] is None
    shop.clock.advance(vacuum.LATE)

    run(shop)

    assert (told(shop, request)["found"], told(shop, request)["left"]) == (0, 0)


def test_an_erasure_that_is_not_completed_is_vacuumed_and_not_told_that_it_is_done() -> None:
    shop = busy()
    request = shop.acknowledge("user_id:42")
    shop.clock.advance(9 * DAY)

    run(shop)

    assert people(shop) == {"43", "44"}
    row = shop.request(request)
    assert row["vacuumed"] == {"r": 4}
    assert "vacuumed_at" not in row


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}"), gzip.compress(b"no json")])
@pytest.mark.parametrize("what", ["object", "manifest too"])
def test_an_unreadable_object_stays_and_nobody_is_told_that_all_is_done(
    body: bytes, what: str
) -> None:
    shop = busy()
    request = shop.erase("user_id:42")
    shop.clock.advance(vacuum.LATE)
    name = next(iter(archive.names(shop.objects, next(iter(archive.groups(shop.objects))))))
    shop.objects.put(f"events/{name}.gz", body)
    if what != "object":
        shop.objects.delete([f"manifests/{name}.json"])

    assert run(shop)["unreadable"] == 1
    assert shop.objects.objects[f"events/{name}.gz"] == body
    assert f"vacuum/r/unreadable/{name}" in shop.objects.objects
    assert told(shop, request)["left"] is None

    shop.objects.delete([f"events/{name}.gz"])
    assert people(shop) == {"43", "44"}, "the other objects were vacuumed"
    assert run(shop, "again")["unreadable"] == 0
    assert told(shop, request)["left"] == 0


def test_a_run_that_went_not_through_everything_tells_nobody_and_the_next_one_tells_for_it() -> (
    None
):
    shop = busy()
    request = shop.erase("user_id:42")
    shop.clock.advance(vacuum.LATE)
    vacuum.begin(shop.rows, shop.objects, "broken", shop.clock())
    (first, *_) = archive.groups(shop.objects)
    vacuum.sweep(shop.objects, "broken", first, "", always)
    with pytest.raises(vacuum.Unfinished):
        vacuum.end(shop.rows, shop.objects, "broken", shop.clock())
    assert told(shop, request)["deleted"] == 0

    run(shop)

    assert (told(shop, request)["deleted"], told(shop, request)["left"]) == (4, 0)


@pytest.mark.parametrize("broken", ["a", "z"])
def test_what_a_run_found_and_could_not_drop_is_told_once(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the run that drops it, whichever began first."""
    shop = busy()
    request = shop.erase("user_id:42")
    with monkeypatch.context() as denied:
        denied.setattr(archive, "drop", lambda *_: (_ for _ in ()).throw(Unavailable("denied")))
        with pytest.raises(Unavailable):
            run(shop, broken)
    assert [key for key in shop.objects.objects if key.startswith(f"vacuum/{broken}/found/")]

    for name in ("m", "n"):
        run(shop, name)
        assert told(shop, request)["deleted"] == 4
    with pytest.raises(vacuum.Unfinished):
        vacuum.end(shop.rows, shop.objects, broken, shop.clock())
    assert run(shop, broken)["unreadable"] == 0, "somebody has redriven it"
    assert told(shop, request)["deleted"] == 4
    assert people(shop) == {"43", "44"}


def test_a_request_that_is_gone_meanwhile_stops_nothing() -> None:
    shop = busy()
    gone, other = shop.erase("user_id:42"), shop.erase("user_id:43")
    shop.clock.advance(vacuum.LATE)
    vacuum.begin(shop.rows, shop.objects, "r", shop.clock())
    shop.rows.delete([Key("requests", gone)])

    run(shop)

    assert told(shop, other)["left"] == 0
    assert len(shop.rows.held("requests")) == 1


# Holds


def test_what_is_held_is_copied_once_and_outlives_its_day() -> None:
    shop = busy()
    held = [shop.id("user_id:43").key]

    run(shop, held=held)
    copies = {key for key in shop.objects.objects if key.startswith("holds/")}
    assert people(shop, "holds/") == {"43"}
    assert len(copies) == 4
    opened: list[Any] = []
    shop.objects.tap = lambda call, key: opened.append((call, key))
    run(shop, "next night", held=held)
    shop.objects.tap = None
    assert not [key for call, key in opened if call == "objects.get:before" and "events/" in key]

    archive.expire(shop.objects, NOW + 9000 * DAY)
    assert records(shop) == []
    run(shop, "later", held=held)
    assert len(records(shop, "holds/")) == 4
    salt = shop.rows.get([keyring.key_of(held[0])])[keyring.key_of(held[0])]["salt"]
    assert {key.split("/")[1] for key in copies} == {key_id(salt).hex()}


def test_what_is_held_is_kept_where_its_neighbours_are_dropped() -> None:
    shop = busy()
    held = [shop.id("user_id:43").key]
    shop.erase("user_id:42")

    run(shop, held=held)

    assert people(shop) == {"43", "44"}
    assert people(shop, "holds/") == {"43"}


def test_copies_of_who_is_released_or_erased_go() -> None:
    shop = busy()
    held = [shop.id(f"user_id:{n}").key for n in (42, 43, 44)]
    run(shop, held=held)
    assert people(shop, "holds/") == {"42", "43", "44"}

    shop.erase("user_id:44")
    counts = run(shop, "next", held=[held[0], held[2]])

    assert people(shop, "holds/") == {"42"}
    assert counts["copies_released"] == 8


def test_who_is_held_while_the_run_ends_keeps_what_another_run_copied() -> None:
    shop = busy()
    held = [shop.id("user_id:43").key]
    vacuum.begin(shop.rows, shop.objects, "old", shop.clock())
    run(shop, "new", held=held)

    vacuum.end(shop.rows, shop.objects, "old", shop.clock(), held)

    assert people(shop, "holds/") == {"43"}


def test_a_copy_that_is_made_while_the_run_ends_stays() -> None:
    shop = busy()
    vacuum.begin(shop.rows, shop.objects, "r", shop.clock())
    held = [shop.id("user_id:43").key]

    def tap(call: str, detail: Any) -> None:
        if call == "rows.get:after":
            shop.objects.put("holds/0123456789abcdef/a/2026-01-01/x.gz", b"")

    shop.rows.tap = tap
    vacuum.end(shop.rows, shop.objects, "r", shop.clock(), held)

    assert len(list(shop.objects.list("holds/"))) == 1


# Repetitions and crashes


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_group_that_takes_longer_than_a_call_goes_on_where_it_stopped(calls: int) -> None:
    shop = Shop()
    for n in (42, 43):
        shop.send(CRM, *(order(f"{n}-{i}", userId=str(n)) for i in range(3)))
    rows = shop.rows.held("events")
    for i in range(7):
        archive.store(shop.objects, [row | {"sk": f"{row['sk']}-{i}"} for row in rows])
    shop.erase("user_id:42")

    counts = run(shop, more=lambda: times(calls - 1))

    assert counts["records_dropped"] == 7
    assert people(shop) == {"43"}


def test_a_repeated_begin_keeps_what_the_run_began_with() -> None:
    shop = busy()
    shop.erase("user_id:42")
    vacuum.begin(shop.rows, shop.objects, "r", shop.clock())
    begun = dict(shop.objects.objects)
    shop.erase("user_id:43")

    assert vacuum.begin(shop.rows, shop.objects, "r", shop.clock())["work"]
    assert shop.objects.objects == begun


def test_a_run_that_is_forgotten_cannot_go_on() -> None:
    shop = busy()
    with pytest.raises(LookupError):
        vacuum.end(shop.rows, shop.objects, "never", shop.clock())


def test_what_runs_wrote_down_goes_when_no_execution_can_need_it() -> None:
    shop = busy()
    shop.erase("user_id:42")
    run(shop, "first")
    shop.clock.advance(vacuum.KEPT)
    run(shop, "second")
    assert {key.split("/")[1] for key in shop.objects.list("vacuum/")} == {"first", "second"}
    shop.clock.advance(1)

    run(shop, "third")

    assert {key.split("/")[1] for key in shop.objects.list("vacuum/")} == {"second", "third"}


def test_a_crash_at_any_call_and_a_repetition_end_as_no_crash_does() -> None:
    def made() -> tuple[Shop, str, list[str]]:
        shop = busy()
        request = shop.erase("user_id:42")
        old = {"at": 0, "requests": {}, "held": [], "groups": []}
        shop.objects.put("vacuum/old/begun.json", json.dumps(old).encode())
        shop.objects.put("vacuum/old/groups.json", b"[]")
        shop.clock.advance(vacuum.LATE)
        return shop, request, [shop.id("user_id:43").key]

    shop, request, held = made()
    recorder = Recorder()
    shop.objects.tap = shop.rows.tap = recorder.tap
    whole = run(shop, held=held)
    shop.objects.tap = shop.rows.tap = None
    places, expected = len(recorder.places), told(shop, request)
    copied = {row["sk"] for row in records(shop, "holds/")}
    assert len(copied) == 4
    assert expected["found"] == 4
    assert places > 60
    for place in range(places):
        shop, request, held = made()
        recorder.fail(place, Unavailable)
        shop.objects.tap = shop.rows.tap = recorder.tap
        with pytest.raises(Unavailable):
            run(shop, held=held)
        shop.objects.tap = shop.rows.tap = None
        assert people(shop) >= {"43", "44"}, f"lost at {place}"
        again = run(shop, held=held)
        assert again == whole, f"after a crash at {place}, {recorder.places[-1]}"
        assert told(shop, request) == expected
        assert not list(shop.objects.list("vacuum/old/"))
        assert people(shop) == {"43", "44"}
        # A copy of what was moved before the crash is a second one.
        assert {row["sk"] for row in records(shop, "holds/")} == copied


# Beside the stream


def test_what_overwrote_an_object_while_it_was_rewritten_stays() -> None:
    """Of somebody who was erased and registered anew: the same event under a new key."""
    bucket = Bucket({0})
    bucket.stored([(0, 0)])
    (key,) = (key for key in bucket.objects.objects if key.startswith("events/"))
    anew = _record(0, 0) | {"data": VAULT.seal(new_salt(), "x", "p")}
    before, put = dict(bucket.objects.objects), dict[str, bytes]()

    def tap(call: str, detail: Any) -> None:
        if call == "objects.part:after" and detail == key and not put:
            bucket.objects.tap = None
            archive.store(bucket.objects, [anew])
            put.update((name, bucket.objects.objects[name]) for name in before)

    bucket.objects.tap = tap
    bucket.vacuumed()

    assert put.keys() == before.keys()
    assert {name: bucket.objects.objects[name] for name in before} == put


# The same by chance

SALTS = [new_salt() for _ in range(4)]
KIDS = [key_id(salt).hex() for salt in SALTS]
VAULT = Vault({1: "m" * 64})
Batch = list[tuple[int, int]]
"""Whose record, and which."""
batches = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=4, unique=True),
    min_size=1,
    max_size=5,
)


def _records(batch: Batch) -> list[Row]:
    return [_record(who, which) for who, which in batch]


def _record(who: int, which: int, _made: dict[tuple[int, int], bytes] = {}) -> Row:  # noqa: B006
    """The same bytes whenever the stream brings it."""
    data = _made.setdefault((who, which), VAULT.seal(SALTS[who], "x", "p"))
    due = int(NOW) + which % 2 * DAY
    return {"pk": f"p{who}", "sk": f"s{which}", "class": "c", "source": "s", "due": due, "n": 1} | {
        "data": data
    }


class Bucket:
    """An archive, and a vacuum that may stop anywhere beside the stream."""

    def __init__(self, dead: set[int]) -> None:
        self.stage = Stage()
        self.objects = FakeObjects(self.stage.tap)
        self.dead = {KIDS[who] for who in dead}
        self.runs = 0

    def stored(self, *batches: Batch) -> None:
        for batch in batches:
            archive.store(self.objects, _records(batch))

    def vacuumed(self) -> None:
        self.runs += 1
        request = {"kids": sorted(self.dead), "last": False}
        begun = {"at": 0, "requests": {"q": request}, "held": [], "groups": []}
        self.objects.put(f"vacuum/{self.runs}/begun.json", json.dumps(begun).encode())
        for group in list(archive.groups(self.objects)):
            vacuum.sweep(self.objects, str(self.runs), group, "", always)

    def held(self) -> set[tuple[str, str]]:
        bodies = [b for key, b in self.objects.objects.items() if key.startswith("events/")]
        rows = [json.loads(line) for body in bodies for line in gzip.decompress(body).splitlines()]
        return {(row["pk"], row["sk"]) for row in rows}


@settings(max_examples=200)
@given(
    batches,
    st.sets(st.integers(0, 3)),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=12),
)
def test_nothing_living_is_lost_and_a_quiet_run_leaves_nothing_dead(
    batches: list[Batch], dead: set[int], schedule: list[tuple[int, int, bool]]
) -> None:
    """Two vacuums and the stream, which brings all batches again, in any order, killed at times."""
    bucket = Bucket(dead)
    bucket.stored(*batches)
    living = {(f"p{w}", f"s{n}") for batch in batches for w, n in batch if w not in dead}
    works = (bucket.vacuumed, bucket.vacuumed, lambda: bucket.stored(*batches))
    workers = [Worker(bucket.stage, work) for work in works]
    for which, places, kill in schedule:
        workers[which].run(places, kill=kill)
        assert bucket.held() >= living
    for worker in workers:
        worker.run()
        assert bucket.held() >= living

    bucket.vacuumed()

    assert bucket.held() == living
    objects = bucket.objects
    for group in archive.groups(objects):
        for name in archive.names(objects, group):
            assert f"manifests/{name}.json" in objects.objects, "it would never end"
    archive.expire(objects, NOW + 9 * DAY)
    assert not [key for key in objects.objects if not key.startswith("vacuum/")]
