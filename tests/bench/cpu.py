"""Events per second and core, through collect and unify together, and the floor under both.

Process time of this process alone: what an emulator does for it happens in another one.
"""

import base64
import cProfile
import json
import pstats
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench.meter import Counts, Meter
from tests.bench.stack import Stack
from tests.bench.traffic import SHAPES, TRUSTS, Json, Shape, Traffic, Trust, queue_event
from tests.functions import CONTEXT

REQUESTS = {Shape(100, 1): 10, Shape(100, 100): 5, Shape(20, 1): 20, Shape(1, 1): 50}
"""In one round."""
ROUNDS, WARM = 9, 2
PEOPLE = 300
GRANTED = {"functional": True, "analytics": True, "personalization": True, "marketing": True}


@dataclass
class Measured:
    """Of one shape and trust."""

    collect: list[float] = field(default_factory=list)
    """CPU seconds per event, each round; so are `unify` and `floor`."""
    unify: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    """By function, of one request of `body_bytes` bytes."""

    @property
    def per_core_second(self) -> float:
        return 1 / median(map(sum, zip(self.collect, self.unify, strict=True)))

    @property
    def to_floor(self) -> float:
        return 1 / (self.per_core_second * median(self.floor))


class Way:
    """Of a request through collect, the queue and unify."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.collect, self.unify = stack.function("collect"), stack.function("unify")
        self._sqs, self._queue = stack.client("sqs"), stack.outputs["EventsQueueUrl"]

    def invoke(self, function: Any, text: str) -> Any:
        """As the runtime does: JSON in, JSON out."""
        return json.loads(json.dumps(function.module.handler(json.loads(text), CONTEXT)))

    def sent(self, text: str) -> None:
        """Collect a request."""
        with redirect_stdout(self.stack.said):
            answer = self.invoke(self.collect, text)
        assert answer["statusCode"] == 200, answer
        told = json.loads(answer["body"])
        assert not told.keys() & {"refused", "stripped"}, told

    def arrived(self, text: str) -> None:
        with redirect_stdout(self.stack.said):
            answer = self.invoke(self.unify, text)
        assert answer == {"batchItemFailures": []}, self.stack.said.getvalue()[-2000:]

    def whole(self, text: str) -> None:
        self.sent(text)
        self.arrived(queue_event(self.received()))

    def received(self, count: int = 1) -> list[Any]:
        """Messages as Lambda takes them, which are then gone."""
        found: list[Any] = []
        while len(found) < count:
            some = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
            for one in some["Messages"]:
                found.append(one)
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=one["ReceiptHandle"])
        return found


def known_people(way: Way, trust: Trust, count: int) -> Traffic:
    """Traffic for people who were seen today and whose consent is on record."""
    key = way.stack.facts["write_keys"][trust]
    people = [f"{trust}-{n:06d}" for n in range(count)]
    first = Traffic(trust, key, people, seed=2)
    for _ in range(0, count, 100):
        # A browser's banner speaks in each of its events; a server says it once.
        consent = GRANTED if trust == "server" else {}
        way.whole(first.request(Shape(100, 100), time.time(), **consent))
    return Traffic(trust, key, people)


def measure(stack: Stack, rounds: int = ROUNDS, said: Callable[[str], None] = print) -> Any:
    """Every shape from every trust, interleaved, so that noise hits all alike."""
    way, floor = Way(stack), Floor(stack)
    meter = Meter(stack.client("dynamodb"))
    traffic = {trust: known_people(way, trust, PEOPLE) for trust in TRUSTS}
    found = {(shape, trust): Measured() for shape in SHAPES for trust in TRUSTS}
    replays = {}
    for (shape, trust), one in found.items():
        text = traffic[trust].request(shape, time.time())
        with meter.counting() as one.counts["collect"]:
            way.sent(text)
        collected, queued = meter.sent, queue_event(way.received())
        with meter.counting() as one.counts["unify"]:
            way.arrived(queued)
        body = base64.b64decode(json.loads(text)["body"])
        replays[shape, trust] = body, [*collected, *meter.sent]
    for n in range(WARM + rounds):
        said(f"round {n + 1} of {WARM + rounds}")
        for (shape, trust), one in found.items():
            collect, unify = _round(way, traffic[trust], shape)
            if n >= WARM:
                one.collect.append(collect)
                one.unify.append(unify)
                one.floor.append(floor.round(shape, *replays[shape, trust]))
    return found


def _round(way: Way, traffic: Traffic, shape: Shape) -> tuple[float, float]:
    """CPU seconds per event of collect and of unify."""
    texts = [traffic.request(shape, time.time()) for _ in range(REQUESTS[shape])]
    collect, unify = way.collect, way.unify
    with redirect_stdout(way.stack.said):
        began = time.process_time()
        for text in texts:
            way.invoke(collect, text)
        collected = time.process_time() - began
        events = [queue_event([one]) for one in way.received(len(texts))]
        began = time.process_time()
        for event in events:
            way.invoke(unify, event)
        unified = time.process_time() - began
    count = shape.events * len(texts)
    return collected / count, unified / count


class Floor:
    """What no way can do without: parse the JSON, send it on, write the same bytes."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._dynamodb = stack.client("sqs"), stack.client("dynamodb")
        self._queue = stack.outputs["ArchiveDlqUrl"]  # nobody listens there

    def round(self, shape: Shape, body: bytes, calls: list[tuple[str, Json]]) -> float:
        """CPU seconds per event. `calls` are what one request led to."""
        sends = [call for operation, call in calls if operation == "SendMessage"]
        batches = [call for operation, call in calls if operation == "BatchWriteItem"]
        puts = [call for operation, call in calls if operation == "PutItem"]
        times = REQUESTS[shape]
        began = time.process_time()
        for _ in range(times):
            json.loads(body)
            for send in sends:
                self._sqs.send_message(**send | {"QueueUrl": self._queue})
            for batch in batches:
                self._dynamodb.batch_write_item(**batch)
            for put in puts:
                self._dynamodb.put_item(**put)
        spent = time.process_time() - began
        self._sqs.purge_queue(QueueUrl=self._queue)
        return spent / (times * shape.events)


@contextmanager
def profiled(lines: int) -> Iterator[None]:
    """Prints where the time inside went."""
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        stats = pstats.Stats(profile)
        stats.sort_stats("tottime").print_stats(lines)
        stats.sort_stats("cumulative").print_stats(lines)


def profile(stack: Stack, shape: Shape, trust: Trust, lines: int = 45) -> None:
    """The functions that take most of a shape's time, by themselves and with what they call."""
    way = Way(stack)
    traffic = known_people(way, trust, PEOPLE)
    for _ in range(WARM):
        _round(way, traffic, shape)
    with profiled(lines):
        for _ in range(3):
            _round(way, traffic, shape)
