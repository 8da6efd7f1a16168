"""A change of the policy's times reaches what is stored: first told, then done, each row once."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import audit, renewal
from candor.errors import Clash
from candor.policy import DAY, Policy
from candor.ports import Key, Row, Update
from candor.world import World
from tests.served import Served
from tests.worlds import (
    CRM,
    GRAPH,
    NOW,
    WEB,
    Json,
    Shop,
    broken_rules,
    crash_at,
    order,
    policy,
    recorded,
    says,
    sent,
)

ANN = "user_id:42"


def always() -> bool:
    return True


def stored(shop: Shop | None = None) -> Shop:
    """Ann and others, of two classes and with everything about them."""
    shop = shop or Shop()
    context = says(analytics=True, marketing=True, personalization=True)
    shop.send(WEB, sent("page", "p1", anonymousId="a1", context=context))
    said = {"name": "Ann", "avatar": "a", "gender": "f"}
    shop.send(CRM, sent("identify", "i1", userId="42", anonymousId="a1", traits=said))
    shop.send(CRM, order("o1", userId="42"), order("o2", ago=40 * DAY, userId="43"))
    shop.choose(ANN, {"marketing": True, "personalization": True})
    shop.erase("anonymous_id:a9")
    return shop


def changed(**days: int) -> Policy:
    def change(compiled: Json) -> None:
        compiled["hash"] = "another"
        for name, count in days.items():
            part = "records" if name in compiled["records"] else "retention"
            compiled[part][name] = count

    return policy(change)


def under(shop: Shop, rules: Policy) -> World:
    """The shop's world after its policy was changed and deployed."""
    shop.policy = rules
    shop.world = replace(shop.world, policy=rules)
    shop.erasure = replace(shop.erasure, policy=rules)
    return shop.world


def renew(shop: Shop, *, dry_run: bool = False, more: Callable[[], bool] = always) -> Json:
    renewal.start(shop.world, "staff", dry_run=dry_run)
    for _ in range(200):
        renewal.go_on(shop.world, more)
        told = renewal.shown(shop.world)
        if told["status"] == "done":
            return told
    raise AssertionError("it never ends")


def told_of(found: Json) -> dict[str, tuple[int, int, int]]:
    return {
        f"{one['kind']} {one['class']}": (one["sooner"], one["later"], one["at_once"])
        for one in found["changes"]
    }


def ends(shop: Shop) -> dict[tuple[str, str], tuple[int, int | None]]:
    rows = [row for table in ("requests", "events", GRAPH) for row in shop.rows.held(table)]
    return {
        (row["pk"], row.get("sk", "")): (row["due"], row.get("ttl")) for row in rows if "due" in row
    }


def lacking(shop: Shop) -> list[str]:
    """What of the rows does not end as it would, had they been written under today's policy."""
    anew = stored(Shop(shop.policy))
    theirs: dict[str, set[int]] = {}
    for (pk, sk), (due, _) in ends(anew).items():
        theirs.setdefault(_sort(pk, sk), set()).add(due)
    mine: dict[str, set[int]] = {}
    for (pk, sk), (due, _) in ends(shop).items():
        mine.setdefault(_sort(pk, sk), set()).add(due)
    return [
        f"{name}: {mine[name]} for {theirs[name]}" for name in mine if mine[name] != theirs[name]
    ]


def _sort(pk: str, sk: str) -> str:
    return sk.partition("#")[0] or "request"


EVERYTHING = {
    "behaviour": 10,
    "transaction": 2000,
    "brief": 60,
    "identifier": 2000,
    "link": 700,
    "consent": 3000,
    "request": 800,
}


def test_what_is_stored_ends_as_if_it_had_come_under_todays_policy() -> None:
    shop = stored()
    under(shop, changed(**EVERYTHING))
    assert lacking(shop)

    renew(shop)

    assert lacking(shop) == []
    for row in shop.rows.held(GRAPH):
        if "ttl" in row:
            assert 0 <= row["ttl"] - row["due"] <= 2 * DAY


def test_a_dry_run_tells_what_would_change_and_changes_nothing() -> None:
    shop = stored()
    under(shop, changed(**EVERYTHING))
    before = {table: shop.rows.held(table) for table in ("requests", "events", "graph")}

    found = renew(shop, dry_run=True)

    assert {table: shop.rows.held(table) for table in before} == before  # type: ignore[arg-type]
    told = told_of(found)
    assert told["bundles behaviour"] == (1, 0, 0)
    assert told["bundles transaction"] == (0, 2, 0)
    assert told["traits brief"] == (0, 1, 0)
    assert told["traits behaviour"] == (1, 0, 0)
    assert "traits account" not in told
    assert told["identifiers identifier"] == (0, 3, 0)
    assert told["profiles identifier"] == (0, 2, 0)
    assert told["links link"] == (2, 0, 0)
    assert told["requests request"] == (1, 0, 0)
    assert found["dry_run"]
    assert told_of(renew(shop)) == told, "the real one does what was told"
    assert told_of(renew(shop)) == {}, "and then there is nothing left to do"


