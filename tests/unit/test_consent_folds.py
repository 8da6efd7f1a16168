"""Consent: folds that no order can change, and no permission that nobody gave."""

import json
from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import separation
from candor.consent import (
    Mechanism,
    denies,
    fold_choices,
    fold_signals,
    hear_device,
    signal,
    summary,
    verdict,
)
from candor.credentials import Source
from candor.errors import Refused
from candor.policy import Policy
from candor.ports import Row
from tests.worlds import APP, CRM, NOW, SHIPPED, WEB, Json, Shop, order, policy, says, sent

PURPOSES = sorted(SHIPPED.purposes)
OBJECTING = policy(lambda p: p["purposes"]["marketing"].update(basis="legitimate_interest"))

purposes = st.sampled_from(PURPOSES)
deniable = st.sampled_from([p for p in PURPOSES if SHIPPED.purposes[p].basis == "consent"])
seconds = st.sampled_from([1, 60, 120, 1_790_000_000])
moments = st.sampled_from([0, 60, 120, 1_789_999_980])
signals = st.dictionaries(purposes, st.tuples(moments, st.integers(0, 1)).map(list), max_size=4)
choices = st.dictionaries(
    purposes, st.tuples(st.just(0) | seconds, st.just(0) | seconds).map(list), max_size=4
)
Register = dict[str, list[int]]
Fold = Callable[..., Register]
FOLDS = pytest.mark.parametrize("fold", [fold_signals, fold_choices])


@FOLDS
@given(one=signals, two=signals, three=signals)
def test_registers_fold_alike_in_any_order_and_number(
    fold: Fold, one: Register, two: Register, three: Register
) -> None:
    folded = fold(one, two, three)

    assert all(fold(*order_) == folded for order_ in permutations([one, two, three]))
    assert fold(fold(one, two), three) == fold(one, fold(two, three)) == folded
    assert fold(folded, folded) == folded == fold(folded, one, three)
    assert fold(folded) == folded == fold({}, folded)


@FOLDS
@given(register=signals)
def test_folding_changes_nothing_it_was_given(fold: Fold, register: Register) -> None:
    before = {purpose: list(said) for purpose, said in register.items()}
    fold(register, {purpose: [10**12, 0] for purpose in PURPOSES})

    assert register == before


@given(choices, signals, purposes, seconds, st.sampled_from([SHIPPED, OBJECTING]))
def test_adding_a_denial_never_adds_a_permission(
    chosen: Register, said: Register, purpose: str, at: int, rules: Policy
) -> None:
    before = verdict(rules, purpose, chosen, said).allowed
    denial = {purpose: [at, 0]}

    assert verdict(rules, purpose, fold_choices(chosen, denial), said).allowed <= before
    denied = {purpose: signal(at, granted=False)}
    assert verdict(rules, purpose, chosen, fold_signals(said, denied)).allowed <= before


@given(choices, signals, purposes, st.sampled_from([SHIPPED, OBJECTING]))
def test_the_latest_denial_by_choice_binds_whatever_a_device_says(
    chosen: Register, said: Register, purpose: str, rules: Policy
) -> None:
    latest = max([1, *chosen.get(purpose, [])])
    bound = verdict(rules, purpose, fold_choices(chosen, {purpose: [latest, 0]}), said)

    assert bound.allowed == (rules.purposes[purpose].basis in ("contract", "legal_obligation"))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_record_is_no_consent(purpose: str) -> None:
    allowed = verdict(SHIPPED, purpose, {}, {})

    assert allowed.allowed == (SHIPPED.purposes[purpose].basis != "consent")
    assert allowed.because
    assert allowed.allowed or allowed.fix


def test_a_purpose_that_the_policy_does_not_name_is_never_allowed() -> None:
    granted = {"astrology": [0, 1_790_000_000]}

    assert not verdict(SHIPPED, "astrology", granted, {"astrology": [60, 1]}).allowed


def test_legitimate_interest_ends_with_an_objection() -> None:
    assert verdict(OBJECTING, "marketing", {}, {}).allowed
    assert not verdict(OBJECTING, "marketing", {"marketing": [60, 0]}, {}).allowed


@given(st.floats(0, 4e9), st.booleans())
def test_a_signal_counts_from_its_minute(at: float, granted: bool) -> None:
    minute, kept = signal(at, granted=granted)

    assert minute % 60 == 0
    assert minute <= at < minute + 60
    assert kept == granted


