"""The deployed stack, on moto: the template's own stores, and its functions in this process.

CloudFormation (moto's) makes the stores and resolves every function's variables from the template;
what moto cannot make that way is made by hand. A function sees exactly its own variables. What AWS
does between functions, the `Cloud` does: routes of the API, batches of the queues, the stream, and
the tasks of the state machine.
"""

import base64
import io
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils

from candor import credentials, wiring
from candor.policy import Policy
from candor.stores.clients import client
from cli.policy import compile_policy
from tests import lint_template
from tests.emulators import REGION
from tests.fakes import FakeSweeper
from tests.functions import Function

Json = dict[str, Any]
NAME = "candor"
NATIVE = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket")
DEADLINE_SECONDS = 60
VACUUM = f"arn:aws:states:{REGION}:123456789012:stateMachine:{NAME}-vacuum"
"""It is made after the stack, because it names its bucket."""
TEMPLATE = lint_template.template()
POLICY = json.dumps(compile_policy((lint_template.ROOT / "policy.yaml").read_text()))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Cloud:
    """The stack. `later` moves every function's clock; `said` is all that they log."""

    def __init__(self) -> None:
        self.later, self.said = 0.0, io.StringIO()
        self.template = TEMPLATE
        self.outputs = self._deploy()
        assert self.machine("Vacuum", ArchiveBucket=self.outputs["ArchiveBucket"]) == VACUUM
        self._notify()
        self.functions = {
            name.removesuffix("Function").lower(): self._function(name)
            for name in self._of_type("AWS::Serverless::Function")
        }
        self.routes = [
            (event["Properties"]["Method"].upper(), event["Properties"]["Path"], name)
            for name in self.functions
            for event in self._events(name)
            if event["Type"] == "Api"
        ]
        # moto's Lambda runs nothing, so who wakes the sweep is told of it and no more.
        self.sweeper = FakeSweeper()
        self.functions["privacy"].module.wiring.__dict__["sweeper"] = self.sweeper
        self._streamed = 0
        rows = self.functions["privacy"].module.wiring.rows
        issue = credentials.issue
        self.write_keys = {
            trust: issue(rows, _source(trust), time.time())[1] for trust in ("client", "server")
        }
        self.tokens = {
            role: issue(rows, _token(role), time.time())[1] for role in ("admin", "dpo", "analyst")
        }

    def clock(self) -> float:
        return time.time() + self.later

    # What the template says

    def _of_type(self, *types: str) -> Json:
        resources = self.template["Resources"].items()
        return {name: one for name, one in resources if one["Type"] in types}

    def _events(self, name: str) -> list[Json]:
        properties = self.template["Resources"][f"{name.capitalize()}Function"]["Properties"]
        return list(properties.get("Events", {}).values())

    def _variables(self, name: str) -> Json:
        own = self.template["Resources"][name]["Properties"]["Environment"]["Variables"]
        shared: Json = self.template["Globals"]["Function"]["Environment"]["Variables"]
        return {**shared, **own}

    def _function(self, name: str) -> Function:
        names = enumerate(self._variables(name))
        variables = {variable: self.outputs[f"{name}{n}"] for n, variable in names}
        return Function(name.removesuffix("Function").lower(), variables, self.clock, self.said)

    def _deploy(self) -> dict[str, str]:
        """Outputs of the stack; each function's variables are among them."""
        resources = self._of_type(*NATIVE)
        outputs: Json = {
            f"{name}{n}": {"Value": value}
            for name in self._of_type("AWS::Serverless::Function")
            for n, value in enumerate(self._variables(name).values())
        }
        queues = {f"{name}Url": {"Value": {"Ref": name}} for name in self._of_type(NATIVE[1])}
        queues |= {name: {"Value": {"Ref": name}} for name in self._of_type(NATIVE[2])}
        kept = ("AWSTemplateFormatVersion", "Parameters", "Mappings", "Conditions")
        template = {part: self.template[part] for part in kept}
        body = json.dumps(template | {"Resources": resources, "Outputs": outputs | queues})
        for place, arn in self._by_hand():
            body = body.replace(json.dumps(place), json.dumps(arn))
        cloudformation = boto3.client("cloudformation")
        local = [{"ParameterKey": "Configuration", "ParameterValue": "local"}]
        cloudformation.create_stack(StackName=NAME, TemplateBody=body, Parameters=local)  # type: ignore[arg-type]
        (stack,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def _by_hand(self) -> Iterator[tuple[Json, str]]:
        """What moto's CloudFormation makes not at all, or not where its APIs look for it."""
        for name, resource in self._of_type("AWS::SecretsManager::Secret").items():
            wanted = resource["Properties"]["GenerateSecretString"]
            text = secrets.token_hex(wanted["PasswordLength"] // 2)
            if "GenerateStringKey" in wanted:
                filled = json.loads(wanted["SecretStringTemplate"])
                text = json.dumps(filled | {wanted["GenerateStringKey"]: text})
            made = boto3.client("secretsmanager").create_secret(Name=name, SecretString=text)
            yield {"Fn::GetAtt": [name, "Id"]}, made["ARN"]
        key = self.template["Resources"]["SigningKey"]["Properties"]
        kms = boto3.client("kms")
        made_key = kms.create_key(KeySpec=key["KeySpec"], KeyUsage=key["KeyUsage"])
        yield {"Fn::GetAtt": ["SigningKey", "Arn"]}, made_key["KeyMetadata"]["Arn"]
        yield (
            {"Ref": "ErasureMachine"},
            self.machine("Erasure", SettleSeconds="0", RetellSeconds="1"),
        )
        yield {"Ref": "BulkMachine"}, self.machine("Bulk")
        yield {"Ref": "VacuumMachine"}, VACUUM
        yield {"Ref": "SweepFunction"}, f"{NAME}-sweep"

    def machine(self, name: str, **values: str) -> str:
        """Makes a state machine of the template; returns its ARN."""
        machine = self.template["Resources"][f"{name}Machine"]["Properties"]
        function = "sweep" if name == "Bulk" else "erase"
        arn = f"arn:aws:lambda:{REGION}:123456789012:function:{function}"
        substituted = {f"{function.capitalize()}FunctionArn": arn, **values}
        assert substituted.keys() == machine["DefinitionSubstitutions"].keys()
        text = (lint_template.ROOT / machine["DefinitionUri"]).read_text()
        made = boto3.client("stepfunctions").create_state_machine(
            name=f"{NAME}-{name.lower()}",
            definition=re.sub(r"\$\{(\w+)}", lambda match: substituted[match[1]], text),
            roleArn="arn:aws:iam::123456789012:role/states",
        )
        return str(made["stateMachineArn"])

    def _notify(self) -> None:
        """Of objects, as the template says: moto's CloudFormation leaves it out."""
        for name, bucket in self._of_type("AWS::S3::Bucket").items():
            wanted = bucket["Properties"].get("NotificationConfiguration", {})
            told = [
                {
                    "QueueArn": f"arn:aws:sqs:{REGION}:123456789012:{url.rpartition('/')[2]}",
                    "Events": [one["Event"]],
                    "Filter": {"Key": {"FilterRules": one["Filter"]["S3Key"]["Rules"]}},
                }
                for one in wanted.get("QueueConfigurations", [])
                for url in [self.outputs[f"{one['Queue']['Fn::GetAtt'][0]}Url"]]
            ]
            if told:
                boto3.client("s3").put_bucket_notification_configuration(
                    Bucket=self.outputs[name],
                    NotificationConfiguration={"QueueConfigurations": told},  # type: ignore[typeddict-item]
                )

    # What AWS does between the functions

    def call(
        self, method: str, path: str, body: Any = None, *, key: str = "", **headers: str
    ) -> Answer:
        """A request to the API; `path` may have a query. Its body arrives as base64, as any does
        where `BinaryMediaTypes` is */*."""
        path, _, query = path.partition("?")
        name, resource, parameters = self._routed(method, path)
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        event = {
            "resource": resource,
            "path": path,
            "httpMethod": method,
            "headers": {"Content-Type": "application/json", **headers},
            "queryStringParameters": dict(parse_qsl(query)) or None,
            "pathParameters": {n: quote(v) for n, v in parameters.items()} or None,
            "requestContext": {"resourcePath": resource, "stage": "v1"},
            "body": None if body is None else base64.b64encode(text).decode(),
            "isBase64Encoded": body is not None,
        }
        answer = self.functions[name](event)
        found = answer["body"]
        if answer["headers"]["Content-Type"] == "application/json":
            found = json.loads(found)
        return Answer(answer["statusCode"], answer["headers"], found)

    def _routed(self, method: str, path: str) -> tuple[str, str, dict[str, str]]:
        """Function, resource and path parameters, by the template."""
        for verb, resource, name in self.routes:
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(resource))
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                return name, resource, match.groupdict()
        raise LookupError(f"the template has no {method} {path}")

    def pump(self) -> None:
        """Let everything that waits in queues and the stream arrive."""
        self.drain()
        self.stream()

    def drain(self) -> None:
        """Let everything that waits in queues arrive."""
        while (
            self._queue("DropQueue", "collect")
            or self._queue("EventsQueue", "unify")
            or self._queue("AuditQueue", "audit")
        ):
            pass

    def _queue(self, queue: str, name: str) -> int:
        sqs, url = boto3.client("sqs"), self.outputs[f"{queue}Url"]
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        if messages:
            records = [sqs_record(one["Body"], one["MessageId"]) for one in messages]
            answer = self.functions[name]({"Records": records})
            assert answer == {"batchItemFailures": []}
            for one in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return len(messages)

    def stream(self) -> list[Json]:
        """Hand what was inserted since the last time to the archive function, by its filter."""
        fresh = self.inserted()[self._streamed :]
        self._streamed += len(fresh)
        if fresh:
            self.functions["archive"]({"Records": fresh})
        return fresh

    def inserted(self) -> list[Json]:
        """The INSERT records of the stream, from its beginning."""
        table = boto3.client("dynamodb").describe_table(TableName=f"{NAME}-events")["Table"]
        streams = boto3.client("dynamodbstreams")
        arn = table["LatestStreamArn"]
        shards = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        records: list[Any] = []
        for shard in shards:
            iterator = streams.get_shard_iterator(
                StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            records += streams.get_records(ShardIterator=iterator)["Records"]
        return [record for record in records if record["eventName"] == "INSERT"]

    def settled(self, request: str, run: str = "", machine: str = "") -> str:
        """How the execution for a request ended."""
        machine = machine or self.functions["privacy"].variables["ERASURE_MACHINE_ARN"]
        return self.ended(machine, f"{request}{run}")

    def ended(self, machine: str, name: str) -> str:
        """How an execution ended."""
        execution = machine.replace(":stateMachine:", ":execution:") + f":{name}"
        states = boto3.client("stepfunctions")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            status = states.describe_execution(executionArn=execution)["status"]
            if status != "RUNNING":
                return str(status)
            time.sleep(0.02)
        raise TimeoutError("the execution did not end")

    def invoke(self, **parameters: Any) -> Json:
        """Lambda's Invoke, for the tasks of the state machine."""
        name = parameters["FunctionName"].rpartition(":")[2]
        try:
            answer, failed = self.functions[name](json.loads(parameters["Payload"])), {}
        except Exception as error:  # noqa: BLE001  the runtime tells the caller of any
            answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
            failed = {"FunctionError": "Unhandled"}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode()), **failed}

    def held(self) -> str:
        """Everything in every table, bucket and queue, as text."""
        dynamodb, s3, sqs = boto3.client("dynamodb"), boto3.client("s3"), boto3.client("sqs")
        found: list[Any] = []
        for table in dynamodb.list_tables()["TableNames"]:
            found += dynamodb.scan(TableName=table)["Items"]
        for bucket in s3.list_buckets()["Buckets"]:
            for entry in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                body = s3.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"].read()
                found += [entry["Key"], body]
        for url in sqs.list_queues()["QueueUrls"]:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
            found += answer.get("Messages", [])
        return repr(found)


