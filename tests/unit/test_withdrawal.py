"""Withdrawal: what was kept only for what is denied now goes, and nothing else."""

import pytest

from candor import retention, separation, withdrawal
from candor.consents import restrict
from candor.credentials import Source
from candor.policy import DAY
from candor.ports import Key, Put, Update
from candor.retention import Swept
from candor.transit import LIFE_SECONDS
from tests.worlds import CRM, WEB, Json, Shop, order, says, sent

ANN, BROWSER = "user_id:42", "anonymous_id:a1"


def shopper() -> Shop:
    """Ann, who agreed to all in her browser: what she looked at, and what she ordered."""
    shop = Shop()
    agreed = says(analytics=True, marketing=True, personalization=True)
    shop.send(
        WEB,
        sent("page", "page", anonymousId="a1", context=agreed),
        sent(
            "track",
            "viewed",
            anonymousId="a1",
            event="Product Viewed",
            properties={"product_id": "p"},
            context=agreed,
        ),
        order("order", anonymousId="a1", context=agreed),
    )
    shop.send(CRM, sent("identify", "i", userId="42", anonymousId="a1", traits={"name": "Ann"}))
    return shop


def sweep(shop: Shop, more: int = 10**6) -> Swept:
    left = iter(range(more))
    return retention.sweep(
        shop.erasure, shop.world, shop.workflow, lambda: next(left, None) is not None
    )


def everything(shop: Shop) -> set[str]:
    return set(shop.event_ids(BROWSER, "privacy_rights"))


def marks(shop: Shop) -> list[Json]:
    return [row for row in shop.rows.held("graph") if row["pk"] == withdrawal.WITHDRAWN]


def test_what_no_purpose_allows_any_more_is_deleted_and_the_rest_stays() -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False, "personalization": False})
    assert everything(shop) == {"page", "viewed", "order"}, "it is hidden, and not gone yet"
    assert not {"page", "viewed"} & set(shop.event_ids(ANN, "analytics"))

    swept = sweep(shop)

    assert everything(shop) == {"viewed", "order"}, "an interest serves marketing too"
    assert swept.withdrawn_events == 1
    assert marks(shop) == []

    shop.choose(ANN, {"marketing": False, "profiling": False})
    sweep(shop)
    assert everything(shop) == {"order"}
    assert shop.view(ANN, "privacy_rights").traits() == {"name": "Ann"}, "the account's"


def test_a_grant_counts_though_its_record_ended_before_that_of_the_denial() -> None:
    shop = shopper()
    restrict(shop.world, shop.id(ANN).key, "staff", on=True)
    shop.choose(ANN, {"analytics": False})
    before = shop.rows.held("graph")
    shop.clock.advance(60)
    restrict(shop.world, shop.id(ANN).key, "staff", on=False)
    shop.choose(ANN, {"analytics": True})
    later = [row for row in shop.rows.held("graph") if row not in before]
    records = [row for row in later if row["sk"].startswith("CONSENT#")]
    shop.rows.delete([Key("graph", row["pk"], row["sk"]) for row in records])
    sweep(shop)
    assert len(records) == 2
    assert everything(shop) == {"page", "viewed", "order"}


def test_who_was_restricted_ended_and_came_again_on_one_day_loses_nothing_for_it() -> None:
    shop = shopper()
    restrict(shop.world, shop.id(ANN).key, "staff", on=True)
    node = shop.node(ANN)
    assert node
    shop.rows.update(Update(Key("graph", f"P#{node['profile']}", "PROFILE"), set={"choices": {}}))
    shop.choose(ANN, {"profiling": False})
    sweep(shop)
    assert marks(shop) == []
    assert everything(shop) == {"page", "viewed", "order"}


