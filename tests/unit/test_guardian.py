"""Minors: only what a guardian granted counts, until they are of age."""

from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candor import bodies, consents, history, registers, separation
from candor.consent import MINOR, by_guardian, fold_choices, forbids, register_of, verdict
from candor.credentials import Source
from candor.errors import NotFound, Refused
from candor.identifiers import Identifier
from candor.ports import Key, Row
from tests.worlds import CRM, SHIPPED, WEB, Shop, order, permissions, policy, says, sent, unproven

ANN, PHONE = "user_id:42", "anonymous_id:a1"
OBJECTING = policy(lambda p: p["purposes"]["marketing"].update(basis="legitimate_interest"))
MINUTE = 60


def state(shop: Shop, who: str = ANN) -> str:
    return shop.state(who, "marketing")


def test_what_a_minor_granted_does_not_count_and_what_a_guardian_granted_does() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": True})
    assert state(shop) == "granted"

    shop.clock.advance(MINUTE)
    shop.choose(ANN, {}, minor=True)
    assert state(shop) == "denied"
    assert "no guardian" in shop.view(ANN).consents()["marketing"]["because"]
    shop.choose(ANN, {"marketing": True})
    assert state(shop) == "denied"

    shop.choose(ANN, {"marketing": True}, guardian=True)
    assert state(shop) == "granted"
    assert "a guardian" in shop.view(ANN).consents()["marketing"]["because"]

    shop.clock.advance(MINUTE)
    shop.choose(ANN, {"marketing": False})
    assert state(shop) == "denied", "a minor may always say no"


def test_of_age_they_choose_for_themselves_and_anew() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": True}, guardian=True)
    assert state(shop) == "granted"
    shop.choose(ANN, {"analytics": True})

    shop.clock.advance(MINUTE)
    shop.choose(ANN, {}, minor=False)

    assert state(shop) == "unknown", "a guardian's word ends"
    assert shop.state(ANN, "analytics") == "unknown", "and so does what a child said"
    shop.clock.advance(MINUTE)
    shop.choose(ANN, {"marketing": True})
    assert state(shop) == "granted"


def test_a_minors_device_grants_nothing_and_nothing_of_it_is_kept() -> None:
    shop = Shop()
    shop.choose(ANN, {}, minor=True)
    shop.send(CRM, order("o", userId="42", anonymousId="a1"))

    shop.send(WEB, sent("page", "p", anonymousId="a1", context=says(analytics=True)))

    assert shop.event_ids(ANN, "privacy_rights") == ["o"], "what the contract needs"
    assert "p" not in shop.event_ids("anonymous_id:a1", "privacy_rights")


def test_what_rests_on_no_consent_goes_on() -> None:
    shop = Shop(OBJECTING)
    shop.choose(ANN, {}, minor=True)

    assert verdict(OBJECTING, "service", {MINOR: [60, 0]}, {}).allowed
    assert verdict(OBJECTING, "marketing", {MINOR: [60, 0]}, {}).allowed
    assert not verdict(OBJECTING, "analytics", {MINOR: [60, 0]}, {"analytics": [60, 1]}).allowed
    assert not forbids(OBJECTING, {MINOR: [60, 0]}, "marketing")
    assert forbids(OBJECTING, {MINOR: [60, 0]}, "analytics")


@pytest.mark.parametrize("said", [{"guardian": True}, {"minor": False}])
def test_an_unproven_source_speaks_for_no_guardian(said: dict[str, bool]) -> None:
    shop = Shop()
    with pytest.raises(Refused) as refused:
        shop.choose((ANN, "anonymous_id:a1"), {"marketing": True}, WEB, **said)  # type: ignore[arg-type]
    assert refused.value.code == "proof_required"

    shop.choose((ANN, "anonymous_id:a1"), {}, WEB, minor=True)
    shop.choose(ANN, {"marketing": True})
    assert state(shop) == "denied", "that somebody is a minor is believed of anybody"


@pytest.mark.parametrize("said", [{"guardian": True}, {"minor": False}])
def test_a_child_who_is_logged_in_is_no_guardian(said: dict[str, bool]) -> None:
    shop = Shop()
    shop.choose(ANN, {}, minor=True)
    shop.clock.advance(MINUTE)

    with pytest.raises(Refused) as refused:
        shop.choose(ANN, {"marketing": True}, replace(WEB, trust="verified"), **said)  # type: ignore[arg-type]

    assert refused.value.code == "proof_required"
    assert state(shop) == "denied"