def test_denial_wins_a_tie() -> None:
    assert fold_signals({"marketing": [60, 1]}, {"marketing": [60, 0]}) == {"marketing": [60, 0]}
    assert denies(fold_choices({"marketing": [60, 0]}, {"marketing": [0, 60]}), "marketing")


@given(choices, st.lists(signals, max_size=3), purposes)
def test_the_summary_never_says_granted_where_nothing_may_be_used(
    chosen: Register, devices: list[Register], purpose: str
) -> None:
    state, because = summary(SHIPPED, purpose, chosen, devices)
    usable = any(verdict(SHIPPED, purpose, chosen, said).allowed for said in [*devices, {}])

    assert because
    if state == "granted":
        assert usable
    if SHIPPED.purposes[purpose].basis == "consent":
        assert (state == "granted") == usable


# Riding signals: what an event says of its device.


def page(id_: str, device: str, ago: float = 0, **categories: bool) -> Json:
    return sent("page", id_, ago, anonymousId=device, context=says(**categories))


@pytest.mark.parametrize("turn", list(permutations(range(3))))
def test_the_latest_signal_of_a_device_stands_in_any_order_of_arrival(turn: list[int]) -> None:
    shop = Shop()
    said = [
        page("m1", "a1", ago=600, marketing=True),
        page("m2", "a1", ago=300, marketing=False),
        page("m3", "a1", ago=1200, marketing=True),
    ]

    for number in turn:
        shop.send(WEB, said[number])

    assert shop.state("anonymous_id:a1", "marketing") == "denied"


def test_what_a_device_granted_lets_nobody_act_on_the_person() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "a1", marketing=True))
    shop.send(CRM, order("o1", userId="42", anonymousId="a1"))
    assert shop.state("user_id:42", "marketing") == "granted"
    assert not shop.view("user_id:42").may("marketing").allowed

    shop.choose("user_id:42", {"marketing": True})
    assert shop.view("user_id:42").may("marketing").allowed
    shop.clock.advance(1)
    shop.choose("anonymous_id:a1", {"marketing": False}, WEB)
    assert shop.view("user_id:42").consents()["marketing"]["may"] is False


def test_a_signal_speaks_for_its_own_device_only() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "a1", analytics=True), page("m2", "a2", analytics=False))
    shop.send(CRM, order("o1", userId="42", anonymousId="a1"))
    shop.send(CRM, order("o2", userId="42", anonymousId="a2"))
    shop.send(WEB, sent("page", "m3", anonymousId="a1"), sent("page", "m4", anonymousId="a2"))

    seen = shop.event_ids("user_id:42", "analytics")

    assert {"m1", "m3", "o1"} <= set(seen)
    assert not {"m2", "m4", "o2"} & set(seen)


def test_an_unproven_client_without_a_device_cannot_grant_by_a_signal() -> None:
    shop = Shop()
    signed_in = sent("track", "m1", userId="42", event="Signed In", context=says(marketing=True))
    shop.send(WEB, signed_in)
    assert shop.state("user_id:42", "marketing") == "unknown"

    shop.send(CRM, {**signed_in, "messageId": "m2"})
    assert shop.state("user_id:42", "marketing") == "granted"


def test_a_signal_is_written_only_when_it_changes_something() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "a1", analytics=True))
    told = len(records(shop))

    shop.send(WEB, page("m2", "a1", analytics=True), page("m3", "a1", ago=3600, analytics=False))

    assert len(records(shop)) == told == 1


def writes(shop: Shop, *events: Json) -> int:
    """How many rows sending these writes, but for bundles and counts."""
    before = {json.dumps([row["pk"], row["sk"]]): repr(row) for row in shop.rows.held("graph")}
    shop.send(WEB, *events)
    after = {json.dumps([row["pk"], row["sk"]]): repr(row) for row in shop.rows.held("graph")}
    return sum(after[key] != before.get(key) for key in after)


def test_what_a_device_says_again_costs_nothing_or_little() -> None:
    shop = Shop()  # it is 14:13:20
    shop.send(WEB, page("m1", "a1", ago=4200, analytics=True, marketing=False))

    again = {"analytics": True, "marketing": False}
    assert writes(shop, page("m2", "a1", ago=3600, **again)) == 0, "the same hour"
    assert writes(shop, page("m3", "a1", ago=600, analytics=True)) == 0, "a grant is known"
    assert writes(shop, page("m4", "a1", ago=590, **again)) == 1, "the device alone, once an hour"
    assert writes(shop, page("m5", "a1", ago=10, **again)) == 0
    assert len(records(shop)) == 2


