"""Many workers at one graph: any order, duplicates, crashes; and what must be so afterwards."""

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import local
from typing import Any

import pytest

from candor import separation
from candor.credentials import Source
from candor.errors import Clash, NotFound
from candor.identity import MET
from candor.ports import Check, Delete, Put, Row, Table, Unavailable, Write
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
MESSAGES = 5_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 500
"""In each of the four towns."""
STEWARDED = 0.15
"""Decisions of people for each message, where people decide."""
REPEATED, CRASHING = 0.2, 0.02
"""Of what comes twice, and of calls that fail, before they are made or when answered."""
HOUSEHOLD = 12
"""Identifiers that know each other, in most events."""


Kept = frozenset[str]


class Crash(Exception):
    pass


Work = Callable[[World], object]


class CrashingRows(DynamoRows):
    """One worker's, whose calls may fail. Sees to it that nothing crosses what was decided before:
    `kept` are sets of idkeys of which no profile may hold more than its share."""

    def __init__(
        self, client: Any, names: dict[Table, str], clock: FakeClock, seed: int, kept: list[Kept]
    ) -> None:
        super().__init__(client, names, clock)
        self._chance, self.crashes, self._kept = random.Random(seed), CRASHING, kept  # noqa: S311
        for when in ("before-call", "after-call"):
            client.meta.events.register(f"{when}.dynamodb", self._crash)

    def _crash(self, **about: Any) -> None:
        if self._chance.random() < self.crashes / 2:
            raise Crash

    def commit(self, *writes: Write) -> None:
        before = list(self._kept)
        super().commit(*writes)
        for write in writes:
            if isinstance(write, Check | Delete):
                continue
            row = write.row if isinstance(write, Put) else write.set
            members = frozenset(row.get("members", ()))
            assert not any(crosses(members, kept) for kept in before), "somebody crossed a decision"

    def held(self, table: Table) -> list[Row]:
        return list(self.scan(table, expired=True))


def crosses(members: frozenset[str], kept: Kept) -> bool:
    """Whether a profile holds two that were separated, or one in quarantine and somebody else."""
    return kept <= members and (len(kept) == 2 or len(members) > 1)


@dataclass
class Town:
    """A shop on tables of an emulator, where workers do all there is to do at once."""

    shop: Shop
    endpoint: str
    names: dict[Table, str]
    kept: list[Kept] = field(default_factory=list)
    """Two that were separated, and one alone that is in quarantine, as soon as it is so."""

    def work(self, jobs: list[Work], *, lifted: bool = False) -> None:
        """Each until it is through, the workers taking turns as they come. Where some of it lifts
        what was decided, nobody watches that it is kept."""
        own = local()
        todo = jobs + [one for one in jobs if CHANCE.random() < REPEATED]
        CHANCE.shuffle(todo)

        def world() -> World:
            if not hasattr(own, "world"):
                client = clients_for(self.endpoint)("dynamodb")
                clock, seed = self.shop.clock, CHANCE.randrange(10**9)
                rows = CrashingRows(client, self.names, clock, seed, [] if lifted else self.kept)
                shared = self.shop.world
                own.world = World(rows, shared.vault, shared.identifiers, shared.policy, clock)
            return own.world  # type: ignore[no-any-return]

        def one(job: Work) -> None:
            while True:
                try:
                    job(world())
                except (Crash, Unavailable):
                    continue
                return

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(one, todo))

    def message(self, id_: str, who: list[str], source: Source) -> Work:
        return partial(unify, self.shop.message(source, event(id_, "track", who)))

    def separate(self, one: str, other: str) -> Work:
        a, b = self.shop.id(one), self.shop.id(other)

        def job(world: World) -> None:
            with suppress(NotFound):  # nobody has heard of one of them yet
                separation.separate(world, a, b, "staff", "why")
                self.kept.append(frozenset((a.key, b.key)))

        return job

    def quarantine(self, who: str) -> Work:
        one = self.shop.id(who)

        def job(world: World) -> None:
            with suppress(NotFound):
                separation.quarantine(world, one, "staff", {})
                self.kept.append(frozenset((one.key,)))

        return job

    def lift(self, one: str, other: str) -> Work:
        a, b = self.shop.id(one), self.shop.id(other)

        def job(world: World) -> None:
            with suppress(NotFound, Clash):
                separation.lift(world, a, b, "staff")

        return job

    def release(self, who: str) -> Work:
        def job(world: World) -> None:
            with suppress(NotFound, Clash):
                separation.release(world, self.shop.id(who), "staff")

        return job


