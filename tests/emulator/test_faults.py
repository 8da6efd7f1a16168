"""Every task of the erasure and of the vacuum is throttled, is not answered, and is denied, once
each, on a deployed stack: its own machines and functions, with IAM enforced.

The machines are the deployed ones, but wait for less long and try again less often: nobody whose
leftovers they wait for is at work here, and a fault lasts for one of their tries or for all. What
happens at every single call tests/moto/test_erasure_faults.py shows.
"""

import json
import re
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from cli import signature
from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.installation import SOON, Installation
from tests.emulator.people import idkey
from tests.emulator.reading import idle, left, profile, shown
from tests.emulator.receiving import receiving
from tests.emulator.task_faults import CALLS, KINDS, SENDS, Faults, Kind, standing_before
from tests.emulator.vacuuming import begin, ended
from tests.emulators import MiniStack

Json = dict[str, Any]
WAITS = 0.02
"""How long a wait is here, of what the machines say."""
MACHINES = ("Erasure", "Vacuum")
MAX_ATTEMPTS = re.compile(r'(?<="MaxAttempts": )[1-9]\d*')
ALL: dict[Kind, dict[str, Kind]] = {kind: dict.fromkeys(CALLS, kind) for kind in KINDS}
MEANT = re.compile(
    r"candor\.(ports\.Unavailable|erasure\.ErasureFailed"
    r"|stores\.clients\.StoreError: \w+: AccessDenied(Exception)?$)"
)
"""What the function raises here."""
PLANNED = r"SendMessage .*erasure\.plan"
COMPLETES = r'UpdateItem .*-requests".*"S": "completed"'
PLACES = {
    "dynamodb": "arn:aws:dynamodb:*:*:table/{}",
    "s3": "arn:aws:s3:::{}",
    "sqs": "{}",
    "kms": "{}",
}
"""What a policy calls a resource of each service."""
DELETES = ("DeleteItem", "BatchWriteItem")
DENIALS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "shredding": ("dynamodb", ("UpdateItem",), "{KeysTable}"),
    "the graph": ("dynamodb", DELETES, "{GraphTable}"),
    "the events": ("dynamodb", DELETES, "{EventsTable}"),
    "the queues": ("sqs", ("GetQueueAttributes",), "*"),
    "the requests": ("dynamodb", ("UpdateItem",), "{RequestsTable}"),
    "signing": ("kms", ("Sign",), "{SigningKeyArn}"),
    "beginning": ("s3", ("PutObject",), "{ArchiveBucket}/vacuum/*/begun.json"),
    "the archive": ("s3", ("DeleteObject",), "{ArchiveBucket}/events/*"),
}
"""A service, its actions, and where."""


@dataclass
class Person:
    user: str
    identifiers: list[tuple[str, str]]
    idkeys: list[str]
    archived: int = 0
    """Records in the archive, at first."""
    request: str = ""


@dataclass
class Story:
    """What was seen on the way."""

    people: dict[str, Person]
    before: Json | None
    """What was read of the bystander."""
    seen: dict[str, Json] = field(default_factory=dict)
    """Requests, when they went no further."""
    runs: dict[str, Json] = field(default_factory=dict)
    """Executions that ended; those that had to fail are called `not`."""
    completing: set[str] = field(default_factory=set)
    """The requests that something tried to complete."""
    too_early: list[str] = field(default_factory=list)
    """What there was, just then, of those whom they are about."""


@pytest.fixture(scope="module")
def faults(
    own_emulator: MiniStack | None, installation: Installation, api: Api
) -> Iterator[Faults]:
    if own_emulator is None:
        pytest.skip("LocalStack enforces no IAM, and hangs for ever on a function that timed out")
    with ExitStack() as while_it_lasts:
        enter = while_it_lasts.enter_context
        own_emulator.scale_waits(WAITS)
        while_it_lasts.callback(own_emulator.scale_waits, 1)
        url, found = enter(standing_before(own_emulator.endpoint))
        enter(receiving(api, installation, "mail", knows=("email",)))
        enter(installation.environment("Erase", AWS_ENDPOINT_URL=url))
        enter(traced(installation))
        found.untold = lambda token: fail_task(installation, token)
        before = failures(installation)
        yield found
        for stream in failures(installation).keys() - before.keys():
            # What failed on purpose was looked at here, and is not to look like a fault of others.
            installation.client("logs").delete_log_stream(
                logGroupName=log_of(installation), logStreamName=stream
            )


def log_of(installation: Installation) -> str:
    return f"/aws/lambda/{installation.outputs['EraseFunction']}"


