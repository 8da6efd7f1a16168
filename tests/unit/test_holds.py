"""Legal holds: nothing of a held person ends, nothing else is kept, and what fell due goes then."""

import pytest

from candor import erasure, holds, keyring, requests
from candor.errors import Clash, NotFound, Refused
from candor.policy import DAY
from candor.retention import sweep
from candor.separation import separate
from tests.worlds import CRM, WEB, Shop, after_each_crash, order, policy, says, sent

ANN, BOB = "user_id:42", "user_id:43"
YEARS = 4 * 365


def court(waiting_days: int = 0) -> Shop:
    """With Ann, about whom there is a lawsuit, and Bob, about whom there is none."""
    shop = Shop(policy(lambda compiled: compiled["erasure"].update(waiting_days=waiting_days)))
    for user in ("42", "43"):
        shop.send(CRM, sent("identify", f"i{user}", userId=user, traits={"name": f"n{user}"}))
        shop.send(CRM, order(f"o{user}", userId=user, anonymousId=f"a{user}"))
    return shop


def swept(shop: Shop) -> None:
    sweep(shop.erasure, shop.world, shop.workflow, lambda: True)


def kept(shop: Shop, who: str) -> set[str]:
    """What there is of somebody, whether it is due or not."""
    idkey = shop.id(who).key
    return {
        f"{table}/{row.get('sk', '')}"
        for table in ("graph", "events", "keys")
        for row in shop.rows.held(table)
        if idkey in row["pk"]
    }


def test_what_is_held_outlives_its_time_and_is_shown_no_longer_for_it() -> None:
    shop = court()
    before = kept(shop, ANN)
    shop.hold(ANN, days=YEARS + 9)

    shop.clock.advance(YEARS * DAY)
    swept(shop)
    shop.expire()
    swept(shop)

    assert kept(shop, ANN) == before
    assert not kept(shop, BOB)
    with pytest.raises(NotFound):
        shop.view(ANN)


@pytest.mark.parametrize("how", ["released", "over"])
def test_what_fell_due_goes_when_nothing_holds_it_any_more(how: str) -> None:
    shop = court()
    first, second = shop.hold(ANN, days=YEARS + 9), shop.hold(ANN, days=YEARS + 8)
    shop.clock.advance(YEARS * DAY)
    if how == "released":
        shop.release(first)
        shop.expire()
        assert kept(shop, ANN), "the other hold still lasts"
        shop.release(second)
    else:
        shop.clock.advance(10 * DAY)
    swept(shop)
    shop.expire()
    swept(shop)
    assert not kept(shop, ANN)


def test_what_is_written_while_it_lasts_is_held_by_the_next_sweep() -> None:
    shop = court()
    shop.hold(ANN, days=YEARS + 9)
    shop.clock.advance(1)
    agreed = says(analytics=True)
    shop.send(WEB, sent("page", "p1", anonymousId="a42", context=agreed))
    swept(shop)
    shop.clock.advance(YEARS * DAY)
    shop.expire()
    assert len([one for one in kept(shop, "anonymous_id:a42") if "events" in one]) == 1


def test_who_was_away_for_long_and_comes_again_is_there_with_what_was_held() -> None:
    shop = court()
    shop.hold(ANN, days=YEARS + 9)
    shop.clock.advance(YEARS * DAY)
    before = kept(shop, ANN)
    shop.send(CRM, order("late", -YEARS * DAY, userId="42"))
    assert shop.event_ids(ANN) == ["late"]
    assert kept(shop, ANN) > before


def test_who_was_away_for_long_stays_with_a_held_person_who_is_split() -> None:
    shop = court()
    mail = {"traits": {"email": "ann@example.com"}}
    shop.send(CRM, order("m", userId="42", anonymousId="a42", context=mail))
    shop.hold(ANN, days=2 * YEARS)
    before = kept(shop, ANN)
    shop.clock.advance(YEARS * DAY)
    shop.send(CRM, order("n", -YEARS * DAY, anonymousId="a42", context=mail))
    separate(shop.world, shop.id("email:ann@example.com"), shop.id("anonymous_id:a42"), "t", "why")
    swept(shop)
    shop.expire()
    assert kept(shop, ANN) == before
    shop.send(CRM, order("again", -YEARS * DAY, userId="42"))
    assert "again" in shop.event_ids(ANN)


