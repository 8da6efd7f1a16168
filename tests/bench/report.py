"""What was measured, as the document that is written and as the tables that are shown."""

import os
import platform
import time
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tests.bench import costs, counting
from tests.bench.counting import Asked, Counted
from tests.bench.cpu import Measured
from tests.bench.growth import flat
from tests.bench.traffic import Case, Kind

Json = dict[str, Any]

DOLLARS = {"100/1": 0.15, "100/100": 1.25, "20/1": 0.40, "1/1": 6.00}
EVENTS = {"100/1": 8_000, "100/100": 2_000}
GROWN = 1.10
VACUUMED = 0.25
FOLDED = 12
FRESH_SECONDS = 1.0
EXPOSED_TO_FLAT = 0.1
RECALL_POINTS = 2.0
SWEPT_DOLLARS = 2.50
ONE_IDENTIFIER: tuple[Kind, ...] = ("server", "browser")


class Goal(NamedTuple):
    name: str
    limit: float
    measured: float
    met: bool


def of_events(counted: dict[Case, Counted], measured: dict[Case, Measured]) -> Json:
    """Dollars, speed and the counts that they come from.

    What is told of a shape is of the dearest and the slowest source; of dollars, of those whose
    events name one identifier. `by_source` has all.
    """
    found: Json = {"dollars_per_million": {}, "events_per_core_second": {}, "by_source": {}}
    for case, one in counted.items():
        by_source = found["by_source"].setdefault(name_of(case), {})
        by_source[case.kind] = _of_one(one, measured[case])
    usual = {name_of(case): str(case.shape) for case in counting.cases()}
    for name, shape in usual.items():
        by_kind = found["by_source"][name]
        kinds = by_kind.values()
        dollars = {kind: one["dollars"]["total"] for kind, one in by_kind.items()}
        found["dollars_per_million"][shape] = max(dollars[kind] for kind in ONE_IDENTIFIER)
        slowest = min(one["events_per_core_second"] for one in kinds)
        found["events_per_core_second"][shape] = slowest
    return found


def name_of(case: Case) -> str:
    """The shape, and how many messages unify gets at once where that is not one."""
    return f"{case.shape} by {case.messages}" if case.messages > 1 else str(case.shape)


def _of_one(counted: Counted, measured: Measured) -> Json:
    collect, unify = median(measured.collect), median(measured.unify)
    parts = counted.dollars(collect, unify)
    at = {a_day: counted.dollars(collect, unify, a_day=a_day) for a_day in costs.TRAFFIC}
    events = counted.events
    stored = counted.unify.counts.event_bytes
    archive = counted.archive[costs.EVENTS_A_DAY]
    archived = archive.counts.object_bytes / archive.records * counted.records
    kept = costs.storage(stored, counted.records, archived)
    return {
        "dollars": {"total": sum(parts.values()), **parts},
        "dollars_at_events_a_day": {str(n): sum(each.values()) for n, each in at.items()},
        "dollars_to_keep": costs.scaled(kept, costs.MILLION / events),
        "events_per_core_second": measured.per_core_second,
        "cpu_us": {
            "collect": 1e6 * collect,
            "unify": 1e6 * unify,
            "floor": 1e6 * median(measured.floor),
        },
        "times_the_floor": measured.to_floor,
        "billed_ms": {
            "collect": counted.collect.work(counted.requests, collect * counted.events).billed_ms(
                costs.memory_of("collect")
            ),
            "unify": counted.unify.work(counted.invocations, unify * counted.events).billed_ms(
                costs.memory_of("unify")
            ),
        },
        "events": events,
        "requests": counted.requests,
        "bytes_an_event": {
            "sent": counted.sent_bytes / events,
            "queued": sum(counted.messages) / events,
            "stored": stored / events,
            "archived": archived / events,
        },
        "records": counted.records,
        "records_a_batch": {n: a.records / a.batches for n, a in counted.archive.items()},
        "counts": {
            "collect": _counts(counted.collect),
            "unify": _counts(counted.unify),
            "archive": _counts(counted.archive[costs.EVENTS_A_DAY]),
        },
    }


def _counts(asked: Asked) -> Json:
    counts = asked.counts
    return {
        "calls": dict(counts.calls),
        "one_after_another": counts.steps,
        "read_units": dict(counts.reads),
        "write_units": dict(counts.writes),
        "write_units_returned": counts.written,
        "sqs_requests": dict(counts.sqs),
        "objects": counts.objects,
        "printed_bytes": asked.printed,
        "printed_lines": asked.lines,
    }


