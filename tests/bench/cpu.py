"""Events per second and core, through collect and unify together, and the floor under both.

Process time of this process alone: what an emulator does for it happens in another one.
"""

import cProfile
import gc
import json
import pstats
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from statistics import median

from tests.bench.counting import Counted
from tests.bench.stack import Stack
from tests.bench.traffic import Case, Kind, Shape, Traffic, queue_event
from tests.bench.way import Way, known_people

REQUESTS = {Shape(100, 1): 10, Shape(100, 100): 5, Shape(20, 1): 20, Shape(1, 1): 50}
"""In one round."""
ROUNDS, WARM = 9, 2
PEOPLE = 300


@dataclass
class Measured:
    """Of one case."""

    collect: list[float] = field(default_factory=list)
    """CPU seconds per event, each round; so are `unify` and `floor`."""
    unify: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)

    @property
    def per_core_second(self) -> float:
        return 1 / median(map(sum, zip(self.collect, self.unify, strict=True)))

    @property
    def to_floor(self) -> float:
        return 1 / (self.per_core_second * median(self.floor))


def measure(
    way: Way,
    traffic: dict[Kind, Traffic],
    counted: dict[Case, Counted],
    rounds: int,
    tick: Callable[[str], None],
) -> dict[Case, Measured]:
    """Every case in turn, so that noise hits all alike."""
    floor = Floor(way.stack)
    found = {case: Measured() for case in counted}
    gc.freeze()  # what the bench holds is no burden of the functions
    for n in range(WARM + rounds):
        tick(f"round {n + 1} of {WARM + rounds}")
        for case, one in found.items():
            collect, unify = spent(way, traffic[case.kind], case, REQUESTS[case.shape])
            under = floor.spent(counted[case], REQUESTS[case.shape])
            if n >= WARM:
                one.collect.append(collect)
                one.unify.append(unify)
                one.floor.append(under)
    return found


def spent(way: Way, traffic: Traffic, case: Case, requests: int) -> tuple[float, float]:
    """CPU seconds per event of collect and of unify."""
    texts = [traffic.request(case.shape, way.stack.clock()) for _ in range(requests)]
    collect, unify = way.collect, way.unify
    with redirect_stdout(way.stack.said):
        began = time.process_time()
        answers = [way.invoke(collect, text) for text in texts]
        collected = time.process_time() - began
        some = way.received(len(texts))
        parts = [some[n : n + case.messages] for n in range(0, len(some), case.messages)]
        events = [queue_event(part) for part in parts]
        began = time.process_time()
        answers += [way.invoke(unify, event) for event in events]
        unified = time.process_time() - began
    if any(one.get("statusCode", 200) != 200 or one.get("batchItemFailures") for one in answers):
        raise ValueError("what failed is not to be measured")
    count = case.shape.events * len(texts)
    return collected / count, unified / count


class Floor:
    """What no way can do without: parse the JSON, send it on, write the same bytes."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._dynamodb = stack.client("sqs"), stack.client("dynamodb")
        self._queue = stack.outputs["ArchiveDlqUrl"]  # nobody listens there

    def spent(self, counted: Counted, requests: int) -> float:
        """CPU seconds an event, of the last batch that was counted."""
        case, times = counted.case, requests // counted.case.messages
        calls, body = counted.calls, counted.last_body
        sends = [call for operation, call in calls if operation == "SendMessage"]
        batches = [call for operation, call in calls if operation == "BatchWriteItem"]
        puts = [call for operation, call in calls if operation == "PutItem"]
        began = time.process_time()
        for _ in range(times):
            for _ in range(case.messages):
                json.loads(body)
            for send in sends:
                self._sqs.send_message(**send | {"QueueUrl": self._queue})
            for batch in batches:
                self._dynamodb.batch_write_item(**batch)
            for put in puts:
                self._dynamodb.put_item(**put)
        seconds = time.process_time() - began
        self._sqs.purge_queue(QueueUrl=self._queue)
        return seconds / (times * case.messages * case.shape.events)


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


def profile(way: Way, case: Case, lines: int = 45) -> None:
    """The functions that take most of a shape's time, by themselves and with what they call."""
    traffic = known_people(way, case.kind, PEOPLE)
    for _ in range(WARM):
        spent(way, traffic, case, REQUESTS[case.shape])
    with profiled(lines):
        for _ in range(3):
            spent(way, traffic, case, REQUESTS[case.shape])
