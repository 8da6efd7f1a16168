"""Each function may do what it does, and nothing beside it: tried with the function's own role.

That a role suffices is shown by every other file here, which run with IAM enforced. Here: that it
is not wider. Only MiniStack enforces IAM; it does not evaluate `dynamodb:LeadingKeys`.
"""

import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.emulator.installation import FUNCTIONS, Installation
from tests.emulators import REGION, MiniStack

REFUSED = {"AccessDenied", "AccessDeniedException", "AccessDeniedFault"}
ABSENT = "nobody-has-this-key"
Client = Callable[[str], Any]
Outputs = dict[str, str]
Action = Callable[[Client, Outputs], Any]


def table(name: str, operation: str) -> Action:
    """A call on a row that is not there, which changes nothing."""
    sorted_ = name in {"Graph", "Events", "Audit"}
    key = {"pk": {"S": ABSENT}} | ({"sk": {"S": ABSENT}} if sorted_ else {})
    absent = {"ConditionExpression": "attribute_exists(pk)"}
    condition = {
        "KeyConditionExpression": "pk = :k",
        "ExpressionAttributeValues": {":k": key["pk"]},
    }
    arguments: dict[str, dict[str, Any]] = {
        "get_item": {"Key": key},
        "query": condition,
        "scan": {"Limit": 1},
        "put_item": {"Item": key, **absent},
        "update_item": {
            "Key": key,
            "UpdateExpression": "SET x = :x",
            "ExpressionAttributeValues": {":x": {"S": "x"}},
            **absent,
        },
        "delete_item": {"Key": key, **absent},
    }

    def act(client: Client, outputs: Outputs) -> None:
        try:
            call = getattr(client("dynamodb"), operation)
            call(TableName=outputs[f"{name}Table"], **arguments[operation])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    return act


def secret(name: str) -> Action:
    return lambda client, outputs: client("secretsmanager").get_secret_value(
        SecretId=outputs[f"{name}SecretArn"]
    )