@pytest.mark.parametrize("together", [True, False])
def test_what_was_done_under_a_no_is_not_kept_for_a_later_yes(together: bool) -> None:
    shop = Shop()
    traits = {"firstName": "Ann", "gender": "f"}
    no = says(analytics=False, marketing=False, personalization=False)
    before = [
        page("no", "a1", ago=600, analytics=False, personalization=False),
        sent("identify", "i", 500, anonymousId="a1", traits=traits, context=no),
    ]
    after = page("yes", "a1", ago=5, analytics=True, personalization=True, marketing=True)
    for events in [[*before, after]] if together else [before, [after]]:
        shop.send(WEB, *events)

    view = shop.view("anonymous_id:a1", "privacy_rights")
    assert [one["messageId"] for one in view.events()[0]] == ["yes"]
    assert "gender" not in view.traits()


def test_a_denial_is_not_lost_for_somebody_erased_who_is_named_beside() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "new", analytics=True, marketing=True))
    shop.send(CRM, order("o", userId="gone"))
    shop.erase("user_id:gone")

    shop.choose(("user_id:gone", "anonymous_id:new"), {"marketing": False}, WEB)
    both: Json = {"userId": "gone", "anonymousId": "new"}
    said = says(analytics=False, personalization=True)
    shop.send(WEB, sent("page", "m2", context=said, **both))

    assert shop.state("anonymous_id:new", "marketing") == "denied"
    assert shop.state("anonymous_id:new", "analytics") == "denied"
    assert shop.state("anonymous_id:new", "personalization") == "unknown"
    assert "m2" not in shop.event_ids("anonymous_id:new", "privacy_rights")


def test_a_denial_of_a_device_holds_for_what_it_sent_after_it_was_separated() -> None:
    shop = Shop()
    shop.choose("user_id:42", {"analytics": True})
    told: Json = {"userId": "42", "anonymousId": "a1", "context": says(analytics=False)}
    shop.send(CRM, order("o", **told))
    shop.clock.advance(1)
    assert "o" not in shop.event_ids("user_id:42", "analytics")

    one, other = shop.id("user_id:42"), shop.id("anonymous_id:a1")
    separation.separate(shop.world, one, other, "staff", "why")

    assert "o" not in shop.event_ids("user_id:42", "analytics")
    assert "o" in shop.event_ids("user_id:42")


def test_an_explicit_grant_that_comes_late_is_behind_what_the_device_denied_again() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "a1", ago=780, marketing=False))
    shop.send(WEB, page("m2", "a1", ago=200, marketing=False))

    shop.choose("anonymous_id:a1", {"marketing": True}, WEB, ago=400)
    assert shop.state("anonymous_id:a1", "marketing") == "denied"
    assert len(records(shop)) == 1

    shop.choose("anonymous_id:a1", {"marketing": True}, WEB)
    assert shop.state("anonymous_id:a1", "marketing") == "granted"


def test_a_denial_that_is_said_again_outlives_a_grant_from_before_it() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "a1", ago=780, marketing=False))
    shop.send(WEB, page("m2", "a1", ago=200, marketing=False))  # which is not written

    shop.send(WEB, page("late", "a1", ago=400, marketing=True))
    assert shop.state("anonymous_id:a1", "marketing") == "denied"

    shop.send(WEB, page("m3", "a1", marketing=True))
    assert shop.state("anonymous_id:a1", "marketing") == "granted"


def test_a_denial_of_an_hour_ago_ends_with_a_grant_however_late_it_comes() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "a1", ago=7200, marketing=False))

    shop.send(WEB, page("late", "a1", ago=3600, marketing=True))

    assert shop.state("anonymous_id:a1", "marketing") == "granted"


def test_a_late_denial_counts_until_the_device_says_yes_once_more() -> None:
    shop = Shop()
    shop.send(WEB, page("m1", "a1", ago=3600, marketing=True))
    shop.send(WEB, page("m2", "a1", ago=600, marketing=True))

    shop.send(WEB, page("late", "a1", ago=1200, marketing=False))
    assert shop.state("anonymous_id:a1", "marketing") == "denied"

    shop.send(WEB, page("m3", "a1", ago=60, marketing=True))
    assert shop.state("anonymous_id:a1", "marketing") == "granted"


heard = st.lists(
    st.tuples(st.sampled_from(range(0, 3 * 3600, 600)), st.booleans()), min_size=1, max_size=5
)


