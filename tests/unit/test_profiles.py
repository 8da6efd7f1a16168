"""Reading a person: for a purpose, within consent and time, and alike for all who are not there."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor.errors import NotFound, Refused
from candor.policy import DAY
from candor.ports import Key, Put, Update
from candor.profiles import LISTED, MOST_LISTED, limited, view
from candor.sealing import Damaged
from candor.traits import fold
from tests.worlds import CRM, NOW, SHIPPED, WEB, Json, Shop, order, policy, recorded, says, sent

ANN = "user_id:42"


def shop_with_ann() -> Shop:
    shop = Shop()
    about = {"name": "Ann", "plan": "gold", "email": "ann@example.com", "address": {"city": "Graz"}}
    context = says(analytics=True)
    shop.send(WEB, sent("page", "p1", anonymousId="a1", name="Home", context=context))
    shop.send(CRM, sent("identify", "i1", userId="42", anonymousId="a1", traits=about))
    shop.send(CRM, order("o1", userId="42"))
    return shop


# For a purpose.


def test_a_read_gets_what_its_purpose_may_have() -> None:
    shop = shop_with_ann()

    service = shop.view(ANN, "service")
    assert service.traits() == {
        "address": {"city": "Graz"},
        "email": "ann@example.com",
        "name": "Ann",
        "plan": "gold",
    }
    assert [event["messageId"] for event in service.events()[0]] == ["o1"]
    assert shop.event_ids(ANN, "analytics") == ["p1"], "o1 carries no grant of its own"


def test_what_is_withheld_is_named_with_why_and_what_would_change_it() -> None:
    shop = shop_with_ann()
    person = shop.view(ANN, "marketing")

    assert (person.traits(), person.events()[0], person.identifiers()) == ({}, [], [])
    withheld = {one["name"]: one for one in person.withheld()}
    assert set(withheld) == {
        "address",
        "email",
        "event:Order Completed",
        "event:page",
        "identifier:anonymous_id",
        "identifier:email",
        "identifier:user_id",
        "name",
        "plan",
    }
    assert "no consent" in withheld["name"]["because"]
    assert "POST /v1/consents" in withheld["name"]["fix"]
    assert "not for marketing" in withheld["address"]["because"]
    told = json.dumps(person.withheld())
    assert not any(value in told for value in ("Ann", "ann@", "Graz", "gold"))


def test_a_grant_opens_and_a_withdrawal_closes_at_once() -> None:
    shop = shop_with_ann()
    shop.choose(ANN, {"marketing": True}, ago=60)
    assert shop.view(ANN, "marketing").traits() == {"email": "ann@example.com", "name": "Ann"}

    shop.choose(ANN, {"marketing": False})
    assert shop.view(ANN, "marketing").traits() == {}


def test_what_came_through_a_device_rests_on_the_consent_of_that_device() -> None:
    shop = Shop()
    ids: Json = {"userId": "42", "anonymousId": "a1", "context": says(marketing=True)}
    liked = {"favourite_category": "shoes"}
    shop.send(CRM, sent("identify", "i1", ago=120, **ids, traits=liked), order("o1", 120, **ids))
    assert shop.view(ANN, "marketing").traits() == liked
    assert shop.event_ids(ANN, "marketing") == ["o1"]

    shop.send(WEB, sent("page", "p1", anonymousId="a1", context=says(marketing=False)))

    assert shop.view(ANN, "marketing").traits() == {}
    assert shop.event_ids(ANN, "marketing") == []


def test_who_answers_privacy_requests_sees_everything_that_is_held() -> None:
    shop = shop_with_ann()
    shop.choose(ANN, {"marketing": False, "analytics": False}, evidence={"form": "7"})
    person = shop.view(ANN, "privacy_rights")

    assert set(person.traits()) == {"address", "email", "name", "plan"}
    assert {event["messageId"] for event in person.events()[0]} == {"p1", "o1"}
    assert len(person.identifiers()) == 3
    evidence = {one["mechanism"]: one.get("evidence") for one in person.consent_records()}
    assert evidence == {"banner": None, "preference_center": {"form": "7"}}
    assert person.withheld() == []


def test_evidence_of_consent_is_withheld_from_other_purposes() -> None:
    shop = shop_with_ann()
    shop.choose(ANN, {"marketing": False}, evidence={"ip": "203.0.113.7"})

    records = shop.view(ANN).consent_records()

    assert "203.0.113.7" not in repr(records)
    assert {record["purpose"] for record in records} == {"analytics", "marketing"}


def test_a_purpose_that_the_policy_does_not_name_reads_nothing() -> None:
    with pytest.raises(Refused, match="analytics"):
        shop_with_ann().view(ANN, "curiosity")


def test_a_trait_that_the_policy_names_no_longer_is_not_shown() -> None:
    shop = shop_with_ann()
    later = replace(shop.world, policy=policy(lambda compiled: compiled["traits"].pop("plan")))

    assert "plan" not in view(later, shop.id(ANN), "privacy_rights").traits()


@given(st.permutations(range(4)))
def test_a_view_folds_its_members_alike_in_any_order(turn: list[int]) -> None:
    facts = [[f"Ann{n % 2}", 1000 + n // 2, "crm", None, True, "crm"] for n in range(4)]

    folded = fold(SHIPPED, *[{"name": facts[n]} for n in turn])

    assert folded == {"name": ["Ann1", 1001, "crm", None, True, "crm"]}


# Within time.


def test_due_is_obeyed_at_once_and_not_when_dynamodb_gets_to_it() -> None:
    shop = shop_with_ann()
    rules = shop.policy
    for class_, name in (("behaviour", "p1"), ("transaction", "o1")):
        due = rules.due(rules.retention[class_], NOW)
        shop.clock.now = due - 2 * DAY
        shop.send(CRM, sent("identify", name, ago=NOW - due, userId="42", anonymousId="a1"))
        shop.clock.now = due - 1
        assert name in shop.event_ids(ANN, "privacy_rights")
        shop.clock.now = due
        assert name not in shop.event_ids(ANN, "privacy_rights")
    assert len(shop.rows.held("events")) == 2, "they are still in the table"


def test_a_trait_ends_by_its_own_class() -> None:
    shop = shop_with_ann()
    due = shop.policy.due(shop.policy.retention["account"], NOW)
    verbose = shop.view(ANN).traits(verbose=True)
    assert verbose["plan"]["expires"] == due
    shop.clock.now = due - 1
    assert shop.view(ANN).traits()

    shop.clock.now = due
    assert shop.view(ANN).traits() == {}


def test_an_identifier_that_ended_is_not_found_before_anything_deletes_it() -> None:
    shop = shop_with_ann()
    shop.clock.now = shop.policy.due(shop.policy.records["identifier"], NOW)

    with pytest.raises(NotFound):
        shop.view(ANN)


def test_of_a_shredded_member_nothing_is_read_and_of_a_damaged_one_nothing_is_guessed() -> None:
    shop = shop_with_ann()
    idkey = shop.id("anonymous_id:a1").key
    shop.rows.update(Update(Key("keys", idkey), remove=("salt",)))
    assert shop.event_ids(ANN, "privacy_rights") == ["o1"]

    other = shop.id("email:ann@example.com").key
    mine = shop.row("TRAITS", f"I#{shop.id(ANN).key}")
    theirs = shop.row("TRAITS", f"I#{other}")
    assert mine
    assert theirs
    moved = {"data": mine["data"][:12] + theirs["data"][12:], "version": 9, "due": mine["due"]}
    shop.rows.put([Put(Key("graph", mine["pk"], "TRAITS"), moved)])
    with pytest.raises(Damaged):
        shop.view(ANN)


# Who is not there.


def unknown() -> tuple[Shop, Any]:
    shop = shop_with_ann()
    return shop, shop.id("user_id:99")


def no_identifier() -> tuple[Shop, Any]:
    return shop_with_ann(), None


def erased() -> tuple[Shop, Any]:
    shop = shop_with_ann()
    shop.erase(ANN)
    return shop, shop.id(ANN)


def being_erased() -> tuple[Shop, Any]:
    shop = shop_with_ann()
    shop.acknowledge(ANN)
    return shop, shop.id(ANN)


def fenced_and_never_known() -> tuple[Shop, Any]:
    shop = shop_with_ann()
    shop.erase("user_id:99", "erase_and_suppress")
    return shop, shop.id("user_id:99")


def ended() -> tuple[Shop, Any]:
    shop = shop_with_ann()
    shop.clock.advance(1200 * DAY)
    return shop, shop.id(ANN)


def shredded() -> tuple[Shop, Any]:
    shop = shop_with_ann()
    shop.rows.update(Update(Key("keys", shop.id(ANN).key), set={"mode": "erase"}))
    return shop, shop.id(ANN)


@pytest.mark.parametrize(
    "absent",
    [no_identifier, erased, being_erased, fenced_and_never_known, ended, shredded],
    ids=lambda absent: absent.__name__,
)
def test_unknown_erased_and_fenced_are_one_answer_after_the_same_calls(
    absent: Callable[[], tuple[Shop, Any]],
) -> None:
    def told(case: Callable[[], tuple[Shop, Any]]) -> tuple[Any, ...]:
        shop, one = case()
        errors: list[Refused] = []

        def read() -> None:
            try:
                view(shop.world, one, "service")
            except NotFound as refused:
                errors.append(refused)

        calls = recorded(shop, read)
        tables = [[key.table for key in keys] for keys in calls.before("rows.get")]
        (error,) = errors
        return (error.status, error.code, error.message, calls.names, tables)

    assert told(absent) == told(unknown)


# Pages.


def many(amount: int) -> Shop:
    shop = Shop()
    events = [order(f"o{n}", ago=(n % 7) * 7_000 + n // 7, userId="42") for n in range(amount)]
    shop.send(CRM, *events)
    return shop


def pages(shop: Shop, limit: int, purpose: str = "service") -> list[Json]:
    found: list[Json] = []
    cursor: str | None = None
    while True:
        page, cursor = shop.view(ANN, purpose).events(limit, cursor)
        found += page
        assert len(page) == limit or cursor is None
        if cursor is None:
            return found


@given(st.integers(0, 30), st.integers(1, 11))
def test_pages_together_are_what_one_read_shows(amount: int, limit: int) -> None:
    shop = many(amount) if amount else shop_with_ann()

    found = pages(shop, limit)

    assert found == shop.view(ANN).events(limit=500)[0]
    assert [event["at"] for event in found] == sorted((e["at"] for e in found), reverse=True)


@given(st.integers(1, 4))
def test_an_event_that_came_twice_is_shown_once_on_whatever_page(limit: int) -> None:
    """Retried without a time of its own, it is dated anew, and is the same event."""
    shop = Shop()
    undated = {
        name: value for name, value in order("o", userId="42").items() if name != "timestamp"
    }
    events = [{**undated, "messageId": f"o{n}"} for n in range(3)]
    for together in (3, 1, 2):  # cut otherwise each time, so that no copy overwrites another
        for start in range(0, 3, together):
            shop.send(CRM, *events[start : start + together])
        shop.clock.advance(60)
    assert sum(row["n"] for row in shop.rows.held("events")) > 3

    found = [event["messageId"] for event in pages(shop, limit)]

    assert sorted(found) == ["o0", "o1", "o2"]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "null", base64.b64encode(b"[1,2]").decode(), base64.b64encode(b"{}").decode()]
    + [base64.b64encode(json.dumps(c).encode()).decode() for c in (["a", 0, "x"], [0, 0, 1])]
    + [base64.b64encode(json.dumps([-(10**400), 0, "x"]).encode()).decode()]
    + [base64.urlsafe_b64encode(b"[" * 6000).decode()],
)
def test_a_cursor_that_nobody_gave_is_refused(cursor: str) -> None:
    with pytest.raises(Refused):
        shop_with_ann().view(ANN).events(cursor=cursor)


@pytest.mark.parametrize("limit", ["0", "-1", "501", "x", "", "1e2", "٣", "9" * 5000])
def test_a_limit_outside_its_range_is_refused(limit: str) -> None:
    with pytest.raises(Refused):
        limited(limit)


def test_a_limit_within_its_range_is_taken() -> None:
    assert [limited(text) for text in (None, "1", str(MOST_LISTED))] == [LISTED, 1, MOST_LISTED]


def test_a_page_ends_before_it_is_too_large_to_be_answered() -> None:
    shop = Shop()
    for n in range(20):
        products = [{"name": "x" * 15_000}] * 2
        large = {"event": "Order Completed", "properties": {"products": products}}
        batch = [sent("track", f"o{n}-{m}", n, userId="42", **large) for m in range(10)]
        shop.send(CRM, *batch)

    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page, cursor = shop.view("user_id:42").events(500, cursor)
        assert len(json.dumps(page)) < 6 * 1024 * 1024
        seen += [event["messageId"] for event in page]
        pages += 1

    assert pages == 2
    assert len(set(seen)) == len(seen) == 200