def test_a_trait_goes_that_was_kept_for_what_is_denied_now() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": True, "personalization": True})
    shop.send(CRM, sent("identify", "i", userId="42", traits={"name": "Ann", "gender": "f"}))
    assert "gender" in shop.view(ANN, "privacy_rights").traits()

    shop.choose(ANN, {"marketing": False, "personalization": False, "analytics": False})

    assert sweep(shop).withdrawn_traits == 1
    assert shop.view(ANN, "privacy_rights").traits() == {"name": "Ann"}


def test_a_bundle_of_which_nothing_is_left_is_gone() -> None:
    shop = Shop()
    shop.send(WEB, sent("page", "p", anonymousId="a1", context=says(analytics=True)))
    shop.choose(BROWSER, {"analytics": False, "personalization": False}, WEB)

    sweep(shop)

    assert list(shop.rows.held("events")) == []


def test_who_agrees_again_in_time_loses_nothing() -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False})
    shop.clock.advance(60)
    shop.choose(ANN, {"analytics": True})

    assert sweep(shop).withdrawn_events == 0
    assert everything(shop) == {"page", "viewed", "order"}


def test_a_device_that_says_no_loses_what_it_sent_and_no_other() -> None:
    shop = shopper()
    shop.send(WEB, sent("page", "elsewhere", anonymousId="a2", context=says(analytics=True)))
    shop.send(CRM, order("o2", userId="42", anonymousId="a2"))
    shop.clock.advance(60)
    no = says(analytics=False, personalization=False)
    shop.send(WEB, sent("page", "no", anonymousId="a1", context=no))

    sweep(shop)

    assert everything(shop) == {"viewed", "order", "elsewhere", "o2"}


@pytest.mark.parametrize(("source", "left"), [(WEB, True), (CRM, False)])
def test_a_public_key_hides_another_ones_data_and_does_not_delete_it(
    source: Source, left: bool
) -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False, "personalization": False}, source)
    assert "page" not in shop.event_ids(ANN, "analytics")

    sweep(shop)

    assert ("page" in everything(shop)) == left


def test_a_public_keys_denial_deletes_nothing_beside_a_proven_one_either() -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False, "personalization": False}, WEB)
    shop.choose(ANN, {"sale_share": False})

    sweep(shop)

    assert "page" in everything(shop)


def test_a_device_that_joined_somebody_makes_nothing_of_theirs_go() -> None:
    shop = shopper()
    shop.send(CRM, order("o2", userId="42", anonymousId="strange"))

    shop.choose("anonymous_id:strange", {"analytics": False, "personalization": False}, WEB)
    assert shop.state(ANN, "analytics") == "denied"
    sweep(shop)

    assert "page" in everything(shop)


def test_a_quarantine_lets_nothing_go_that_a_public_key_denied() -> None:
    shop = shopper()
    shop.choose(BROWSER, {"analytics": False, "personalization": False}, WEB)
    assert shop.state(ANN, "analytics") == "denied"
    shop.send(CRM, sent("page", "p2", userId="42", context=says(analytics=True)))
    sweep(shop)
    kept = everything(shop)

    separation.quarantine(shop.world, shop.id(BROWSER), "staff", {})
    sweep(shop)

    assert set(shop.event_ids(ANN, "privacy_rights")) | everything(shop) == kept


def test_a_device_takes_along_what_the_server_stored_through_it() -> None:
    shop = shopper()
    agreed = says(analytics=True)
    shop.send(CRM, sent("page", "server", userId="42", anonymousId="a1", context=agreed))
    shop.send(CRM, sent("page", "alone", userId="42", context=agreed))
    shop.clock.advance(60)
    no = says(analytics=False, personalization=False)
    shop.send(WEB, sent("page", "no", anonymousId="a1", context=no))

    sweep(shop)

    left = set(shop.event_ids(ANN, "privacy_rights"))
    assert "alone" in left
    assert not {"page", "server"} & left


