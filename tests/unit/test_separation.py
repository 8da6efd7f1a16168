"""Separation: what a person takes apart stays apart, with all that each part brought."""

from typing import Any
from unittest.mock import ANY

import pytest

from candor import separation
from candor.errors import Clash, NotFound, Refused
from candor.identity import EVERYBODY, MOST_MEMBERS, Graph
from candor.outcomes import listing
from candor.policy import DAY
from candor.ports import Row
from tests.worlds import CRM, SHARED, WEB, Shop, broken_rules, order, policy, says, sent

BY = "staff"
KIOSK = "anonymous_id:kiosk"


def melted() -> Shop:
    """Two people in one profile: both used one tablet, and the shop's server said so."""
    shop = Shop()
    shop.send(CRM, order("o1", userId="1", anonymousId="tablet"))
    both = {"traits": {"email": "ann@example.com", "phone": "+49301234567"}}
    shop.send(CRM, order("o2", anonymousId="tablet", context=both))
    shop.send(CRM, order("o3", anonymousId="phone2", context={"traits": {"phone": "+49301234567"}}))
    return shop


def separate(shop: Shop, one: str, other: str) -> None:
    separation.separate(shop.world, shop.id(one), shop.id(other), BY, "they rang and said so")


def lift(shop: Shop, one: str, other: str) -> None:
    separation.lift(shop.world, shop.id(one), shop.id(other), BY)


def members(shop: Shop, who: str) -> set[str]:
    return {f"{one['type']}:{one['value']}" for one in shop.view(who).identifiers()}


def link(shop: Shop, one: str, other: str) -> Row:
    row = shop.row(f"LINK#{shop.id(other).key}", f"I#{shop.id(one).key}")
    assert row
    return row


def test_a_profile_splits_along_its_links_in_the_order_they_were_decided() -> None:
    shop = melted()
    assert len(shop.profiles()) == 1

    separate(shop, "user_id:1", "phone:+49301234567")

    assert shop.profiles() == shop.people(
        ["user_id:1", "anonymous_id:tablet", "email:ann@example.com"],
        ["phone:+49301234567", "anonymous_id:phone2"],
    )
    assert broken_rules(shop) == []


def test_each_part_has_what_its_identifiers_brought() -> None:
    shop = melted()
    before = set(shop.event_ids("user_id:1"))

    separate(shop, "user_id:1", "phone:+49301234567")

    mine, theirs = shop.event_ids("user_id:1"), shop.event_ids("phone:+49301234567")
    assert (set(mine), set(theirs)) == ({"o1", "o2"} & before, {"o3"})


def test_every_denial_that_held_for_the_whole_holds_for_both_parts_and_no_grant_does() -> None:
    shop = melted()
    shop.choose("user_id:1", {"analytics": False, "marketing": True}, CRM)
    shop.choose("phone:+49301234567", {"personalization": True}, CRM)

    separate(shop, "user_id:1", "phone:+49301234567")

    assert shop.state("user_id:1", "analytics") == "denied"
    assert shop.state("phone:+49301234567", "analytics") == "denied"
    assert shop.state("user_id:1", "marketing") == "granted"
    assert shop.state("phone:+49301234567", "marketing") == "unknown", "the other's grant"
    assert shop.state("user_id:1", "personalization") == "unknown"
    assert shop.state("phone:+49301234567", "personalization") == "granted"
    carried = [r for r in shop.rows.held("graph") if r.get("mechanism") == "split"]
    assert [(row["purpose"], row["granted"]) for row in carried] == [("analytics", False)]


@pytest.mark.parametrize("path", ["directly", "by a third", "by a new one", "by consent"])
def test_whatever_evidence_returns_by_whatever_path_they_stay_apart(path: str) -> None:
    shop = melted()
    separate(shop, "user_id:1", "phone:+49301234567")
    phone = {"traits": {"phone": "+49301234567"}}

    if path == "directly":
        shop.send(CRM, order("o4", userId="1", context=phone))
    elif path == "by a third":
        shop.send(CRM, order("o4", anonymousId="tablet", context=phone))
    elif path == "by a new one":
        shop.send(CRM, order("o4", anonymousId="new", context=phone))
        shop.send(CRM, order("o5", anonymousId="new", userId="1"))
    else:
        shop.choose(("user_id:1", "phone:+49301234567"), {"marketing": True}, CRM)

    assert "phone:+49301234567" not in members(shop, "user_id:1")
    assert broken_rules(shop) == []
    refused = {r.get("refused") for r in shop.rows.held("graph") if r["sk"].startswith("LINK#")}
    assert "separated" in refused or path == "by a third", "and it is told"


