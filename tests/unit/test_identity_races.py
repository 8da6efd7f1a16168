"""What happens between any two calls of somebody else's work is before it or after it, not within.

Each test does one piece of work as often as it makes store calls and reads rows, and at each of
these places lets another piece of work happen from its beginning to its end.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from candor import separation
from tests.worlds import CRM, WEB, Shop, broken_rules, order, says, sent

Work = Callable[[Shop], object]
TABLET = "anonymous_id:tablet"
EMAIL = {"traits": {"email": "x@example.com"}}


def at_every_place(made: Callable[[], Shop], work: Work, meanwhile: Work) -> Iterator[Shop]:
    """The shop after `work`, once for each place in it where `meanwhile` happened."""
    for place in count():
        shop, left = made(), [place]

        def tap(call: str, detail: Any, shop: Shop = shop, left: list[int] = left) -> None:
            if left and not call.endswith(":after"):
                if left[0] == 0:
                    left.clear()
                    meanwhile(shop)
                else:
                    left[0] -= 1

        shop.rows.tap = tap
        work(shop)
        shop.rows.tap = None
        if left:
            return
        assert broken_rules(shop) == []
        yield shop


def together() -> Shop:
    """Somebody whose address is not known to be theirs, though it has been here longer."""
    shop = Shop()
    shop.send(CRM, order("o1", context=EMAIL))
    shop.clock.advance(1)
    shop.send(WEB, sent("page", "p1", anonymousId="tablet", context=says(analytics=True)))
    shop.send(CRM, order("o2", userId="1", anonymousId="tablet"))
    return shop


def the_address_is_theirs(shop: Shop) -> None:
    shop.send(CRM, order("o3", userId="1", context=EMAIL))


def separate(shop: Shop) -> None:
    one, other = shop.id("user_id:1"), shop.id(TABLET)
    separation.separate(shop.world, one, other, "staff", "why")


def test_who_is_parted_from_somebody_meanwhile_joins_nobody_to_them() -> None:
    def joins(shop: Shop) -> None:
        shop.send(CRM, order("o4", anonymousId="tablet", context=EMAIL))

    for shop in at_every_place(together, joins, separate):
        parted = shop.people(["user_id:1"], ["anonymous_id:tablet", "email:x@example.com"])
        assert shop.profiles() == parted


def test_a_separation_stands_though_the_whole_is_merged_meanwhile() -> None:
    for shop in at_every_place(together, separate, the_address_is_theirs):
        parted = shop.people(["user_id:1", "email:x@example.com"], ["anonymous_id:tablet"])
        assert shop.profiles() == parted


def test_a_quarantine_stands_though_the_whole_is_merged_meanwhile() -> None:
    def quarantine(shop: Shop) -> None:
        separation.quarantine(shop.world, shop.id(TABLET), "staff", {})

    for shop in at_every_place(together, quarantine, the_address_is_theirs):
        alone = shop.people(["user_id:1", "email:x@example.com"], ["anonymous_id:tablet"])
        assert shop.profiles() == alone


def test_a_choice_is_not_lost_when_its_profile_is_merged_meanwhile() -> None:
    def deny(shop: Shop) -> None:
        shop.choose("user_id:1", {"analytics": False})

    for shop in at_every_place(together, deny, the_address_is_theirs):
        assert shop.state("email:x@example.com", "analytics") == "denied"


def test_what_was_denied_is_denied_while_its_profile_is_merged() -> None:
    def denied() -> Shop:
        shop = together()
        shop.choose("user_id:1", {"analytics": False})
        return shop

    def visit(shop: Shop) -> None:
        shop.send(WEB, sent("page", "p2", anonymousId="tablet"))

    for shop in at_every_place(denied, visit, the_address_is_theirs):
        of_tablet = [r for r in shop.rows.held("events") if r["pk"] == shop.id(TABLET).key]
        assert sum(row["n"] for row in of_tablet) == 1, "only the page before the denial"
