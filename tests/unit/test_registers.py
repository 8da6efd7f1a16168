"""Registers follow from records and are mended from them; nothing is granted without proof."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import registers
from candor.consent import fold_choices, fold_signals
from candor.credentials import Source
from candor.errors import NotFound
from candor.policy import DAY
from candor.ports import Key, Row, Update
from candor.registers import Registers, rebuilt
from tests.worlds import CRM, WEB, Shop, order, says, sent, unproven

ANN, PHONE, TABLET = "user_id:42", "anonymous_id:a1", "anonymous_id:a2"

records = st.lists(
    st.tuples(
        st.sampled_from(["i1", "i2"]),
        st.fixed_dictionaries(
            {
                "purpose": st.sampled_from(["analytics", "marketing"]),
                "granted": st.booleans(),
                "at": st.sampled_from([0, 59, 60, 61, 1_790_000_000]),
                "binds": st.sampled_from(["device", "profile"]),
            }
        ),
    ),
    max_size=5,
)


def ann() -> Shop:
    """She said yes to analytics at her browser, and no to marketing as a customer."""
    shop = Shop()
    shop.send(WEB, sent("page", "p", 90, anonymousId="a1", context=says(analytics=True)))
    shop.send(CRM, order("o", 60, userId="42", anonymousId="a1"))
    shop.choose(ANN, {"marketing": False, "personalization": True})
    return shop


def rebuild(shop: Shop, who: str = ANN, *, dry_run: bool = False) -> list[dict[str, Any]]:
    view = shop.view(who, "privacy_rights")
    found = registers.rebuild(shop.world, shop.id(who), dry_run=dry_run)
    return [registers.shown(one, view.named) for one in found]


def change(shop: Shop, place: str, **attributes: Any) -> None:
    """Break what lies in the table. `place` is an identifier, or "profile"."""
    node = shop.node(ANN if place == "profile" else place)
    assert node
    pk, sk = (f"P#{node['profile']}", "PROFILE") if place == "profile" else (node["pk"], "NODE")
    shop.rows.update(Update(Key("graph", pk, sk), set=attributes, add={"version": 1}))


def held(shop: Shop) -> tuple[Any, Any]:
    """The choices of Ann's profile and the signals of her browser."""
    node = shop.node(PHONE)
    assert node
    profile = shop.row("PROFILE", f"P#{node['profile']}")
    assert profile
    return profile["choices"], node["signals"]


def consents(shop: Shop) -> list[Row]:
    return [row for row in shop.rows.held("graph") if row["sk"].startswith("CONSENT#")]


@given(records)
def test_registers_follow_from_records_in_any_order_and_number(
    told: list[tuple[str, Row]],
) -> None:
    found = rebuilt(told)

    assert all(rebuilt([*order_]) == found for order_ in permutations(told))
    assert rebuilt(told + told) == found


@given(records, records)
def test_registers_of_all_records_are_the_fold_of_those_of_some(
    some: list[tuple[str, Row]], rest: list[tuple[str, Row]]
) -> None:
    one, other, both = rebuilt(some), rebuilt(rest), rebuilt(some + rest)

    assert both.choices == fold_choices(one.choices, other.choices)
    for idkey, signals in both.signals.items():
        parts = (half.signals.get(idkey, {}) for half in (one, other))
        assert signals == fold_signals(*parts)


@given(records, records)
def test_mending_never_lifts_a_denial_and_never_grants_without_a_record(
    before: list[tuple[str, Row]], told: list[tuple[str, Row]]
) -> None:
    register, found = rebuilt(before), rebuilt(told)

    for one in registers.differences(register, found):
        if one.idkey is None:
            denied, granted = one.becomes or (0, 0)
            assert denied >= (one.register or [0, 0])[0]
            assert granted == (one.records or [0, 0])[1]
        elif one.becomes and one.becomes[1]:
            assert one.becomes == one.records
        elif one.register and not one.register[1]:
            assert one.becomes
            assert one.becomes[0] >= one.register[0]


def test_registers_that_are_right_are_left_alone() -> None:
    shop = ann()
    before = shop.rows.held("graph")

    assert rebuild(shop) == []
    assert shop.rows.held("graph") == before


def test_a_register_that_lost_a_denial_gets_it_back() -> None:
    shop = ann()
    was = held(shop)
    change(shop, "profile", choices={})
    change(shop, PHONE, signals={"analytics": [60, 1]})
    broken = held(shop)

    tried = rebuild(shop, dry_run=True)
    assert held(shop) == broken, "a dry run changes nothing"
    done = rebuild(shop)

    assert done == tried
    told = {one["purpose"]: one for one in done}
    assert told["marketing"]["register"] is None
    assert told["marketing"]["becomes"] == told["marketing"]["records"]
    assert told["analytics"]["identifier"] == {"type": "anonymous_id", "value": "a1"}
    assert told["analytics"]["register"] == {"denied": None, "granted": 60}
    assert told["marketing"]["identifier"] is None, "it is the person's"
    assert held(shop) == was
    assert unproven(shop) == []
    assert rebuild(shop) == [], "and again there is nothing to do"


def test_a_grant_that_no_record_proves_is_taken_back() -> None:
    shop = ann()
    was = held(shop)
    change(shop, "profile", choices=was[0] | {"profiling": [0, 60]})
    change(shop, PHONE, signals=was[1] | {"marketing": [60, 1]})

    taken = {one["purpose"]: one["becomes"] for one in rebuild(shop)}

    assert taken == {"profiling": None, "marketing": None}
    assert held(shop) == was