def sqs_record(body: str, message_id: str = "m", received: int = 1) -> Json:
    sent = {"messageId": message_id, "receiptHandle": "r", "body": body, "eventSource": "aws:sqs"}
    return sent | {"attributes": {"ApproximateReceiveCount": str(received)}}


def _source(trust: str) -> Json:
    return {"kind": "source", "name": trust, "source": "website", "trust": trust}


def _token(role: str) -> Json:
    purposes = ["service", "analytics", "marketing", "privacy_rights"]
    return {"kind": "token", "name": role, "role": role, "purposes": purposes}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    # The built layer has the compiled policy beside the module; the source tree has not.
    monkeypatch.setattr(Policy, "load", lambda: Policy.of(json.loads(POLICY)))
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        made = Cloud()
        monkeypatch.setattr(lambda_eval_utils, "boto_client_for", lambda **_: made)
        monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=lambda _: None))
        yield made
    print(made.said.getvalue())  # pytest shows it where the test failed
    for name in made.functions:
        logging.Logger.manager.loggerDict.pop(name)  # it writes to this test's `said`


Refuse = Callable[[str, str, int, str], None]
"""Service, operation, status and code of the error that AWS is to answer."""


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Makes AWS answer one operation with an error, for clients made from then on."""

    def sabotage(service: str, operation: str, status: int, code: str) -> None:
        def answer(**_: Any) -> Any:
            told = {"Code": code, "Message": "ann-canary@example.com is no good"}
            parsed = {"Error": told, "ResponseMetadata": {"HTTPStatusCode": status}}
            return SimpleNamespace(status_code=status), parsed

        def sabotaged(name: str) -> Any:
            made = client(name)
            if name == service:
                made.meta.events.register(f"before-call.{service}.{operation}", answer)
            return made

        monkeypatch.setattr(wiring, "client", sabotaged)

    return sabotage