def test_they_stay_apart_though_one_of_them_ends_and_comes_again() -> None:
    shop = melted()
    separate(shop, "user_id:1", "phone:+49301234567")
    for _ in range(8):
        shop.clock.advance(180 * DAY)
        now = {"timestamp": None}
        shop.send(CRM, order("alive", userId="1") | now)
    shop.expire()
    assert shop.node("phone:+49301234567") is None

    phone = {"traits": {"phone": "+49301234567"}}
    shop.send(CRM, order("o9", userId="1", context=phone) | {"timestamp": None})

    assert "phone:+49301234567" not in members(shop, "user_id:1")


def test_lifted_they_join_when_evidence_returns_and_not_before() -> None:
    shop = melted()
    separate(shop, "user_id:1", "phone:+49301234567")
    lift(shop, "user_id:1", "phone:+49301234567")
    assert "phone:+49301234567" not in members(shop, "user_id:1")

    shop.send(CRM, order("o4", userId="1", context={"traits": {"phone": "+49301234567"}}))

    assert "phone:+49301234567" in members(shop, "user_id:1")
    assert broken_rules(shop) == []
    with pytest.raises(Clash):
        lift(shop, "user_id:1", "phone:+49301234567")


def test_a_link_that_joins_two_again_keeps_that_it_did_before() -> None:
    shop = melted()
    pair = "user_id:1", "anonymous_id:tablet"
    first = link(shop, *pair)
    separate(shop, *pair)
    lift(shop, *pair)

    for n in range(2):
        shop.send(CRM, order(f"again{n}", userId="1", anonymousId="tablet"))

    again = link(shop, *pair)
    assert again["version"] > first["version"]
    assert again["earlier"] == [[first["version"], "server"]]
    assert link(shop, *reversed(pair)) == again | {"pk": ANY, "sk": ANY}


def test_separated_twice_is_separated_once() -> None:
    shop = melted()
    separate(shop, "user_id:1", "phone:+49301234567")
    before = shop.profiles()

    separate(shop, "phone:+49301234567", "user_id:1")

    assert shop.profiles() == before
    lift(shop, "phone:+49301234567", "user_id:1")
    with pytest.raises(Clash):
        lift(shop, "user_id:1", "phone:+49301234567")


def test_two_strangers_can_be_kept_apart_before_anything_joins_them() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="1"))
    shop.send(CRM, order("o2", context={"traits": {"email": "b@example.com"}}))
    separate(shop, "user_id:1", "email:b@example.com")

    shop.send(CRM, order("o3", userId="1", context={"traits": {"email": "b@example.com"}}))

    assert members(shop, "user_id:1") == {"user_id:1"}


def test_nobody_is_separated_from_themselves_or_from_nobody() -> None:
    shop = melted()
    with pytest.raises(Refused):
        separate(shop, "user_id:1", "user_id:1")
    with pytest.raises(NotFound):
        separate(shop, "user_id:1", "user_id:77")


def test_a_legal_hold_is_on_each_part_of_who_is_taken_apart() -> None:
    shop = melted()
    hold = shop.hold("user_id:1")
    separate(shop, "user_id:1", "phone:+49301234567")

    parts = ("user_id:1", "phone:+49301234567")
    for part in parts:
        assert shop.request(shop.acknowledge(part))["status"] == "held"
    shop.release(hold)

    assert {row["status"] for row in shop.rows.held("requests") if row["type"] == "erasure"} == {
        "running"
    }


@pytest.mark.parametrize("older", ["user_id:1", "anonymous_id:a"])
def test_a_legal_hold_survives_a_merge_whichever_profile_is_older(older: str) -> None:
    shop = Shop()
    events = [order("o1", userId="1"), order("o2", anonymousId="a")]
    for event in events if older == "user_id:1" else reversed(events):
        shop.send(CRM, event)
        shop.clock.advance(1)
    holds = [shop.hold("user_id:1"), shop.hold("anonymous_id:a")]

    shop.send(CRM, order("o3", userId="1", anonymousId="a"))

    assert members(shop, "user_id:1") == {"user_id:1", "anonymous_id:a"}
    id_ = shop.acknowledge("user_id:1")
    for hold in holds:
        assert shop.request(id_)["status"] == "held"
        shop.release(hold)
    assert shop.request(id_)["status"] == "running"


