"""How long it takes from the answer of the API until an event is read in its profile.

All of it is the deployed stack, over HTTP: gateway, functions, queue and tables of the emulator.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import quantiles

import urllib3

from tests.bench.costs import Json
from tests.bench.stack import Stack
from tests.bench.traffic import Shape, Traffic
from tests.bench.way import GRANTED, body_of

A_SECOND, SECONDS = 5, 60
WARM = 5
"""Seconds of traffic before the measured ones. Cold starts are told by themselves."""
READERS = 8
PAUSE = 0.15
"""Seconds from the answer to a reader's first look, and between two: so few that they do not slow
down what they wait for. What is told is therefore up to so much too long."""
PATIENCE = 30.0
PEOPLE = 200


class Reader:
    """A shop's server that sends an event, and staff who wait for it."""

    def __init__(self, stack: Stack) -> None:
        facts = stack.facts
        self._http = urllib3.PoolManager(maxsize=2 * READERS, retries=False)
        self._url = f"{facts['api_url']}/v1"
        self._key = {"Authorization": f"Bearer {facts['write_keys']['server']}"}
        token = {"Authorization": f"Bearer {facts['tokens']['analyst']}"}
        self._staff = token | {"X-Purpose": "analytics"}

    def send(self, body: bytes) -> float:
        """When the answer came."""
        answer = self._http.request(
            "POST",
            f"{self._url}/batch",
            body=body,
            headers=self._key | {"Content-Type": "application/json"},
        )
        if answer.status != 200:
            raise ValueError(f"POST /batch was answered {answer.status}")
        return time.monotonic()

    def seen(self, body: bytes) -> float:
        """Sends events; seconds from the answer until the last of them was read."""
        event = json.loads(body)["batch"][-1]
        return self.wait_for(event["userId"], event["messageId"], self.send(body))

    def wait_for(self, person: str, message_id: str, since: float) -> float:
        """Seconds from then to the answer that has the event; PATIENCE where none has it."""
        look = since
        while look < since + PATIENCE:
            look = max(look + PAUSE, time.monotonic())
            time.sleep(max(0.0, look - time.monotonic()))
            answer = self._http.request(
                "GET", f"{self._url}/profiles/user_id:{person}/events?limit=5", headers=self._staff
            )
            if answer.status == 200 and message_id.encode() in answer.data:
                return time.monotonic() - since
        return PATIENCE


def measure(stack: Stack, tick: Callable[[str], None], seconds: int = SECONDS) -> Json:
    """Percentiles in seconds, at a steady rate of requests with one event each."""
    reader = Reader(stack)
    people = [f"fresh-{n:04d}" for n in range(PEOPLE)]
    traffic = Traffic("server", "", people)
    for _ in range(0, PEOPLE, 100):
        # Who is new is first made known, because that takes longer, as it does in life.
        first = body_of(traffic.request(Shape(100, 100), time.time(), **GRANTED))
        reader.seen(first)
    waits: list[Future[float]] = []
    with ThreadPoolExecutor(READERS) as pool:
        tick("freshness, as many environments as may be needed")
        bursts = [body_of(traffic.request(Shape(1, 1), time.time())) for _ in range(5 * READERS)]
        list(pool.map(reader.seen, bursts))
        start = time.monotonic()
        for n in range(A_SECOND * (WARM + seconds)):
            time.sleep(max(0.0, start + n / A_SECOND - time.monotonic()))
            if n % (10 * A_SECOND) == 0:
                tick(f"freshness, {n // A_SECOND} of {WARM + seconds} s")
            body = body_of(traffic.request(Shape(1, 1), time.time()))
            waits.append(pool.submit(reader.seen, body))
        took = [one.result() for one in waits][A_SECOND * WARM :]
    cuts = quantiles(took, n=100, method="inclusive")
    return {
        "p50": cuts[49],
        "p90": cuts[89],
        "p99": cuts[98],
        "max": max(took),
        "never_seen": took.count(PATIENCE),
        "events": len(took),
        "requests_a_second": A_SECOND,
    }