@pytest.mark.parametrize(
    ("source", "said", "code"),
    [
        (CRM, {"guardian": True, "minor": False}, "guardian_of_an_adult"),
        (WEB, {"guardian": True}, "proof_required"),
        (WEB, {"minor": False}, "proof_required"),
        (WEB, {"minor": True}, "device_required"),
    ],
)
def test_a_denial_is_not_lost_for_what_beside_it_does_not_count(
    source: Source, said: dict[str, bool], code: str
) -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": True, "analytics": True}, ago=MINUTE)
    marked = said == {"minor": True}
    denied = {} if marked else {"marketing": False}

    (note,) = shop.choose(ANN, {"profiling": True} | denied, source, **said)  # type: ignore[arg-type]

    assert note["code"] == code
    assert "profiling" in note["purposes"]
    assert state(shop) == "denied"
    assert shop.state(ANN, "analytics") == ("denied" if marked else "granted")
    assert shop.state(ANN, "profiling") != "granted"
    assert unproven(shop) == []


def test_who_speaks_as_a_guardian_does_not_say_that_they_are_of_age() -> None:
    shop = Shop()
    shop.choose(ANN, {"analytics": True}, ago=MINUTE)

    with pytest.raises(Refused) as refused:
        shop.choose(ANN, {}, guardian=True, minor=False)

    assert refused.value.code == "guardian_of_an_adult"
    assert shop.state(ANN, "analytics") == "granted"


def test_that_somebody_is_of_age_brings_nobody_back_who_was_erased() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": True})
    shop.erase(ANN)
    shop.clock.advance(MINUTE)

    shop.choose(ANN, {"marketing": False}, minor=False)

    with pytest.raises(NotFound):
        shop.view(ANN)


def test_the_api_takes_a_mark_alone() -> None:
    shop = Shop()
    body = bodies.parse(bodies.Choice, {"userId": "42", "minor": True})
    heard = body.heard(shop.policy)

    consents.choose(
        shop.world,
        body.choice(shop.world.identifiers, shop.clock(), CRM.id, CRM.trust, heard),
    )

    assert state(shop) == "denied"


def test_it_survives_a_merge_and_a_split() -> None:
    shop = Shop()
    shop.choose(ANN, {}, minor=True)
    shop.send(CRM, order("o", userId="42", anonymousId="a1"))
    assert shop.view("anonymous_id:a1").consents()["marketing"]["state"] == "denied"

    separation.separate(shop.world, shop.id(ANN), shop.id("anonymous_id:a1"), "staff", "why")

    for who in (ANN, "anonymous_id:a1"):
        assert shop.state(who, "marketing") == "denied"
        told = [one["purpose"] for one in shop.view(who, "privacy_rights").consent_records()]
        assert MINOR in told


def test_what_a_part_took_along_is_told_as_what_it_is() -> None:
    shop = Shop()
    shop.send(CRM, order("o", userId="42", anonymousId="a1"))
    shop.choose(ANN, {}, ago=MINUTE, minor=True)
    shop.choose(ANN, {}, minor=False)
    separation.separate(shop.world, shop.id(ANN), shop.id(PHONE), "staff", "why")

    told = history.explained(shop.view(PHONE, "privacy_rights"), "analytics", shop.clock())

    minor, of_age = (one["said"] for one in told["data"])
    assert minor.startswith("Said to be a minor on ")
    assert of_age.startswith("Said to be of age on ")
    assert "this part took it along" in of_age


def test_a_guardians_later_grant_is_told_as_theirs() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": False}, ago=MINUTE)
    shop.choose(ANN, {"marketing": True}, guardian=True)

    told = history.explained(shop.view(ANN, "privacy_rights"), "marketing", shop.clock())

    denial, grant = (one["because"] for one in told["data"])
    assert denial == "A guardian's grant of 2026-09-21 came later."
    assert grant == "It decides for the person."


SAID = st.fixed_dictionaries(
    {
        "who": st.sampled_from([ANN, PHONE, (ANN, PHONE)]),
        "purposes": st.dictionaries(st.sampled_from(["analytics", "marketing"]), st.booleans()),
        "source": st.sampled_from([WEB, CRM, CRM, CRM]),
        "ago": st.sampled_from([0, 10, 60]),
        "guardian": st.booleans(),
        "minor": st.none() | st.booleans(),
    }
)