def test_what_is_too_old_by_today_ends_at_once() -> None:
    shop = stored()
    under(shop, changed(transaction=30))
    assert shop.event_ids("user_id:43") == ["o2"]

    found = renew(shop)

    assert told_of(found) == {"bundles transaction": (2, 0, 1)}
    assert shop.event_ids("user_id:43") == []
    (over,) = [row for row in shop.rows.held("events") if row["due"] <= NOW]
    assert over["ttl"] == int(NOW), "DynamoDB leaves what ended years ago"


def test_what_has_ended_is_not_brought_back_by_a_longer_time() -> None:
    shop = stored()
    shop.clock.advance(100 * DAY)
    assert shop.event_ids(ANN, "privacy_rights") == ["o1"]
    assert "avatar" not in shop.view(ANN, "privacy_rights").traits()
    under(shop, changed(behaviour=500, brief=500))
    seen = shop.read_for_all(ANN)

    assert told_of(renew(shop)) == {}

    assert shop.read_for_all(ANN) == seen
    assert shop.event_ids(ANN, "privacy_rights") == ["o1"]
    assert "avatar" not in shop.view(ANN, "privacy_rights").traits()


def test_a_class_that_is_gone_is_told_and_what_is_of_it_keeps_its_day() -> None:
    shop = stored()

    def drop(compiled: Json) -> None:
        compiled["hash"] = "another"
        del compiled["retention"]["transaction"], compiled["traits"]["gender"]
        compiled["events"] = {
            name: one
            for name, one in compiled["events"].items()
            if one["retention"] != "transaction"
        }

    before = ends(shop)
    under(shop, policy(drop))

    found = renew(shop)

    assert found["unknown"] == [
        {"kind": "bundles", "class": "transaction", "rows": 2},
        {"kind": "traits", "class": "gender", "rows": 1},
    ]
    assert ends(shop) == before


def test_what_a_hold_keeps_gets_another_day_and_no_ttl() -> None:
    shop = stored()
    for row in [*shop.rows.held("events"), *shop.rows.held(GRAPH)]:
        table = "events" if "class" in row else GRAPH
        shop.rows.update(Update(Key(table, row["pk"], row["sk"]), remove=("ttl",)))
    under(shop, changed(**EVERYTHING))

    renew(shop)

    assert lacking(shop) == []
    assert {row.get("ttl") for row in shop.rows.held("events")} == {None}
    assert {row.get("ttl") for row in shop.rows.held(GRAPH)} == {None}


def test_a_second_one_joins_the_first_and_another_kind_has_to_wait() -> None:
    shop = stored()
    under(shop, changed(**EVERYTHING))
    renewal.start(shop.world, "staff", dry_run=True)
    first = renewal.shown(shop.world)["id"]

    renewal.start(shop.world, "another", dry_run=True)

    assert renewal.shown(shop.world)["id"] == first
    with pytest.raises(Clash):
        renewal.start(shop.world, "staff", dry_run=False)


def test_a_policy_that_changes_under_way_begins_it_again() -> None:
    shop = stored()
    under(shop, changed(behaviour=10))
    renewal.start(shop.world, "staff", dry_run=False)
    left = iter(range(2))
    renewal.go_on(shop.world, lambda: next(left, None) is not None)

    under(shop, replace(changed(behaviour=20), hash="a third"))
    renewal.go_on(shop.world, always)

    assert renewal.shown(shop.world)["policy"] == "a third"
    assert lacking(shop) == []


def test_a_row_that_is_written_under_way_is_looked_at_again() -> None:
    shop = stored()
    under(shop, changed(transaction=2000))
    renewal.start(shop.world, "staff", dry_run=False)
    (row,) = [one for one in shop.rows.held("events") if one["pk"] == shop.id("user_id:43").key]
    key = Key("events", row["pk"], row["sk"])

    def interrupt(call: str, detail: Any) -> None:
        if call == "rows.commit:before" and any(write.key == key for write in detail):
            shop.rows.tap = None
            shop.rows.update(Update(key, remove=("ttl",)))

    shop.rows.tap = interrupt
    renewal.go_on(shop.world, always)

    assert lacking(shop) == []
    (row,) = [one for one in shop.rows.held("events") if one["pk"] == key.pk]
    assert "ttl" not in row
    assert told_of(renewal.shown(shop.world)) == {"bundles transaction": (0, 2, 0)}