def test_a_trait_that_ended_stays_with_a_held_person_who_says_another() -> None:
    shop = court()
    shop.hold(ANN, days=2 * YEARS)
    shop.clock.advance(800 * DAY)
    traits = {"title": "Dr"}
    shop.send(CRM, sent("identify", "i", -800 * DAY, userId="42", traits=traits))
    swept(shop)
    assert shop.view(ANN, "privacy_rights").traits() == traits
    salt = keyring.states(shop.rows, [shop.id(ANN).key])[shop.id(ANN).key].salt
    row = shop.row("TRAITS", f"I#{shop.id(ANN).key}")
    assert row
    opened = shop.world.vault.open(salt, row["data"], row["pk"])
    assert opened["traits"].keys() == {"name", "title"}


def test_what_comes_again_with_less_since_it_was_denied_takes_nothing_from_a_held_person() -> None:
    shop = court()
    both = says(analytics=True, marketing=True)
    events = [
        sent("page", "p", userId="42", context=both),
        sent("track", "v", event="Product Viewed", userId="42", context=both),
    ]
    message = shop.message(CRM, *events)
    shop.unify(message)
    shop.hold(ANN)
    shop.choose(ANN, {"analytics": False})
    shop.unify(message)
    assert set(shop.event_ids(ANN, "privacy_rights")) == {"p", "v", "o42"}


def test_who_joins_a_held_person_is_held_too() -> None:
    shop = court()
    hold = shop.hold(ANN)
    shop.send(CRM, order("m", userId="42", anonymousId="new"))
    swept(shop)
    assert shop.id("anonymous_id:new").key in holds.held(shop.rows, shop.clock())
    assert shop.request(shop.acknowledge("anonymous_id:new"))["status"] == "held"
    shop.release(hold)
    assert not holds.held(shop.rows, shop.clock())


def test_a_choice_that_is_told_again_while_it_is_held_ends_no_later() -> None:
    shop = court()
    shop.choose(ANN, {"marketing": False}, ago=60)
    hold = shop.hold(ANN)
    shop.clock.advance(300 * DAY)
    shop.choose(ANN, {"marketing": False}, ago=60 + 300 * DAY)
    shop.release(hold)
    swept(shop)
    told = [row for row in shop.rows.held("graph") if row["sk"].startswith("CONSENT#")]
    assert [row["ttl"] for row in told] == [row["due"] for row in told]


def test_what_is_released_years_after_it_was_due_ends_now() -> None:
    shop = court()
    shop.hold(ANN, days=3 * YEARS)
    shop.clock.advance((3 * YEARS + 1) * DAY)
    swept(shop)
    found = [row for row in shop.rows.held("events") if row["pk"] == shop.id(ANN).key]
    assert [row["ttl"] for row in found] == [int(shop.clock())]


def test_what_is_due_already_when_it_comes_waits_for_the_hourly_sweep() -> None:
    shop = court()
    shop.hold(ANN, days=2 * YEARS)
    again = shop.message(CRM, order("o42", userId="42", anonymousId="a42"))
    shop.clock.advance(YEARS * DAY)
    before = kept(shop, ANN)
    shop.unify(again)
    shop.clock.advance(3600)
    shop.expire()
    swept(shop)
    shop.clock.advance(DAY)
    shop.expire()
    assert kept(shop, ANN) == before


@pytest.mark.parametrize("how", ["held", "released", "forgotten"])
def test_who_joins_a_held_person_and_is_split_from_them_at_once_is_held_as_long(how: str) -> None:
    shop = court()
    hold = shop.hold(ANN, days=2 * YEARS)
    mail = {"traits": {"email": "ann@example.com"}}
    shop.send(CRM, order("m", userId="42", context=mail))
    separate(shop.world, shop.id(ANN), shop.id("email:ann@example.com"), "t", "why")
    part = kept(shop, "email:ann@example.com")
    if how != "held":
        shop.release(hold)
    if how == "forgotten":
        shop.rows.delete([requests.key_of(hold)])
    shop.clock.advance(DAY)
    swept(shop)  # which sees to holds before it looks at everybody
    swept(shop)
    shop.clock.advance(YEARS * DAY)
    shop.expire()
    swept(shop)
    assert kept(shop, "email:ann@example.com") == (part if how == "held" else set())


