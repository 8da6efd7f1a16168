"""What requests of a shape ask of AWS, counted while they run, and what that costs."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

from tests.bench import costs
from tests.bench.costs import Json, Work
from tests.bench.meter import Counts, Meter
from tests.bench.traffic import KINDS, SHAPES, Case, Shape, Traffic, queue_event
from tests.bench.way import Way, body_of

REQUESTS = {Shape(100, 1): 100, Shape(100, 100): 4, Shape(20, 1): 100, Shape(1, 1): 100}
FUNCTIONS = ("collect", "unify", "archive")
ARCHIVED = 10
"""Batches of the stream at most, for each traffic."""


@dataclass
class Asked:
    """Of one function, with what it printed."""

    counts: Counts = field(default_factory=Counts)
    printed: int = 0
    lines: int = 0

    def work(self, invocations: float, cpu: float) -> Work:
        return Work(invocations, cpu, self.counts, self.printed, self.lines)


@dataclass
class Archived(Asked):
    """Of the archive, in batches as large as they are at one traffic."""

    records: int = 0
    batches: int = 0
    cpu: float = 0


@dataclass
class Counted:
    """Of `requests` requests of a case. CPU is measured elsewhere, but for the archive's."""

    case: Case
    requests: int = 0
    sent_bytes: int = 0
    answered_bytes: int = 0
    messages: list[int] = field(default_factory=list)
    """Bytes of each body in the queue."""
    records: int = 0
    """That they put into the stream."""
    collect: Asked = field(default_factory=Asked)
    unify: Asked = field(default_factory=Asked)
    archive: dict[int, Archived] = field(default_factory=dict)
    """By events a day."""
    metrics: set[str] = field(default_factory=set)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    """What the last batch of requests put into queue and tables, to be replayed."""
    last_body: bytes = b""

    @property
    def events(self) -> int:
        return self.requests * self.case.shape.events

    @property
    def invocations(self) -> float:
        """Of unify."""
        return self.requests / self.case.messages

    def dollars(self, collect: float, unify: float, a_day: int = costs.EVENTS_A_DAY) -> Json:
        """For a million events, by kind; `collect` and `unify` are CPU seconds an event."""
        archive = self.archive[a_day]
        archived = costs.compute("archive", archive.work(archive.batches, archive.cpu))
        total = costs.summed(
            costs.gateway(self.requests, self.answered_bytes),
            costs.queue(self.messages, self.case.messages),
            costs.compute("collect", self.collect.work(self.requests, collect * self.events)),
            costs.compute("unify", self.unify.work(self.invocations, unify * self.events)),
            costs.scaled(archived, self.records / archive.records),
        )
        return costs.scaled(total, costs.MILLION / self.events)


def cases(a_day: int = costs.EVENTS_A_DAY) -> list[Case]:
    """Each shape from each kind of source, in batches as that traffic makes them."""
    sizes = {shape: costs.messages_a_batch(a_day / 86_400 / shape.events) for shape in SHAPES}
    return [Case(shape, kind, sizes[shape]) for shape in SHAPES for kind in KINDS]


def count(
    way: Way, meter: Meter, traffic: Traffic, case: Case, requests: int, **consent: bool
) -> Counted:
    """Run requests of a case through all three functions."""
    found = Counted(case, requests=requests)
    end = way.stream_end()
    for _ in range(found.requests // case.messages):
        meter.sent.clear()
        for _ in range(case.messages):
            text = traffic.request(case.shape, way.stack.clock(), **consent)
            found.last_body = body_of(text)
            found.sent_bytes += len(found.last_body)
            with _counting(way, meter, found, found.collect):
                answer = way.sent(text)
            headers = sum(len(f"{name}: {value}\r\n") for name, value in answer["headers"].items())
            found.answered_bytes += headers + len(answer["body"])
        messages = way.received(case.messages)
        found.messages += [len(one["Body"]) for one in messages]
        with _counting(way, meter, found, found.unify):
            way.arrived(queue_event(messages))
        found.calls = list(meter.sent)
    records = way.streamed(end)
    found.records = len(records)
    for a_day in costs.TRAFFIC:
        a_second = a_day / 86_400 * len(records) / found.events
        size = round(costs.records_a_batch(a_second, len(json.dumps(records)) / len(records)))
        found.archive[a_day] = _archived(way, meter, found, repeated(records, size), size)
    return found


def repeated(records: list[Json], count: int) -> list[Json]:
    """At least so many records of the stream: these, and again under other sort keys."""
    found = list(records)
    for copy in range(1, ceil(count / len(records))):
        again = json.loads(json.dumps(records))
        for one in again:
            for image in (one["dynamodb"]["Keys"], one["dynamodb"]["NewImage"]):
                image["sk"]["S"] += f"-{copy}"
        found += again
    return found


def _archived(way: Way, meter: Meter, found: Counted, records: list[Json], size: int) -> Archived:
    # What is too little for one more batch is an end of ours, and not one of the traffic.
    starts = range(0, len(records) - size + 1, size)[:ARCHIVED]
    batches = [records[n : n + size] for n in starts]
    made = Archived(records=size * len(batches), batches=len(batches))
    with _counting(way, meter, found, made):
        for batch in batches:
            way.archived(batch)
    began = time.process_time()
    for batch in batches:  # the same objects once more, without the meter
        way.archived(batch)
    made.cpu = time.process_time() - began
    return made


@contextmanager
def _counting(way: Way, meter: Meter, found: Counted, asked: Asked) -> Iterator[None]:
    """Adds up what a function asks of AWS and what it prints."""
    said = way.stack.said
    start = said.tell()
    with meter.counting(asked.counts):
        yield
    said.seek(start)
    text = said.read()
    asked.printed += len(text.encode())
    asked.lines += text.count("\n")
    found.metrics |= costs.emitted(text)
