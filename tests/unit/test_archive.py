"""The archive: sealed, found by key without opening anything, and without the erased where that is
asked for."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from candor import archive
from candor.policy import DAY
from candor.ports import Row, Unavailable
from candor.sealing import key_id
from tests.fakes import FakeObjects
from tests.worlds import CRM, NOW, Shop, order, says, sent


def archived() -> Shop:
    """Two people's events of two classes and several days."""
    shop = Shop()
    for person in ("42", "43"):
        events = [order(f"o{person}{n}", ago=n * DAY, userId=person) for n in range(3)]
        page = sent("page", f"p{person}", userId=person, context=says(analytics=True))
        shop.send(CRM, *events, page)
    shop.archive()
    return shop


def lines(objects: FakeObjects) -> list[Row]:
    bodies = [body for key, body in sorted(objects.objects.items()) if key.startswith("events/")]
    return [json.loads(line) for body in bodies for line in gzip.decompress(body).splitlines()]


def manifests(objects: FakeObjects) -> dict[str, dict[str, int]]:
    return {
        key[len("manifests/") : -len(".json")]: json.loads(body)
        for key, body in objects.objects.items()
        if key.startswith("manifests/")
    }


def kid(shop: Shop, who: str) -> str:
    row = next(row for row in shop.rows.held("keys") if row["pk"] == shop.id(who).key)
    return key_id(row["salt"]).hex()


def test_every_bundle_is_archived_sealed_as_it_lies_in_the_table() -> None:
    shop = archived()

    held = {(row["pk"], row["sk"]) for row in shop.rows.held("events")}
    assert {(row["pk"], row["sk"]) for row in lines(shop.objects)} == held
    assert len(held) == 8
    everything = b"".join(gzip.decompress(b) if b[:1] == b"\x1f" else b for b in _bodies(shop))
    for personal in (b"o42", b"Order", b"page", b"user_id"):
        assert personal not in everything


def _bodies(shop: Shop) -> list[bytes]:
    return list(shop.objects.objects.values())


def test_an_objects_name_says_its_class_and_when_it_ends() -> None:
    shop = archived()

    for row in lines(shop.objects):
        date = datetime.fromtimestamp(row["due"], UTC).strftime("%Y-%m-%d")
        assert any(name.startswith(f"{row['class']}/{date}/") for name in manifests(shop.objects))
    assert len(manifests(shop.objects)) == 4


def test_the_same_batch_of_the_stream_overwrites_itself() -> None:
    shop = archived()
    before = dict(shop.objects.objects)

    shop.archive()
    archive.store(shop.objects, reversed(shop.rows.held("events")))

    assert set(shop.objects.objects) == set(before)
    assert len(lines(shop.objects)) == 8


def test_each_manifest_counts_what_its_object_holds_for_each_key() -> None:
    shop = archived()
    ann, bob = kid(shop, "user_id:42"), kid(shop, "user_id:43")

    assert all(counts == {ann: 1, bob: 1} for counts in manifests(shop.objects).values())
    assert [archive.counts(shop.objects, name) for name in names(shop)] == 4 * [{ann: 1, bob: 1}]


def test_a_person_is_found_without_opening_an_object() -> None:
    shop = archived()
    read: list[str] = []
    shop.objects.tap = lambda call, key: read.append(key) if call == "objects.get:before" else None

    for name in names(shop):
        archive.counts(shop.objects, name)

    assert read
    assert all(key.startswith("manifests/") for key in read)


@pytest.mark.parametrize("manifest", [None, b"", b"[]", b"{", b'{"a": "b"}'])
def test_a_manifest_that_says_nothing_is_made_anew(manifest: bytes | None) -> None:
    shop = archived()
    whole = dict(shop.objects.objects)
    (name, *_) = names(shop)
    place = f"manifests/{name}.json"
    shop.objects.delete([place])
    if manifest is not None:
        shop.objects.put(place, manifest)

    assert sum(archive.counts(shop.objects, name).values()) == 2
    assert shop.objects.objects == whole


