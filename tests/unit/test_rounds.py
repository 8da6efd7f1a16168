"""The daily round: traits, identifiers and keys end that DynamoDB's own expiry knows nothing of."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import outcomes, rounds, separation, traits
from candor.identity import node_key
from candor.policy import DAY
from candor.ports import Key, Row, Update
from tests.worlds import CRM, NOW, WEB, Json, Shop, broken_rules, crash_at, order, recorded, sent

ANN, TABLET = "user_id:42", "anonymous_id:a1"
AVATAR, NAME = 30, 730
"""Days of a trait's class."""


def ann() -> Shop:
    """Ann, of whom a trait ends after 30 days and another one after two years."""
    shop = Shop()
    said = {"name": "Ann", "avatar": "https://example.com/a.png"}
    shop.send(CRM, sent("identify", "i1", userId="42", traits=said))
    return shop


def go_on(shop: Shop, more: Callable[[], bool] = lambda: True) -> rounds.Ended:
    return rounds.go_on(shop.world, more)


def stored(shop: Shop, who: str = ANN) -> Json:
    """What of traits lies in the table, whoever may see it."""
    row = shop.row("TRAITS", f"I#{shop.id(who).key}")
    assert row
    salt = next(r["salt"] for r in shop.rows.held("keys") if r["pk"] == row["pk"][2:])
    facts: Json = shop.world.vault.open(salt, row["data"], row["pk"])["traits"]
    return facts


def counted(shop: Shop) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in outcomes.listing(shop.rows, 30, shop.clock()):
        found |= {f"{one['source']} {name}": count for name, count in one["outcomes"].items()}
    return found


def test_a_trait_past_its_time_is_hidden_at_once_and_gone_with_the_next_round() -> None:
    shop = ann()
    shop.clock.now = shop.policy.due(AVATAR, NOW)
    assert shop.view(ANN, "privacy_rights").traits() == {"name": "Ann"}
    assert set(stored(shop)) == {"name", "avatar"}

    assert go_on(shop).traits == 1

    assert set(stored(shop)) == {"name"}
    assert counted(shop) == {"crm expired_traits:brief": 1}
    shop.clock.now = shop.policy.due(NAME, NOW)
    go_on(shop)
    assert stored(shop) == {}


def test_a_row_in_which_nothing_has_ended_is_not_opened() -> None:
    shop = ann()
    shop.clock.now = shop.policy.due(AVATAR, NOW) - 1

    calls = recorded(shop, lambda: go_on(shop))

    asked = {key for keys in calls.before("rows.get") for key in keys}
    assert Key("keys", shop.id(ANN).key) not in asked
    assert not calls.before("rows.commit")


def test_a_trait_that_is_said_again_has_its_time_anew() -> None:
    shop = ann()
    later = sent("identify", "i2", ago=-20 * DAY, userId="42", traits={"avatar": "b"})
    shop.clock.advance(20 * DAY)
    shop.send(CRM, later)
    shop.clock.now = shop.policy.due(AVATAR, NOW)

    assert go_on(shop).traits == 0
    assert shop.view(ANN, "privacy_rights").traits() == {"name": "Ann", "avatar": "b"}


def test_what_ended_does_not_outrank_what_is_said_now() -> None:
    shop = ann()
    shop.clock.now = shop.policy.due(AVATAR, NOW)
    ago = NOW - shop.clock.now

    shop.send(WEB, sent("identify", "i2", ago=ago, userId="42", traits={"avatar": "b"}))

    assert shop.view(ANN, "privacy_rights").traits()["avatar"] == "b", "it was proven, and is over"


def test_a_fact_whose_time_is_over_is_not_kept_and_that_is_told() -> None:
    shop = Shop()
    old = sent("identify", "i1", ago=40 * DAY, userId="42", traits={"avatar": "a", "name": "Ann"})

    (outcome,) = shop.send(CRM, old)

    assert outcome.also == (("trait_dropped", "expired"),)
    assert set(stored(shop)) == {"name"}


def linked() -> Shop:
    """Ann's browser, under which nothing is kept: all that she did is hers."""
    shop = Shop()
    shop.send(CRM, order("o1", userId="42", anonymousId="a1"))
    return shop


def test_an_identifier_under_which_nothing_is_kept_ends_by_its_class() -> None:
    shop = linked()
    shop.clock.advance(91 * DAY)
    shop.send(CRM, order("o2", ago=-91 * DAY, userId="42"))

    go_on(shop)
    assert shop.profiles() == shop.people([ANN, TABLET]), "whoever brings something now finds it"
    shop.clock.advance(DAY)
    assert go_on(shop).identifiers == 1

    assert shop.profiles() == shop.people([ANN])
    assert shop.id(TABLET).key not in {row["pk"] for row in shop.rows.held("keys")}
    assert counted(shop) == {"sweep expired_identifiers:behaviour": 1}
    assert broken_rules(shop) == []


def test_who_comes_back_in_the_last_hour_stays() -> None:
    shop = linked()
    shop.clock.advance(91 * DAY)
    go_on(shop)

    shop.send(CRM, order("o2", ago=-91 * DAY, userId="42", anonymousId="a1"))
    shop.clock.advance(DAY)
    go_on(shop)

    assert shop.profiles() == shop.people([ANN, TABLET])