def others() -> list[Json]:
    """What a million events cost elsewhere, by list."""
    segment, rudderstack = (costs.PRICES["others"][name] for name in ("segment", "rudderstack"))
    figures = [
        (segment, "100,000 people, 250 events each", costs.segment(250, 100_000)),
        (segment, "100,000 people, 25 events each", costs.segment(25, 100_000)),
        (rudderstack, "a million events a month", costs.rudderstack()),
    ]
    return [
        {"name": one["name"], "of": of, "dollars": dollars}
        | {name: one[name] for name in ("source", "seen")}
        for one, of, dollars in figures
    ]


def machine() -> Json:
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def goals(found: Json) -> Iterator[Goal]:
    """Each goal that was measured, and whether it is met."""
    for shape, limit in DOLLARS.items():
        if "dollars_per_million" in found:
            value = found["dollars_per_million"][shape]
            yield Goal(f"dollars a million events, {shape}", limit, value, value <= limit)
    for shape, events in EVENTS.items():
        if "events_per_core_second" in found:
            value = found["events_per_core_second"][shape]
            yield Goal(f"events a second and core, {shape}", events, value, value >= events)
    for by, levels in found.get("growth", {}).items():
        for name, most in (
            ("calls", 1.0),
            ("read_units", 1.0),
            ("write_units", 1.0),
            ("cpu_us", GROWN),
        ):
            if name not in next(iter(next(iter(levels.values())).values())):
                continue  # of a single event, CPU says nothing
            value = flat(levels, name)
            yield Goal(f"growth by {by}: {name}, most/least", most, value, value <= most + 1e-9)
    yield from _keeping_goals(found)
    if fresh := found.get("freshness_seconds"):
        p99 = fresh["p99"]
        yield Goal("seconds until readable, p99", FRESH_SECONDS, p99, p99 < FRESH_SECONDS)
    if accuracy := found.get("accuracy"):
        yield from _accuracy_goals(accuracy["compared"])


def _keeping_goals(found: Json) -> Iterator[Goal]:
    """Of what is kept, and of what ends."""
    if swept := found.get("sweep"):
        month = swept["month_of_a_million_identifiers"]
        name = "dollars a month to sweep a million identifiers"
        yield Goal(name, SWEPT_DOLLARS, month, month <= SWEPT_DOLLARS)
    if consent := found.get("consent"):
        more, ratio = consent["requests_more"], consent["folding_ratio"]
        yield Goal("requests more where consent is said again", 0, more, more <= 0)
        yield Goal("folding 10,000 records, against 1,000", FOLDED, ratio, ratio <= FOLDED)
    if erasure := found.get("erasure"):
        levels = erasure["erasing_beside_people"]
        both = set.intersection(*map(set, levels.values()))
        levels = {others: {n: one[n] for n in both} for others, one in levels.items()}
        for name in ("calls", "read_units", "write_units"):
            value = flat(levels, name)
            title = f"erasing beside ten times the people: {name}, most/least"
            yield Goal(title, 1.0, value, value <= 1 + 1e-9)
    if vacuum := found.get("vacuum"):
        share = vacuum["erased"]["1"]["read_bytes"] / vacuum["rewriting"]["read_bytes"]
        yield Goal("bytes to vacuum 0.05 %, of all", VACUUMED, share, share <= VACUUMED)


def _accuracy_goals(compared: Json) -> Iterator[Goal]:
    names = {"exposure": "people exposed", "merged": "people merged wrongly"}
    for other, most in (("flat", EXPOSED_TO_FLAT), ("segment", 1.0)):
        for what, name in names.items():
            value = compared[f"{what}_to_{other}"]
            met = value < most if other == "segment" else value <= most
            yield Goal(f"{name}, Candor's / {other}'s", most, value, met)
    for other in ("flat", "segment"):
        value = compared[f"recall_points_below_{other}"]
        yield Goal(f"recall, points below {other}", RECALL_POINTS, value, value <= RECALL_POINTS)


def shown(found: Json) -> RenderableType:
    """Everything for people, in the order of what matters."""
    tables = [
        *([_dollars(found), _speed(found), _counted(found)] if "by_source" in found else []),
        *([_first(found), _others(found)] if "first_contact" in found else []),
        *([_growth(found["growth"])] if "growth" in found else []),
        *([_swept(found["sweep"])] if "sweep" in found else []),
        *([_fresh(found["freshness_seconds"])] if "freshness_seconds" in found else []),
        *([_cold(found["cold_start"])] if "cold_start" in found else []),
        *(_erased(found["erasure"]) if "erasure" in found else []),
        *([_vacuum(found["vacuum"])] if "vacuum" in found else []),
        *(_accuracy(found["accuracy"]) if "accuracy" in found else []),
        _goals(found),
    ]
    return Group(*tables)