CHANCE = random.Random(20261125)  # noqa: S311


@pytest.fixture
def town(ministack_endpoint: str, request: pytest.FixtureRequest) -> Iterator[Town]:
    make = clients_for(ministack_endpoint)
    with tables(make("dynamodb"), ("keys", "graph", "events", "counts")) as names:

        def quiet(clock: FakeClock) -> Any:
            rows = CrashingRows(make("dynamodb"), names, clock, 0, [])
            rows.crashes = 0.0
            return rows

        yield Town(Shop(policy(request.param), rows=quiet), ministack_endpoint, names)


def loose(compiled: Json) -> None:
    """No limit binds, and nothing counts as shared."""
    for rule in compiled["identifiers"].values():
        rule["limit"] = 80
        rule["shared_after"] = 10_000


def limits(compiled: Json) -> None:
    """Limits bind, and nothing counts as shared."""
    tight(compiled)
    for rule in compiled["identifiers"].values():
        rule["shared_after"] = 10_000


def household(n: int) -> list[str]:
    found = [f"user_id:u{n * HOUSEHOLD + m}" for m in range(3)]
    found += [f"anonymous_id:a{n * HOUSEHOLD + m}" for m in range(4)]
    found += [f"email:e{n * HOUSEHOLD + m}@example.com" for m in range(3)]
    return found + [f"phone:+4930{1_000_000 + n * HOUSEHOLD + m}" for m in range(2)]


