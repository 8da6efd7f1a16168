"""What consent costs: what is said again, and a long history that is folded."""

import time
from collections.abc import Callable
from random import Random
from typing import Any

from candor.registers import Record, rebuilt
from tests.bench import counting
from tests.bench.meter import Meter
from tests.bench.stack import Stack
from tests.bench.traffic import Case, Shape
from tests.bench.way import Way, known_people

Json = dict[str, Any]
BROWSERS = 20
MINUTE = 60
LONG, SHORT = 10_000, 1_000
TIMES = 15


def measure(stack: Stack, tick: Callable[[str], None]) -> Json:
    """The requests that unify makes more where known browsers say the same in another minute; and
    the time that so many records take to fold, against a tenth of them."""
    tick("counting what browsers say again")
    way, meter = Way(stack), Meter(stack.client("dynamodb"))
    traffic, case = known_people(way, "browser", BROWSERS), Case(Shape(1, 1), "browser")
    asked = []
    for _ in range(2):
        counted = counting.count(way, meter, traffic, case, BROWSERS)
        asked.append(counted.unify.counts.calls.total())
        stack.clock.advance(MINUTE)
    histories = {count: _history(count) for count in (SHORT, LONG)}
    seconds = {
        count: min(_folding(records) for _ in range(TIMES)) for count, records in histories.items()
    }
    return {
        "requests_more": (asked[1] - asked[0]) / BROWSERS,
        "folding_seconds": {str(count): took for count, took in seconds.items()},
        "folding_ratio": seconds[LONG] / seconds[SHORT],
    }


def _history(count: int) -> list[Record]:
    chance = Random(count)  # noqa: S311
    return [
        (
            f"idkey{chance.randrange(4)}",
            {
                "purpose": f"purpose{chance.randrange(8)}",
                "granted": chance.random() < 0.5,
                "at": chance.randrange(1, 10**9),
                "binds": chance.choice(["profile", "device"]),
            },
        )
        for _ in range(count)
    ]


def _folding(records: list[Record]) -> float:
    began = time.process_time()
    rebuilt(records)
    return time.process_time() - began