def test_a_mark_outlives_a_merge_while_it_is_looked_at() -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False, "personalization": False})
    met: list[str] = []

    def merge(call: str, found: object) -> None:
        if call == "rows.get:after" and not met and "NODE" in repr(found):
            met.append(call)
            shop.send(CRM, order("o2", userId="42", context={"traits": {"email": "a@example.com"}}))

    older = {"traits": {"email": "a@example.com"}}
    shop.clock.advance(-3600)
    shop.send(CRM, order("o1", context=older))
    shop.clock.advance(3600)
    shop.rows.tap = merge
    sweep(shop)
    shop.rows.tap = None
    sweep(shop)

    assert met
    assert "page" not in everything(shop)


def test_under_a_legal_hold_nothing_goes_until_it_is_over() -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False, "personalization": False})
    hold = shop.hold(ANN)

    assert sweep(shop).withdrawn_events == 0
    assert len(marks(shop)) == 1

    shop.release(hold)
    assert sweep(shop).withdrawn_events == 1


@pytest.mark.parametrize("more", range(6))
def test_a_sweep_that_ran_out_of_time_goes_on_in_the_next(more: int) -> None:
    shop = shopper()
    for n in range(3):
        agreed = says(analytics=True)
        shop.send(WEB, sent("page", f"p{n}", ago=n * 90_000, anonymousId="a1", context=agreed))
    shop.choose(ANN, {"analytics": False, "personalization": False})

    sweep(shop, more)
    sweep(shop)

    assert everything(shop) == {"viewed", "order"}
    assert marks(shop) == []


def test_however_much_was_withdrawn_a_sweep_comes_to_the_keys_that_end() -> None:
    shop = shopper()
    no = {"analytics": False, "personalization": False}
    for user in range(5):
        shop.choose(f"user_id:u{user}", no)
    hour = int(shop.clock() // 3600) * 3600 - LIFE_SECONDS
    shop.rows.put([Put(Key("keys", f"T#{hour}"), {"due": hour + LIFE_SECONDS})])

    def slow(call: str, detail: object) -> None:
        if call == "rows.commit:after":
            shop.clock.advance(retention.A_WHILE)

    shop.rows.tap = slow
    swept = sweep(shop)
    shop.rows.tap = None

    assert len(marks(shop)) == 4
    assert swept.keys >= 1
    sweep(shop)
    assert marks(shop) == []


def test_what_is_denied_again_while_it_is_carried_out_is_carried_out_again() -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False, "personalization": False})
    before = marks(shop)

    def interrupt(call: str, detail: object) -> None:
        if call == "rows.commit:before" and withdrawal.WITHDRAWN in repr(detail):
            shop.rows.tap = None
            shop.clock.advance(60)
            shop.choose(ANN, {"marketing": False, "profiling": False})

    shop.rows.tap = interrupt
    sweep(shop)

    assert len(marks(shop)) == len(before) == 1
    sweep(shop)
    assert everything(shop) == {"order"}


def test_an_erasure_takes_the_mark_along() -> None:
    shop = shopper()
    shop.choose(ANN, {"analytics": False})

    shop.erase(ANN)

    assert marks(shop) == []


def test_what_rests_on_no_consent_is_never_deleted_for_want_of_it() -> None:
    shop = shopper()
    purposes = {p: False for p in shop.policy.purposes if p != "privacy_rights"}

    shop.choose(ANN, purposes)
    sweep(shop)

    assert everything(shop) == {"order"}


def test_what_was_said_before_an_identifier_ended_takes_nothing_of_who_begins_anew() -> None:
    shop = Shop()
    shop.choose(ANN, {"marketing": False})
    restrict(shop.world, shop.id(ANN).key, "t", on=True)
    shop.clock.advance(1200 * DAY)
    shop.send(CRM, sent("identify", "i", -1200 * DAY, userId="42", traits={"name": "Ann"}))
    shop.choose(ANN, {"analytics": False})
    sweep(shop)
    assert shop.view(ANN).traits() == {"name": "Ann"}