@pytest.mark.parametrize("dry_run", [True, False])
def test_one_that_is_killed_anywhere_and_taken_up_counts_each_row_once(dry_run: bool) -> None:
    rules = changed(**EVERYTHING)
    whole = stored()
    under(whole, rules)
    told = told_of(renew(whole, dry_run=dry_run))
    place = 0
    while True:
        shop = stored()
        under(shop, rules)
        renewal.start(shop.world, "staff", dry_run=dry_run)
        crashed = crash_at(shop, place, lambda s=shop: renewal.go_on(s.world, always))  # type: ignore[misc]
        renewal.go_on(shop.world, always)
        found = renewal.shown(shop.world)
        assert found["status"] == "done"
        assert told_of(found) == told, f"killed at {place}"
        assert bool(lacking(shop)) == dry_run
        if not crashed:
            break
        place += 1
    assert place > 10


@given(st.integers(1, 3), st.integers(0, 9))
def test_two_at_once_in_slices_do_each_row_once(each: int, place: int) -> None:
    rules = changed(**EVERYTHING)
    whole, shop = stored(), stored()
    under(whole, rules), under(shop, rules)
    told = told_of(renew(whole))
    renewal.start(shop.world, "staff", dry_run=False)
    steps = iter(range(place))

    def beside(call: str, detail: Any) -> None:
        if call == "rows.commit:before" and next(steps, None) is None:
            shop.rows.tap = None
            left = iter(range(each))
            renewal.go_on(shop.world, lambda: next(left, None) is not None)

    shop.rows.tap = beside
    renewal.go_on(shop.world, always)
    shop.rows.tap = None
    renewal.go_on(shop.world, always)

    found = renewal.shown(shop.world)
    assert (found["status"], told_of(found)) == ("done", told)
    assert lacking(shop) == []


def test_a_store_under_todays_policy_costs_no_write_but_the_places() -> None:
    shop = stored()
    renewal.start(shop.world, "staff", dry_run=False)

    calls = recorded(shop, lambda: renewal.go_on(shop.world, always))

    written = [write.key for writes in calls.before("rows.commit") for write in writes]
    assert set(written) == {renewal.PLACE}


def big(n: int) -> Row:
    return {"pk": f"p{n}", "sk": "s", "data": b"x" * 900_000}


def test_a_slice_fits_a_transaction() -> None:
    parts = list(renewal._parts([big(n) for n in range(5)]))

    assert [len(part) for part in parts] == [2, 2, 1]


# The API


def asked(served: Served, method: str, key: str, body: Json | None = None) -> tuple[int, Json]:
    event = {
        "httpMethod": method,
        "resource": "/retention",
        "headers": {"Authorization": f"Bearer {key}"},
        "body": json.dumps(body) if body is not None else None,
    }
    answer = served.invoke("privacy", event)
    return answer["statusCode"], json.loads(answer["body"])


@pytest.mark.parametrize("role", ["dpo", "admin"])
def test_it_is_begun_through_the_api_and_done_by_the_sweep(
    monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    served = Served(monkeypatch)
    shop, token = served.shop, served.token(role)
    stored(shop)
    served.wiring.__dict__["world"] = under(shop, changed(**EVERYTHING))
    served.wiring.__dict__["erasure"] = shop.erasure
    assert asked(served, "GET", token) == (200, {"status": None})

    status, told = asked(served, "POST", token, {"dry_run": False})

    assert (status, told["status"]) == (202, "running")
    assert shop.sweeper.woken == 1
    served.invoke("sweep", {})
    status, told = asked(served, "GET", token)
    assert (status, told["status"], told["tables_left"]) == (200, "done", 0)
    assert lacking(shop) == []
    entries = [json.loads(body)["action"] for body in served.audit_queue.bodies]
    assert entries == ["retention.read", "retention.renewed", "retention.read"]


@pytest.mark.parametrize("role", ["steward", "analyst", "marketer"])
def test_only_who_answers_for_it_may_begin_it(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    served = Served(monkeypatch)

    assert asked(served, "POST", served.token(role), {})[0] == 403
    assert asked(served, "GET", served.token(role))[0] == 403
    assert audit.head(served.shop.rows) is None


def test_a_profile_outlasts_all_its_members_also_where_the_policy_gives_less_by_now() -> None:
    shop = stored()
    shop.clock.advance(DAY)
    under(shop, changed(identifier=10))
    shop.send(CRM, order("later", -DAY, anonymousId="a1"))
    tablet = {"device": {"id": "d"}}
    shop.send(CRM, order("joining", -DAY, anonymousId="a2", context=tablet))
    shop.send(CRM, order("joined", -DAY, anonymousId="a1", context=tablet))
    shop.clock.advance(20 * DAY)
    assert "o1" in shop.event_ids(ANN)
    assert broken_rules(shop) == []