@settings(max_examples=min(settings().max_examples * 8, 4000))
@given(st.lists(SAID, min_size=2, max_size=8), st.booleans())
def test_whatever_is_said_of_a_minor_is_decided_by_the_rules_and_explained(
    told: list[dict[str, Any]], parted: bool
) -> None:
    shop = Shop(OBJECTING)
    shop.send(CRM, order("o", userId="42", anonymousId="a1"))
    for one in told:
        with suppress(Refused):
            shop.choose(**one)
    assert unproven(shop) == []
    if parted:
        before = permissions(shop)
        separation.separate(shop.world, shop.id(ANN), shop.id(PHONE), "staff", "why")
        assert unproven(shop) == []
        assert permissions(shop) <= before


RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "purpose": st.sampled_from(["marketing", "analytics", MINOR]),
            "granted": st.booleans(),
            "at": st.sampled_from([60, 120, 180]),
            "guardian": st.booleans(),
        }
    ).filter(lambda one: not (one["guardian"] and one["purpose"] == MINOR)),
    max_size=4,
)


@given(RECORDS)
def test_records_fold_alike_in_any_order(records: list[dict[str, object]]) -> None:
    registers = [register_of(one) for one in records]
    folded = fold_choices(*registers)

    assert all(fold_choices(*turn) == folded for turn in permutations(registers))


@given(RECORDS, st.sampled_from(["marketing", "analytics", MINOR]), st.sampled_from([60, 120, 180]))
def test_no_denial_and_no_mark_ever_adds_a_permission(
    records: list[dict[str, object]], purpose: str, at: int
) -> None:
    before = fold_choices(*map(register_of, records))
    after = fold_choices(before, {purpose: [at, 0]})

    for asked in ("marketing", "analytics"):
        allowed = verdict(SHIPPED, asked, after, {asked: [60, 1]}).allowed
        assert allowed <= verdict(SHIPPED, asked, before, {asked: [60, 1]}).allowed


@pytest.mark.parametrize("ended", ["split", "rebuild"])
def test_what_ended_when_they_came_of_age_never_counts_again(ended: str) -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": True}, guardian=True)
    shop.clock.advance(MINUTE)
    mail = {"traits": {"email": "ann@example.com"}}
    shop.send(CRM, order("o", userId="42", context=mail))
    shop.choose("email:ann@example.com", {}, minor=False)
    assert state(shop) == "unknown"

    one, other = shop.id(ANN), shop.id("email:ann@example.com")
    if ended == "split":
        separation.separate(shop.world, one, other, "staff", "why")
    else:
        shop.rows.delete([row_key(row) for row in shop.rows.held("graph") if is_record(row, other)])
        registers.rebuild(shop.world, one, dry_run=False)

    assert state(shop) == "unknown"


def is_record(row: Row, one: Identifier) -> bool:
    return bool(row["pk"] == f"I#{one.key}" and row["sk"].startswith("CONSENT#"))


def row_key(row: Row) -> Key:
    return Key("graph", row["pk"], row["sk"])


def test_that_a_guardian_granted_one_purpose_is_told_of_the_others() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": True})
    shop.clock.advance(MINUTE)
    shop.choose(ANN, {"analytics": True}, guardian=True)

    view = shop.view(ANN, "privacy_rights")
    told = history.explained(view, "marketing", shop.clock())

    assert told["allowed"] is view.may("marketing").allowed is False
    assert "no guardian" in told["because"]
    assert [one["said"].partition(" in ")[0] for one in told["data"] if one["decides"]] == [
        "Said to be a minor"
    ]


def test_how_a_guardian_was_verified_has_to_be_said() -> None:
    shop = Shop()
    unsaid = consents.Choice(
        (shop.id(ANN),), {"marketing": True}, 60, "api", {}, "crm", "server", guardian=True
    )
    with pytest.raises(Refused) as refused:
        consents.choose(shop.world, unsaid)
    assert refused.value.code == "evidence_required"


def test_a_guardians_grant_is_under_a_name_of_its_own() -> None:
    said = {"purpose": "marketing", "granted": True, "at": 60, "guardian": True}

    assert register_of(said) == {by_guardian("marketing"): [0, 60], MINOR: [60, 0]}