def failures(installation: Installation) -> dict[str, list[str]]:
    """What invocations that raised something have logged, by their streams."""
    pages = installation.client("logs").get_paginator("filter_log_events")
    said = defaultdict(list)
    for page in pages.paginate(logGroupName=log_of(installation)):
        for event in page["events"]:
            said[event["logStreamName"]].append(event["message"])
    raised = re.compile("Traceback")
    return {stream: lines for stream, lines in said.items() if any(map(raised.match, lines))}


@contextmanager
def trying_again(times: int, installation: Installation) -> Iterator[None]:
    """How often the machines do, where they do more often."""
    states = installation.client("stepfunctions")
    arns = [installation.outputs[f"{machine}MachineArn"] for machine in MACHINES]
    before = [states.describe_state_machine(stateMachineArn=arn)["definition"] for arn in arns]
    for arn, definition in zip(arns, before, strict=True):
        changed = MAX_ATTEMPTS.sub(str(times), definition)
        states.update_state_machine(stateMachineArn=arn, definition=changed)
    try:
        yield
    finally:
        for arn, definition in zip(arns, before, strict=True):
            states.update_state_machine(stateMachineArn=arn, definition=definition)


@contextmanager
def traced(installation: Installation) -> Iterator[None]:
    """X-Ray's header tells which invocation of the function a call is of."""
    functions, name = installation.client("lambda"), installation.outputs["EraseFunction"]

    def trace(mode: str) -> None:
        functions.update_function_configuration(FunctionName=name, TracingConfig={"Mode": mode})
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=SOON)

    trace("Active")
    try:
        yield
    finally:
        trace("PassThrough")


def fail_task(installation: Installation, token: str) -> None:
    """As Step Functions does it by itself where the function fails, and MiniStack does not."""
    states = installation.client("stepfunctions")
    states.send_task_failure(taskToken=token, error="Unavailable")


@contextmanager
def denied(installation: Installation, *what: str) -> Iterator[None]:
    """IAM denies this to the function, whatever else its role may."""
    name = installation.outputs["EraseFunction"]
    role = installation.client("lambda").get_function_configuration(FunctionName=name)["Role"]
    statements = []
    for service, actions, place in map(DENIALS.__getitem__, what):
        named = [f"{service}:{action}" for action in actions]
        resource = PLACES[service].format(place.format(**installation.outputs))
        statements.append({"Effect": "Deny", "Action": named, "Resource": resource})
    iam, about = installation.client("iam"), what[0].replace(" ", "-")
    policy = {"RoleName": role.rpartition("/")[2], "PolicyName": f"deny-{about}"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(**policy, PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(**policy)


def came(api: Api, installation: Installation, name: str, *, mail: bool) -> Person:
    """Somebody who bought on two days, and left an address, or a name only."""
    user = f"fault-{name}-{uuid.uuid4().hex[:8]}"
    traits = {"email": f"{user}@example.com"} if mail else {"name": user}
    batch: list[Json] = [{"type": "identify", "messageId": user, "traits": traits}]
    for days in (0, 1):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86_400))
        order = {"order_id": f"{user}-{days}", "total": 9}
        event = {"type": "track", "event": "Order Completed", "properties": order}
        batch.append(event | {"messageId": f"{user}-{days}", "timestamp": at})
    sent = [event | {"userId": user} for event in batch]
    assert api.collect("server", "/batch", {"batch": sent})["success"]
    identifiers = [("user_id", user), *(traits.items() if mail else ())]
    secret = installation.hmac_secret
    return Person(user, identifiers, [idkey(secret, *one) for one in identifiers])


@pytest.fixture(scope="module")
def people(api: Api, installation: Installation, faults: Faults) -> dict[str, Person]:
    names = ("throttled", "unanswered", "stores", "mail", "nameless", "bystander")
    made = {name: came(api, installation, name, mail=name != "nameless") for name in names}
    known = [one.identifiers[-1] for one in made.values()]
    await_true("all are known", lambda: all(profile(api, one) for one in known))
    await_true("all is archived", lambda: idle(installation))
    records = Counter(row["pk"] for row in installation.archived())
    for one in made.values():
        one.archived = sum(records[idkey] for idkey in one.idkeys)
        assert one.archived == 2
    return made