def _dollars(found: Json) -> Table:
    parts = [name for name in found["by_source"]["1/1"]["server"]["dollars"] if name != "total"]
    table = Table("shape", "from", "total", *parts, "to keep", title="Dollars a million events")
    for shape, kinds in found["by_source"].items():
        for kind, one in kinds.items():
            row = [f"{one['dollars'][part]:.4f}" for part in parts]
            table.add_row(
                shape,
                kind,
                f"{one['dollars']['total']:.3f}",
                *row,
                f"{sum(one['dollars_to_keep'].values()):.3f}",
            )
    return table


def _speed(found: Json) -> Table:
    heads = ("shape", "from", "events/s/core", "collect µs", "unify µs", "floor µs", "× floor")
    table = Table(*heads, "billed ms", title="CPU an event, process time of this process")
    for shape, kinds in found["by_source"].items():
        for kind, one in kinds.items():
            cpu, billed = one["cpu_us"], one["billed_ms"]
            table.add_row(
                shape,
                kind,
                f"{one['events_per_core_second']:,.0f}",
                *(f"{cpu[part]:,.1f}" for part in ("collect", "unify", "floor")),
                f"{one['times_the_floor']:.1f}",
                f"{billed['collect']} + {billed['unify']}",
            )
    return table


def _counted(found: Json) -> Table:
    heads = ("shape", "from", "calls", "in turn", "read units", "write units", "returned")
    table = Table(
        *heads, "sent", "queued", "stored", "archived", title="Counted, a request; bytes an event"
    )
    for shape, kinds in found["by_source"].items():
        for kind, one in kinds.items():
            n, both = one["requests"], [one["counts"][name] for name in ("collect", "unify")]

            def a_request(name: str, n: int = n, both: list[Json] = both) -> list[str]:
                return [f"{sum(each[name].values()) / n:.4g}" for each in both]

            table.add_row(
                shape,
                kind,
                " + ".join(a_request("calls")),
                " + ".join(a_request("one_after_another")),
                " + ".join(a_request("read_units")),
                " + ".join(a_request("write_units")),
                f"{sum(each['write_units_returned'] for each in both) / n:.4g}",
                *(f"{value:.0f}" for value in one["bytes_an_event"].values()),
            )
    return table


def _first(found: Json) -> Table:
    """What the tables above leave out."""
    heads = ("", "shape", "from", "dollars a million", "write units each")
    table = Table(*heads, title="Seldom, and dear")
    for shape, kinds in found["first_contact"].items():
        for kind, one in kinds.items():
            row = (f"{one['dollars']:.2f}", f"{one['write_units']:.4g}")
            table.add_row("people who are new", shape, kind, *row)
    for shape, one in found["browser_in_a_new_minute"].items():
        row = (f"{one['dollars']:.2f}", f"{one['write_units']:.4g}")
        table.add_row("consent said again, a minute later", shape, "browser", *row)
    return table


def _others(found: Json) -> Table:
    table = Table("", "of", "dollars a million", "seen", title="What others list")
    for one in found["others"]:
        table.add_row(one["name"], one["of"], f"{one['dollars']:.2f}", one["seen"])
    return table


def _growth(growth: Json) -> Table:
    table = Table(
        "", "shape", "calls", "read units", "write units", "CPU µs", title="Growth, an event"
    )
    for by, levels in growth.items():
        for name, shapes in levels.items():
            for shape, one in shapes.items():
                figures = ("calls", "read_units", "write_units")
                row = [f"{one[figure]:.4g}" for figure in figures]
                cpu = f"{one['cpu_us']:.1f}" if "cpu_us" in one else "–"
                table.add_row(f"{int(name):,} {by}", shape, *row, cpu)
    return table


def _swept(found: Json) -> Table:
    month = found["month_of_a_million_identifiers"]
    title = f"Keeping to the times; a million identifiers cost {month:.2f} dollars a month"
    table = Table("", "of", "calls", "read units", "write units", title=title)
    rows = {
        "an hour with nothing to do": ("itself", found["hour"]),
        "the daily round": ("an identifier", found["round_by_identifier"]),
        "the same with the keys": ("an identifier", found["round_with_keys_by_identifier"]),
        "a renewal that changes nothing": ("a bundle", found["renewal"]["looked"]),
        "a renewal that changes each": ("a bundle", found["renewal"]["changed"]),
    }
    for name, (of, one) in rows.items():
        table.add_row(name, of, *(f"{one[unit]:.4g}" for unit in one))
    return table