@given(heard, st.data())
def test_whatever_is_late_and_in_whatever_order_never_more_is_allowed_than_was_said(
    said: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Against all that was said, with nothing left out: each is heard when everything is over."""
    register: Register = {}
    exact: Register = {}
    for at, granted in data.draw(st.permutations(said)):
        one = {"marketing": signal(at, granted=granted)}
        exact = fold_signals(exact, one)
        register = hear_device(register, one, 10**6)

    allowed, truly = (verdict(SHIPPED, "marketing", {}, r).allowed for r in (register, exact))
    assert allowed <= truly


@given(heard)
def test_what_comes_in_order_and_at_once_is_heard_as_it_was_said(
    said: list[tuple[int, bool]],
) -> None:
    register: Register = {}
    exact: Register = {}
    for at, granted in sorted(said, key=lambda one: (one[0], not one[1])):
        one = {"marketing": signal(at, granted=granted)}
        exact = fold_signals(exact, one)
        register = hear_device(register, one, at + 1)
        assert register["marketing"][1] == exact["marketing"][1]


def records(shop: Shop) -> list[Row]:
    return [row for row in shop.rows.held("graph") if row["sk"].startswith("CONSENT#")]


# Explicit choices.


def merged() -> Shop:
    """Ann: user 42, her email, her browser and her phone's app."""
    shop = Shop()
    shop.send(
        CRM,
        sent("identify", "i1", userId="42", anonymousId="a1"),
        sent("identify", "i2", userId="42", traits={"email": "ann@example.com"}),
        sent("identify", "i3", userId="42", context={"device": {"id": "d1"}}),
    )
    assert len(shop.profiles()) == 1
    return shop


EVERYBODY = ["user_id:42", "email:ann@example.com", "device_id:d1", "anonymous_id:a1"]


@pytest.mark.parametrize("source", [WEB, APP, CRM], ids=lambda source: source.id)
@pytest.mark.parametrize("where", EVERYBODY)
def test_a_denial_anywhere_binds_the_whole_profile(where: str, source: Source) -> None:
    shop = merged()
    shop.choose("user_id:42", {"marketing": True}, ago=60)
    shop.choose(where, {"marketing": False}, source)

    for who in EVERYBODY:
        assert shop.state(who, "marketing") == "denied"
    assert shop.read("user_id:42", "marketing")["traits"] == {}


def test_a_denial_goes_along_when_profiles_merge() -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "i1", userId="42"))
    shop.choose("user_id:42", {"marketing": True})
    shop.send(WEB, sent("identify", "i2", anonymousId="a1"))
    shop.choose("anonymous_id:a1", {"marketing": False}, WEB)

    shop.send(CRM, order("o1", userId="42", anonymousId="a1"))

    assert shop.state("user_id:42", "marketing") == "denied"


def test_a_grant_of_a_client_binds_its_device_only() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"), order("o2", userId="42", anonymousId="a1"))
    shop.choose(("user_id:42", "anonymous_id:a1"), {"analytics": True}, WEB)

    assert shop.event_ids("user_id:42", "analytics") == ["o2"]


def test_a_grant_of_the_person_through_a_server_binds_the_profile() -> None:
    shop = merged()
    shop.send(CRM, order("o1", userId="42"))
    shop.choose("email:ann@example.com", {"analytics": True})

    assert shop.event_ids("anonymous_id:a1", "analytics") == ["o1"]


@pytest.mark.parametrize("who", ["user_id:42", "email:ann@example.com"])
def test_a_grant_of_a_client_without_a_device_is_refused(who: str) -> None:
    shop = Shop()

    with pytest.raises(Refused) as refused:
        shop.choose(who, {"analytics": True}, WEB)

    assert (refused.value.status, refused.value.code) == (400, "device_required")
    assert shop.rows.held() == []
    shop.choose(who, {"marketing": False}, WEB)
    assert shop.state(who, "marketing") == "denied", "a denial needs no device"


@pytest.mark.parametrize("source", [WEB, CRM], ids=lambda source: source.id)
def test_a_denial_gives_way_only_to_the_known_person_through_a_server(source: Source) -> None:
    shop = merged()
    shop.choose("user_id:42", {"marketing": False}, source, ago=600)
    shop.choose("anonymous_id:a1", {"marketing": True}, WEB)
    shop.send(WEB, page("m1", "a1", marketing=True))
    assert shop.state("user_id:42", "marketing") == "denied"

    shop.choose("user_id:42", {"marketing": True}, CRM)
    assert shop.state("user_id:42", "marketing") == "granted"


