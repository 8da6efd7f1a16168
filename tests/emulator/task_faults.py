"""A proxy between the function erase and AWS, at which calls of the state machines' tasks fail.

X-Ray's header tells which calls are of one invocation, its first ones which request or run it is
for, and what it writes which task it is. A whole call fails, however often the client sends it, so
that the task does and the machine has to try it again.
"""

import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Literal

from tests.emulator.between import HOP, Between, standing

Kind = Literal["throttled", "unanswered"]
"""Refused because there were too many; or carried out, and the answer is lost."""
KINDS: tuple[Kind, ...] = ("throttled", "unanswered")
SENDS = 4
"""How often the clients of layers/candor/python/candor/stores/clients.py send a call at most."""
SILENT = "graph"
"""The task whose client gets no answer until it has waited for long enough. For the others the
connection is cut, which takes less time."""
THROTTLES = {
    "DynamoDB_20120810": "ProvisionedThroughputExceededException",
    "AmazonSQS": "RequestThrottled",
}
"""What a service calls it; the others call it ThrottlingException, and S3 SlowDown."""
CALLS: dict[str, dict[Kind, str]] = {
    "fail": dict.fromkeys(KINDS, r'UpdateItem .*-requests".*"S": "partial"'),
    "plan": {
        "throttled": r'UpdateItem .*-requests".*"shredding"',
        "unanswered": r'UpdateItem .*-keys"',
    },
    "graph": {
        "throttled": r'UpdateItem .*"found_graph"',
        "unanswered": r'(BatchWriteItem|DeleteItem) .*-graph"',
    },
    "events": {
        "throttled": r'UpdateItem .*"found_events"',
        "unanswered": r'(BatchWriteItem|DeleteItem) .*-events"',
    },
    "queues": {
        "throttled": r"GetQueueAttributes ",
        "unanswered": r'UpdateItem .*"found_queues"',
    },
    "destinations": dict.fromkeys(KINDS, r'UpdateItem .*"known_'),
    "tell": {"throttled": r"tell: Sign ", "unanswered": r'UpdateItem .*"token_'},
    "verify": dict.fromkeys(KINDS, r'UpdateItem .*"attempts"'),
    "certify": {
        "throttled": r"^(certify)?: Sign ",
        "unanswered": r'UpdateItem .*"certificate"',
    },
    "begin": {
        "throttled": r"PUT \S*/vacuum/[^/]+/begun\.json",
        "unanswered": r"PUT \S*/vacuum/[^/]+/groups\.json",
    },
    "vacuum": {
        "throttled": r"PUT \S*/vacuum/[^/]+/found/",
        "unanswered": r"DELETE \S*/events/",
    },
    "end": {
        "throttled": r'UpdateItem .*"vacuumed"',
        "unanswered": r"PUT \S*/vacuum/[^/]+/ended\.json",
    },
}
"""Calls that only one task makes, and that fail there: a pattern of the task that the invocation is
known to be by then, the operation, and the body."""
SUBJECT = re.compile(r'-requests", "Key": \{"pk": \{"S": "(\w+)"|/vacuum/([^/]+)/')
TOKEN = re.compile(r'"S": "([0-9a-f]{8}-[0-9a-f-]{27})"')


@dataclass
class Invocation:
    """What is known of the one that a call is of."""

    subject: str = ""
    """The request, or the run of the vacuum."""
    task: str = ""
    token: str = ""
    """Of a task that the machine waits for."""


