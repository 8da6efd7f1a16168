"""The measure of accuracy: its truth, its references and its arithmetic, and that it can fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.bench.accuracy import matchers
from tests.bench.accuracy.accuracy import compared
from tests.bench.accuracy.matchers import Profile
from tests.bench.accuracy.measures import measure
from tests.bench.accuracy.rates import RATES, WRITTEN, Rates
from tests.bench.accuracy.simulator import DAY, START, Json, Message, Sender, Year, simulate
from tests.worlds import order, policy, says, sent

ANN, BEN, CLEO = 0, 1, 2


# The rates.


@pytest.mark.parametrize("name", WRITTEN)
def test_every_rate_has_a_unit_and_says_where_it_is_from(name: str) -> None:
    one = WRITTEN[name]

    assert one["unit"]
    assert ("assumed" in one) != ("source" in one and "seen" in one)


def test_a_changed_rate_is_changed_alone_and_a_share_stays_one() -> None:
    changed = RATES.times("account", 4)

    assert changed["account"] == 1
    assert RATES.times("visits_a_year", 2)["visits_a_year"] == 2 * RATES["visits_a_year"]
    assert {name for name in RATES if changed[name] != RATES[name]} == {"account"}


# What is simulated.

SHARED = (
    *("shared_tablet", "kiosk_visit", "bot_visit", "junk_id", "typo_is_anothers"),
    *("placeholder_email", "shop_phone", "household_phone", "recycled_phone"),
)
"""The rates of all that brings two people together."""


def rates(**changed: float) -> Rates:
    return replace(RATES, values=RATES.values | changed)


def test_a_seed_is_one_year_and_another_seed_another() -> None:
    once = simulate(RATES, 30, 7)

    assert simulate(RATES, 30, 7) == once
    assert simulate(RATES, 30, 8) != once


def test_a_changed_rate_leaves_alone_what_it_is_not_the_rate_of() -> None:
    def from_browsers(rates: Rates) -> list[Json]:
        messages = simulate(rates, 100, 7).messages
        events = [event for one in messages if one.sender == "website" for event in one.events]
        return [{**event, "messageId": None} for event in events]

    assert from_browsers(rates(placeholder_email=1)) == from_browsers(RATES)
    assert from_browsers(rates(order=1)) != from_browsers(RATES)


def test_each_kind_of_sharing_is_there_and_known_as_such() -> None:
    changed = dict.fromkeys(SHARED, 0.3) | {"placeholder_email": 0.1, "bots": 20}
    year = simulate(rates(**changed), 200, 7)

    shared = {name: owners for name, owners in year.owners.items() if len(owners) > 1}
    assert {year.kinds[name] for name in shared} == {"tablet", "kiosk", "phone"}
    assert set(year.kinds.values()) >= {"junk", "bot", "branch", "placeholder"}
    nobodys = {name for name, kind in year.kinds.items() if kind in ("junk", "bot", "branch")}
    assert not nobodys & year.owners.keys()
    sent_ = {event["messageId"] for one in year.messages for event in one.events}
    assert year.event_owners.keys() <= sent_


def test_where_cookies_are_always_lost_no_two_people_have_the_same() -> None:
    year = simulate(rates(cookie_lost=1, shared_tablet=1, junk_id=0), 60, 7)
    cookies = [owners for name, owners in year.owners.items() if name.startswith("anonymous_id")]

    assert {len(owners) for owners in cookies} == {1}
    assert max(map(len, simulate(rates(shared_tablet=1), 60, 7).owners.values())) > 1


@pytest.mark.parametrize("name", ["flat", "segment", "candor"])
def test_where_nothing_is_shared_nobody_is_exposed(name: str) -> None:
    year = simulate(rates(**dict.fromkeys(SHARED, 0.0)), 60, 7)
    found = measure(year, MATCHERS[name](year))

    assert (found.precision, found.exposure, found.merged) == (1, 0, 0)
    assert 0 < found.recall < 1
    assert 0 < found.events_found <= 1


MATCHERS: dict[str, Callable[[Year], list[Profile]]] = {
    "flat": lambda year: matchers.flat(year.messages),
    "segment": lambda year: matchers.segment(year.messages),
    "candor": matchers.candor,
}


# The references.


def said(*events: Json, sender: Sender = "website") -> list[Message]:
    return [Message(sender, START + n, [event]) for n, event in enumerate(events)]


def event(id_: str, **ids: Any) -> Json:
    traits = {name: ids.pop(name) for name in ("email", "phone") if name in ids}
    return order(id_, **ids, context={"traits": traits})


def members(profiles: list[Profile]) -> set[frozenset[str]]:
    return {frozenset(one.identifiers) for one in profiles}


def of(*groups: str) -> set[frozenset[str]]:
    return {frozenset(group.split()) for group in groups}


def test_flat_matching_joins_whatever_an_event_carries_and_whoever_shares_it() -> None:
    profiles = matchers.flat(
        said(
            event("m1", userId="u1", anonymousId="null"),
            event("m2", userId="u2", anonymousId="a2", email="ann@example.com"),
            event("m3", anonymousId="null", phone="+491"),
            event("m4", anonymousId="a4"),
            event("m5", anonymousId="a2", phone="+491"),
        )
    )

    together = "user_id:u1 anonymous_id:null phone:+491 anonymous_id:a2 user_id:u2"
    assert members(profiles) == of(f"{together} email:ann@example.com", "anonymous_id:a4")
    assert {frozenset(one.events) for one in profiles} == of("m1 m2 m3 m5", "m4")


def test_segment_demotes_the_email_of_a_second_user_as_its_documentation_shows() -> None:
    """Identity Resolution Onboarding, Priority: the example of abc123, abc456 and Jane."""
    profiles = matchers.segment(
        said(
            event("m1", userId="abc123", email="jane@example1.com"),
            event("m2", userId="abc456", email="jane@example1.com"),
        )
    )

    assert members(profiles) == of("user_id:abc123 email:jane@example1.com", "user_id:abc456")
    assert {frozenset(one.events) for one in profiles} == of("m1", "m2")


def test_segment_keeps_users_apart_who_share_a_browser_that_was_not_reset() -> None:
    """What is Personas Merge Protection?: its example of a1, u1 and u2."""
    profiles = matchers.segment(
        said(
            event("m1", userId="u1", anonymousId="a1"),
            event("m2", userId="u2", anonymousId="a1"),
            event("m3", anonymousId="a1"),
        )
    )

    assert members(profiles) == of("user_id:u1 anonymous_id:a1", "user_id:u2")
    assert {frozenset(one.events) for one in profiles} == of("m1 m3", "m2")


@pytest.mark.parametrize("value", ["null", "-1", "anonymous", "0000-00", "-"])
def test_segment_takes_no_blocked_value_for_an_identifier(value: str) -> None:
    profiles = matchers.segment(said(event("m1", userId="u1", anonymousId=value)))

    assert members(profiles) == of("user_id:u1")


def test_segment_merges_profiles_up_to_five_of_a_type_and_leaves_out_the_sixth() -> None:
    emails = [f"e{n}@example.com" for n in range(6)]
    profiles = matchers.segment(
        said(*(event(f"m{n}", anonymousId="a1", email=email) for n, email in enumerate(emails)))
    )

    first = " ".join(f"email:{email}" for email in emails[:5])
    assert members(profiles) == of(f"anonymous_id:a1 {first}", f"email:{emails[5]}")


def test_segment_demotes_one_by_one_from_the_lowest_priority() -> None:
    profiles = matchers.segment(
        said(
            event("m1", userId="u1", anonymousId="a1"),
            event("m2", userId="u1", phone="+491"),
            event("m3", userId="u2", email="ann@example.com", anonymousId="a3", phone="+491"),
        )
    )

    assert members(profiles) == of(
        "user_id:u1 anonymous_id:a1 phone:+491", "user_id:u2 email:ann@example.com anonymous_id:a3"
    )


def test_segment_reads_a_phone_number_only_where_it_is_told_to() -> None:
    sent_ = said(event("m1", email="a@example.com", phone="+491"), event("m2", phone="+491"))

    assert members(matchers.segment(sent_)) == of("email:a@example.com phone:+491")
    assert members(matchers.segment(sent_, phone=False)) == of("email:a@example.com")


# Candor.


def test_candors_profiles_are_what_its_readers_see() -> None:
    messages = [
        *said(event("m1", anonymousId="a1"), event("m2", anonymousId="a1", userId="u1")),
        *said(event("m3", userId="u1", email="ann@example.com"), sender="server"),
        *said(event("m4", anonymousId="a1", email="eve@example.com"), event("m5", userId="null")),
    ]
    profiles = matchers.candor(Year(2, messages))

    assert members(profiles) == of("user_id:u1 anonymous_id:a1 email:ann@example.com")
    assert {frozenset(one.events) for one in profiles} == of("m1 m2 m3")


def test_what_retention_has_ended_counts_still() -> None:
    page = sent("page", "m1", anonymousId="a1", context=says(analytics=True))
    late = Message("website", START + 200 * DAY, [order("m2", anonymousId="a1")])

    (profile,) = matchers.candor(Year(1, [*said(page), late]))

    assert profile.events == {"m1", "m2"}


def test_the_measure_tells_when_the_protection_is_broken() -> None:
    crowded = dict.fromkeys(("shared_tablet", "visit_on_shared_tablet", "account", "signs_in"), 0.9)
    year = simulate(rates(**crowded, server_forwards_cookie=1.0, order=0.6), 60, 7)

    def many_users(compiled: Json) -> None:
        compiled["identifiers"]["user_id"]["limit"] = 20

    shipped = measure(year, matchers.candor(year))
    broken = measure(year, matchers.candor(year, policy(many_users)))

    assert broken.merged > 2 * shipped.merged
    assert broken.exposure > shipped.exposure
    assert broken.precision < shipped.precision


# The arithmetic.


def household() -> Year:
    """Ann and Ben share a tablet; Cleo has nothing to do with them."""
    owners = {
        "user_id:ann": {ANN},
        "email:ann@example.com": {ANN},
        "anonymous_id:ann": {ANN},
        "email:ben@example.com": {BEN},
        "anonymous_id:ben": {BEN},
        "email:cleo@example.com": {CLEO},
        "anonymous_id:tablet": {ANN, BEN},
    }
    return Year(
        3,
        owners=owners,
        event_owners={"by ann": {ANN}, "by ben": {BEN}, "by ben as ann": {ANN, BEN}, "bot": set()},
        kinds={"anonymous_id:tablet": "tablet"},
    )


ANNS = {"user_id:ann", "email:ann@example.com", "anonymous_id:ann"}
BENS = {"email:ben@example.com", "anonymous_id:ben"}


def test_profiles_that_are_right_are_measured_as_right() -> None:
    found = measure(
        household(),
        [Profile(ANNS | {"anonymous_id:tablet"}, {"by ann", "bot"}), Profile(BENS, {"by ben"})],
    )

    assert (found.precision, found.recall, found.events_found) == (1, 1, 1)
    assert (found.exposure, found.merged, found.through) == (0, 0, {})


def test_pairs_are_counted_by_hand() -> None:
    """Ann's cookie is in no profile; Ben's address is in hers.

    Ann: 1 of her 3 pairs is together; of the 3 pairs with an identifier of hers 1 is right. Ben:
    of his 1 pair none is together; of the 2 pairs with his address none is right. Cleo has no pair.
    """
    mixed = {"user_id:ann", "email:ann@example.com", "email:ben@example.com"}
    found = measure(
        household(), [Profile(mixed | {"anonymous_id:tablet"}), Profile({"anonymous_id:ben"})]
    )

    assert found.recall == pytest.approx((1 / 3 + 0) / 2)
    assert found.precision == pytest.approx((1 / 3 + 0 / 2) / 2)
    assert found.pooled_recall == pytest.approx(1 / 4)
    assert found.pooled_precision == pytest.approx(1 / 3)


def test_whose_identifier_another_finds_is_exposed_and_merged() -> None:
    found = measure(household(), [Profile(ANNS | {"anonymous_id:ben"})])

    assert found.exposure == found.merged == pytest.approx(1 / 3)
    assert found.exposed_by == {"identifiers": pytest.approx(1 / 3), "events": 0, "traits": 0}
    assert found.through == {"nothing shared": pytest.approx(1 / 3)}


def test_two_people_in_one_profile_are_exposed_to_each_other() -> None:
    assert measure(household(), [Profile(ANNS | BENS)]).exposure == pytest.approx(2 / 3)


def test_what_somebody_does_at_a_shared_device_exposes_without_a_merge() -> None:
    found = measure(household(), [Profile(ANNS | {"anonymous_id:tablet"}, {"by ann", "by ben"})])

    assert found.exposure == found.exposed_by["events"] == pytest.approx(1 / 3)
    assert found.merged == 0
    assert found.through == {"tablet": pytest.approx(1 / 3)}


def test_an_address_that_is_told_as_a_trait_exposes() -> None:
    found = measure(household(), [Profile(ANNS, traits={"email:ben@example.com"})])

    assert found.exposure == found.merged == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "profile",
    [
        Profile(ANNS, {"by ann", "by ben as ann", "bot"}),
        Profile({"anonymous_id:tablet", "anonymous_id:ann", "anonymous_id:ben"}, {"by ben"}),
        Profile(BENS | {"anonymous_id:tablet"}, {"by ben"}, {"email:ben@example.com"}),
    ],
    ids=["in a session that was left open", "found by no name", "one's own"],
)
def test_nobody_is_exposed(profile: Profile) -> None:
    assert measure(household(), [profile]).exposure == 0


def test_events_are_found_by_their_owners_names_only() -> None:
    """Ann's event is where only Ben's address finds it; his own is there too."""
    year = household()

    assert measure(year, [Profile(BENS, {"by ann", "by ben"})]).events_found == 1 / 2
    assert measure(year, [Profile({"anonymous_id:ann"}, {"by ann"})]).events_found == 0


def test_candor_is_compared_with_the_stricter_form_of_segment() -> None:
    def figures(exposure: float, merged: float, recall: float) -> dict[str, float]:
        return {"exposure": exposure, "merged": merged, "recall": recall}

    found = compared(
        {
            "candor": figures(0.02, 0.01, 0.90),
            "flat": figures(0.20, 0.05, 0.93),
            "segment": figures(0.08, 0.03, 0.91),
            "segment without phone": figures(0.04, 0.02, 0.60),
        }
    )

    assert found == {
        "exposure_to_flat": pytest.approx(0.1),
        "exposure_to_segment": pytest.approx(0.5),
        "merged_to_flat": pytest.approx(0.2),
        "merged_to_segment": pytest.approx(0.5),
        "recall_points_below_flat": pytest.approx(3),
        "recall_points_below_segment": pytest.approx(1),
    }