def bucket(name: str, operation: str, absent: str = ABSENT) -> Action:
    more: dict[str, Any] = {"put_object": {"Body": b""}, "list_objects_v2": {"Prefix": ABSENT}}

    def act(client: Client, outputs: Outputs) -> None:
        key = {} if operation == "list_objects_v2" else {"Key": absent}
        arguments = {"Bucket": outputs[f"{name}Bucket"]} | key | more.get(operation, {})
        try:
            getattr(client("s3"), operation)(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise

    return act


def receive(queue: str) -> Action:
    return lambda client, outputs: client("sqs").receive_message(
        QueueUrl=outputs[f"{queue}Url"], VisibilityTimeout=0
    )


def sign(client: Client, outputs: Outputs) -> None:
    client("kms").sign(
        KeyId=outputs["SigningKeyArn"], Message=b"x", SigningAlgorithm="ECDSA_SHA_256"
    )


def lifecycle(client: Client, outputs: Outputs) -> None:
    try:
        client("s3").get_bucket_lifecycle_configuration(Bucket=outputs["ArchiveBucket"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise


def wake(client: Client, outputs: Outputs) -> None:
    client("lambda").invoke(FunctionName=outputs["SweepFunction"], InvocationType="Event")


def public_key(client: Client, outputs: Outputs) -> None:
    client("kms").get_public_key(KeyId=outputs["SigningKeyArn"])


def end_task(operation: str, **more: str) -> Action:
    """Of a task that there is not."""

    def act(client: Client, outputs: Outputs) -> None:
        try:
            getattr(client("stepfunctions"), operation)(taskToken=ABSENT, **more)
        except ClientError as error:
            if error.response["Error"]["Code"] in REFUSED:
                raise

    return act


ALONE: dict[str, tuple[Action, set[str]]] = {
    "reads of identifier keys": (
        table("Keys", "get_item"),
        {"Unify", "Api", "Privacy", "Erase", "Sweep"},
    ),
    "lists identifier keys": (table("Keys", "scan"), {"Sweep"}),
    "deletes a key": (table("Keys", "delete_item"), {"Sweep"}),
    "overwrites a key": (table("Keys", "put_item"), set()),
    "reads the graph": (
        table("Graph", "get_item"),
        {"Unify", "Api", "Privacy", "Erase", "Sweep"},
    ),
    "lists the graph": (table("Graph", "scan"), {"Sweep"}),
    "writes the graph": (table("Graph", "put_item"), {"Unify", "Api", "Privacy"}),
    "reads somebody's events": (table("Events", "query"), {"Api", "Privacy", "Erase", "Sweep"}),
    "writes events": (table("Events", "put_item"), {"Unify"}),
    "deletes events": (table("Events", "delete_item"), {"Erase", "Sweep"}),
    "lists events": (table("Events", "scan"), {"Sweep"}),
    "makes privacy requests": (table("Requests", "put_item"), {"Privacy"}),
    "lists privacy requests": (table("Requests", "scan"), {"Privacy", "Erase", "Sweep"}),
    "deletes privacy requests": (table("Requests", "delete_item"), set()),
    "checks credentials": (
        table("Credentials", "get_item"),
        {"Collect", "Api", "Privacy"},
    ),
    "makes credentials": (table("Credentials", "put_item"), {"Privacy"}),
    "reads the audit log": (table("Audit", "query"), {"Audit"}),
    "writes the audit log": (table("Audit", "put_item"), {"Audit"}),
    "changes the audit log": (table("Audit", "update_item"), set()),
    "deletes of the audit log": (table("Audit", "delete_item"), set()),
    "opens what is sealed": (
        secret("Master"),
        {"Collect", "Unify", "Api", "Privacy", "Erase", "Sweep"},
    ),
    "names identifiers": (secret("Hmac"), {"Unify", "Api", "Privacy", "Sweep"}),
    "reads the archive": (bucket("Archive", "get_object"), {"Erase"}),
    "lists the archive": (bucket("Archive", "list_objects_v2"), {"Erase", "Sweep"}),
    "writes the archive": (bucket("Archive", "put_object"), {"Archive", "Erase"}),
    "deletes of the archive": (bucket("Archive", "delete_object"), {"Erase", "Sweep"}),
    "lets the archive end by age": (lifecycle, {"Sweep"}),
    "wakes the sweep": (wake, {"Privacy"}),
    "writes checkpoints": (bucket("Audit", "put_object"), {"Audit"}),
    "deletes checkpoints": (bucket("Audit", "delete_object"), set()),
    "reads dropped files": (bucket("Drop", "get_object", f"drop/{ABSENT}"), {"Collect"}),
    "deletes dropped files": (bucket("Drop", "delete_object", f"drop/{ABSENT}"), {"Collect"}),
    "drops files": (bucket("Drop", "put_object", f"drop/{ABSENT}"), set()),
    "takes messages of dropped files": (receive("DropQueue"), {"Collect"}),
    "takes queued events": (receive("EventsQueue"), {"Unify"}),
    "takes dead letters": (receive("EventsDlq"), set()),
    "signs": (sign, {"Api", "Erase", "Audit"}),
    "tells the public key": (public_key, {"Api"}),
    "takes a destination's answer": (
        end_task("send_task_success", output="{}"),
        {"Privacy", "Erase"},
    ),
    "gives up on a destination": (end_task("send_task_failure"), {"Erase"}),
}
"""What to try, and the functions that may."""


@pytest.fixture(scope="session")
def as_function(installation: Installation, own_emulator: MiniStack | None) -> dict[str, Client]:
    """Clients with each function's own role."""
    if own_emulator is None:
        pytest.skip("LocalStack without its paid tier enforces no IAM")
    endpoint = own_emulator.endpoint
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})

    def clients(function: str) -> Client:
        name = installation.outputs[f"{function}Function"]
        configuration = installation.client("lambda").get_function_configuration(FunctionName=name)
        keys = installation.client("sts").assume_role(
            RoleArn=configuration["Role"], RoleSessionName=f"test-{int(time.time())}"
        )["Credentials"]
        session = boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], REGION
        )
        made: dict[str, Any] = {}

        def client(service: str) -> Any:
            if service not in made:
                made[service] = session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]
            return made[service]

        return client

    return {function: clients(function) for function in FUNCTIONS}


@pytest.mark.parametrize("what", ALONE)
def test_only_the_functions_named_may(
    as_function: dict[str, Client], installation: Installation, what: str
) -> None:
    act, expected = ALONE[what]
    may = set()
    for function, client in as_function.items():
        try:
            act(client, installation.outputs)
        except ClientError as error:
            if error.response["Error"]["Code"] not in REFUSED:
                raise
        else:
            may.add(function)
    assert may == expected


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_may_change_the_installation(
    as_function: dict[str, Client], installation: Installation, function: str
) -> None:
    client, outputs = as_function[function], installation.outputs
    calls: list[Callable[[], Any]] = [
        lambda: client("iam").list_roles(),
        lambda: client("s3").list_buckets(),
        lambda: client("dynamodb").list_tables(),
        lambda: client("dynamodb").delete_table(TableName=f"{outputs['KeysTable']}-not-there"),
        lambda: client("kms").schedule_key_deletion(KeyId=outputs["SigningKeyArn"]),
        lambda: client("lambda").get_function(FunctionName=outputs["UnifyFunction"]),
        lambda: client("logs").describe_log_groups(),
        lambda: client("cloudformation").describe_stacks(),
    ]
    for call in calls:
        with pytest.raises(ClientError) as refusal:
            call()
        assert refusal.value.response["Error"]["Code"] in REFUSED, refusal.value