def test_the_reason_is_sealed() -> None:
    shop = melted()
    separate(shop, "user_id:1", "phone:+49301234567")

    assert "rang" not in repr(shop.rows.held("graph"))


def test_an_erasure_takes_the_record_of_a_separation_along() -> None:
    shop = melted()
    separate(shop, "user_id:1", "phone:+49301234567")

    shop.erase("user_id:1")

    assert not [row for row in shop.rows.held("graph") if row["sk"].startswith("SEP#")]
    assert members(shop, "phone:+49301234567")


def test_what_a_person_decided_is_told_with_the_links() -> None:
    shop = melted()
    separate(shop, "user_id:1", "phone:+49301234567")
    shop.clock.advance(DAY)
    separation.quarantine(shop.world, shop.id("user_id:1"), "ines", {"reason": "test_value"})
    separation.lift(shop.world, shop.id("user_id:1"), shop.id("phone:+49301234567"), "ines")
    separation.release(shop.world, shop.id("user_id:1"), "ines")

    separated, quarantined = shop.view("user_id:1", "privacy_rights").separations()

    assert separated["a"] == {"type": "user_id", "value": "1"}
    assert separated["b"] == {"type": "(outside this profile)", "value": None}
    assert separated["because"] == {"reason": "they rang and said so"}
    assert (separated["by"], separated["lifted_by"]) == (BY, "ines")
    assert separated["lifted"] == separated["time"] + DAY
    assert (quarantined["b"], quarantined["because"]) == (None, {"reason": "test_value"})
    assert quarantined["lifted_by"] == "ines"
    told = shop.view("user_id:1", "analytics")
    assert told.separations()[0]["because"] is None
    assert "separation:reason" in {one["name"] for one in told.withheld()}


# Shared by many


def kiosk(shop: Shop, people: range, source: object = CRM) -> None:
    for n in people:
        shop.send(source, order(f"k{n}", userId=f"user{n}", anonymousId="kiosk"))  # type: ignore[arg-type]


def quarantined(shop: Shop) -> set[str]:
    return {
        row["sk"]
        for row in shop.rows.held("graph")
        if row["pk"] == separation.QUARANTINE and "released" not in row
    }


@pytest.mark.parametrize("source", [CRM, WEB])
def test_what_many_share_is_found_and_joins_nobody(source: object) -> None:
    shop = Shop()
    kiosk(shop, range(SHARED), source)
    assert not quarantined(shop)
    assert KIOSK in members(shop, "user_id:user0")

    kiosk(shop, range(SHARED, SHARED + 3), source)

    assert quarantined(shop) == {shop.id(KIOSK).key}
    assert members(shop, KIOSK) == {KIOSK}
    assert KIOSK not in members(shop, "user_id:user0")
    assert broken_rules(shop) == []


NUMBER = "phone:+493055566677"


def given(shop: Shop, address: str, **ids: Any) -> None:
    """A row of the CRM with an address and the branch's own number."""
    traits = {"email": f"{address}@example.com", "phone": NUMBER.partition(":")[2]}
    shop.send(CRM, sent("identify", f"row-{address}", traits=traits, **ids))


def test_whom_only_a_shared_number_held_together_part() -> None:
    shop = Shop()
    given(shop, "ann", userId="ann")
    shop.send(CRM, sent("identify", "two", userId="ann", traits={"email": "ann2@example.com"}))
    given(shop, "bob")
    assert members(shop, "user_id:ann") >= {NUMBER, "email:bob@example.com"}, "as yet it could be"

    given(shop, "cem")

    assert members(shop, NUMBER) == {NUMBER}
    mail = "email:{}@example.com".format
    assert members(shop, "user_id:ann") == {"user_id:ann", mail("ann"), mail("ann2")}
    assert members(shop, mail("bob")) == {mail("bob")}
    assert members(shop, mail("cem")) == {mail("cem")}
    assert broken_rules(shop) == []
    assert shop.view(mail("bob")).traits() == {"email": "bob@example.com", "phone": NUMBER[6:]}
    (listed,) = separation.quarantined(shop.world)
    assert listed["because"]["met"] == {"user_id": 1, "email": 2}


