"""What every implementation of `Rows` does."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from candor.ports import (
    ABSENT,
    PRESENT,
    Check,
    Conflict,
    Delete,
    Key,
    Put,
    Row,
    Rows,
    Update,
    When,
    Write,
)
from tests.contract.conftest import TABLES
from tests.fakes import FakeClock

K = Key("keys", "k")
G = Key("graph", "g", "s")
EVERY_TYPE: Row = {
    "text": "é\U0001f600\n",
    "empty": "",
    "int": 0,
    "negative": -(10**37),
    "large": 10**38 - 1,
    "bytes": b"\x00\xff",
    "no_bytes": b"",
    "yes": True,
    "no": False,
    "none": None,
    "list": [1, "1", b"1", True, None, [], {}],
    "map": {"a": {"b": [{"c": None}]}, "S": {"N": 1}, "pk": "x"},
}


def node(pk: str, sk: str, **row: Any) -> Put:
    return Put(Key("graph", pk, sk), row)


def sort_keys(found: Any) -> list[str]:
    return [row["sk"] for row in found]


class TestReadingAndWriting:
    def test_a_row_comes_back_with_its_key(self, rows: Rows) -> None:
        rows.put([Put(K, {"a": 1}), Put(G, {"b": 2})])

        found = rows.get([K, G, K, Key("keys", "none"), Key("graph", "g", "other")])

        assert found == {K: {"pk": "k", "a": 1}, G: {"pk": "g", "sk": "s", "b": 2}}

    @pytest.mark.parametrize("keys", [[], [Key("keys", "none")], [Key("graph", "g", "none")]])
    def test_what_is_not_there_is_not_found(self, rows: Rows, keys: list[Key]) -> None:
        assert rows.get(keys) == {}

    def test_every_type_survives(self, rows: Rows) -> None:
        rows.put([Put(K, EVERY_TYPE), Put(G, EVERY_TYPE)])
        rows.commit(Put(Key("keys", "other"), EVERY_TYPE))

        found = rows.get([K])[K]
        for name, value in EVERY_TYPE.items():
            assert (type(found[name]), found[name]) == (type(value), value)
        assert found["list"][3] is True
        assert rows.get([Key("keys", "other"), G])[G]["map"] == EVERY_TYPE["map"]
        assert next(rows.query("graph", "g"))["bytes"] == b"\x00\xff"

    def test_a_put_replaces_the_whole_row(self, rows: Rows) -> None:
        rows.put([Put(K, {"a": 1, "b": 1})])
        rows.put([Put(K, {"a": 2})])
        assert rows.get([K])[K] == {"pk": "k", "a": 2}

        rows.commit(Put(K, {"c": 3}))
        assert rows.get([K])[K] == {"pk": "k", "c": 3}

    def test_what_a_caller_does_to_a_row_later_does_not_reach_the_store(self, rows: Rows) -> None:
        row = {"list": [1]}
        rows.put([Put(K, row)])
        row["list"].append(2)
        rows.get([K])[K]["list"].append(3)

        assert rows.get([K])[K]["list"] == [1]

    def test_more_rows_than_one_batch_are_written_read_and_deleted(self, rows: Rows) -> None:
        keys = [Key("keys", f"k{n}") for n in range(130)]
        rows.put([Put(key, {"n": n}) for n, key in enumerate(keys)])
        rows.put([node("g", "s")])

        found = rows.get([*keys, G])

        assert [found[key]["n"] for key in keys] == list(range(130))
        assert G in found
        rows.delete([*keys, Key("keys", "never there")])
        assert rows.get([*keys, G]).keys() == {G}

    def test_of_one_key_twice_in_a_put_the_last_counts(self, rows: Rows) -> None:
        rows.put([Put(K, {"n": 1}), Put(Key("keys", "other"), {}), Put(K, {"n": 2})])

        assert rows.get([K])[K]["n"] == 2

    def test_deleting_what_is_not_there_is_no_error(self, rows: Rows) -> None:
        rows.delete([K])
        rows.delete([])
        rows.put([])
        rows.commit(Delete(K))

    def test_names_may_be_reserved_or_odd(self, rows: Rows) -> None:
        names = ["name", "status", "a.b", "a-b", "#x", ":v0", "size", "é", "0"]
        rows.put([Put(K, dict.fromkeys(names, 1))])

        after = rows.update(
            Update(
                K,
                set={"name": 2, "a.b": 2},
                once={"status": 2, "ttl": 2},
                add={"a-b": 1, "size": 1},
                remove=("#x", ":v0"),
                when={"é": 1, "0": PRESENT, "data": ABSENT},
            )
        )

        assert after == {
            "pk": "k",
            "name": 2,
            "a.b": 2,
            "status": 1,
            "ttl": 2,
            "a-b": 2,
            "size": 2,
            "é": 1,
            "0": 1,
        }


class TestDue:
    def test_a_row_past_due_is_absent_unless_expired_ones_are_wanted(
        self, rows: Rows, clock: FakeClock
    ) -> None:
        now = int(clock.now)
        rows.put(
            [
                node("g", "1", due=now - 1),
                node("g", "2", due=now),
                node("g", "3", due=now + 1),
                node("g", "4"),
                Put(K, {"due": now}),
            ]
        )
        keys = [Key("graph", "g", str(n)) for n in range(1, 5)]

        assert set(rows.get([*keys, K])) == set(keys[2:])
        assert rows.get([K]) == {}
        assert sort_keys(rows.query("graph", "g")) == ["3", "4"]
        assert sorted(sort_keys(rows.scan("graph"))) == ["3", "4"]
        assert list(rows.scan("keys")) == []

        assert set(rows.get([*keys, K], expired=True)) == {*keys, K}
        assert rows.get([K], expired=True)[K]["due"] == now
        assert sort_keys(rows.query("graph", "g", expired=True)) == ["1", "2", "3", "4"]
        assert sorted(sort_keys(rows.scan("graph", expired=True))) == ["1", "2", "3", "4"]

        clock.advance(1)
        assert sort_keys(rows.query("graph", "g")) == ["4"]

    def test_a_limit_counts_living_rows(self, rows: Rows, clock: FakeClock) -> None:
        dead = int(clock.now)
        rows.put([node("g", f"{n:02}", **({"due": dead} if n % 4 else {})) for n in range(40)])

        assert sort_keys(rows.query("graph", "g", limit=3)) == ["00", "04", "08"]
        assert sort_keys(rows.query("graph", "g", limit=2, backward=True)) == ["36", "32"]

    def test_a_condition_sees_a_row_past_due(self, rows: Rows, clock: FakeClock) -> None:
        rows.put([Put(K, {"due": int(clock.now) - 1})])

        with pytest.raises(Conflict):
            rows.commit(Put(K, {}, when={"pk": ABSENT}))


class TestQuery:
    SKS = (
        "A",
        "LINK#1",
        "LINK#2",
        "LINK#3",
        "LINK#é",
        "LINKS",
        "Z",
        "a",
        "é",
        "\uffee",
        "\U0001f600",
    )

    @pytest.fixture(autouse=True)
    def given(self, rows: Rows) -> None:
        rows.put([node("g", sk) for sk in reversed(self.SKS)] + [node("other", "LINK#9")])

    def test_one_partition_in_the_order_of_bytes(self, rows: Rows) -> None:
        assert sort_keys(rows.query("graph", "g")) == list(self.SKS)
        assert sort_keys(rows.query("graph", "g", backward=True)) == list(reversed(self.SKS))
        assert list(rows.query("graph", "none")) == []

    def test_only_what_starts_with_the_prefix(self, rows: Rows) -> None:
        links = ["LINK#1", "LINK#2", "LINK#3", "LINK#é"]
        assert sort_keys(rows.query("graph", "g", "LINK#")) == links
        assert sort_keys(rows.query("graph", "g", "LINK#", backward=True)) == links[::-1]
        assert sort_keys(rows.query("graph", "g", "LINK%")) == []

    @pytest.mark.parametrize("limit", [0, 1, 2, 4, 5, 100])
    def test_at_most_the_limit(self, rows: Rows, limit: int) -> None:
        assert sort_keys(rows.query("graph", "g", limit=limit)) == list(self.SKS[:limit])

    def test_after_starts_behind_a_key_that_may_be_gone(self, rows: Rows) -> None:
        assert sort_keys(rows.query("graph", "g", after="a")) == list(self.SKS[8:])
        assert sort_keys(rows.query("graph", "g", "LINK#", after="LINK#2")) == ["LINK#3", "LINK#é"]
        assert sort_keys(rows.query("graph", "g", "LINK#", after="LINK#2", limit=1)) == ["LINK#3"]
        assert sort_keys(rows.query("graph", "g", "LINK#", after="LINK#2x", limit=1)) == ["LINK#3"]
        assert sort_keys(rows.query("graph", "g", "LINK#", after="LINK#2", backward=True)) == [
            "LINK#1"
        ]
        assert sort_keys(rows.query("graph", "g", "LINK#", after="LINK#é")) == []

    def test_after_a_key_outside_the_prefix_is_refused_at_once(self, rows: Rows) -> None:
        with pytest.raises(ValueError):
            rows.query("graph", "g", "LINK#", after="Z")

    def test_a_table_without_sort_key_is_refused_at_once(self, rows: Rows) -> None:
        with pytest.raises(ValueError):
            rows.query("keys", "k")

    def test_pages_of_a_mebibyte_are_followed(self, rows: Rows) -> None:
        rows.put([node("large", f"{n}", body=b"x" * 300_000) for n in range(8)])

        assert sort_keys(rows.query("graph", "large")) == [str(n) for n in range(8)]
        assert sort_keys(rows.query("graph", "large", limit=6)) == [str(n) for n in range(6)]
        assert len(list(rows.scan("graph"))) == len(self.SKS) + 1 + 8


class TestScan:
    def test_every_row_once(self, rows: Rows) -> None:
        rows.put([Put(Key("keys", f"k{n}"), {"n": n}) for n in range(10)])
        rows.put([node(f"g{n}", f"s{m}") for n in range(4) for m in range(3)])

        assert sorted(row["n"] for row in rows.scan("keys")) == list(range(10))
        assert len(list(rows.scan("graph"))) == 12

    def test_after_any_row_come_the_rows_that_came_behind_it(self, rows: Rows) -> None:
        rows.put([Put(Key("keys", f"k{n}"), {}) for n in range(7)])
        rows.put([node(f"g{n}", f"s{m}") for n in range(3) for m in range(2)])

        for table in TABLES:
            everything = list(rows.scan(table))
            for position, row in enumerate(everything):
                after = Key(table, row["pk"], row.get("sk"))
                assert list(rows.scan(after.table, after=after)) == everything[position + 1 :]

    def test_after_a_key_of_another_table_is_refused_at_once(self, rows: Rows) -> None:
        with pytest.raises(ValueError):
            rows.scan("keys", after=G)


class TestUpdate:
    def test_it_creates_the_row_and_returns_it(self, rows: Rows) -> None:
        after = rows.update(Update(G, set={"a": [1]}, once={"b": b"1"}, add={"c": 2}))

        assert after == {"pk": "g", "sk": "s", "a": [1], "b": b"1", "c": 2}
        assert rows.get([G])[G] == after

    def test_set_overwrites_once_does_not_add_counts_remove_drops(self, rows: Rows) -> None:
        rows.put([Put(K, {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1})])

        after = rows.update(
            Update(K, set={"a": 2}, once={"b": 2, "z": 2}, add={"c": -3}, remove=("d", "none"))
        )

        assert after == {"pk": "k", "a": 2, "b": 1, "z": 2, "c": -2, "e": 1}

    def test_removing_from_a_row_that_is_not_there_leaves_its_key(self, rows: Rows) -> None:
        assert rows.update(Update(K, remove=("a",))) == {"pk": "k"}

    def test_a_condition_that_does_not_hold_is_a_conflict_and_writes_nothing(
        self, rows: Rows
    ) -> None:
        rows.put([Put(K, {"a": 1})])

        with pytest.raises(Conflict) as conflict:
            rows.update(Update(K, set={"a": 2}, when={"a": 0}))

        assert conflict.value.failed == (0,)
        assert rows.get([K])[K] == {"pk": "k", "a": 1}

    @pytest.mark.parametrize(
        "update",
        [
            Update(K),
            Update(K, set={"a": 1}, once={"a": 2}),
            Update(K, add={"a": 1}, remove=("a",)),
            Update(K, remove=("a", "a")),
            Update(K, set={"pk": "other"}),
            Update(K, remove=("sk",)),
        ],
    )
    def test_an_update_changes_something_and_each_attribute_once_and_no_key(
        self, rows: Rows, update: Update
    ) -> None:
        with pytest.raises(ValueError):
            rows.update(update)
        with pytest.raises(ValueError):
            rows.commit(update, Put(G, {}))
        assert rows.get([K, G]) == {}


HELD: Row = {"one": 1, "true": True, "none": None, "text": "1", "bytes": b"1", "list": [1, "a"]}


class TestConditions:
    @pytest.mark.parametrize(
        ("when", "holds"),
        [
            ({"one": 1}, True),
            ({"one": "1"}, False),
            ({"one": 2}, False),
            ({"one": PRESENT}, True),
            ({"one": ABSENT}, False),
            ({"true": True}, True),
            ({"none": None}, True),
            ({"none": PRESENT}, True),
            ({"none": ABSENT}, False),
            ({"none": False}, False),
            ({"text": "1"}, True),
            ({"text": b"1"}, False),
            ({"bytes": b"1"}, True),
            ({"list": [1, "a"]}, True),
            ({"list": ["a", 1]}, False),
            ({"nothing": ABSENT}, True),
            ({"nothing": PRESENT}, False),
            ({"pk": PRESENT}, True),
            ({"pk": ABSENT}, False),
            ({"pk": "k"}, True),
            ({"one": 1, "true": True, "nothing": ABSENT}, True),
            ({"one": 1, "true": False}, False),
        ],
    )
    def test_all_of_them_must_hold(self, rows: Rows, when: When, holds: bool) -> None:
        rows.put([Put(K, HELD)])
        writes: list[Callable[[], object]] = [
            lambda: rows.update(Update(K, set={"x": 1}, when=when)),
            lambda: rows.commit(Check(K, when=when)),
            lambda: rows.commit(Update(K, add={"y": 1}, when=when)),
            lambda: rows.commit(Check(K, when=when), Put(G, {})),
            lambda: rows.commit(Put(K, HELD, when=when)),
            lambda: rows.commit(Delete(K, when=when)),
        ]

        for write in writes:
            if holds:
                write()
            else:
                with pytest.raises(Conflict):
                    write()
        assert rows.get([K, G]) == (
            {G: {"pk": "g", "sk": "s"}} if holds else {K: HELD | {"pk": "k"}}
        )

    @pytest.mark.not_on_moto
    @pytest.mark.parametrize(
        "when", [{"one": True}, {"true": 1}, {"list": [True, "a"]}, {"nothing": None}]
    )
    def test_true_is_not_1_and_absent_is_not_none(self, rows: Rows, when: When) -> None:
        rows.put([Put(K, HELD)])

        with pytest.raises(Conflict):
            rows.update(Update(K, set={"x": 1}, when=when))
        with pytest.raises(Conflict):
            rows.commit(Check(K, when=when), Put(G, {}))

    def test_of_a_row_that_is_not_there_everything_is_absent(self, rows: Rows) -> None:
        with pytest.raises(Conflict):
            rows.commit(Update(K, set={"a": 1}, when={"pk": PRESENT}))
        with pytest.raises(Conflict):
            rows.commit(Delete(K, when={"a": 1}))

        rows.commit(Check(K, when={"pk": ABSENT}), Put(G, {}, when={"a": ABSENT}))
        assert rows.get([K, G]).keys() == {G}


class TestTransactions:
    def test_all_writes_happen_together(self, rows: Rows) -> None:
        gone, checked = Key("graph", "g", "gone"), Key("graph", "g", "checked")
        rows.put([Put(gone, {}), Put(checked, {"v": 1}), Put(K, {"n": 1})])

        rows.commit(
            Put(G, {"a": b"1"}, when={"pk": ABSENT}),
            Update(K, set={"a": 1}, once={"n": 7, "m": 7}, add={"c": 1}, when={"n": 1}),
            Delete(gone, when={"pk": PRESENT}),
            Check(checked, when={"v": 1}),
        )

        assert rows.get([G, K, gone, checked]) == {
            G: {"pk": "g", "sk": "s", "a": b"1"},
            K: {"pk": "k", "n": 1, "m": 7, "a": 1, "c": 1},
            checked: {"pk": "g", "sk": "checked", "v": 1},
        }

    def test_one_condition_that_fails_stops_all_and_is_named(self, rows: Rows) -> None:
        rows.put([Put(K, {"v": 1})])

        with pytest.raises(Conflict) as conflict:
            rows.commit(
                Put(G, {}),
                Update(K, set={"v": 2}, when={"v": 0}),
                Delete(Key("graph", "g", "x")),
                Check(Key("graph", "g", "y"), when={"pk": PRESENT}),
            )

        assert conflict.value.failed == (1, 3)
        assert rows.get([K, G]) == {K: {"pk": "k", "v": 1}}

    def test_a_single_write_fails_at_position_0(self, rows: Rows) -> None:
        writes: list[Write] = [
            Put(K, {}, when={"pk": PRESENT}),
            Update(K, set={"a": 1}, when={"pk": PRESENT}),
            Delete(K, when={"pk": PRESENT}),
            Check(K, when={"pk": PRESENT}),
        ]
        for write in writes:
            with pytest.raises(Conflict) as conflict:
                rows.commit(write)
            assert conflict.value.failed == (0,)
        assert rows.get([K]) == {}

    def test_a_hundred_writes_are_one_transaction(self, rows: Rows) -> None:
        keys = [Key("graph", "g", f"{n:03}") for n in range(100)]

        rows.commit(*(Put(key, {}, when={"pk": ABSENT}) for key in keys))
        with pytest.raises(Conflict) as conflict:
            rows.commit(*(Delete(k, when={"pk": ABSENT} if k is keys[99] else {}) for k in keys))

        assert conflict.value.failed == (99,)
        assert len(rows.get(keys)) == 100

    def test_none_or_too_many_or_the_same_row_twice_is_refused(self, rows: Rows) -> None:
        for writes in (
            [],
            [Put(Key("keys", f"k{n}"), {}) for n in range(101)],
            [Put(K, {}), Delete(K)],
        ):
            with pytest.raises(ValueError):
                rows.commit(*writes)
        assert list(rows.scan("keys")) == []


class TestRefusals:
    @pytest.mark.parametrize(
        "value",
        [1.0, [1.5], {"a": {"b": 0.0}}, (1,), {"x"}, object(), {1: "x"}, {"": 1}, bytearray(b"x")],
    )
    def test_a_row_holds_no_floats_and_no_strange_types(self, rows: Rows, value: Any) -> None:
        for write in (
            lambda: rows.put([Put(K, {"v": value})]),
            lambda: rows.put([Put(K, {"v": value}), Put(G, {})]),
            lambda: rows.update(Update(K, set={"v": value})),
            lambda: rows.update(Update(K, once={"v": value})),
            lambda: rows.commit(Put(K, {"v": value})),
            lambda: rows.commit(Put(G, {}), Put(K, {"v": value})),
            lambda: rows.commit(Put(K, {}, when={"v": value})),
        ):
            with pytest.raises(TypeError):
                write()
        assert rows.get([K]) == {}

    @pytest.mark.parametrize("value", [1.0, True, "1", None])
    def test_only_integers_are_added(self, rows: Rows, value: Any) -> None:
        with pytest.raises(TypeError):
            rows.update(Update(K, add={"n": value}))

    def test_a_number_has_at_most_38_digits(self, rows: Rows) -> None:
        with pytest.raises(ValueError):
            rows.put([Put(K, {"n": 10**38})])

    @pytest.mark.parametrize(
        "key",
        [
            Key("keys", "k", "s"),
            Key("graph", "g"),
            Key("graph", "g", ""),
            Key("graph", "", "s"),
            Key("keys", ""),
        ],
    )
    def test_a_key_has_the_parts_of_its_table(self, rows: Rows, key: Key) -> None:
        for call in (
            lambda: rows.get([key]),
            lambda: rows.get([K, G, key]),
            lambda: rows.put([Put(key, {})]),
            lambda: rows.delete([key]),
            lambda: rows.update(Update(key, set={"a": 1})),
            lambda: rows.commit(Put(key, {})),
            lambda: rows.commit(Put(K, {}), Delete(key)),
            lambda: rows.scan(key.table, after=key),
        ):
            with pytest.raises(ValueError):
                call()

    def test_put_takes_no_condition(self, rows: Rows) -> None:
        with pytest.raises(ValueError):
            rows.put([Put(K, {}, when={"pk": ABSENT})])
        assert rows.get([K]) == {}

    def test_a_row_does_not_repeat_its_key_and_every_attribute_has_a_name(self, rows: Rows) -> None:
        for row in ({"pk": "k"}, {"sk": "s"}, {"": 1}):
            with pytest.raises(ValueError):
                rows.put([Put(K, row)])
            with pytest.raises(ValueError):
                rows.commit(Put(G, row))

    def test_a_check_has_a_condition(self, rows: Rows) -> None:
        with pytest.raises(ValueError):
            rows.commit(Check(K, when={}))


THREADS = 8


def race(work: Callable[[int], Any]) -> list[Any]:
    """What each of eight threads answered or raised, started together."""
    barrier = Barrier(THREADS)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return work(number)
        except Conflict as conflict:
            return conflict

    # Python's threads take turns of 5 ms, in which a fake without a lock would get away with it.
    turn = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(run, range(THREADS)))
    finally:
        sys.setswitchinterval(turn)


@pytest.mark.not_on_moto
class TestConcurrency:
    def test_eight_workers_that_race_for_a_salt_get_one(self, rows: Rows) -> None:
        for round_ in range(10):
            key = Key("keys", f"k{round_}")

            def salt(number: int, key: Key = key) -> Any:
                update = Update(key, once={"salt": bytes([number])}, when={"mode": ABSENT})
                return rows.update(update)["salt"]

            salts = race(salt)

            assert len(set(salts)) == 1
            assert rows.get([key])[key]["salt"] == salts[0]

    def test_a_fence_refuses_the_salts_creation(self, rows: Rows) -> None:
        rows.put([Put(K, {"salt": b"old"})])
        rows.update(Update(K, set={"mode": "erase", "since": 1}, remove=("salt",)))

        answers = race(
            lambda n: rows.update(Update(K, once={"salt": bytes([n])}, when={"mode": ABSENT}))
        )

        assert [answer.failed for answer in answers] == [(0,)] * THREADS
        assert "salt" not in rows.get([K])[K]

    def test_a_shred_among_creations_leaves_no_salt(self, rows: Rows) -> None:
        for round_ in range(10):
            key = Key("keys", f"k{round_}")

            def work(number: int, key: Key = key) -> Any:
                if number == 3:
                    return rows.update(Update(key, set={"mode": "erase"}, remove=("salt",)))
                return rows.update(Update(key, once={"salt": b"s"}, when={"mode": ABSENT}))

            race(work)

            assert rows.get([key])[key] == {"pk": key.pk, "mode": "erase"}

    def test_of_transactions_over_the_same_rows_exactly_one_wins_and_nothing_is_torn(
        self, rows: Rows
    ) -> None:
        keys = [Key("graph", "g", f"{n:02}") for n in range(10)]
        rows.put([Put(key, {"v": 0}) for key in keys])
        for version in range(10):

            def work(number: int, version: int = version) -> Any:
                rows.commit(
                    *(
                        Update(k, set={"v": version + 1, "by": number}, when={"v": version})
                        for k in (keys if number % 2 else reversed(keys))
                    )
                )
                return number

            answers = race(work)

            winners = [answer for answer in answers if not isinstance(answer, Conflict)]
            assert len(winners) == 1
            assert {(row["v"], row["by"]) for row in rows.get(keys).values()} == {
                (version + 1, winners[0])
            }

    def test_additions_are_not_lost(self, rows: Rows) -> None:
        answers = race(lambda _: [rows.update(Update(K, add={"n": 1}))["n"] for _ in range(10)])

        assert sorted(n for numbers in answers for n in numbers) == list(range(1, 81))
