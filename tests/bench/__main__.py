"""`make bench`: what it costs, how fast it is, and whether it stays so; see docs/performance.md.

python -m tests.bench                      all of it, into .local/bench.json
python -m tests.bench --only cpu           one part, printed
python -m tests.bench --profile 100/1      the functions that take the time of a shape
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.bench import cpu
from tests.bench.stack import Stack
from tests.bench.traffic import SHAPES, TRUSTS, Shape, Trust

PARTS = ("cpu",)


def main() -> int:
    options = _options()
    screen = Console(highlight=False, width=150)
    with tempfile.TemporaryDirectory(prefix="candor-bench-") as home, Stack(Path(home)) as stack:
        stack.switch(on=False)
        if options.profile:
            shape = next(one for one in SHAPES if str(one) == options.profile)
            cpu.profile(stack, shape, options.trust)
            return 0
        found = cpu.measure(stack, options.rounds)
        _show_cpu(screen, found)
    return 0


def _show_cpu(screen: Console, found: dict[tuple[Shape, Trust], cpu.Measured]) -> None:
    heads = ("shape", "from", "events/s/core", "collect", "unify", "floor µs/event", "× floor")
    more = ("calls", "read units", "write units", "stored bytes", "steps")
    table = Table(*heads, *more)
    for (shape, trust), one in found.items():
        counts = list(one.counts.values())
        table.add_row(
            str(shape),
            trust,
            f"{one.per_core_second:,.0f}",
            *(f"{1e6 * median(part):.1f}" for part in (one.collect, one.unify, one.floor)),
            f"{one.to_floor:.1f}",
            " + ".join(str(each.calls.total()) for each in counts),
            f"{sum(each.read_units for each in counts):g}",
            f"{sum(each.write_units for each in counts):g}",
            str(sum(each.event_bytes for each in counts)),
            " + ".join(str(each.steps) for each in counts),
        )
    screen.print(table)
    for (shape, trust), one in found.items():
        for name, each in one.counts.items():
            calls = ", ".join(f"{count} {call}" for call, count in each.calls.items())
            screen.print(f"{shape} {trust} {name}: {calls}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--profile", choices=[str(shape) for shape in SHAPES])
    parser.add_argument("--trust", choices=TRUSTS, default="server")
    parser.add_argument("--rounds", type=int, default=cpu.ROUNDS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
