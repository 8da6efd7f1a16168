"""The taps of the fakes: how tests record, interleave and crash at store calls."""

from typing import Any

import pytest

from candor.ports import Key, Put, Update
from tests.fakes import FakeClock, FakeObjects, FakeQueue, FakeRows, FakeSigner, FakeWorkflow

KEYS = [Key("graph", "g", str(n)) for n in range(3)]
PUTS = [Put(key, {}) for key in KEYS]


def recorded(rows: FakeRows) -> list[str]:
    calls: list[str] = []
    rows.tap = lambda call, _: calls.append(call)
    return calls


def test_every_call_taps_before_and_after_and_between_rows() -> None:
    rows = FakeRows(FakeClock())
    calls = recorded(rows)

    rows.put(PUTS)
    rows.get(KEYS)
    list(rows.query("graph", "g"))
    list(rows.scan("graph"))
    rows.update(Update(KEYS[0], set={"a": 1}))
    rows.commit(*PUTS)
    rows.delete(KEYS)

    each = [":before", ":row", ":row", ":row", ":after"]
    assert calls == [
        *(f"rows.put{phase}" for phase in each),
        *(f"rows.get{phase}" for phase in each),
        *(
            f"rows.{name}:{phase}"
            for name in ("query", "scan", "update", "commit")
            for phase in ("before", "after")
        ),
        *(f"rows.delete{phase}" for phase in each),
    ]


def test_a_crash_before_writes_nothing_after_writes_all_and_between_writes_some() -> None:
    def crash_at(phase: str) -> int:
        def tap(call: str, _: Any) -> None:
            if call == f"rows.put:{phase}":
                raise ConnectionError

        rows = FakeRows(FakeClock(), tap)
        with pytest.raises(ConnectionError):
            rows.put(PUTS)
        return len(rows.held())

    assert [crash_at(phase) for phase in ("before", "row", "after")] == [0, 1, 3]


def test_another_worker_can_run_inside_a_tap() -> None:
    rows = FakeRows(FakeClock())

    def tap(call: str, _: Any) -> None:
        if call == "rows.query:after":
            rows.tap = None
            rows.put([Put(Key("graph", "g", "9"), {})])

    rows.put(PUTS)
    rows.tap = tap

    assert [row["sk"] for row in rows.query("graph", "g")] == ["0", "1", "2"]
    assert [row["sk"] for row in rows.query("graph", "g")] == ["0", "1", "2", "9"]


def test_held_shows_rows_past_due_too() -> None:
    rows = FakeRows(FakeClock(100))
    rows.put([Put(KEYS[0], {"due": 1}), Put(Key("keys", "k"), {})])

    assert rows.get(KEYS) == {}
    assert rows.held("graph") == [{"pk": "g", "sk": "0", "due": 1}]
    assert len(rows.held()) == 2


def test_the_other_ports_tap_too() -> None:
    calls: list[str] = []

    def tap(call: str, _: Any) -> None:
        calls.append(call)

    FakeQueue(tap).send("a")
    FakeObjects(tap).put("k", b"")
    FakeSigner(tap).sign(b"m")
    FakeWorkflow(tap).start("n", {})

    assert calls == [
        f"{call}:{phase}"
        for call in ("queue.send", "objects.put", "signer.sign", "workflow.start")
        for phase in ("before", "after")
    ]