def test_a_denial_that_no_record_tells_of_stays_and_is_shown() -> None:
    shop = ann()
    choices, signals = held(shop)
    change(shop, "profile", choices=choices | {"profiling": [60, 0]})
    change(shop, PHONE, signals=signals | {"marketing": [60, 0]})
    unknown = held(shop)

    told = rebuild(shop)

    assert {one["purpose"] for one in told} == {"profiling", "marketing"}
    assert all("only the person can lift it" in one["because"] for one in told)
    assert held(shop) == unknown


@pytest.mark.parametrize("place", ["rows.query:before", "rows.query:after", "rows.commit:before"])
@pytest.mark.parametrize(
    ("who", "source", "purposes"),
    [(ANN, CRM, {"analytics": False, "profiling": True}), (PHONE, WEB, {"profiling": True})],
    ids=["profile", "device"],
)
def test_what_is_said_in_between_is_not_lost(
    place: str, who: str, source: Source, purposes: dict[str, bool]
) -> None:
    shop = ann()
    change(shop, "profile", choices={})
    change(shop, PHONE, signals={})
    met: list[str] = []

    def meanwhile(call: str, _: object) -> None:
        if call == place and not met:
            met.append(call)
            shop.choose(who, purposes, source)

    shop.rows.tap = meanwhile
    rebuild(shop)
    shop.rows.tap = None

    assert met
    assert unproven(shop) == []
    assert shop.state(ANN, "marketing") == "denied"
    for purpose, granted in purposes.items():
        assert shop.state(ANN, purpose) == ("granted" if granted else "denied")


@pytest.mark.parametrize("who", ["user_id:nobody", ANN])
def test_nobody_is_rebuilt_who_is_not_there(who: str) -> None:
    shop = ann()
    shop.clock.advance(60)
    shop.erase(ANN)

    with pytest.raises(NotFound):
        registers.rebuild(shop.world, shop.id(who), dry_run=False)


# What time makes of it.


def test_what_an_identifier_said_before_it_ended_is_proof_and_counts_no_more() -> None:
    shop = Shop()
    shop.choose(PHONE, {"marketing": False, "analytics": True}, WEB)
    shop.clock.advance((shop.policy.records["identifier"] + 2) * DAY)
    now = shop.clock()
    back = sent("page", "p", anonymousId="a1", context=says(analytics=True))
    shop.send(WEB, back | {"timestamp": None, "sentAt": None})

    assert {row["received"] < now - DAY for row in consents(shop)} == {True, False}
    assert rebuild(shop, PHONE) == []
    assert shop.state(PHONE, "marketing") == "unknown"


def test_who_chooses_was_seen_so_the_choice_does_not_end_soon() -> None:
    shop = Shop()
    shop.send(CRM, order("o", userId="42"))
    shop.clock.advance((shop.policy.records["identifier"] - 1) * DAY)
    shop.choose(ANN, {"marketing": False})
    shop.clock.advance(5 * DAY)

    assert shop.state(ANN, "marketing") == "denied"
    assert rebuild(shop) == []


def test_of_a_member_that_ended_the_denials_stay_and_the_grants_go() -> None:
    shop = Shop()
    email = {"email": "ann@example.com"}
    shop.send(CRM, sent("identify", "i", userId="42", traits=email))
    shop.choose("email:ann@example.com", {"marketing": False, "analytics": True})
    shop.clock.advance(900 * DAY)
    shop.choose(ANN, {"profiling": True})
    shop.clock.advance((shop.policy.records["identifier"] - 800) * DAY)

    told = {one["purpose"]: one for one in rebuild(shop)}

    assert told.keys() == {"marketing", "analytics"}
    assert told["analytics"]["becomes"] is None
    assert shop.state(ANN, "marketing") == "denied"
    assert shop.state(ANN, "analytics") == "unknown"
    assert shop.state(ANN, "profiling") == "granted"


# The record.


def test_the_text_that_was_shown_is_on_record() -> None:
    shop = ann()
    shop.choose(ANN, {"profiling": True}, language="de-DE", text_version="2026-03")

    newest = shop.view(ANN).consent_records()
    (record,) = (one for one in newest if one["purpose"] == "profiling")
    assert (record["language"], record["text_version"]) == ("de-DE", "2026-03")
    assert record["policy"] == shop.policy.hash
    assert all("language" not in one for one in newest if one["purpose"] != "profiling")


def test_the_same_choice_told_again_is_the_record_that_was_there() -> None:
    shop = Shop()
    paper = {"form": "paper"}
    at = shop.clock()
    shop.choose(ANN, {"marketing": True}, evidence=paper, language="de", text_version="v3")
    (first,) = consents(shop)
    shop.clock.advance(3 * DAY)
    ago = shop.clock() - at

    told = {"marketing": True}
    shop.choose(ANN, told, ago=ago, evidence=paper, language="de", text_version="v3")
    assert consents(shop) == [first], "with the time when it was first received"

    shop.choose(ANN, told, ago=ago, evidence=paper, language="en", text_version="v3")
    assert len(consents(shop)) == 2, "another text was shown"


def test_empty_registers_differ_in_nothing() -> None:
    assert registers.differences(Registers(), Registers()) == []