def _fresh(fresh: Json) -> Table:
    table = Table(*fresh, title="Seconds from the answer until an event is read in its profile")
    table.add_row(
        *(f"{value:.3f}" if type(value) is float else str(value) for value in fresh.values())
    )
    return table


def _cold(cold: Json) -> Table:
    table = Table("function", "CPU ms", "× boto3 alone", title="Cold start")
    for name, milliseconds in cold["milliseconds"].items():
        table.add_row(name, f"{milliseconds:.0f}", f"{cold['ratio'].get(name, 1):.2f}")
    return table


def _erased(found: Json) -> list[Table]:
    took, units = found["seconds"], ("calls", "read_units", "write_units")
    settling, load = took["settling"], took["requests_a_second"]
    title = (
        f"Seconds of an erasure that settles for {settling}, beside {load:.1f} requests a second"
    )
    figures = ("answered", "answered_at_most", "certified", "certified_at_most")
    times = Table("events", "people", *(one.replace("_", " ") for one in figures), title=title)
    for events, one in took["by_events"].items():
        times.add_row(f"{int(events):,}", str(one["people"]), *(f"{one[n]:.2f}" for n in figures))
    title = f"Erasing somebody, {found['states_entered']} states entered"
    heads = ("calls", "read units", "write units")
    cost = Table("beside people", "events", "rows", *heads, "billed ms", "dollars", title=title)
    for others, levels in found["erasing_beside_people"].items():
        for events, one in levels.items():
            row = (f"{int(others):,}", f"{int(events):,}", f"{one['rows']:,}")
            billed = " + ".join(f"{ms:,.0f}" for ms in one["billed_ms"].values())
            asked = (f"{one[unit]:,.6g}" for unit in units)
            cost.add_row(*row, *asked, billed, f"{one['dollars']['total']:.6f}")
    beside = Table("", *heads, title="Beside an erasure, of somebody with 1,000 events")
    for name, one in found["besides"].items():
        beside.add_row(name, *(f"{one[unit]:,.4g}" for unit in units))
    return [times, cost, beside]


def _vacuum(found: Json) -> Table:
    size = f"{found['archive_bytes'] / 1e6:,.0f} MB in {found['objects']} objects"
    heads = ("people erased", "GET", "PUT", "LIST", "MB read", "MB written", "dollars")
    table = Table(*heads, title=f"The vacuum, of an archive of {size}")
    for name, one in [*found["erased"].items(), ("(rewriting all)", found["rewriting"])]:
        requests = (f"{one[what]:,}" for what in ("gets", "puts", "lists"))
        sizes = (f"{one[what] / 1e6:,.2f}" for what in ("read_bytes", "written_bytes"))
        table.add_row(name, *requests, *sizes, f"{one['dollars']:.6f}")
    return table


def _accuracy(found: Json) -> list[Table]:
    figures = ("precision", "recall", "events_found", "exposure", "merged")
    heads = [figure.replace("_", " ") for figure in figures]
    title = f"Accuracy, {found['people']:,} people, mean of {len(found['seeds'])} seeds, %"
    table = Table("", *heads, title=title)
    for name, one in found["matchers"].items():
        spans = [[_percent(one[what][of]) for of in ("mean", "least", "most")] for what in figures]
        table.add_row(name, *(f"{of} ({least}–{most})" for of, least, most in spans))
    return [table, *([_changed(found["changed"])] if "changed" in found else [])]


def _changed(found: Json) -> Table:
    title = f"One rate changed, {found['people']:,} people, seed {found['seed']}, %"
    columns = [
        (what, name)
        for what in ("exposure", "merged", "recall")
        for name in ("candor", "flat", "segment")
    ]
    table = Table("rate", "×", *(f"{what}, {name}" for what, name in columns), title=title)
    for one in found["rates"]:
        row = [_percent(one["matchers"][name][what]) for what, name in columns]
        table.add_row(one["rate"] or "(none)", f"{one['times']:g}", *row)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _goals(found: Json) -> Table:
    table = Table("goal", "limit", "measured", "", title="Goals")
    for goal in goals(found):
        mark = Text("met", "green") if goal.met else Text("missed", "bold red")
        table.add_row(goal.name, f"{goal.limit:g}", f"{goal.measured:,.3f}", mark)
    return table
