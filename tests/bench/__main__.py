"""`make bench`: what it costs, how fast it is, whether it stays so (docs/performance.md), and how
right it is about who is one person (docs/identity.md).

python -m tests.bench                      all of it, into .local/bench.json
python -m tests.bench --only cpu           one part, printed
python -m tests.bench --profile 100/1      the functions that take the time of a shape
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from statistics import median

from rich.console import Console

from cli.target import LOCAL
from tests.bench import (
    cold,
    consenting,
    costs,
    counting,
    cpu,
    erasing,
    freshness,
    growth,
    report,
    sweeping,
    vacuuming,
)
from tests.bench.accuracy import accuracy
from tests.bench.meter import Meter
from tests.bench.report import Json
from tests.bench.stack import Stack
from tests.bench.traffic import KINDS, SHAPES, Case, Kind, Shape, Traffic
from tests.bench.way import Way, first_consent, known_people, traffic_of

PARTS = ("cpu", "growth", "consent", "sweep", "freshness", "cold", "accuracy", "vacuum", "erasure")
ALONE = {"accuracy", "vacuum"}
"""Parts that need no stack."""
MINUTE = 60
NEW = {Shape(100, 100): 1, Shape(1, 1): 20}
"""Requests that are all of people who were never seen."""


def main() -> int:
    options = _options()
    parts = [options.only] if options.only else PARTS
    screen, progress = Console(highlight=False, width=200), Console(stderr=True, highlight=False)
    began = time.monotonic()

    def tick(doing: str) -> None:
        progress.print(f"{time.monotonic() - began:5.0f} s  {doing}", style="dim")

    found: Json = report.machine()
    if "accuracy" in parts and not options.profile:
        found["accuracy"] = accuracy.measure_all(tick, building=options.building)
    if "vacuum" in parts and not options.profile:
        tick("vacuuming an archive")
        found["vacuum"] = vacuuming.measure()
    if set(parts) - ALONE or options.profile:
        tick("starting an emulator, deploying the stack to it")
        with (
            tempfile.TemporaryDirectory(prefix="candor-bench-") as home,
            Stack(Path(home)) as stack,
        ):
            if options.profile:
                shape = next(one for one in SHAPES if str(one) == options.profile)
                stack.switch(on=False)
                cpu.profile(Way(stack), Case(shape, options.source))
                return 0
            found |= _of_a_stack(stack, parts, tick, options.rounds)
    found["goals"] = [goal._asdict() for goal in report.goals(found)]
    screen.print(report.shown(found))
    if not options.only:
        LOCAL.mkdir(exist_ok=True)
        (LOCAL / "bench.json").write_text(json.dumps(found, indent=2) + "\n")
        screen.print(f"{time.monotonic() - began:.0f} s; all figures are in .local/bench.json")
    return 0


def _of_a_stack(
    stack: Stack, parts: Collection[str], tick: Callable[[str], None], rounds: int
) -> Json:
    """What is measured at the deployed template."""
    found: Json = {}
    if "freshness" in parts:
        found["freshness_seconds"] = freshness.measure(stack, tick)
    if "erasure" in parts:
        found["erasure"] = erasing.measure(stack, tick)
    stack.switch(on=False)
    if "cold" in parts:
        found["cold_start"] = cold.measure(stack, tick)
        found["cold_start_ratio"] = found["cold_start"]["ratio"]
    if "cpu" in parts:
        found |= _events(stack, tick, rounds)
    if "growth" in parts:
        found["growth"] = growth.measure(stack, tick, rounds)
    if "consent" in parts:
        found["consent"] = consenting.measure(stack, tick)
    if "sweep" in parts:
        found["sweep"] = sweeping.measure(stack, tick)
    return found


def _events(stack: Stack, tick: Callable[[str], None], rounds: int) -> Json:
    """Dollars, CPU and counts of every shape from every source, and of people who are new."""
    way, meter = Way(stack), Meter(stack.client("dynamodb"))
    traffic = {kind: known_people(way, kind, cpu.PEOPLE) for kind in KINDS}
    alone = [Case(Shape(1, 1), kind) for kind in KINDS]
    counted = {}
    for case in dict.fromkeys([*counting.cases(), *alone]):
        tick(f"counting {report.name_of(case)} from {case.kind}")
        counted[case] = counting.count(
            way, meter, traffic[case.kind], case, counting.REQUESTS[case.shape]
        )
    measured = cpu.measure(way, traffic, counted, rounds, tick)
    found = report.of_events(counted, measured)
    found["first_contact"] = _first_contact(way, meter, measured, tick)
    found["browser_in_a_new_minute"] = _new_minute(way, meter, traffic, measured)
    found["dollars_a_month_at_rest"] = costs.at_rest()
    found["others"] = report.others()
    return found


def _new_minute(
    way: Way, meter: Meter, traffic: dict[Kind, Traffic], measured: dict[Case, cpu.Measured]
) -> Json:
    """Of browsers whose banner speaks in another minute than the last time."""
    found: Json = {}
    for case in (Case(shape, "browser") for shape in NEW):
        way.stack.clock.advance(MINUTE)
        counted = counting.count(way, meter, traffic[case.kind], case, NEW[case.shape])
        known = measured[case]
        dollars = counted.dollars(median(known.collect), median(known.unify))
        found[str(case.shape)] = {
            "dollars": sum(dollars.values()),
            **dollars,
            "write_units": counted.unify.counts.write_units / counted.events,
            "write_units_by": {
                n: u / counted.events for n, u in counted.unify.counts.writes.items()
            },
        }
    return found


def _first_contact(
    way: Way, meter: Meter, measured: dict[Case, cpu.Measured], tick: Callable[[str], None]
) -> Json:
    """Of people who were never seen before: what each of their first events costs."""
    found: Json = {}
    for case in (Case(shape, kind) for shape in NEW for kind in KINDS):
        requests = NEW[case.shape]
        people = requests * case.shape.people
        tick(f"counting new people, {case.shape} from {case.kind}")
        traffic = traffic_of(way, case.kind, f"new-{case.shape.people}-{case.kind}", people)
        counted = counting.count(way, meter, traffic, case, requests, **first_consent(case.kind))
        # CPU is as good as nothing of it, so that of known people does.
        known = measured[case]
        dollars = counted.dollars(median(known.collect), median(known.unify))
        counts = counted.unify.counts
        found.setdefault(str(case.shape), {})[case.kind] = {
            "dollars": sum(dollars.values()),
            **dollars,
            "calls": counts.calls.total() / people,
            "read_units": counts.read_units / people,
            "write_units": counts.write_units / people,
            "write_units_by": {n: units / people for n, units in counts.writes.items()},
        }
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--profile", choices=[str(shape) for shape in SHAPES])
    parser.add_argument("--source", choices=KINDS, default="server", help="for --profile")
    parser.add_argument("--building", action="store_true", help="accuracy with the seeds for it")
    parser.add_argument("--rounds", type=int, default=cpu.ROUNDS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
