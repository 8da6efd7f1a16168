"""What is past its time is seen by nobody, whatever table it lies in and whichever way it is asked
for; what removes it comes later."""

from collections.abc import Callable

import pytest

from candor import audit, consents, credentials, explanation, outcomes, separation
from candor.credentials import Credentials
from candor.errors import NotFound, Unauthenticated
from candor.identity import Graph
from candor.policy import DAY
from candor.ports import Key, Row, Table
from candor.transit import Transit
from tests.worlds import CRM, NOW, WEB, Shop, order, says, sent

ANN, OTHER, TABLET = "user_id:42", "user_id:43", "anonymous_id:a1"
TABLES: tuple[Table, ...] = (
    "keys",
    "graph",
    "events",
    "requests",
    "audit",
    "credentials",
    "counts",
)


class Stored:
    """A shop in which there is one of everything, and what reads each of them."""

    def __init__(self) -> None:
        shop = self.shop = Shop()
        context = says(analytics=True, marketing=True)
        shop.send(WEB, sent("page", "p1", anonymousId="a1", context=context))
        shop.send(CRM, order("o1", userId="42", anonymousId="a1"))
        shop.send(CRM, order("o2", userId="43", anonymousId="a1"))
        shop.send(CRM, sent("identify", "i1", userId="42", traits={"name": "Ann"}))
        shop.choose(ANN, {"marketing": False}, evidence={"form": 7})
        shop.send(CRM, order("o3", userId="44", anonymousId="desk"))
        separation.separate(
            shop.world, shop.id("user_id:44"), shop.id("anonymous_id:desk"), "staff", "shared"
        )
        separation.quarantine(shop.world, shop.id("anonymous_id:desk"), "staff", {"why": "shared"})
        outcomes.count(shop.rows, "web", NOW, {"refused:x": 1}, "once")
        outcomes.note_names(shop.rows, "web", NOW, [("traits", "", "shoe size")])
        self.body = Transit(shop.rows, shop.world.vault, shop.clock).seal("a message")
        spec = {"kind": "source", "name": "w", "source": "website", "trust": "client"}
        self.credential, self.key = credentials.issue(shop.rows, spec, NOW)
        credentials.revoke(shop.rows, self.credential, NOW)
        audit.append(shop.rows, shop.policy, [{"id": "e", "about": ["p"], "action": "x"}], NOW)
        self.request = shop.erase("anonymous_id:a9")

    def reads(self) -> dict[str, Callable[[], object]]:
        """By what it is: a read that finds it, and answers with nothing once it has ended."""
        shop, rows = self.shop, self.shop.rows
        return {
            "bundle": lambda: shop.view(ANN, "privacy_rights").events()[0],
            "trait": lambda: shop.view(ANN, "privacy_rights").traits(),
            "identifier": lambda: shop.view(ANN, "privacy_rights").identifiers(),
            "consent record": lambda: [*consents.records(shop.world, [shop.id(ANN).key])],
            "evidence": lambda: shop.view(ANN, "privacy_rights").consent_records(),
            "link": lambda: shop.view(ANN, "privacy_rights").links(),
            "link, to who decides": self._links,
            "why": lambda: [*explanation._links(shop.view(ANN, "privacy_rights"))],
            "separation": lambda: shop.view("user_id:44", "privacy_rights").separations(),
            "quarantine": lambda: [*rows.query("graph", separation.QUARANTINE)],
            "transit key": lambda: Transit(rows, shop.world.vault, shop.clock).open(self.body),
            "request": lambda: shop.request(self.request),
            "requests": lambda: [*rows.scan("requests")],
            "revoked key": lambda: credentials.listing(rows),
            "key": self._source,
            "audit block": lambda: audit.head(rows),
            "audit index": lambda: [*rows.query("audit", "A#p")],
            "counts": lambda: outcomes.listing(rows, 9999, shop.clock()),
        }

    def _links(self) -> object:
        graph = Graph(self.shop.world)
        pair = self.shop.id(ANN).key, self.shop.id(TABLET).key
        graph.load(pair, [pair])
        return graph.links

    def _source(self) -> object:
        known = Credentials(self.shop.rows, self.shop.clock, lambda: self.shop.world.vault)
        return known.known(self.key)


def found(read: Callable[[], object]) -> object:
    try:
        return read()
    except (NotFound, Unauthenticated):
        return None


NEVER_FOUND = {"key"}
"""A revoked key opens nothing from the moment on at which it is revoked."""


@pytest.mark.parametrize("what", list(Stored().reads()))
def test_what_is_past_its_time_is_read_by_nobody(what: str) -> None:
    told = Stored()
    assert bool(found(told.reads()[what])) != (what in NEVER_FOUND)

    told.shop.clock.advance(4000 * DAY)

    assert not found(told.reads()[what])


def kind(table: Table, row: Row) -> str:
    if table not in ("graph", "counts"):
        return table
    return f"{table} {row['pk' if row['pk'] == separation.QUARANTINE else 'sk'].partition('#')[0]}"


def test_no_read_of_any_row_finds_it_from_its_last_second_on() -> None:
    """Each row by itself, by each of the three ways there are to read one."""
    told = Stored()
    shop, seen = told.shop, set()
    for table in TABLES:
        for row in [row for row in shop.rows.held(table) if "due" in row]:
            seen.add(kind(table, row))
            key = Key(table, row["pk"], row.get("sk"))

            def ways(key: Key = key) -> list[bool]:
                listed = [*shop.rows.scan(key.table)]
                if key.sk is not None:
                    listed += shop.rows.query(key.table, key.pk)
                places = [(one["pk"], one.get("sk")) for one in listed]
                return [key in shop.rows.get([key]), (key.pk, key.sk) in places]

            shop.clock.now = row["due"] - 1
            assert ways() == [True, True], key
            shop.clock.now = row["due"]
            assert ways() == [False, False], key
    assert seen == {
        *("keys", "events", "requests", "audit", "credentials"),
        *("graph NODE", "graph TRAITS", "graph PROFILE", "graph LINK", "graph CONSENT"),
        *("graph SEP", "graph QUARANTINE", "counts DAY", "counts NAMES", "counts ONCE"),
    }


def test_what_ended_at_a_device_allows_and_denies_nothing_any_more() -> None:
    shop = Shop()
    shop.send(WEB, sent("page", "p1", anonymousId="a1", context=says(analytics=True)))
    shop.clock.advance(1200 * DAY)

    (outcome,) = shop.send(WEB, sent("page", "p2", ago=-1200 * DAY, anonymousId="a1"))

    assert (outcome.outcome, outcome.reason) == ("dropped", "no_consent")


def test_not_even_the_name_of_a_trait_that_has_ended_is_told() -> None:
    shop = Shop()
    said = {"name": "Ann", "avatar": "a"}
    shop.send(CRM, sent("identify", "i1", userId="42", anonymousId="a1", traits=said))
    shop.clock.advance(31 * DAY)
    view = shop.view(ANN, "privacy_rights")

    split = separation.Split(frozenset({shop.id(ANN).key}), frozenset({shop.id(TABLET).key}))

    names = [name for part in explanation.parts(view, split) for name in part["traits"]]
    assert names == ["name"]
