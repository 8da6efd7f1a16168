"""Retention: everything that is stored ends, when the policy says, and sweep ends the rest."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import audit, credentials, erasure, requests, rounds
from candor.errors import NotFound
from candor.policy import DAY
from candor.ports import Row, Table
from candor.retention import GRACE, sweep
from candor.transit import Transit
from tests.fakes import FakeWorkflow
from tests.worlds import (
    CRM,
    GRAPH,
    NOW,
    WEB,
    Shop,
    broken_rules,
    order,
    policy,
    recorded,
    says,
    sent,
)

TABLES: tuple[Table, ...] = ("keys", "graph", "events", "requests", "audit", "credentials")
LAG = 14 * DAY
"""How much later than `due` a `ttl` may be: where sweep must be first."""


def journey() -> Shop:
    """Everything that the skeleton stores, at least once."""
    shop = Shop()
    collector = Transit(shop.rows, shop.world.vault, shop.clock)
    collector.seal("a message")
    credentials.issue(shop.rows, {"kind": "source", "name": "w", "trust": "client"}, NOW)
    context = says(analytics=True, marketing=False)
    shop.send(WEB, sent("page", "p1", anonymousId="a1", context=context))
    shop.send(WEB, sent("identify", "i1", userId="42", anonymousId="a1", traits={"name": "Ann"}))
    shop.send(CRM, sent("identify", "i2", userId="43", anonymousId="a1"))
    shop.send(CRM, order("o1", ago=3 * DAY, userId="42"))
    shop.unify(
        shop.message(CRM, sent("track", "m1", userId="42", event="Custom"), keep_unnamed=True)
    )
    shop.choose(("user_id:42", "anonymous_id:a1"), {"marketing": True}, WEB)
    shop.choose("user_id:42", {"analytics": True}, CRM, evidence={"form": 7})
    shop.send(WEB, sent("identify", "i3", anonymousId="a9", traits={"name": "Eve"}))
    shop.archive()
    entry = {"id": "e", "about": ["pseudonym"], "action": "x"}
    audit.append(shop.rows, shop.policy, [entry], NOW)
    shop.clock.advance(1)
    shop.erase("anonymous_id:a9")
    return shop


def keys(shop: Shop) -> list[Row]:
    """All but the place of the round."""
    return [row for row in shop.rows.held("keys") if not row["pk"].startswith("S#")]


WITHOUT_END = {
    "a person's key": "destroyed by erasure, or by sweep once its identifier has ended",
    "a fence": "must outlive the person's data, or it would not keep them out",
    "a credential": "ends when it is revoked",
    "sweep's place": "where the last run stopped, and nothing of anybody",
}


def kind(table: Table, row: Row) -> str:
    if table == "keys":
        if row["pk"].startswith("T#"):
            return "transit"
        if row["pk"].startswith("S#"):
            return "sweep's place"
        return "a fence" if "mode" in row else "a person's key"
    if table == "graph":
        return str(row["sk"].partition("#")[0])
    return {"credentials": "a credential", "audit": "audit", "requests": "request"}.get(
        table, str(row.get("class"))
    )


def stored(shop: Shop) -> Iterator[tuple[str, Row]]:
    for table in TABLES:
        for row in shop.rows.held(table):
            yield kind(table, row), row


def test_everything_that_is_stored_ends_but_for_what_has_a_reason() -> None:
    shop = journey()
    seen = set()
    for what, row in stored(shop):
        seen.add(what)
        if what in WITHOUT_END:
            assert "due" not in row, what
            assert "ttl" not in row, what
        else:
            assert 0 <= row["ttl"] - row["due"] <= LAG, what
    assert seen >= {"NODE", "TRAITS", "LINK", "CONSENT", "PROFILE", "audit", "request", "transit"}
    assert seen >= {"behaviour", "transaction", "unnamed", "a fence", "a person's key"}


def test_each_thing_ends_when_the_policy_says() -> None:
    shop = journey()
    records, classes = shop.policy.records, shop.policy.retention
    days = {
        "NODE": records["identifier"],
        "TRAITS": records["identifier"],
        "PROFILE": records["identifier"],
        "LINK": records["link"],
        "CONSENT": records["consent"],
        "request": records["request"],
        "audit": records["audit"],
        "behaviour": classes["behaviour"],
        "unnamed": classes["unnamed"],
    }
    for what, row in stored(shop):
        if what in days:
            assert row["due"] == shop.policy.due(days[what], NOW), what
        elif what == "transaction":
            assert row["due"] == shop.policy.due(classes["transaction"], NOW - 3 * DAY)


def test_a_policy_that_changes_its_times_changes_what_is_stored_then() -> None:
    shop = Shop(policy(lambda compiled: compiled["retention"].update(transaction=7)))
    shop.send(CRM, order("o1", userId="42"))

    assert [row["due"] for row in shop.rows.held("events")] == [shop.policy.due(7, NOW)]


def test_who_is_seen_again_lives_on_and_who_is_not_ends() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"), order("o2", userId="43"))
    shop.clock.advance(800 * DAY)
    shop.send(CRM, order("o3", ago=-800 * DAY, userId="42"))
    shop.clock.advance(800 * DAY)

    assert shop.event_ids("user_id:42") == ["o3"]
    with pytest.raises(NotFound):
        shop.view("user_id:43")


@pytest.mark.parametrize("deleted", [False, True])
def test_an_ended_identifier_is_buried_and_its_successor_starts_afresh(deleted: bool) -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "i1", userId="42", traits={"name": "Ann"}))
    shop.choose("user_id:42", {"marketing": False})
    first = shop.view("user_id:42").profile.id
    shop.clock.advance(1200 * DAY)
    if deleted:
        shop.expire()

    shop.send(CRM, order("o1", ago=-1200 * DAY, userId="42"))

    person = shop.view("user_id:42")
    assert person.profile.id != first
    assert person.traits() == {}
    assert broken_rules(shop) == []
    assert len(shop.profiles()) == 1


# Sweeping.


def always() -> bool:
    return True


def ended(amount: int) -> Shop:
    shop = Shop()
    shop.send(CRM, *(order(f"o{n}", userId=f"u{n}") for n in range(amount)))
    shop.clock.advance(1200 * DAY)
    return shop


def test_sweep_ends_identifiers_with_their_keys() -> None:
    shop = ended(5)

    swept = sweep(shop.erasure, shop.world, shop.workflow, always)

    assert (swept.identifiers, swept.keys) == (5, 5)
    assert keys(shop) == []
    assert {row["sk"] for row in shop.rows.held("graph")} == set()


def test_sweep_leaves_everybody_who_lives() -> None:
    shop = journey()
    before = shop.rows.held("graph"), keys(shop)

    sweep(shop.erasure, shop.world, shop.workflow, always)

    assert (shop.rows.held("graph"), keys(shop)) == before


def test_sweep_never_removes_a_fence() -> None:
    shop = journey()
    shop.clock.advance(4000 * DAY)

    sweep(shop.erasure, shop.world, shop.workflow, always)

    assert [row["pk"] for row in keys(shop)] == [shop.id("anonymous_id:a9").key]


def test_sweep_takes_an_ended_member_out_of_a_profile_that_lives() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42", anonymousId="a1"))
    shop.clock.advance(800 * DAY)
    shop.send(CRM, order("o2", ago=-800 * DAY, userId="42"))
    shop.clock.advance(800 * DAY)

    sweep(shop.erasure, shop.world, shop.workflow, always)

    assert shop.profiles() == shop.people(["user_id:42"])
    assert broken_rules(shop) == []


def test_sweep_destroys_transit_keys_that_have_ended() -> None:
    shop = Shop()
    Transit(shop.rows, shop.world.vault, shop.clock).seal("x")
    sweep(shop.erasure, shop.world, shop.workflow, always)
    assert len(keys(shop)) == 1

    shop.clock.advance(5 * DAY)
    sweep(shop.erasure, shop.world, shop.workflow, always)
    assert keys(shop) == []


def test_sweep_ends_archived_objects() -> None:
    shop = journey()
    shop.clock.advance(100 * DAY)

    assert sweep(shop.erasure, shop.world, shop.workflow, always).objects == 2
    assert {key.split("/")[1] for key in shop.objects.objects} == {"transaction"}


def times(amount: int) -> Callable[[], bool]:
    left = iter(range(amount))
    return lambda: next(left, None) is not None


@given(st.integers(1, 7), st.integers(1, 4))
def test_a_run_goes_on_where_the_last_one_stopped(amount: int, each: int) -> None:
    shop = ended(amount)

    runs, partitions = 0, 2 * amount  # of identifiers, and of their profiles
    while keys(shop):
        sweep(shop.erasure, shop.world, shop.workflow, times(each))
        runs += 1
        assert runs <= partitions // each + 1, "one was left out"

    assert shop.rows.held("graph") == []


def test_runs_that_are_too_short_for_all_come_to_everybody_in_turn() -> None:
    shop = ended(3)
    shop.send(CRM, *(order(f"n{n}", ago=-1200 * DAY, userId=f"n{n}") for n in range(9)))

    for _ in range(13):
        sweep(shop.erasure, shop.world, shop.workflow, times(2))

    names = {row["pk"] for row in keys(shop)}
    assert names == {shop.id(f"user_id:n{n}").key for n in range(9)}


def test_a_run_without_time_changes_nothing() -> None:
    shop = ended(3)
    before = shop.rows.held()

    sweep(shop.erasure, shop.world, shop.workflow, lambda: False)

    assert shop.rows.held() == before


def test_sweep_takes_up_a_request_that_stopped_before_it_was_fenced() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    opened = shop.ask("user_id:42")
    sweep(shop.erasure, shop.world, shop.workflow, always)
    assert shop.workflow.started == {}, "whoever opened it may still be at it"

    shop.clock.advance(GRACE + 1)
    assert sweep(shop.erasure, shop.world, shop.workflow, always).requests == 1

    assert len(shop.workflow.started) == 1
    assert shop.request(opened["pk"])["status"] == "running"
    with pytest.raises(NotFound):
        shop.view("user_id:42")


def test_a_running_request_that_no_machine_works_on_is_begun_again() -> None:
    """Its execution was aborted, timed out, or is not there."""
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    id_ = shop.acknowledge("user_id:42")
    shop.workflow = FakeWorkflow()
    sweep(shop.erasure, shop.world, shop.workflow, always)
    assert shop.request(id_)["status"] == "running", "it may be about to appear"

    shop.clock.advance(GRACE + 1)
    sweep(shop.erasure, shop.world, shop.workflow, always)
    assert shop.request(id_)["status"] == "running"
    assert shop.workflow.started.keys() == {id_}


def test_a_request_that_cannot_go_on_does_not_stop_the_sweep() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42", anonymousId="a1"), order("o2", userId="43"))
    for who in ("user_id:42", "anonymous_id:a1", "user_id:43"):
        shop.ask(who)
    shop.clock.advance(GRACE + 1)

    sweep(shop.erasure, shop.world, shop.workflow, always)

    states = sorted(row["status"] for row in shop.rows.held("requests"))
    assert states == ["refused", "running", "running"]


def test_a_machine_that_gave_up_makes_a_request_partial_and_never_completed() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    request = shop.acknowledge("user_id:42")
    for name in shop.workflow.started:
        shop.workflow.end(name, "failed")

    assert sweep(shop.erasure, shop.world, shop.workflow, always).requests == 1

    assert shop.request(request)["status"] == "partial"


def test_a_hold_keeps_a_person_and_the_sweep_goes_on() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    shop.hold("user_id:42")
    shop.ask("user_id:42")
    shop.clock.advance(GRACE + 1)

    sweep(shop.erasure, shop.world, shop.workflow, always)

    with pytest.raises(NotFound):
        shop.view("user_id:42")
    assert len(shop.rows.held("events")) == 1
    assert [row for row in shop.rows.held("keys") if "salt" in row]


def test_who_lives_costs_sweep_a_look_and_no_write() -> None:
    shop = Shop()
    shop.send(CRM, *(sent("identify", f"i{n}", userId=f"u{n}") for n in range(9)))

    calls = recorded(shop, lambda: sweep(shop.erasure, shop.world, shop.workflow, lambda: True))

    assert [update.key for update in calls.before("rows.update")] == [rounds.PLACE]
    assert not calls.before("rows.commit", "rows.put")
    again = recorded(shop, lambda: sweep(shop.erasure, shop.world, shop.workflow, lambda: True))
    assert not again.before("rows.update"), "once a day"
    assert (GRAPH, None) not in again.before("rows.scan")


def test_a_partial_request_is_begun_again_three_times_and_no_more() -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "i1", userId="42"))
    request = shop.acknowledge("user_id:42")
    executions = [requests.execution(shop.request(request))]
    for _ in range(5):
        erasure.fail(shop.erasure, request)
        sweep(shop.erasure, shop.world, shop.workflow, lambda: True)
        executions.append(requests.execution(shop.request(request)))

    assert executions == [request, *(f"{request}-{run}" for run in (1, 2, 3, 3, 3))]
    assert shop.request(request)["status"] == "partial"


def test_suppressing_somebody_erased_covers_all_that_was_erased_with_them() -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "i1", userId="42", traits={"email": "ann@example.com"}))
    shop.erase("user_id:42")
    shop.clock.advance(DAY)

    shop.erase("user_id:42", "erase_and_suppress")

    shop.clock.advance(DAY)
    shop.choose("email:ann@example.com", {"marketing": True}, CRM)
    assert shop.node("email:ann@example.com") is None


def household() -> Shop:
    """Two people at one tablet, which fits into neither's profile any more."""
    shop = Shop(policy(lambda compiled: compiled["identifiers"]["anonymous_id"].update(limit=1)))
    shop.send(WEB, order("o", anonymousId="tablet"))
    for user in "12":
        shop.send(CRM, order(f"own{user}", userId=user, anonymousId=f"own{user}"))
        shop.send(CRM, order(f"both{user}", userId=user, anonymousId="tablet"))
    return shop


def test_two_people_of_one_device_are_erased_beside_each_other() -> None:
    shop = household()

    requests = [shop.acknowledge(f"user_id:{user}") for user in "12"]

    statuses = {row["pk"]: row["status"] for row in shop.rows.held("requests")}
    assert statuses == dict.fromkeys(requests, "running")


def test_nothing_of_a_request_goes_while_one_of_its_profiles_is_held() -> None:
    shop = household()
    hold = shop.hold("anonymous_id:tablet")

    id_ = shop.acknowledge("user_id:1")

    assert shop.request(id_)["status"] == "held"
    assert {row["state"] for row in shop.rows.held("graph") if "state" in row} == {"hidden"}
    shop.release(hold)
    assert shop.request(id_)["status"] == "running"