def ids() -> list[str]:
    """Of one event: some of a household's identifiers, of different types."""
    everybody = household(CHANCE.randrange(MESSAGES // 20))
    of_type = {one.split(":")[0]: one for one in CHANCE.sample(everybody, HOUSEHOLD)}
    return CHANCE.sample(sorted(of_type.values()), CHANCE.choice([1, 2, 2, 2, 3]))


def decisions(town: Town, met: list[list[str]], *, lifted: bool) -> list[Work]:
    """What people decide of who is with whom: of some whom an event names together."""
    jobs: list[Work] = []
    together = [who for who in met if len(who) > 1]
    for _ in range(int(MESSAGES * STEWARDED)):
        one, other = CHANCE.sample(CHANCE.choice(together), 2)
        jobs.append(town.separate(one, other))
        if lifted:
            jobs.append(town.lift(one, other))
        if CHANCE.random() < 0.1:
            jobs += [town.quarantine(one), town.release(one)] if lifted else [town.quarantine(one)]
    return jobs


def messages(town: Town, met: list[list[str]]) -> list[Work]:
    return [town.message(f"m{n}", who, CHANCE.choice([CRM, WEB])) for n, who in enumerate(met)]


@pytest.mark.parametrize("town", [loose], indirect=True, ids=["no limit binds"])
def test_where_no_rule_binds_people_are_the_connected_components(town: Town) -> None:
    met = [ids() for _ in range(MESSAGES)]

    town.work([town.message(f"m{n}", who, CRM) for n, who in enumerate(met)])

    groups: list[set[str]] = []
    for who in met:
        touched = [group for group in groups if group & set(who)]
        groups = [group for group in groups if group not in touched]
        groups.append(set().union(who, *touched))
    assert town.shop.profiles() == town.shop.people(*groups)
    assert broken_rules(town.shop) == []


@pytest.mark.parametrize(
    ("town", "decided"),
    [(limits, False), (tight, True)],
    indirect=["town"],
    ids=["limits bind", "everything binds"],
)
def test_where_rules_bind_people_are_what_the_decisions_say_in_their_order(
    town: Town, decided: bool
) -> None:
    met = [ids() for _ in range(MESSAGES)]

    town.work(messages(town, met) + (decisions(town, met, lifted=False) if decided else []))

    assert broken_rules(town.shop) == []
    assert bool(town.kept) == decided
    people, model = town.shop.profiles(), replayed(town.shop)
    assert not any(crosses(members, kept) for members in people for kept in town.kept)
    assert people == town.shop.people(*model.people)
    if decided:
        rows = town.shop.rows.held("graph")
        assert any(row.get("split") for row in rows), "some that were together were separated"
        assert any(row.get("by") == "candor" for row in rows), "some were found to be shared"

        # Of two workers that counted at once neither may have seen it; whoever comes next does.
        late = [who for who in names(town.shop).values() if model.is_shared(who)]
        town.work([town.message(f"late-{who}", [who], CRM) for who in late])
        model = replayed(town.shop)
        assert not any(map(model.is_shared, names(town.shop).values()))
        assert town.shop.profiles() == town.shop.people(*model.people)


@pytest.mark.parametrize("town", [tight], indirect=True, ids=["everything binds and is lifted"])
def test_the_graph_is_sound_though_what_was_decided_is_lifted_again(town: Town) -> None:
    met = [ids() for _ in range(MESSAGES)]

    town.work(messages(town, met) + decisions(town, met, lifted=True), lifted=True)

    assert town.kept
    assert broken_rules(town.shop) == []


def names(shop: Shop) -> dict[str, str]:
    """Everybody's name by their idkey."""
    town = (name for n in range(MESSAGES // 20) for name in household(n))
    return {shop.id(name).key: name for name in town}


def replayed(shop: Shop) -> Model:
    """The model after what was decided, in the order of the versions that it made.

    A decision's version is greater than those of all decisions that it could have seen. Two with
    the same or swapped versions are of different people, so they give the same in either order.
    """
    model, called = Model(shop.policy, lambda who: shop.id(who).key), names(shop)
    nodes = [row for row in shop.rows.held("graph") if row["sk"] == "NODE"]
    model.people = [{called[row["pk"][2:]]} for row in nodes]
    for version, kind, row in decided(shop):
        ends = [row["sk"]] if kind == "quarantine" else [row["pk"][2:], row["sk"].split("#")[1]]
        people = [model.person(called[end]) or {called[end]} for end in ends]
        one, other = people[0], people[-1]
        if kind == "refusal":
            # It saw two versions and has the greater. The one with the smaller may have been parted
            # since, and then hold no more of what was too much.
            reason = model.barrier(one, other, row["trust"]) or one is other
            assert reason or model.apart or model.shared, f"refused by {row['refused']}, but why?"
            continue
        about = one | other
        # The first one may make several links.
        assert version == 1 or all(model.version.get(who, 0) < version for who in about)
        if kind == "quarantine":
            model.quarantine(called[ends[0]])
        elif kind == "separation":
            assert (one is other) == row["split"]
            model.separate(*(called[end] for end in ends))
        else:
            barrier = model.barrier(one, other, row["trust"]) if one is not other else None
            assert barrier is None, f"{barrier} was broken"
            if one is not other:
                model.people = [p for p in model.people if p is not one and p is not other]
                model.people.append(about)
            model.links[frozenset(called[end] for end in ends)] = version
        model.version |= dict.fromkeys(about, version)
    for row in nodes:
        met = [name for name in row if name.startswith(MET)]
        for name in met:
            model.met[called[row["pk"][2:]], name.removeprefix(MET)] = row[name]
    return model


def decided(shop: Shop) -> list[tuple[int, str, Row]]:
    """Links, refusals, separations and quarantines, each once, in the order of their versions."""
    found = []
    for row in shop.rows.held("graph"):
        kind, _, other = row["sk"].partition("#")
        if row["pk"] == separation.QUARANTINE:
            found.append((row["version"], "quarantine", row))
        elif kind in ("LINK", "SEP") and row["pk"][2:] < other:
            made = "separation" if kind == "SEP" else "refusal" if "refused" in row else "link"
            found.append((row["version"], made, row))
            earlier = row.get("earlier", ())
            found += [(version, made, row | {"trust": trust}) for version, trust in earlier]
    return sorted(found, key=lambda one: (one[0], one[1] == "refusal"))