def names(shop: Shop) -> list[str]:
    groups = list(archive.groups(shop.objects))
    return [name for group in groups for name in archive.names(shop.objects, group)]


def test_groups_and_names_are_of_what_is_named_like_an_object() -> None:
    objects = FakeObjects()
    name = f"2026-01-01/{'0' * 32}"
    for key in (f"a/{name}", f"a/b/{name}", "a/2026-01-01/other", "a/2026/x", "a", f"{'1' * 32}"):
        objects.put(f"events/{key}.gz", b"")

    assert list(archive.groups(objects)) == ["a/2026-01-01", "a/b/2026-01-01"]
    assert list(archive.names(objects, "a/2026-01-01")) == [f"a/{name}"]
    assert list(archive.names(objects, "a/2026-01-01", f"a/{name}")) == []


def test_an_object_is_rewritten_without_one_person_and_keeps_the_other() -> None:
    shop = archived()
    bob = kid(shop, "user_id:43")

    drop_ann(shop)

    assert {row["pk"] for row in lines(shop.objects)} == {shop.id("user_id:43").key}
    assert all(counts == {bob: 1} for counts in manifests(shop.objects).values())


def test_an_object_that_would_be_empty_goes_with_its_manifest() -> None:
    shop = archived()

    drop_everybody(shop)

    assert shop.objects.objects == {}


def test_objects_end_on_their_day_with_their_manifests() -> None:
    shop = archived()
    policy = shop.policy
    due = policy.due(policy.retention["behaviour"], NOW)

    assert archive.expire(shop.objects, due - 1) == 0
    assert archive.expire(shop.objects, due) == 1
    assert {row["class"] for row in lines(shop.objects)} == {"transaction"}
    assert archive.expire(shop.objects, due + 4000 * DAY) == 3
    assert shop.objects.objects == {}


def test_no_name_that_lies_there_stops_the_sweep() -> None:
    shop = archived()
    end = NOW + 4000 * DAY
    old = {name: shop.objects.objects.pop(name) for name in list(shop.objects.objects)}
    nested = {name.replace("/behaviour/", "/behaviour/eu/"): body for name, body in old.items()}
    foreign = {f"manifests/{name}": b"x" for name in ("", "a", "a/b.json", "a/2020-01-01/b/c.json")}
    shop.objects.objects |= old | nested | foreign

    archive.expire(shop.objects, end - 4000 * DAY)
    assert shop.objects.objects == old | nested | foreign, "nothing has ended yet"
    archive.expire(shop.objects, end)

    assert shop.objects.objects == foreign


def test_a_class_within_another_ends_on_its_own_days() -> None:
    """`a/` sorts before `a/b/`, so what is skipped of the one must not skip the other."""
    objects = FakeObjects()
    for group, date in (("a", "2999-01-01"), ("a/b", "2020-01-01")):
        for name in (
            f"events/{group}/{date}/{'0' * 32}.gz",
            f"manifests/{group}/{date}/{'0' * 32}.json",
        ):
            objects.put(name, b"{}")

    assert archive.expire(objects, NOW) == 1
    assert sorted(objects.objects) == [
        f"events/a/2999-01-01/{'0' * 32}.gz",
        f"manifests/a/2999-01-01/{'0' * 32}.json",
    ]


def drop_ann(shop: Shop) -> None:
    for name in names(shop):
        archive.drop(shop.objects, name, [kid(shop, "user_id:42")])


def drop_everybody(shop: Shop) -> None:
    both = [kid(shop, "user_id:42"), kid(shop, "user_id:43")]
    for name in names(shop):
        archive.drop(shop.objects, name, both)


def end_everything(shop: Shop) -> None:
    archive.expire(shop.objects, NOW + 4000 * DAY)


def store_again(shop: Shop) -> None:
    shop.archive()


