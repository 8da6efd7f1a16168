"""Whether an event costs the same however many people, and events of one person, there are.

Each population has tables of its own on the one emulator, so that they are measured in turns.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from tests.bench import cpu, population
from tests.bench.costs import Json
from tests.bench.meter import Counts, Meter
from tests.bench.stack import Stack
from tests.bench.traffic import Case, Shape, Traffic, queue_event
from tests.bench.way import Way

POPULATIONS = (1_000, 10_000, 100_000)
HISTORIES = (10, 1_000)
"""Events that a person has already."""
MERGED = (10, 1_000, 100_000)
"""Events that a device has already when its person signs in on it."""
SHAPES = (Shape(100, 100), Shape(20, 1))
COUNTED, TIMED = 4, 8
"""Requests of each shape, that are counted and in each round."""
ROUNDS, WARM = 9, 2


@dataclass
class Level:
    """One population, or people with one length of history."""

    way: Way
    people: list[str]
    shapes: tuple[Shape, ...]
    counts: dict[Shape, Counts] = field(default_factory=dict)
    seconds: dict[Shape, list[float]] = field(default_factory=dict)
    """CPU seconds an event, each round."""

    def traffic(self, seed: int) -> Traffic:
        return Traffic("server", self.way.stack.facts["write_keys"]["server"], self.people, seed)

    def told(self) -> Json:
        """By shape, for one event."""
        return {
            str(shape): {
                "calls": counts.calls.total() / (COUNTED * shape.events),
                "read_units": counts.read_units / (COUNTED * shape.events),
                "write_units": counts.write_units / (COUNTED * shape.events),
                "cpu_us": 1e6 * median(self.seconds[shape]),
            }
            for shape, counts in self.counts.items()
        }


def measure(stack: Stack, tick: Callable[[str], None], rounds: int = ROUNDS) -> Json:
    """By population and by history, what an event asks for and takes."""
    levels = {str(people): _population(stack, people, tick) for people in POPULATIONS}
    histories = {str(events): _history(stack, events, tick) for events in HISTORIES}
    every = {f"{n} people": one for n, one in levels.items()}
    every |= {f"{n} events": one for n, one in histories.items()}
    meter = Meter(stack.client("dynamodb"))
    for level in every.values():
        for shape in level.shapes:
            counts = level.counts[shape] = Counts()
            traffic = level.traffic(seed=3)  # the same events for all
            for _ in range(COUNTED):
                with meter.counting(counts):
                    level.way.sent(traffic.request(shape, stack.clock()))
                queued = queue_event(level.way.received())
                with meter.counting(counts):
                    level.way.arrived(queued)
    gc.freeze()  # what the bench holds is no burden of the functions
    for n in range(WARM + rounds):
        tick(f"growth, round {n + 1} of {WARM + rounds}")
        for shape, level in [(shape, one) for one in every.values() for shape in one.shapes]:
            traffic = level.traffic(seed=4 + n)
            spent = cpu.spent(level.way, traffic, Case(shape, "server"), TIMED)
            if n >= WARM:
                level.seconds.setdefault(shape, []).append(sum(spent))
    return {
        "people": {name: one.told() for name, one in levels.items()},
        "events_of_a_person": {name: one.told() for name, one in histories.items()},
        "events_of_a_merged_device": {str(n): _merge(stack, n, tick) for n in MERGED},
    }


def flat(levels: Json, name: str) -> float:
    """The most over the least of a figure, among levels, for the shape where that is largest."""
    shapes = next(iter(levels.values())).keys()
    figures = [[level[shape][name] for level in levels.values()] for shape in shapes]
    return max(max(each) / min(each) if min(each) else 1.0 for each in figures)


def _merge(stack: Stack, events: int, tick: Callable[[str], None]) -> Json:
    """What the event costs that makes one profile of a person's and of a device's."""
    tick(f"growth, merging a device with {events:,} events")
    way = Way(stack, **population.tables(stack, f"{events}-merged"))
    key, shape = stack.facts["write_keys"]["server"], Shape(min(events, 100), 1)
    device, person, both = (
        Traffic(kind, key, ["person-0"], seed=1) for kind in ("browser", "server", "signed in")
    )
    for _ in range(events // shape.events):
        way.whole(device.request(shape, stack.clock(), analytics=True))
    stack.clock.advance(1)  # or chance says which profile is the older, and so which one moves
    way.whole(person.request(shape, stack.clock(), analytics=True))
    counts, meter = Counts(), Meter(stack.client("dynamodb"))
    way.sent(both.request(Shape(1, 1), stack.clock()))
    queued = queue_event(way.received())
    with meter.counting(counts):
        way.arrived(queued)
    told = {"calls": counts.calls.total(), "write_units": counts.write_units}
    return {"the event that merges": told | {"read_units": counts.read_units}}


def _population(stack: Stack, people: int, tick: Callable[[str], None]) -> Level:
    tables = population.tables(stack, f"{people}-people")
    names = [f"person-{n:06d}" for n in range(people)]
    population.known(stack, tables, names, tick)
    # People from all over the table, in turns.
    some = names[:: max(1, people // 1_000)]
    return Level(Way(stack, **tables), some, SHAPES)


def _history(stack: Stack, events: int, tick: Callable[[str], None]) -> Level:
    tick(f"growth, people with {events:,} events")
    tables = population.tables(stack, f"{events}-events")
    names = [f"person-{n}" for n in range(COUNTED)]
    population.known(stack, tables, names, tick)
    level = Level(Way(stack, **tables), names, (Shape(20, 1),))
    traffic = level.traffic(seed=1)
    shape = Shape(min(events, 100), 1)
    for _ in range(len(names) * events // shape.events):
        level.way.whole(traffic.request(shape, stack.clock()))
    return level