@pytest.mark.parametrize("source", [WEB, CRM], ids=lambda source: source.id)
def test_a_denial_binds_everybody_it_names_even_where_no_link_is_made(source: Source) -> None:
    shop = Shop()

    shop.choose(("user_id:42", "email:ann@example.com"), {"marketing": False}, source)

    shop.send(CRM, sent("identify", "i1", traits={"email": "ann@example.com"}))
    assert shop.state("email:ann@example.com", "marketing") == "denied"
    shop.send(CRM, order("o1", userId="42"))
    assert shop.state("user_id:42", "marketing") == "denied"


def test_an_older_grant_does_not_undo_a_later_denial_that_came_first() -> None:
    shop = merged()
    shop.choose("user_id:42", {"marketing": False}, ago=60)
    shop.choose("user_id:42", {"marketing": True}, ago=3600)

    assert shop.state("user_id:42", "marketing") == "denied"


@pytest.mark.parametrize("at", [0.0, 0.9, 1.0, 59.0])
def test_a_denial_of_a_device_whose_clock_is_dead_still_binds(at: float) -> None:
    shop = Shop()

    shop.choose("anonymous_id:a1", {"marketing": False}, WEB, ago=NOW - at)

    assert shop.state("anonymous_id:a1", "marketing") == "denied"


def test_an_unknown_purpose_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Refused, match="analytics"):
        Shop().choose("user_id:42", {"astrology": True})
    with pytest.raises(Refused):
        Shop().choose((), {"analytics": True})


def test_a_choice_that_only_grants_what_cannot_be_granted_so_is_refused() -> None:
    shop = Shop()
    for purposes, source, mechanism, code in (
        ({"marketing": True}, CRM, "objection", "grant_by_denial"),
        ({"marketing": True, "analytics": True}, CRM, "gpc", "grant_by_denial"),
        ({"marketing": True}, WEB, "api", "device_required"),
    ):
        with pytest.raises(Refused) as refused:
            shop.choose("user_id:42", purposes, source, mechanism=mechanism)  # type: ignore[arg-type]
        assert refused.value.code == code
    assert shop.rows.held("graph") == []


@pytest.mark.parametrize(
    ("purposes", "source", "mechanism", "code", "told"),
    [
        ({"marketing": False, "service": False}, CRM, "api", "not_a_choice", ["service"]),
        ({"marketing": False, "analytics": True}, CRM, "gpc", "grant_by_denial", ["analytics"]),
        ({"marketing": False, "analytics": True}, WEB, "api", "device_required", ["analytics"]),
    ],
)
def test_no_denial_is_lost_for_what_stands_beside_it(
    purposes: dict[str, bool], source: Source, mechanism: Mechanism, code: str, told: list[str]
) -> None:
    shop = Shop()

    notes = shop.choose("user_id:42", purposes, source, mechanism=mechanism)

    assert [(note["code"], note["purposes"]) for note in notes] == [(code, told)]
    assert shop.state("user_id:42", "marketing") == "denied"
    assert shop.state("user_id:42", "analytics") == "unknown", "and nothing was granted"


def test_the_same_choice_told_twice_is_one_record() -> None:
    shop = Shop()
    for _ in range(2):
        shop.choose("user_id:42", {"marketing": False}, ago=60, evidence={"form": "paper"})

    (record,) = records(shop)
    assert (record["purpose"], record["granted"], record["binds"]) == (
        "marketing",
        False,
        "profile",
    )
    assert record["policy"] == SHIPPED.hash


@given(
    st.lists(
        st.tuples(
            st.sampled_from(EVERYBODY[2:]), deniable, st.booleans(), st.sampled_from([0, 60, 600])
        ),
        max_size=6,
    ),
)
def test_choices_count_alike_in_any_order(told: list[tuple[str, str, bool, int]]) -> None:
    states = []
    for arrival in (told, list(reversed(told)), sorted(told), told * 2):
        shop = merged()
        for who, purpose, granted, ago in arrival:
            shop.choose(who, {purpose: granted}, WEB, ago=ago)
        states.append(shop.view("user_id:42").consents())

    assert all(state == states[0] for state in states)


def test_equal_evidence_of_two_people_does_not_look_equal() -> None:
    """Else whoever guesses a person's evidence can see in the table that they guessed right."""
    shop = Shop()
    for who in ("user_id:42", "user_id:43"):
        shop.choose(who, {"marketing": False}, evidence={"ip": "203.0.113.7"})

    ann, bob = records(shop)
    assert ann["sk"] != bob["sk"]