@pytest.mark.parametrize("work", [drop_ann, drop_everybody, end_everything, store_again])
def test_a_crash_at_any_call_and_a_repeat_leave_what_no_crash_leaves(
    work: Callable[[Shop], None],
) -> None:
    """But for manifests whose objects are gone already: these end on their day."""
    whole = archived()
    work(whole)
    expected = sorted(whole.objects.objects)

    crashed, place = True, -1
    while crashed:
        place += 1
        shop = archived()
        crashed = _crash(shop, place, work)
        assert not _untold(shop), f"after a crash at step {place} a manifest says too little"
        work(shop)
        assert not _untold(shop)
        stale = {f"manifests/{name}.json" for name in manifests(shop.objects)} - {
            f"manifests/{name}.json" for name in names(shop)
        }
        assert work in (drop_ann, drop_everybody) or not stale
        assert [key.rpartition("/")[0] for key in sorted(shop.objects.objects.keys() - stale)] == [
            key.rpartition("/")[0] for key in expected
        ]
    assert place > 4


def _untold(shop: Shop) -> list[Any]:
    """Records of an object that its manifest does not count: the vacuum would not find them."""
    counted = manifests(shop.objects)
    return [
        key
        for key, body in shop.objects.objects.items()
        if key.startswith("events/")
        for line in gzip.decompress(body).splitlines()
        if archive._key_id(line.decode()) not in counted.get(key[len("events/") : -len(".gz")], {})
    ]


def _crash(shop: Shop, place: int, work: Callable[[Shop], None]) -> bool:
    steps = 0

    def tap(call: str, detail: Any) -> None:
        nonlocal steps
        steps += 1
        if steps > place:
            raise Unavailable(call)

    shop.objects.tap = tap
    try:
        work(shop)
    except Unavailable:
        return True
    finally:
        shop.objects.tap = None
    return False


def test_a_store_that_lists_everything_anew_keeps_no_sweep_for_ever() -> None:
    shop = archived()
    listed, often = shop.objects.list, iter(range(20))

    def anew(prefix: str, after: str = "") -> Iterator[str]:
        next(often)
        return listed(prefix)

    shop.objects.list = anew  # type: ignore[method-assign]

    due = shop.policy.due(shop.policy.retention["behaviour"], NOW)
    assert archive.expire(shop.objects, due - 1) == 0
    assert archive.expire(shop.objects, due) >= 1


# The bucket's own rules


def test_the_bucket_is_told_only_of_what_differs() -> None:
    shop = Shop()
    archive.end_by_age(shop.objects, {"behaviour": 90})
    assert shop.objects.rules == {"events/behaviour/": 92, "manifests/behaviour/": 93}

    told: list[str] = []
    shop.objects.tap = lambda call, _: told.append(call)
    archive.end_by_age(shop.objects, {"behaviour": 90})

    assert "objects.set_lifecycle:before" not in told


def test_the_rule_of_a_class_that_is_gone_stays_as_long_as_its_objects() -> None:
    shop = Shop()
    archive.end_by_age(shop.objects, {"old": 90})
    shop.objects.put("events/old/2026-12-20/x.gz", b"")

    archive.end_by_age(shop.objects, {"new": 30})
    assert shop.objects.rules == {"events/old/": 92, "events/new/": 32, "manifests/new/": 33}

    shop.objects.delete(["events/old/2026-12-20/x.gz"])
    archive.end_by_age(shop.objects, {"new": 30})
    assert shop.objects.rules == {"events/new/": 32, "manifests/new/": 33}


def test_no_object_is_ended_by_age_before_its_date() -> None:
    """Made in the first second of a day, of what happened then."""
    shop = Shop()
    made = int(shop.clock() // DAY) * DAY
    for class_, days in shop.policy.retention.items():
        archive.end_by_age(shop.objects, {class_: days})
        ends = made + shop.objects.rules[f"events/{class_}/"] * DAY
        assert ends >= shop.policy.due(days, made)
