"""Why something was allowed, or was not, as of any time, from the records alone."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import history, separation
from candor.errors import Refused
from candor.policy import DAY
from candor.ports import Row
from candor.profiles import MOST_LISTED
from tests.worlds import CRM, NOW, SHIPPED, WEB, Json, Shop, order, policy, says, sent

ANN, PHONE, TABLET = "user_id:42", "anonymous_id:a1", "anonymous_id:a2"
OBJECTING = policy(lambda p: p["purposes"]["marketing"].update(basis="legitimate_interest"))
FIRST = {"i1": 0, "i2": 0}


def explain(
    shop: Shop, purpose: str, ago: float = 0, who: str = ANN, reader: str = "privacy_rights"
) -> Json:
    return history.explained(shop.view(who, reader), purpose, shop.clock() - ago)


def deciding(told: Json) -> list[str]:
    return [one["said"] for one in told["data"] if one["decides"]]


def device(told: Json, value: str) -> Json:
    found: Json
    (found,) = (one for one in told["devices"] if one["identifier"]["value"] == value)
    return found


@pytest.fixture
def ann() -> Shop:
    """A customer for whom marketing was granted, and half a year later denied. It is June."""
    shop = Shop()
    shop.send(CRM, sent("identify", "i", userId="42", anonymousId="a1"))
    shop.clock.advance(10 * DAY)
    shop.choose(ANN, {"marketing": True}, language="de-DE", text_version="2026-03")
    shop.clock.advance(180 * DAY)
    shop.choose(PHONE, {"marketing": False}, WEB, mechanism="objection")
    shop.clock.advance(DAY)
    return shop


def test_the_answer_about_a_time_is_what_was_known_then(ann: Shop) -> None:
    before, then, now = (explain(ann, "marketing", ago * DAY) for ago in (185, 100, 0))

    assert not before["allowed"]
    assert before["data"] == []
    assert before["because"] == "no consent is on record"
    assert then["allowed"]
    assert then["because"].startswith("granted by the person on 2026-10-01")
    assert then["fix"] == "A denial ends it."
    (said,) = deciding(then)
    assert said.startswith("Granted in a preference center, from crm on 2026-10-01 ")
    assert said.endswith("for the whole person; the text shown was 2026-03, de-DE.")
    assert not now["allowed"]
    (said,) = deciding(now)
    assert said.startswith("Denied by an objection, from web on 2027-03-30 ")
    assert "a public key, so it is unproven" in said
    assert now["fix"] == "only the person can grant it"
    assert [one["because"] for one in now["data"]] == [
        "The person's denial of 2027-03-30 outweighs it.",
        "It decides for the person.",
    ]


def test_it_is_told_from_records_and_not_from_registers(ann: Shop) -> None:
    told = explain(ann, "marketing")
    ann.rows.tap = lambda call, detail: _forget(detail)

    assert explain(ann, "marketing") == told


def _forget(found: Any) -> None:
    """The registers of whatever is read, as it is read."""
    for row in found.values() if isinstance(found, dict) else ():
        for name in {"choices", "signals"} & row.keys():
            row[name] = {}


def test_a_choice_that_was_told_too_late_did_not_count_then(ann: Shop) -> None:
    ann.choose(ANN, {"marketing": False}, ago=100 * DAY, mechanism="api")

    then = explain(ann, "marketing", 50 * DAY)

    assert then["allowed"]
    assert then["later"] == 1
    assert [one["granted"] for one in then["data"]] == [True]


def test_each_device_has_its_own_answer() -> None:
    shop = Shop()
    shop.send(WEB, sent("page", "p1", 99, anonymousId="a1", context=says(analytics=True)))
    shop.send(WEB, sent("page", "p2", 60, anonymousId="a2", context=says(analytics=False)))
    for name in ("a1", "a2"):
        shop.send(CRM, order(f"o{name}", userId="42", anonymousId=name))

    told = explain(shop, "analytics")

    assert not told["allowed"], "nobody granted it for the person"
    assert device(told, "a1")["allowed"]
    assert not device(told, "a2")["allowed"]
    assert [one["identifier"]["value"] for one in told["data"]] == ["a1", "a2"]
    assert len(deciding(told)) == 2
    assert "for this device and what it sends" in told["data"][0]["said"]
    shop.choose(ANN, {"analytics": True})
    after = explain(shop, "analytics")
    assert [one["decides"] for one in after["data"]] == [False, True, True]
    assert "granted by the person" in after["data"][0]["because"]


def test_what_a_device_said_before_is_told_and_does_not_decide() -> None:
    shop = Shop()
    for n, granted in enumerate([True, False, True]):
        ago = 3600 * (3 - n)
        shop.send(
            WEB, sent("page", f"p{n}", ago, anonymousId="a1", context=says(analytics=granted))
        )

    told = explain(shop, "analytics", who=PHONE)

    over = "The device said something later."
    assert [one["because"] for one in told["data"]] == [over, over, "It decides here."]


@pytest.mark.parametrize(
    ("basis", "denied", "granted", "allowed", "reasons"),
    [
        ("contract", 60, 0, True, ["The legal basis is contract: nobody's choice changes it."]),
        ("legitimate_interest", 60, 0, False, ["It decides for the person."]),
        (
            "legitimate_interest",
            0,
            60,
            True,
            ["The legal basis is legitimate_interest: only an objection changes it."],
        ),
        (
            "legitimate_interest",
            120,
            60,
            True,
            ["The person's grant of 2026-09-21 came later.", "It decides for the person."],
        ),
        (
            "consent",
            120,
            60,
            True,
            ["The person's grant of 2026-09-21 came later.", "It decides for the person."],
        ),
    ],
)
def test_the_legal_basis_says_what_a_choice_does(
    basis: str, denied: int, granted: int, allowed: bool, reasons: list[str]
) -> None:
    shop = Shop(policy(lambda p: p["purposes"]["marketing"].update(basis=basis)))
    for ago, word in ((denied, False), (granted, True)):
        if ago:
            shop.choose(ANN, {"marketing": word}, ago=ago)

    told = explain(shop, "marketing")

    assert told["basis"] == basis
    assert told["allowed"] == allowed
    assert told["fix"]
    assert [one["because"] for one in told["data"]] == reasons


def test_a_denial_taken_along_in_a_split_counts_since_it_was_made() -> None:
    shop = Shop()
    shop.send(CRM, order("o", userId="42", anonymousId="a1"))
    shop.choose(ANN, {"marketing": False}, ago=30 * DAY)
    shop.clock.advance(60 * DAY)
    separation.separate(shop.world, shop.id(ANN), shop.id(PHONE), "staff", "sold")

    told = explain(shop, "marketing", 70 * DAY, PHONE)

    assert not told["allowed"]
    (said,) = deciding(told)
    assert "this part took it along" in said


def test_what_an_identifier_said_before_it_ended_counts_for_that_time_only() -> None:
    shop = Shop()
    shop.choose(PHONE, {"marketing": True}, WEB)
    away = (shop.policy.records["identifier"] + 2) * DAY
    shop.clock.advance(away)
    shop.choose(PHONE, {"analytics": True}, WEB)

    then, now = (explain(shop, "marketing", ago, PHONE) for ago in (away - 60, 0))

    assert device(then, "a1")["allowed"]
    assert not device(now, "a1")["allowed"]
    assert now["data"][0]["because"] == history.OVER


def test_values_are_shown_as_far_as_the_purpose_may_know_them() -> None:
    shop = Shop()
    shop.choose("email:ann@example.com", {"analytics": False}, evidence={"ip": "203.0.113.7"})

    told = explain(shop, "analytics", who="email:ann@example.com", reader="analytics")

    assert told["data"][0]["identifier"] == {"type": "email", "value": None}
    assert "203.0.113.7" not in str(told)


def test_a_purpose_that_neither_policy_nor_records_name_is_refused(ann: Shop) -> None:
    with pytest.raises(Refused, match="analytics"):
        explain(ann, "astrology")


def test_a_purpose_that_the_policy_names_no_more_is_still_told_of(ann: Shop) -> None:
    view = ann.view(ANN, "privacy_rights")
    fewer = policy(lambda p: p["purposes"].pop("marketing"))
    view.world = Shop(fewer, ann.clock(), rows=lambda _: ann.rows).world

    told = history.explained(view, "marketing", ann.clock())

    assert not told["allowed"]
    assert told["basis"] is None
    assert {one["because"] for one in told["data"]} == {"The policy names no such purpose."}


def test_of_very_many_records_the_newest_and_those_that_decide_are_told() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": False})
    for n in range(MOST_LISTED + 20):
        shop.clock.advance(60)
        shop.choose(PHONE, {"marketing": bool(n % 2)}, WEB)
    shop.send(CRM, order("o", userId="42", anonymousId="a1"))
    shop.clock.advance(60)

    told = explain(shop, "marketing")

    assert len(told["data"]) in (MOST_LISTED, MOST_LISTED + 1)
    assert told["left_out"] == MOST_LISTED + 21 - len(told["data"])
    assert deciding(told)


# Whatever the records are.

TIMES = [0, 59, 60, 61, 3 * DAY, 3 * DAY + 60]


@st.composite
def records(draw: st.DrawFn) -> list[tuple[str, Row]]:
    told = []
    for n in range(draw(st.integers(0, 6))):
        at = draw(st.sampled_from(TIMES))
        row: Row = {
            "sk": f"CONSENT#{n}",
            "purpose": "marketing",
            "granted": draw(st.booleans()),
            "at": at,
            "received": draw(st.sampled_from([time for time in TIMES if time >= at])),
            "binds": draw(st.sampled_from(["device", "profile"])),
            "mechanism": "api",
            "trust": "server",
            "source": "crm",
        }
        told.append((draw(st.sampled_from([*FIRST])), row))
    return told


RULES = st.sampled_from([SHIPPED, OBJECTING])
A_TIME = st.sampled_from(TIMES)


@given(RULES, A_TIME, records())
def test_the_order_of_records_changes_nothing(
    rules: Any, at: int, told: list[tuple[str, Row]]
) -> None:
    found = history.account(rules, "marketing", at, told, FIRST)

    for order_ in permutations(told[:4]):
        again = history.account(rules, "marketing", at, [*order_, *told[4:]], FIRST)
        assert again == found


@given(RULES, A_TIME, records())
def test_what_came_later_changes_no_answer_about_before(
    rules: Any, at: int, told: list[tuple[str, Row]]
) -> None:
    known = [(idkey, row) for idkey, row in told if row["received"] <= at]
    found = history.account(rules, "marketing", at, told, FIRST)
    without = history.account(rules, "marketing", at, known, FIRST)

    assert (found.person, found.identifiers, found.records) == (
        without.person,
        without.identifiers,
        without.records,
    )
    assert found.later == sum(row["at"] <= at < row["received"] for _, row in told)


@given(RULES, A_TIME, records())
def test_what_decides_is_enough_to_decide_and_each_of_it_matters(
    rules: Any, at: int, told: list[tuple[str, Row]]
) -> None:
    found = history.account(rules, "marketing", at, told, FIRST)
    deciding = [(idkey, row) for idkey, row, why in found.records if not why]
    alone = history.account(rules, "marketing", at, deciding, FIRST)
    assert (alone.person, alone.identifiers) == (found.person, found.identifiers)

    for idkey, row in deciding:
        alike = {"binds", "granted"}
        rest = [
            (other, one)
            for other, one in told
            if any(one[name] != row[name] for name in alike)
            or (row["binds"] == "device" and other != idkey)
        ]
        without = history.account(rules, "marketing", at, rest, FIRST)
        assert (without.person, without.identifiers) != (found.person, found.identifiers)


def test_now_is_the_latest_time_there_is(ann: Shop) -> None:
    assert explain(ann, "marketing", -DAY) == explain(ann, "marketing")
    assert explain(ann, "marketing", NOW * 2)["data"] == [], "and any time may be asked about"