class Faults:
    def __init__(self) -> None:
        self.kinds: dict[str, Mapping[str, Kind]] = {}
        """By subject how which tasks fail, once each."""
        self.coming: deque[Mapping[str, Kind]] = deque()
        """The same for the next subjects of which nothing is known yet."""
        self.hits: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        """By subject and task, how many of the calls above were sent and failed so, or denied."""
        self.before: dict[str, Callable[[str], object]] = {}
        """What is done with a subject before a call like this is passed on."""
        self.untold: Callable[[str], object] = lambda token: None
        """What is done with its token where a task fails that the machine waits for."""
        self.strange: list[str] = []
        """Calls of which nothing tells the invocation."""
        self._invocations: defaultdict[str, Invocation] = defaultdict(Invocation)
        self._failing: dict[tuple[str, str], str] = {}
        self._lock = Lock()

    def points(self) -> set[tuple[str, str]]:
        """What happened to which tasks."""
        with self._lock:
            return {(what, task) for (_, task), counts in self.hits.items() for what in counts}

    def met(self, trace: str, text: str) -> tuple[Invocation, list[Kind]]:
        """Whose call it is, and how it may fail."""
        if not trace:
            self.strange.append(text)
        with self._lock:
            invocation = self._invocations[trace]
        if not invocation.subject and (found := SUBJECT.search(text)):
            invocation.subject = found[1] or found[2]
        for like, act in list(self.before.items()):
            if re.search(like, text):
                act(invocation.subject)
        said = f"{invocation.task}: {text}"
        for task, calls in CALLS.items():
            if kinds := [kind for kind, like in calls.items() if re.search(like, said)]:
                invocation.task = task
                if token := TOKEN.search(text):
                    invocation.token = token[1]
                return invocation, kinds
        return invocation, []

    def fails(self, subject: str, task: str, kinds: list[Kind], call: str) -> Kind | None:
        """How a call is to fail: the first one of its task that may fail as its subject's do."""
        with self._lock:
            if subject not in self.kinds:
                self.kinds[subject] = self.coming.popleft() if self.coming else {}
            kind = self.kinds[subject].get(task)
            if kind not in kinds:
                return None
            return kind if call == self._failing.setdefault((subject, task), call) else None

    def count(self, subject: str, task: str, what: str) -> int:
        with self._lock:
            self.hits[subject, task][what] += 1
            return self.hits[subject, task][what]


class Proxy(Between):
    anew = HOP - {"host"}  # which is signed
    faults: Faults

    def take(self) -> None:
        body = self.body()
        service, _, operation = self.headers.get("X-Amz-Target", "").rpartition(".")
        text = f"{operation or f'{self.command} {self.path}'} {body.decode(errors='replace')}"
        invocation, kinds = self.faults.met(self.headers.get("X-Amzn-Trace-Id", ""), text)
        if not kinds:
            self._pass_on(body)
            return
        subject, task = invocation.subject, invocation.task
        kind = self.faults.fails(subject, task, kinds, self.headers["amz-sdk-invocation-id"])
        if kind is None:
            over = self._pass_on(body)
            if over:
                self.faults.count(subject, task, "denied")
        else:
            sends = self.faults.count(subject, task, kind)
            over = sends == SENDS
            if kind == "throttled":
                self._throttle(service)
            else:
                self._carry_out_and_not_answer(body, silent=task == SILENT and sends == 1)
        if over and invocation.token:
            self.faults.untold(invocation.token)

    def _pass_on(self, body: bytes) -> bool:
        """Whether it was denied."""
        answer = self.ask(dict(self.headers.items()), body)
        self.answer(answer.status, answer.headers, answer.data)
        return answer.status >= HTTPStatus.BAD_REQUEST and b"AccessDenied" in answer.data

    def _throttle(self, service: str) -> None:
        if service:
            error = {"__type": THROTTLES.get(service, "ThrottlingException")}
            self.answer(HTTPStatus.BAD_REQUEST, {}, json.dumps(error).encode())
        else:
            said = b"<Error><Code>SlowDown</Code></Error>"
            self.answer(HTTPStatus.SERVICE_UNAVAILABLE, {}, said)

    def _carry_out_and_not_answer(self, body: bytes, *, silent: bool) -> None:
        self.ask(dict(self.headers.items()), body)
        if silent:
            self.rfile.read(1)  # until the client has hung up
            self.close_connection = True
        else:
            self.cut()


@contextmanager
def standing_before(endpoint: str) -> Iterator[tuple[str, Faults]]:
    """The URL that the function is to take for AWS's, and what happens there."""
    Proxy.faults = Faults()
    with standing(Proxy, endpoint) as url:
        yield url, Proxy.faults