def test_each_part_keeps_what_the_whole_was_denied() -> None:
    shop = Shop()
    given(shop, "ann")
    given(shop, "bob")
    shop.choose("email:ann@example.com", {"marketing": False}, CRM)

    given(shop, "cem")

    for one in (NUMBER, "email:ann@example.com", "email:bob@example.com"):
        assert shop.state(one, "marketing") == "denied"


def test_a_public_key_cannot_make_a_number_seem_shared() -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "i", userId="victim", traits={"phone": NUMBER[6:]}))
    for n in range(20):
        traits = {"email": f"x{n}@example.com", "phone": NUMBER[6:]}
        shop.send(WEB, sent("identify", f"f{n}", anonymousId=f"f{n}", traits=traits))
        shop.send(WEB, sent("identify", f"g{n}", traits=traits))

    assert NUMBER in members(shop, "user_id:victim")
    assert not quarantined(shop)


def test_as_many_as_a_profile_holds_can_part_and_a_crash_only_delays_it() -> None:
    shop = Shop(policy(lambda compiled: compiled["identifiers"]["anonymous_id"].update(limit=90)))
    one = shop.id("email:desk@example.com")
    for n in range(MOST_MEMBERS - 1):
        context = {"traits": {"email": "desk@example.com"}}
        shop.send(CRM, order(f"o{n}", anonymousId=f"a{n}", context=context))
    assert len(members(shop, "email:desk@example.com")) == MOST_MEMBERS
    for purpose in ("marketing", "analytics", "personalization"):
        shop.choose("email:desk@example.com", {purpose: False}, CRM)
    commits = 0

    def crash(call: str, detail: object) -> None:
        nonlocal commits
        commits += call == "rows.commit:before"
        if commits == 3:
            raise KeyboardInterrupt

    shop.rows.tap = crash
    with pytest.raises(KeyboardInterrupt):
        separation.quarantine(shop.world, one, "staff", {})
    shop.rows.tap = None
    assert broken_rules(shop) == []
    assert 1 < len(shop.profiles()) < MOST_MEMBERS

    assert separation.quarantine(shop.world, one, "staff", {})

    assert len(shop.profiles()) == MOST_MEMBERS
    assert broken_rules(shop) == []
    assert not separation.quarantine(shop.world, one, "staff", {})


def test_a_quarantine_bounds_what_is_kept_of_refusals() -> None:
    shop = Shop()
    kiosk(shop, range(SHARED + 1))
    rows = len([r for r in shop.rows.held("graph") if r["pk"] == f"I#{shop.id(KIOSK).key}"])

    kiosk(shop, range(SHARED + 1, SHARED + 30))

    after = len([r for r in shop.rows.held("graph") if r["pk"] == f"I#{shop.id(KIOSK).key}"])
    assert after == rows


def test_who_is_in_quarantine_is_refused_as_such_by_whom_it_was_separated_from_too() -> None:
    shop = Shop()
    kiosk(shop, range(1))
    separate(shop, "user_id:user0", KIOSK)
    separation.quarantine(shop.world, shop.id(KIOSK), BY, {})

    outcomes = shop.send(CRM, order("o", userId="user0", anonymousId="kiosk"))

    assert outcomes[0].also == (("refused_link", "quarantined"),)


def test_a_public_key_cannot_put_a_person_into_quarantine() -> None:
    shop = Shop()
    shop.send(CRM, order("o", userId="victim"))
    for n in range(3 * shop.policy.identifiers["anonymous_id"].limit):
        shop.send(WEB, order(f"x{n}", userId="victim", anonymousId=f"fake{n}"))

    assert not quarantined(shop)
    assert "o" in shop.event_ids("user_id:victim")


def test_who_clears_their_cookies_is_not_taken_for_many() -> None:
    shop = Shop()
    for n in range(50 + 3 * SHARED):
        shop.send(CRM, order(f"x{n}", userId="tidy", anonymousId=f"browser{n}"))
    assert not quarantined(shop)

    for n in range(100):
        shop.send(CRM, order(f"y{n}", userId="tidy", anonymousId=f"other{n}"))

    assert quarantined(shop) == {shop.id("user_id:tidy").key}, "nobody has a hundred"


def test_a_traveller_who_meets_many_kiosks_is_not_taken_for_one() -> None:
    shop = Shop()
    for n in range(2 * SHARED):
        shop.send(CRM, order(f"a{n}", userId=f"local{n}", anonymousId=f"kiosk{n}"))
        shop.send(CRM, order(f"b{n}", userId="traveller", anonymousId=f"kiosk{n}"))

    assert not quarantined(shop)


