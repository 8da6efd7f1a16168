"""What keeping to the times costs: the daily round, the hours between, and a changed policy."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from candor import renewal, retention, rounds
from candor.policy import DAY
from candor.world import World
from tests.bench.costs import price
from tests.bench.meter import Counts, Meter
from tests.bench.stack import Stack
from tests.bench.traffic import Shape
from tests.bench.way import Way, known_people
from tests.functions import Function

Json = dict[str, Any]
PEOPLE = 1_000
REQUESTS = 20
"""Of 100 events of 100 people each."""
HOURS, DAYS = 24, 30


def measure(stack: Stack, tick: Callable[[str], None]) -> Json:
    """Units of the sweep for a million identifiers, and of a renewal for a million bundles."""
    tick(f"sweeping {PEOPLE} people")
    way, meter = Way(stack), Meter(stack.client("dynamodb"))
    traffic = known_people(way, "server", PEOPLE)
    for _ in range(REQUESTS):
        way.whole(traffic.request(Shape(100, 100), stack.clock()))
    sweep = stack.function("sweep")
    world: World = sweep.module.wiring.world
    identifiers = sum(row["sk"] == "NODE" for row in world.rows.scan("graph"))
    bundles = sum(1 for _ in world.rows.scan("events"))

    def counted(work: Callable[[], Any]) -> Counts:
        counts = Counts()
        with redirect_stdout(stack.said), meter.counting(counts):
            work()
        return counts

    first = counted(lambda: _sweep(sweep))
    hour = counted(lambda: _sweep(sweep))
    stack.clock.advance(DAY)
    day = counted(lambda: rounds.go_on(world, lambda: True))
    found = {
        "identifiers": identifiers,
        "bundles": bundles,
        "hour": _units(hour, 1),
        "round_with_keys_by_identifier": _units(first, identifiers),
        "round_by_identifier": _units(day, identifiers),
        "month_of_a_million_identifiers": _month(hour, day, first, identifiers),
        "renewal": _renewals(world, counted, bundles),
    }
    stack.clock.advance(-DAY)
    return found


def _sweep(sweep: Function) -> None:
    sweep.module.handler(json.loads("{}"), _Context())


class _Context:
    """Of an invocation with all its time."""

    def get_remaining_time_in_millis(self) -> int:
        return 1000 * (retention.A_WHILE + 200)


def _renewals(world: World, counted: Callable[..., Counts], bundles: int) -> Json:
    """Of all that is stored, of which nothing changes, and of which each bundle does."""

    def renew(*, dry_run: bool) -> None:
        renewal.start(world, "bench", dry_run=dry_run)
        renewal.go_on(world, lambda: True)

    looked = counted(lambda: renew(dry_run=True))
    for class_ in world.policy.retention:
        world.policy.retention[class_] += 1  # type: ignore[index]
    changed = counted(lambda: renew(dry_run=False))
    for class_ in world.policy.retention:
        world.policy.retention[class_] -= 1  # type: ignore[index]
    return {"looked": _units(looked, bundles), "changed": _units(changed, bundles)}


def _units(counts: Counts, of: int) -> Json:
    return {
        "calls": counts.calls.total() / of,
        "read_units": counts.read_units / of,
        "write_units": counts.write_units / of,
    }


def _month(hour: Counts, day: Counts, first: Counts, identifiers: int) -> float:
    """Dollars: a round a day, one in seven with the keys, and what each hour asks for anyway."""
    rounds_ = (day.read_units * 6 + first.read_units) / 7 * DAYS / identifiers * 1_000_000
    return price("dynamodb_read", rounds_ + hour.read_units * HOURS * DAYS)
