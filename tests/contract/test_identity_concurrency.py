"""Many workers at one graph: any order, duplicates, crashes; and what must be so afterwards."""

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local
from typing import Any

import pytest

from candor.ports import Row, Table, Unavailable
from candor.stores.dynamo import DynamoRows
from candor.unification import unify
from candor.world import World
from tests.contract.conftest import tables
from tests.emulators import clients_for
from tests.fakes import FakeClock
from tests.identity_model import Model
from tests.unit.test_identity_model import event, tight
from tests.worlds import CRM, WEB, Json, Shop, broken_rules, policy

WORKERS = 8
MESSAGES = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2_000
REPEATED, CRASHING = 0.2, 0.02
"""Of messages that come twice, and of calls that fail, before they are made or when answered."""
HOUSEHOLD = 12
"""Identifiers that know each other, in most events."""


class Crash(Exception):
    pass


class CrashingRows(DynamoRows):
    """One worker's, whose calls may fail."""

    def __init__(self, client: Any, names: dict[Table, str], clock: FakeClock, seed: int) -> None:
        super().__init__(client, names, clock)
        self._chance, self.crashes = random.Random(seed), CRASHING  # noqa: S311
        for when in ("before-call", "after-call"):
            client.meta.events.register(f"{when}.dynamodb", self._crash)

    def _crash(self, **about: Any) -> None:
        if self._chance.random() < self.crashes / 2:
            raise Crash

    def held(self, table: Table) -> list[Row]:
        return list(self.scan(table, expired=True))


@dataclass
class Town:
    """A shop on tables of an emulator, whose messages are unified by workers at once."""

    shop: Shop
    endpoint: str
    names: dict[Table, str]

    def work(self, messages: list[Json]) -> None:
        """Each message until it is through, the workers taking turns as they come."""
        own = local()
        todo = messages + [one for one in messages if CHANCE.random() < REPEATED]
        CHANCE.shuffle(todo)

        def world() -> World:
            if not hasattr(own, "world"):
                client = clients_for(self.endpoint)("dynamodb")
                rows = CrashingRows(client, self.names, self.shop.clock, CHANCE.randrange(10**9))
                shared = self.shop.world
                own.world = World(
                    rows, shared.vault, shared.identifiers, shared.policy, self.shop.clock
                )
            return own.world  # type: ignore[no-any-return]

        def one(message: Json) -> None:
            while True:
                try:
                    unify(message, world())
                except (Crash, Unavailable):
                    continue
                return

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(one, todo))


CHANCE = random.Random(20261125)  # noqa: S311


@pytest.fixture
def town(ministack_endpoint: str, request: pytest.FixtureRequest) -> Iterator[Town]:
    make = clients_for(ministack_endpoint)
    with tables(make("dynamodb"), ("keys", "graph", "events", "counts")) as names:

        def quiet(clock: FakeClock) -> Any:
            rows = CrashingRows(make("dynamodb"), names, clock, 0)
            rows.crashes = 0.0
            return rows

        yield Town(Shop(policy(request.param), rows=quiet), ministack_endpoint, names)


def loose(compiled: Json) -> None:
    """No limit binds."""
    for rule in compiled["identifiers"].values():
        rule["limit"] = 80


def ids(household: int) -> list[str]:
    """Of one event: some of a household's identifiers, of different types."""
    n = household * HOUSEHOLD
    pick = CHANCE.randrange
    found = [f"user_id:u{n + pick(3)}", f"anonymous_id:a{n + pick(4)}"]
    found += [f"email:e{n + pick(3)}@example.com", f"phone:+4930{1_000_000 + n + pick(2)}"]
    return CHANCE.sample(found, CHANCE.choice([1, 2, 2, 2, 3]))


@pytest.mark.parametrize("town", [loose], indirect=True, ids=["no limit binds"])
def test_where_no_rule_binds_people_are_the_connected_components(town: Town) -> None:
    met = [ids(CHANCE.randrange(MESSAGES // 40)) for _ in range(MESSAGES // 2)]

    town.work([town.shop.message(CRM, event(f"m{n}", "track", who)) for n, who in enumerate(met)])

    groups: list[set[str]] = []
    for who in met:
        touched = [group for group in groups if group & set(who)]
        groups = [group for group in groups if group not in touched]
        groups.append(set().union(who, *touched))
    assert town.shop.profiles() == town.shop.people(*groups)
    assert broken_rules(town.shop) == []


@pytest.mark.parametrize("town", [tight], indirect=True, ids=["limits bind"])
def test_where_rules_bind_people_are_what_the_decisions_say_in_their_order(town: Town) -> None:
    shop, messages, names = town.shop, [], dict[str, str]()
    for n in range(MESSAGES // 2):
        who = ids(CHANCE.randrange(MESSAGES // 40))
        names |= {shop.id(one).key: one for one in who}
        source = CHANCE.choice([CRM, WEB])
        messages.append(shop.message(source, event(f"m{n}", "track", who)))

    town.work(messages)

    assert broken_rules(shop) == []
    model = Model(shop.policy, lambda who: shop.id(who).key)
    nodes = {row["pk"][2:] for row in shop.rows.held("graph") if row["sk"] == "NODE"}
    model.people = [{names[idkey]} for idkey in sorted(nodes)]
    for decision in decided(shop):
        a, b = names[decision["pk"][2:]], names[decision["sk"][5:]]
        one, other = (model.person(name) or {name} for name in (a, b))
        barrier = model.barrier(one, other, decision["trust"]) if one is not other else None
        if "refused" in decision:
            assert barrier or one is other, f"refused by {decision['refused']} without a reason"
        else:
            assert barrier is None, f"{barrier} was broken"
            if one is not other:
                model.people = [p for p in model.people if p is not one and p is not other]
                model.people.append(one | other)
    assert shop.profiles() == shop.people(*model.people)


def decided(shop: Shop) -> list[Row]:
    """The links and refusals, each once, in the order of the profiles' versions."""
    rows = [row for row in shop.rows.held("graph") if row["sk"].startswith("LINK#")]
    once = [row for row in rows if row["pk"][2:] < row["sk"][5:]]
    return sorted(once, key=lambda row: (row["version"], "refused" in row))
