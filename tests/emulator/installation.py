"""A deployed stack as somebody sees it who may look everywhere: the operator, or who broke in."""

import base64
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.emulators import Clients

TABLES = ("Keys", "Graph", "Events", "Requests", "Audit", "Credentials")
QUEUES = (
    "EventsQueue",
    "EventsDlq",
    "AuditQueue",
    "AuditDlq",
    "ArchiveDlq",
    "DropQueue",
    "DropDlq",
)
BUCKETS = ("ArchiveBucket", "AuditBucket", "DropBucket")
FUNCTIONS = ("Collect", "Unify", "Api", "Privacy", "Erase", "Archive", "Audit", "Sweep")
SWITCH_SECONDS = 60
SOON = {"Delay": 0.1, "MaxAttempts": 10 * SWITCH_SECONDS}
DEPTHS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]
Row = dict[str, Any]


class Envelope(NamedTuple):
    """A sealed value, wherever it lay, and the place that it is bound to."""

    where: str
    owner: str
    """The idkey whose key it should be sealed under, or another row of the keys table."""
    place: str
    data: bytes


class Installation:
    def __init__(self, stack: dict[str, Any], clients: Clients) -> None:
        self.stack = stack
        self.outputs: dict[str, str] = stack["outputs"]
        self.client = cache(clients)
        self._bodies: dict[tuple[str, ...], bytes] = {}

    # What there is to find, as pairs of where and what.

    def everything(self) -> Iterator[tuple[str, bytes]]:
        yield from self.items()
        yield from self.stream()
        yield from self.objects()
        yield from self.messages()
        yield from self.logs()
        yield from self.executions()
        yield from self.metrics_and_alarms()

    def rows(self, table: str) -> Iterator[Row]:
        pages = self.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=self.outputs[f"{table}Table"], ConsistentRead=True):
            for item in page["Items"]:
                yield {name: _plain(value) for name, value in item.items()}

    def partition(self, table: str, pk: str) -> Iterator[Row]:
        pages = (
            self.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.outputs[f"{table}Table"],
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
                ConsistentRead=True,
            )
        )
        for page in pages:
            for item in page["Items"]:
                yield {name: _plain(value) for name, value in item.items()}

    def items(self) -> Iterator[tuple[str, bytes]]:
        for table in TABLES:
            for row in self.rows(table):
                yield from _leaves(f"table {table} {row['pk']}", row)

    def stream(self) -> Iterator[tuple[str, bytes]]:
        """What the events table's stream still holds."""
        for record in self.streamed():
            yield from _leaves("stream", record)

    def streamed(self) -> Iterator[Row]:
        streams = self.client("dynamodbstreams")
        for stream in streams.list_streams(TableName=self.outputs["EventsTable"])["Streams"]:
            arn = stream["StreamArn"]
            for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
                place = streams.get_shard_iterator(
                    StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
                while place:
                    page = streams.get_records(ShardIterator=place)
                    for record in page["Records"]:
                        told = record["dynamodb"]
                        for image in (told[n] for n in ("NewImage", "OldImage") if n in told):
                            row = {name: _plain(value) for name, value in image.items()}
                            if row.get("data", b"\1")[:1] != b"\1":  # moto encodes bytes twice
                                row["data"] = base64.b64decode(row["data"])
                            yield row
                    place = page.get("NextShardIterator") if page["Records"] else None

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """Every version of every object, and its name."""
        s3 = self.client("s3")
        for bucket in BUCKETS:
            name = self.outputs[bucket]
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
                for one in page.get("Versions", []):
                    same = (name, one["Key"], one["VersionId"], one["ETag"])
                    if same not in self._bodies:
                        version = {"VersionId": one["VersionId"]}
                        known = version if one["VersionId"] != "null" else {}
                        answer = s3.get_object(Bucket=name, Key=one["Key"], **known)
                        self._bodies[same] = answer["Body"].read()
                    yield f"object {bucket}", one["Key"].encode()
                    yield f"object {bucket} {one['Key']}", self._bodies[same]

    def archived(self) -> Iterator[Row]:
        """The records of the archive, but for copies of who is held."""
        for where, body in self.objects():
            if " events/" in where:
                for line in gzip.decompress(body).splitlines():
                    row = json.loads(line)
                    yield row | {"data": base64.b64decode(row["data"])}

    def messages(self) -> Iterator[tuple[str, bytes]]:
        for queue in QUEUES:
            for body in self.peek(queue):
                yield f"queue {queue}", body.encode()

    def logs(self) -> Iterator[tuple[str, bytes]]:
        logs = self.client("logs")
        prefix = self.outputs["CollectFunction"].removesuffix("-collect")
        for page in logs.get_paginator("describe_log_groups").paginate():
            for group in page["logGroups"]:
                if f"/{prefix}" not in group["logGroupName"]:
                    continue
                yield "log group", group["logGroupName"].encode()
                for line in self.log(group["logGroupName"]):
                    yield f"log {group['logGroupName']}", line.encode()

    def log(self, group: str) -> Iterator[str]:
        pages = self.client("logs").get_paginator("filter_log_events")
        for page in pages.paginate(logGroupName=group):
            for event in page["events"]:
                yield event["message"]
                yield event["logStreamName"]

    def executions(self) -> Iterator[tuple[str, bytes]]:
        states = self.client("stepfunctions")
        listing, history = map(states.get_paginator, ("list_executions", "get_execution_history"))
        for machine in ("Erasure", "Vacuum"):
            for page in listing.paginate(stateMachineArn=self.outputs[f"{machine}MachineArn"]):
                for execution in page["executions"]:
                    arn = execution["executionArn"]
                    yield "execution", _text(states.describe_execution(executionArn=arn))
                    for part in history.paginate(executionArn=arn):
                        yield "execution history", _text(part["events"])

    def metrics_and_alarms(self) -> Iterator[tuple[str, bytes]]:
        watch = self.client("cloudwatch")
        for page in watch.get_paginator("list_metrics").paginate():
            yield "metric", _text(page["Metrics"])
        for page in watch.get_paginator("describe_alarms").paginate():
            yield "alarm", _text(page["MetricAlarms"])

    # Queues and functions.

    def switch(self, queue: str, *, on: bool) -> None:
        """Lets the function that reads a queue do so, or not."""
        functions = self.client("lambda")
        name = self.outputs[f"{queue}Url"].rpartition("/")[2]
        (mapping,) = (
            each
            for page in functions.get_paginator("list_event_source_mappings").paginate()
            for each in page["EventSourceMappings"]
            if each["EventSourceArn"].endswith(f":{name}")
        )
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)
        wanted = "Enabled" if on else "Disabled"
        deadline = time.monotonic() + SWITCH_SECONDS
        while functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] != wanted:
            assert time.monotonic() < deadline, f"the mapping of {queue} is never {wanted}"
            time.sleep(0.1)

    @contextmanager
    def environment(self, function: str, **variables: str) -> Iterator[None]:
        """While it lasts a function has these variables, too."""
        name = self.outputs[f"{function}Function"]
        functions = self.client("lambda")
        before = functions.get_function_configuration(FunctionName=name)["Environment"]
        changed = {"Variables": before["Variables"] | variables}

        def set_to(environment: Row) -> None:
            functions.update_function_configuration(FunctionName=name, Environment=environment)
            functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=SOON)

        set_to(changed)
        try:
            yield
        finally:
            set_to(before)

    def depth(self, queue: str) -> int:
        attributes = self.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs[f"{queue}Url"], AttributeNames=DEPTHS
        )["Attributes"]
        return sum(int(attributes[name]) for name in DEPTHS)

    def peek(self, queue: str) -> list[str]:
        """The bodies of the messages that wait, which wait on as before."""
        sqs, url = self.client("sqs"), self.outputs[f"{queue}Url"]
        found: dict[str, Row] = {}
        try:
            while taken := sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=120
            ).get("Messages"):
                found |= {one["MessageId"]: one for one in taken}
        finally:
            for one in found.values():
                handle = one["ReceiptHandle"]
                sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0
                )
        return [one["Body"] for one in found.values()]

    def invoke(self, function: str, payload: Row) -> Any:
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs[f"{function}Function"], Payload=json.dumps(payload).encode()
        )
        body = answer["Payload"].read()
        assert "FunctionError" not in answer, body
        return json.loads(body)

    # What is sealed, and what opens it.

    def envelopes(self) -> Iterator[Envelope]:
        """Everything sealed in tables, stream and archive. (A queue's bodies come by `peek`.)"""
        for row in self.rows("Graph"):
            owner = row["pk"].partition("#")[2]
            if "data" in row:
                yield Envelope("graph", owner, row["pk"], row["data"])
            if "evidence" in row:
                yield Envelope("graph", owner, f"{row['pk']}/{row['sk']}", row["evidence"])
        for where, rows in (
            ("events", self.rows("Events")),
            ("stream", self.streamed()),
            ("archive", self.archived()),
        ):
            for row in rows:
                if row:
                    place = f"events/{row['pk']}/{row['sk']}"
                    yield Envelope(where, row["pk"], place, row["data"])
        yield from self.sealed_in_requests()

    def sealed_in_requests(self) -> Iterator[Envelope]:
        for row in self.rows("Requests"):
            if "verified_by" in row:
                place = f"requests/{row['pk']}"
                yield Envelope("requests", row["subject"], place, row["verified_by"])

    def salts(self) -> dict[str, bytes]:
        """Every salt that there is: of identifiers, of hours in transit, of open requests."""
        rows = [*self.rows("Keys"), *self.rows("Requests")]
        return {row["pk"]: row["salt"] for row in rows if "salt" in row}

    @cached_property
    def hmac_secret(self) -> str:
        return self._secret("HmacSecretArn")

    @cached_property
    def masters(self) -> dict[int, bytes]:
        found = json.loads(self._secret("MasterSecretArn"))
        return {int(version): text.encode() for version, text in found.items()}

    def _secret(self, output: str) -> str:
        secrets = self.client("secretsmanager")
        text: str = secrets.get_secret_value(SecretId=self.outputs[output])["SecretString"]
        return text