def test_released_it_joins_again() -> None:
    shop = Shop()
    kiosk(shop, range(SHARED + 1))
    separation.release(shop.world, shop.id(KIOSK), "staff")
    assert not quarantined(shop)

    shop.send(CRM, order("o", userId="user7", anonymousId="kiosk"))

    assert KIOSK in members(shop, "user_id:user7")
    with pytest.raises(Clash):
        separation.release(shop.world, shop.id(KIOSK), "staff")


def test_what_was_denied_at_a_kiosk_stays_denied_in_quarantine() -> None:
    shop = Shop()
    shop.send(WEB, sent("page", "p", anonymousId="kiosk", context=says(analytics=True)))
    kiosk(shop, range(1))
    shop.choose("user_id:user0", {"analytics": False}, CRM)
    kiosk(shop, range(1, SHARED + 1))

    assert shop.state(KIOSK, "analytics") == "denied"


def test_a_quarantine_survives_a_merge_and_a_split_of_others() -> None:
    shop = Shop()
    kiosk(shop, range(SHARED + 1))
    graph = Graph(shop.world)
    graph.load([shop.id(KIOSK).key])
    profile = graph.profile(shop.id(KIOSK).key)
    assert profile
    assert profile.apart == {shop.id(KIOSK).key: [EVERYBODY]}


@pytest.mark.parametrize("older", ["the separated", "the other"])
def test_a_separation_survives_a_merge_whichever_profile_is_older(older: str) -> None:
    shop = Shop()
    email = {"traits": {"email": "c@example.com"}}
    first = [order("o1", userId="1"), order("o2", anonymousId="x")]
    other = order("o3", context=email)
    for event in [*first, other] if older == "the separated" else [other, *first]:
        shop.send(CRM, event)
        shop.clock.advance(1)
    separate(shop, "user_id:1", "anonymous_id:x")

    shop.send(CRM, order("o4", userId="1", context=email))  # the separated one's profile merges
    shop.send(CRM, order("o5", anonymousId="x", context=email))

    assert members(shop, "user_id:1") == {"user_id:1", "email:c@example.com"}
    assert broken_rules(shop) == []
    graph = Graph(shop.world)
    for one, two in (("user_id:1", "anonymous_id:x"), ("anonymous_id:x", "user_id:1")):
        graph.load([shop.id(one).key])
        profile = graph.profile(shop.id(one).key)
        assert profile
        assert profile.apart[shop.id(one).key] == [shop.id(two).key], "known at both ends"


def test_what_was_decided_after_a_merge_is_later_than_all_before_it() -> None:
    """The younger profile has the longer history; it must not count as the later one."""
    shop = Shop()
    shop.send(CRM, order("o1", userId="1"))
    shop.clock.advance(1)
    busy = {"traits": {"email": "b@example.com"}}
    shop.send(CRM, order("o2", anonymousId="x", context=busy))
    for n in range(6):
        shop.send(CRM, order(f"p{n}", anonymousId=f"y{n}", context=busy))
    shop.send(CRM, order("o3", anonymousId="x", context={"traits": {"phone": "+49301234567"}}))

    shop.send(CRM, order("o4", userId="1", context={"traits": {"phone": "+49301234567"}}))
    separate(shop, "user_id:1", "email:b@example.com")

    assert members(shop, "user_id:1") == {"user_id:1"}, "it came last, by its one link"


def test_a_crash_before_the_quarantine_only_delays_it() -> None:
    shop = Shop()
    kiosk(shop, range(SHARED))
    message = shop.message(CRM, order("k", userId="late", anonymousId="kiosk"))

    def crash(call: str, detail: object) -> None:
        if call == "rows.commit:after" and any("LINK#" in str(w.key.sk) for w in detail):  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    shop.rows.tap = crash
    with pytest.raises(KeyboardInterrupt):
        shop.unify(message)
    shop.rows.tap = None
    assert not quarantined(shop)

    shop.unify(message)

    assert quarantined(shop) == {shop.id(KIOSK).key}


def test_refused_links_are_counted_by_rule_and_source() -> None:
    shop = Shop()
    kiosk(shop, range(3))
    kiosk(shop, range(2), WEB)

    found = {day["source"]: day["outcomes"] for day in listing(shop.rows, 7, shop.clock())}

    assert found["crm"] == {"refused_link:limit:user_id": 2}
    assert found["web"]["refused_link:client_may_not_join_known_users"] == 1