def test_a_held_person_who_asks_is_hidden_and_shredded_after_the_release() -> None:
    shop = court()
    hold = shop.hold(ANN)
    id_ = shop.acknowledge(ANN)
    assert shop.request(id_)["status"] == "held"
    with pytest.raises(NotFound):
        shop.view(ANN)
    for _ in "ab":
        swept(shop)
    assert shop.request(id_)["status"] == "held"
    assert kept(shop, ANN)
    assert not shop.workflow.started

    shop.release(hold)

    assert shop.request(id_)["status"] == "running"
    assert shop.erase(ANN) == id_
    assert kept(shop, ANN) == {"keys/"}


def test_a_hold_reaches_who_waits_and_not_who_is_destroyed() -> None:
    shop = court(waiting_days=7)
    id_ = shop.acknowledge(ANN)
    hold = shop.hold(ANN)
    shop.clock.advance(8 * DAY)
    swept(shop)
    assert shop.request(id_)["status"] == "held"
    erasure.cancel(shop.erasure, id_)
    assert shop.event_ids(ANN) == ["o42"]
    shop.release(hold)

    shop.acknowledge(BOB)
    shop.clock.advance(8 * DAY)
    swept(shop)
    with pytest.raises(Clash):
        shop.hold(BOB)


def test_a_hold_needs_somebody_and_a_time_to_come() -> None:
    shop = court()
    with pytest.raises(NotFound):
        shop.hold("user_id:nobody")
    with pytest.raises(Refused):
        shop.hold(ANN, days=0)
    with pytest.raises(NotFound):
        shop.release("no hold")
    with pytest.raises(NotFound):
        shop.release(shop.acknowledge(BOB))


def test_its_reason_is_sealed_and_told_to_who_may_know() -> None:
    shop = court()
    shop.hold(ANN)
    assert "a court" not in repr(shop.rows.held())
    (told,) = holds.listing(shop.world)
    assert (told["reason"], told["identifiers"]) == ("a court", 2)


def test_a_crash_while_placing_holds_all_or_nothing() -> None:
    shops = after_each_crash(lambda shop: shop.hold(ANN, days=YEARS + 9), court)
    assert len(shops) > 9
    for shop in shops:
        placed = [row for row in shop.rows.held("requests") if row["type"] == "hold"]
        before = kept(shop, ANN)
        swept(shop)
        shop.clock.advance(YEARS * DAY)
        shop.expire()
        swept(shop)
        assert kept(shop, ANN) == (before if placed else set())


def test_a_crash_while_releasing_is_mended_by_the_sweep() -> None:
    def held() -> Shop:
        shop = court()
        shop.hold(ANN, days=YEARS)
        shop.acknowledge(ANN)
        return shop

    def release(shop: Shop) -> None:
        (row,) = [row for row in shop.rows.held("requests") if row["type"] == "hold"]
        shop.release(row["pk"])

    shops = after_each_crash(release, held)
    assert len(shops) > 9
    for shop in shops:
        release(shop)
        shop.clock.advance(DAY)
        swept(shop)
        (row,) = [row for row in shop.rows.held("requests") if row["type"] == "erasure"]
        assert row["status"] == "running"
        assert not [one for one in shop.rows.held("events") if "ttl" not in one]


def test_parts_of_a_held_person_are_held() -> None:
    shop = court()
    hold = shop.hold(ANN)
    separate(shop.world, shop.id(ANN), shop.id("anonymous_id:a42"), "t", "a test")
    ids = [shop.acknowledge(one) for one in (ANN, "anonymous_id:a42")]
    assert [shop.request(id_)["status"] for id_ in ids] == ["held", "held"]
    shop.release(hold)
    assert [shop.request(id_)["status"] for id_ in ids] == ["running", "running"]