def keys_of(masters: dict[int, bytes], salts: dict[str, bytes]) -> dict[tuple[str, int], AESGCM]:
    """The cipher of every salt and master, by RFC 5869 as cryptography has it, not as we do."""
    return {
        (owner, version): AESGCM(HKDF(SHA256(), 32, salt, b"candor/seal/1").derive(master))
        for owner, salt in salts.items()
        for version, master in masters.items()
    }


def opens(cipher: AESGCM, envelope: Envelope) -> bool:
    """Whether a cipher opens it. An envelope: header of 10 bytes, nonce of 12, ciphertext."""
    header, nonce, sealed = envelope.data[:10], envelope.data[10:22], envelope.data[22:]
    try:
        cipher.decrypt(nonce, sealed, header + envelope.place.encode())
    except InvalidTag:
        return False
    return True


def _plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "M":
        return {name: _plain(inner) for name, inner in content.items()}
    if kind == "L":
        return [_plain(inner) for inner in content]
    return int(content) if kind == "N" else None if kind == "NULL" else content


def _leaves(where: str, value: Any) -> Iterator[tuple[str, bytes]]:
    """Names and values of a tree. Bytes stay what they are."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield where, str(name).encode()
            yield from _leaves(f"{where} {name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(where, inner)
    else:
        yield where, value if isinstance(value, bytes) else str(value).encode()


def _text(thing: Any) -> bytes:
    return json.dumps(thing, default=str).encode()