# Fences.


def erased() -> Shop:
    shop = merged()
    shop.clock.advance(60)
    shop.erase("user_id:42")
    shop.clock.advance(60)
    return shop


def fenced(shop: Shop, who: str) -> bool:
    return any(row["pk"] == shop.id(who).key and "mode" in row for row in shop.rows.held("keys"))


def test_everybody_of_an_erased_profile_stays_out() -> None:
    shop = erased()

    for who in EVERYBODY:
        assert fenced(shop, who)
    (outcome,) = shop.send(WEB, page("m1", "a1", analytics=True))
    assert (outcome.outcome, outcome.reason) == ("dropped", "fenced")
    assert shop.rows.held("graph") == []


def test_an_event_with_any_fenced_identifier_is_dropped_whole() -> None:
    shop = erased()

    (outcome,) = shop.send(CRM, order("o1", userId="77", anonymousId="a1"))

    assert outcome.reason == "fenced"
    assert shop.rows.held("graph") == shop.rows.held("events") == []


def test_a_later_grant_registers_anew_and_data_comes_again() -> None:
    shop = erased()

    shop.choose("user_id:42", {"analytics": True})

    assert not fenced(shop, "user_id:42")
    assert fenced(shop, "anonymous_id:a1"), "each identifier for itself"
    shop.send(CRM, order("before", ago=60, userId="42"), order("o1", ago=-120, userId="42"))
    assert shop.event_ids("user_id:42", "analytics") == ["o1"], "what is older stays out"


@pytest.mark.parametrize(
    ("who", "source", "granted", "ago"),
    [
        ("user_id:42", CRM, True, 61),  # dated before the erasure
        ("user_id:42", CRM, False, 0),  # no grant
        ("anonymous_id:a1", WEB, False, 0),
    ],
)
def test_nothing_less_lifts_a_fence(who: str, source: Source, granted: bool, ago: float) -> None:
    shop = erased()

    shop.choose(who, {"analytics": granted}, source, ago=ago)

    assert fenced(shop, who)
    assert shop.rows.held("graph") == []


def test_a_client_lifts_the_fence_of_its_device_only() -> None:
    shop = erased()

    shop.choose(("user_id:42", "anonymous_id:a1"), {"analytics": True}, WEB)

    assert fenced(shop, "user_id:42")
    assert not fenced(shop, "anonymous_id:a1")


def test_what_happened_before_a_device_registered_anew_stays_out() -> None:
    shop = erased()
    shop.choose("anonymous_id:a1", {"analytics": True}, WEB)

    (late,) = shop.send(CRM, order("o1", ago=-30, userId="77", anonymousId="a1"))
    (new,) = shop.send(CRM, order("o2", ago=-120, userId="77", anonymousId="a1"))

    assert (late.outcome, new.outcome) == ("dropped", "stored")


def test_no_choice_registers_anew_while_the_erasure_runs() -> None:
    shop = merged()
    shop.clock.advance(60)
    shop.acknowledge("user_id:42")
    shop.clock.advance(60)

    shop.choose("user_id:42", {"analytics": True})

    assert fenced(shop, "user_id:42")


def test_whoever_is_suppressed_never_comes_back_by_a_choice() -> None:
    shop = merged()
    shop.clock.advance(60)
    shop.erase("user_id:42", "erase_and_suppress")
    shop.clock.advance(10_000_000)

    shop.choose("user_id:42", {"analytics": True})
    (outcome,) = shop.send(CRM, order("o1", userId="42"))

    assert fenced(shop, "user_id:42")
    assert outcome.reason == "fenced"


def test_two_grants_at_once_both_succeed() -> None:
    shop = erased()
    others: list[str] = ["rows.update:before"]

    def second(call: str, _: object) -> None:
        if call in others:
            others.clear()
            shop.choose("user_id:42", {"analytics": True})

    shop.rows.tap = second
    shop.choose("user_id:42", {"analytics": True, "marketing": True})

    assert not others
    assert shop.state("user_id:42", "marketing") == "granted"


def test_no_device_is_said_to_have_denied_what_needs_no_consent() -> None:
    shop = Shop()
    shop.send(
        WEB, sent("identify", "i", userId="42", anonymousId="a", context=says(functional=False))
    )

    assert shop.view("user_id:42").consents()["service"] == {
        "state": "unknown",
        "because": "no consent is needed: contract",
        "may": True,
    }
