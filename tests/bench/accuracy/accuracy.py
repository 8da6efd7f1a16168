"""Identity's accuracy: of Candor's defaults, of flat matching and of Segment's published rules.

The seeds 1 to 5 are for building; `--building` measures with them alone. What is reported is
measured with others that no rule was made by, from 201 on (101 to 104 had been seen when a rule was
last changed); and again, with fewer people, with each rate halved and doubled.
"""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from statistics import mean
from typing import Any, NamedTuple

from tests.bench.accuracy import matchers
from tests.bench.accuracy.measures import Measured, measure
from tests.bench.accuracy.rates import RATES
from tests.bench.accuracy.simulator import Year, simulate

Json = dict[str, Any]
PEOPLE, SEEDS, BUILDING = 2_000, tuple(range(201, 209)), (1, 2, 3, 4, 5)
FEWER, SEED = 500, 201
FACTORS = (0.5, 2.0)
FIGURES = (
    *("precision", "recall", "pooled_precision", "pooled_recall"),
    *("events_found", "exposure", "merged"),
)
MATCHERS: dict[str, Callable[[Year], list[matchers.Profile]]] = {
    "candor": matchers.candor,
    "flat": lambda year: matchers.flat(year.messages),
    "segment": lambda year: matchers.segment(year.messages),
    "segment without phone": lambda year: matchers.segment(year.messages, phone=False),
}


class Task(NamedTuple):
    """One simulated year, with one rate changed or none."""

    people: int
    seed: int
    rate: str = ""
    factor: float = 1.0


def run(task: Task) -> dict[str, Measured]:
    """What each matcher makes of the same year."""
    rates = RATES.times(task.rate, task.factor) if task.rate else RATES
    year = simulate(rates, task.people, task.seed)
    return {name: measure(year, match(year)) for name, match in MATCHERS.items()}


def measure_all(tick: Callable[[str], None], *, building: bool = False) -> Json:
    """Everything, as it goes into the report; for building, without changed rates."""
    seeds = BUILDING if building else SEEDS
    changes = [] if building else [(rate, factor) for rate in RATES for factor in FACTORS]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        tick(f"matching {PEOPLE:,} people of each of {len(seeds)} seeds")
        found = _of_seeds(list(pool.map(run, [Task(PEOPLE, seed) for seed in seeds])))
        if changes:
            tick(f"the same of {FEWER:,} people, with each of {len(RATES.values)} rates changed")
            unchanged = Task(FEWER, SEED)
            tasks = [unchanged, *(unchanged._replace(rate=r, factor=f) for r, f in changes)]
            each = zip(tasks, pool.map(run, tasks), strict=True)
            found["changed"] = {
                "people": FEWER,
                "seed": SEED,
                "rates": [{"rate": t.rate, "times": t.factor, **_brief(one)} for t, one in each],
            }
    return found | {"people": PEOPLE, "seeds": list(seeds)}


def compared(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Candor against the others, of each its exposure and recall; what the goals are about.

    Of the two forms of Segment the one that exposes less is the measure of exposure, and the one
    that reads the same identifiers that of recall.
    """
    candor = found["candor"]
    segments = [one for name, one in found.items() if name.startswith("segment")]
    wrong = {
        f"{what}_to_{name}": _ratio(candor[what], min(one[what] for one in others))
        for what in ("exposure", "merged")
        for name, others in (("flat", [found["flat"]]), ("segment", segments))
    }
    below = {
        f"recall_points_below_{name}": 100 * (found[name]["recall"] - candor["recall"])
        for name in ("flat", "segment")
    }
    return wrong | below


def _ratio(one: float, other: float) -> float:
    """Nothing to nothing is as much."""
    return one / other if other else 1.0 if not one else math.inf


def _of_seeds(years: list[dict[str, Measured]]) -> Json:
    """Of each figure of each matcher the mean, and the least and the most of a seed."""
    found = {
        name: {
            what: {"mean": mean(values), "least": min(values), "most": max(values)}
            for what, values in _figures([asdict(year[name]) for year in years])
        }
        for name in MATCHERS
    }
    means = {name: {what: one[what]["mean"] for what in FIGURES} for name, one in found.items()}
    return {"matchers": found, "compared": compared(means)}


def _figures(each: list[Json]) -> Iterator[tuple[str, list[float]]]:
    for what in FIGURES:
        yield what, [one[what] for one in each]
    for group in ("exposed_by", "through"):
        for kind in sorted(set().union(*(one[group] for one in each))):
            yield f"{group} {kind}", [one[group].get(kind, 0.0) for one in each]


def _brief(found: dict[str, Measured]) -> Json:
    figures = {name: {what: getattr(one, what) for what in FIGURES} for name, one in found.items()}
    return {"matchers": figures, "compared": compared(figures)}
