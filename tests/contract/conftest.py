"""One contract, many implementations: the fake, moto, and every endpoint.

The fixtures here make each port anew for a test, and remove what they made.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import boto3
import pytest
from moto import mock_aws

from candor.ports import SORTED_TABLES, Objects, Queue, Rows, Signer, Table, Workflow
from candor.stores.dynamo import DynamoRows
from candor.stores.kms import KmsSigner
from candor.stores.s3 import S3Objects
from candor.stores.sqs import SqsQueue
from candor.stores.stepfunctions import StepFunctionsWorkflow
from tests.conftest import endpoints, resolve
from tests.emulators import REGION, Clients, clients_for
from tests.fakes import FakeClock, FakeObjects, FakeQueue, FakeRows, FakeSigner, FakeWorkflow

TABLES: tuple[Table, ...] = ("keys", "graph")
"""One of each shape."""

DEADLINE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Backend:
    """`clients` is None for the fakes."""

    name: str
    clients: Clients | None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "not_on_moto: on the fake and MiniStack only. moto, which also serves LocalStack's "
        "DynamoDB, does not isolate concurrent writers and compares values loosely",
    )
    config.addinivalue_line("markers", "no_fake: what the domain takes as a plain value")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    names = ["fake", "moto", *endpoints()]
    if metafunc.definition.get_closest_marker("not_on_moto"):
        names = [name for name in names if name in ("fake", "ministack")]
    if metafunc.definition.get_closest_marker("no_fake"):
        names.remove("fake")
    metafunc.parametrize("backend", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    match request.param:
        case "fake":
            yield Backend("fake", None)
        case "moto":
            with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
                yield Backend("moto", lambda service: boto3.client(service, region_name=REGION))  # type: ignore[call-overload]
        case name:
            yield Backend(name, clients_for(resolve(name, request)))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rows(backend: Backend, clock: FakeClock) -> Iterator[Rows]:
    if backend.clients is None:
        # Pages of three, so that short tests cross them.
        yield FakeRows(clock, page=3)
        return
    with tables(backend.clients("dynamodb")) as names:
        yield DynamoRows(backend.clients("dynamodb"), names, clock)


@contextmanager
def tables(client: Any, wanted: Iterable[Table] = TABLES) -> Iterator[dict[Table, str]]:
    """New tables, by what they hold; gone afterwards."""
    names = {table: f"contract-{uuid.uuid4().hex}-{table}" for table in wanted}
    with ExitStack() as made:
        for table, name in names.items():
            _create_table(client, name, table in SORTED_TABLES)
            made.callback(client.delete_table, TableName=name)
        yield names


def _create_table(client: Any, name: str, is_sorted: bool) -> None:
    parts = [("pk", "HASH"), ("sk", "RANGE")][: 2 if is_sorted else 1]
    made = client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n, _ in parts],
        KeySchema=[{"AttributeName": n, "KeyType": kind} for n, kind in parts],
    )
    if made["TableDescription"]["TableStatus"] != "ACTIVE":
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})


@dataclass(frozen=True, slots=True)
class Line:
    """A queue, and how to take everything out of it."""

    queue: Queue
    take: Callable[[], list[str]]


@pytest.fixture
def line(backend: Backend) -> Iterator[Line]:
    yield from _line(backend, fifo=False)


@pytest.fixture
def fifo_line(backend: Backend) -> Iterator[Line]:
    yield from _line(backend, fifo=True)


def _line(backend: Backend, *, fifo: bool) -> Iterator[Line]:
    if backend.clients is None:
        queue = FakeQueue(fifo=fifo)
        yield Line(queue, lambda: [queue.bodies.pop(0) for _ in range(len(queue.bodies))])
        return
    client = backend.clients("sqs")
    name = f"contract-{uuid.uuid4().hex}" + (".fifo" if fifo else "")
    url = client.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if fifo else {})[
        "QueueUrl"
    ]

    def take() -> list[str]:
        bodies: list[str] = []
        while True:
            messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages")
            if not messages:
                return bodies
            for message in messages:
                bodies.append(message["Body"])
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    try:
        yield Line(SqsQueue(client, url), take)
    finally:
        client.delete_queue(QueueUrl=url)


@pytest.fixture
def objects(backend: Backend) -> Iterator[Objects]:
    if backend.clients is None:
        yield FakeObjects()
        return
    client = backend.clients("s3")
    bucket = f"contract-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    store = S3Objects(client, bucket)
    try:
        yield store
    finally:
        store.delete(store.list(""))
        client.delete_bucket(Bucket=bucket)


@pytest.fixture
def signer(backend: Backend) -> Iterator[Signer]:
    if backend.clients is None:
        yield FakeSigner()
        return
    client = backend.clients("kms")
    made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    key_id = made["KeyMetadata"]["KeyId"]
    try:
        yield KmsSigner(client, key_id)
    finally:
        client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)


Ending = Literal["succeeded", "failed", "never"]
STATES: dict[Ending, dict[str, Any]] = {
    "succeeded": {"Type": "Succeed"},
    "failed": {"Type": "Fail", "Error": "Planned", "Cause": "a test"},
    "never": {"Type": "Wait", "Seconds": 120, "End": True},
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A workflow, and how to stop one execution of it from outside."""

    workflow: Workflow
    stop: Callable[[str], None]

    def settled(self, name: str) -> str:
        """The state once it is no longer `running`, within the deadline."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (state := self.workflow.state(name)) == "running" and time.monotonic() < deadline:
            time.sleep(0.02)
        return state


@pytest.fixture
def machine(backend: Backend) -> Iterator[Callable[[Ending], Machine]]:
    """Makes a state machine whose executions end so."""
    with ExitStack() as made:

        def make(ending: Ending) -> Machine:
            if backend.clients is None:
                return _fake_machine(ending)
            client = backend.clients("stepfunctions")
            definition = {"StartAt": "Only", "States": {"Only": STATES[ending]}}
            arn = client.create_state_machine(
                name=f"contract-{uuid.uuid4().hex}",
                definition=json.dumps(definition),
                roleArn=_machine_role(backend.clients("iam"), made),
            )["stateMachineArn"]
            made.callback(client.delete_state_machine, stateMachineArn=arn)
            prefix = arn.replace(":stateMachine:", ":execution:")
            return Machine(
                StepFunctionsWorkflow(client, arn),
                lambda name: client.stop_execution(executionArn=f"{prefix}:{name}"),
            )

        yield make


def _machine_role(client: Any, made: ExitStack) -> str:
    name = f"contract-{uuid.uuid4().hex}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "states.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = client.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    made.callback(client.delete_role, RoleName=name)
    arn: str = role["Role"]["Arn"]
    return arn


def _fake_machine(ending: Ending) -> Machine:
    def tap(call: str, detail: Any) -> None:
        if call == "workflow.start:after" and ending != "never":
            fake.end(detail[0], ending)

    fake = FakeWorkflow(tap)
    return Machine(fake, lambda name: fake.end(name, "failed"))