class Play:
    """What is done, by the names of people and runs."""

    def __init__(self, api: Api, installation: Installation, faults: Faults, story: Story) -> None:
        self.api, self.installation, self.faults, self.story = api, installation, faults, story
        faults.before[COMPLETES] = self._look

    def ask(self, name: str, **fails: Kind) -> str:
        """Asks for an erasure of which these tasks are to fail; the request's id."""
        person = self.story.people[name]
        subject = {"type": "user_id", "value": person.user}
        body = {"type": "erasure", "subject": subject, "mode": "erase", "verified_by": "a test"}
        if not person.request:
            self.faults.coming.append(fails)
        person.request = self.api.staff("dpo", "POST", "/privacy/requests", body)["id"]
        await_true("its machine is at work", lambda: person.request in self.faults.kinds)
        return person.request

    def see(self, name: str, what: str = "") -> None:
        """Waits until the person's request goes no further."""
        person = self.story.people[name]
        key = {"pk": {"S": person.request}}
        table = self.installation.outputs["RequestsTable"]

        def status() -> str:  # as the API tells it, which takes an invocation each time
            rows = self.installation.client("dynamodb")
            found = rows.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]["status"]
            return str(found["S"])

        await_true("the erasure ends", lambda: status() not in ("pending", "running"))
        found = self.story.seen[what or name] = shown(self.api, person.request)
        if found["status"] == "completed":
            self.story.too_early.extend(left(self.installation, person.idkeys))

    def begin(self, run: str, **fails: Kind) -> Callable[[], None]:
        """Begins a run of the vacuum of which these tasks are to fail; returns what awaits it."""
        name = f"{run}-{uuid.uuid4().hex}"
        self.faults.kinds[name] = fails
        return partial(self.end, run, begin(self.installation, name))

    def end(self, run: str, execution: str) -> None:
        self.story.runs[run] = ended(self.installation, execution)

    def _look(self, id_: str) -> None:
        """Somebody's request is about to be completed."""
        for person in self.story.people.values():
            if person.request == id_:
                self.story.completing.add(id_)
                self.story.too_early.extend(left(self.installation, person.idkeys))


@pytest.fixture(scope="module")
def story(api: Api, installation: Installation, faults: Faults, people: dict[str, Person]) -> Story:
    told = Story(people, profile(api, people["bystander"].identifiers[0]))
    play = Play(api, installation, faults, told)
    with trying_again(1, installation):
        vacuumed = deny_shredding(play)
        fail_every_task(play, vacuumed)
    with trying_again(0, installation):  # what is denied stays so
        deny_deleting(play)
        deny_signing(play)
        deny_writing(play)
    go_on(play)
    return told


def deny_shredding(play: Play) -> Callable[[], None]:
    with denied(play.installation, "shredding"):
        play.ask("nameless", fail="throttled")
        vacuumed = play.begin("throttled", **ALL["throttled"])
        play.see("nameless", "not planned")
    # Of whom is erased from then on it knows nothing.
    await_true("the run finds her", lambda: play.faults.points() >= {("throttled", "vacuum")})
    return vacuumed


def fail_every_task(play: Play, vacuumed: Callable[[], None]) -> None:
    for kind in KINDS:
        play.ask(kind, **ALL[kind])
    vacuumed()
    vacuumed = play.begin("unanswered", **ALL["unanswered"])
    for kind in KINDS:
        play.see(kind)
    vacuumed()


def deny_deleting(play: Play) -> None:
    with denied(play.installation, "the graph", "the events", "the queues", "beginning"):
        play.ask("stores", verify="unanswered", fail="unanswered")
        play.begin("not begun")()
        play.see("stores", "not deleted")


def deny_signing(play: Play) -> None:
    with denied(play.installation, "signing", "the archive"):
        play.ask("mail")
        play.ask("nameless")
        play.begin("not dropped")()
        play.see("mail", "not told")
        play.see("nameless", "not certified")


def deny_writing(play: Play) -> None:
    """Once it is planned, nothing can be written in the request, nor that it failed."""
    faults, installation = play.faults, play.installation
    with ExitStack() as then:
        deny = denied(installation, "the requests")
        faults.before[PLANNED] = lambda _: then.enter_context(deny)
        id_ = play.ask("mail")
        await_true("it is denied", lambda: faults.points() >= {("denied", "destinations")})
        vacuumed = play.begin("not ended")
        machine = installation.outputs["ErasureMachineArn"]
        play.end("not written", f"{machine.replace(':stateMachine:', ':execution:')}:{id_}-1")
        play.story.seen["not written"] = shown(play.api, id_)
        vacuumed()
        del faults.before[PLANNED]


def go_on(play: Play) -> None:
    """One is asked for again; the sweep finds the others."""
    play.ask("stores")
    for _ in range(2):  # whose failure could not be told is told so first, and then taken up
        play.installation.invoke("Sweep", {})
    for name in ("stores", "mail", "nameless"):
        play.see(name)
    play.begin("last")()