@pytest.mark.parametrize("kept", ["event", "trait", "choice", "hold", "separation", "quarantine"])
def test_an_identifier_stays_as_long_as_something_is_kept_under_it(kept: str) -> None:
    shop = linked()
    if kept == "event":
        shop.send(CRM, order("o2", anonymousId="a1"))
    elif kept == "trait":
        shop.send(CRM, sent("identify", "i", anonymousId="a1", traits={"name": "Ann"}))
    elif kept == "choice":
        shop.choose(TABLET, {"marketing": False})
    elif kept == "separation":
        separation.separate(shop.world, shop.id(ANN), shop.id(TABLET), "staff", "sold")
    elif kept == "quarantine":
        separation.quarantine(shop.world, shop.id(TABLET), "staff", {"why": "till"})
    else:
        shop.hold(TABLET, days=900)
    shop.clock.advance(91 * DAY)

    for _ in range(3):
        go_on(shop)
        shop.clock.advance(DAY)

    assert shop.id(TABLET).key in {i for one in shop.profiles() for i in one}
    left = shop.node(TABLET)
    assert left
    assert left["due"] > shop.clock()


def test_a_hold_keeps_traits_and_identifiers_past_their_time() -> None:
    shop = ann()
    shop.hold(ANN, days=9000)
    for later in (AVATAR + 1, 1200):
        shop.clock.now = NOW + later * DAY
        ended = go_on(shop)
        assert (ended.traits, ended.identifiers, ended.keys) == (0, 0, 0)

    assert set(stored(shop)) == {"name", "avatar"}


def test_a_key_without_an_identifier_is_destroyed_within_a_week() -> None:
    shop = ann()
    shop.rows.update(Update(Key("keys", "nobody"), set={"salt": b"s"}))
    for _ in range(8):
        go_on(shop)
        shop.clock.advance(DAY)

    assert {row["pk"] for row in shop.rows.held("keys")} == {shop.id(ANN).key, rounds.PLACE.pk}


def test_objections_outlive_the_key_that_they_stand_beside() -> None:
    shop = ann()
    key = Key("keys", shop.id(ANN).key)
    shop.rows.update(Update(key, set={"objections": {"marketing": 1}}))
    shop.clock.advance(1200 * DAY)

    assert go_on(shop).keys == 1

    (row,) = [row for row in shop.rows.held("keys") if row["pk"] == key.pk]
    assert row == {"pk": key.pk, "objections": {"marketing": 1}}
    shop.clock.advance(8 * DAY)
    assert go_on(shop).keys == 0


def test_a_hold_that_is_over_keeps_nothing() -> None:
    shop = ann()
    node = shop.node(ANN)
    assert node
    shop.rows.update(Update(Key("graph", f"P#{node['profile']}", "PROFILE"), set={"hold": {}}))
    shop.clock.advance(1200 * DAY)

    assert go_on(shop).identifiers == 1


def many() -> Shop:
    """People of whom something of each sort has ended."""
    shop = Shop()
    for n in range(4):
        said = {"name": f"N{n}", "avatar": "a"}
        shop.send(CRM, sent("identify", f"i{n}", userId=f"u{n}", anonymousId=f"a{n}", traits=said))
    shop.send(CRM, sent("identify", "gone", userId="gone", traits={"avatar": "a"}))
    shop.clock.advance(91 * DAY)
    return shop


def round_by_round(shop: Shop, more: Callable[[], bool] = lambda: True) -> None:
    for _ in range(3):
        go_on(shop, more)
        shop.clock.advance(DAY)


def held(shop: Shop) -> Any:
    """All that is stored but for the place, as it can be compared: what is sealed, opened."""
    salts = {row["pk"]: row.get("salt") for row in shop.rows.held("keys")}
    found = []
    for row in shop.rows.held("graph"):
        plain: Row = {name: value for name, value in row.items() if name != "profile"}
        if row["sk"] == "TRAITS":
            plain["data"] = shop.world.vault.open(salts[row["pk"][2:]], row["data"], row["pk"])
        if row["sk"] != "PROFILE":
            found.append(json.dumps(plain, sort_keys=True, default=str))
    return sorted(found), shop.profiles(), sorted(salts.keys() - {rounds.PLACE.pk}), counted(shop)


def test_a_round_that_crashes_anywhere_and_is_repeated_comes_to_the_same() -> None:
    whole = many()
    round_by_round(whole)
    place = 0
    while True:
        shop = many()
        crashed = crash_at(shop, place, lambda s=shop: go_on(s))  # type: ignore[misc]
        round_by_round(shop)
        assert held(shop)[1:] == held(whole)[1:], f"crashed at {place}"
        assert len(held(shop)[0]) == len(held(whole)[0])
        assert broken_rules(shop) == []
        if not crashed:
            break
        place += 1
    assert place > 20


@given(st.integers(1, 5))
def test_a_round_in_slices_is_a_whole_round(each: int) -> None:
    whole, shop = many(), many()
    go_on(whole)
    for _ in range(40):
        left = iter(range(each))
        go_on(shop, lambda left=left: next(left, None) is not None)  # type: ignore[misc]

    assert held(shop)[1:] == held(whole)[1:]
    assert node_key(shop.id("user_id:gone").key) in {
        Key("graph", row["pk"], row["sk"]) for row in shop.rows.held("graph")
    }


def test_rows_from_before_say_nothing_of_their_ends_and_are_opened_once() -> None:
    shop = ann()
    key = Key("graph", f"I#{shop.id(ANN).key}", "TRAITS")
    before = stored(shop)
    salt = next(r["salt"] for r in shop.rows.held("keys") if r["pk"] == key.pk[2:])
    data = shop.world.vault.seal(salt, {"value": "42", "traits": before}, key.pk)
    shop.rows.update(Update(key, set={"data": data}, remove=("n", "next")))
    shop.clock.now = shop.policy.due(AVATAR, NOW)

    assert go_on(shop).traits == 1

    row = shop.row("TRAITS", key.pk)
    assert row
    assert row["n"] == 1
    assert row["next"] == shop.policy.due(NAME, NOW)
    assert row["next"] < traits.NEVER