def steps(definition: Any) -> set[str]:
    """What the tasks of a machine tell the function to do."""
    if isinstance(definition, list):
        return set().union(*map(steps, definition))
    if not isinstance(definition, dict):
        return set()
    own = {definition["step"]} if "step" in definition else set()
    return own.union(*map(steps, definition.values()))


def test_every_task_is_throttled_and_not_answered_and_denied(
    story: Story,
    faults: Faults,
    installation: Installation,
    record_property: Callable[[str, object], None],
) -> None:
    states = installation.client("stepfunctions")
    arns = [installation.outputs[f"{machine}MachineArn"] for machine in MACHINES]
    deployed = [states.describe_state_machine(stateMachineArn=arn)["definition"] for arn in arns]
    tasks = set().union(*(steps(json.loads(definition)) for definition in deployed))
    points = faults.points()
    assert points == {(what, task) for what in (*KINDS, "denied") for task in tasks}
    assert len(points) == 36
    record_property("points", len(points))
    sent = {counts[kind] for counts in faults.hits.values() for kind in KINDS if kind in counts}
    assert sent == {SENDS}, "the client had tries left, or it was more than once"
    assert faults.strange == []


def test_nothing_is_completed_before_nothing_is_left(
    story: Story, installation: Installation
) -> None:
    erased = [person for name, person in story.people.items() if name != "bystander"]
    assert story.completing == {person.request for person in erased}
    assert story.too_early == []
    assert left(installation, [idkey for person in erased for idkey in person.idkeys]) == []
    assert left(installation, story.people["bystander"].idkeys)


DENIED: dict[str, tuple[str, dict[str, int | None]]] = {
    "not planned": ("partial", {}),
    "not deleted": ("partial", {"graph": 6, "events": 2, "queues": None}),
    "not told": ("partial", {"destination:mail": 1}),
    "not certified": ("partial", {}),
    "not written": ("running", {"destination:mail": 1}),
}
"""What a request is, and what it says is left."""


@pytest.mark.parametrize("what", DENIED)
def test_a_request_of_which_something_was_denied_says_what_is_left(story: Story, what: str) -> None:
    found = story.seen[what]
    told = {one["store"]: one["left"] for one in found["receipts"] if one["left"] != 0}
    told.pop("archive", None)  # of which nobody claims to know
    assert (found["status"], told) == DENIED[what]
    assert found["certificate"] is None


@pytest.mark.parametrize("name", ["throttled", "unanswered", "stores", "mail", "nameless"])
def test_taken_up_again_or_tried_again_it_completes(
    story: Story, installation: Installation, name: str
) -> None:
    found, person = story.seen[name], story.people[name]
    assert found["status"] == "completed"
    arn = installation.outputs["SigningKeyArn"]
    public_key = installation.client("kms").get_public_key(KeyId=arn)["PublicKey"]
    assert signature.verify(found["certificate"], public_key).good is True
    document = json.loads(found["certificate"]["document"])
    stores = {one["store"]: one for one in document["stores"]}
    assert stores["keys"]["deleted"] == document["identifiers"] == len(person.idkeys)
    assert stores["events"]["deleted"] == 2
    assert not any(stores[store]["left"] for store in ("keys", "graph", "events"))
    (mail,) = document["destinations"]
    assert mail.get("status") == (None if name == "nameless" else "erased")


def test_the_vacuum_drops_whom_it_should_and_tells_it_once(
    story: Story, api: Api, installation: Installation
) -> None:
    for name, run in story.runs.items():
        assert run["status"] == ("FAILED" if name.startswith("not ") else "SUCCEEDED"), name
    archived = Counter(row["pk"] for row in installation.archived())
    for name, person in story.people.items():
        there = sum(archived[idkey] for idkey in person.idkeys)
        assert there == (person.archived if name == "bystander" else 0), name
        if person.request:
            receipts = {one["store"]: one for one in shown(api, person.request)["receipts"]}
            assert receipts["archive"]["deleted"] == person.archived, name


def test_who_is_not_erased_reads_as_before(story: Story, api: Api) -> None:
    assert story.before
    assert profile(api, story.people["bystander"].identifiers[0]) == story.before


def test_nothing_failed_but_what_was_to_fail(story: Story, installation: Installation) -> None:
    found = failures(installation)
    assert len(found) > 36
    for lines in found.values():
        (raised,) = (line for line in lines if line.startswith("candor."))
        assert MEANT.match(raised), raised
