"""The way of a request: collect, the queue, unify; and the stream to the archive. In this process,
with the deployed variables, against the deployed stores."""

import base64
import json
from contextlib import redirect_stdout
from typing import Any

from tests.bench.stack import Stack
from tests.bench.traffic import Json, Kind, Shape, Traffic, queue_event
from tests.functions import CONTEXT, Function, as_json

GRANTED = {"functional": True, "analytics": True, "personalization": True, "marketing": True}


class Way:
    def __init__(self, stack: Stack, **tables: str) -> None:
        """`tables` are variables that name others than the deployed ones."""
        self.stack = stack
        self.collect = stack.function("collect", **tables)
        self.unify = stack.function("unify", **tables)
        self.archive = stack.function("archive")
        self._sqs, self._queue = stack.client("sqs"), stack.outputs["EventsQueueUrl"]
        self._streams = stack.client("dynamodbstreams")

    def invoke(self, function: Function, text: str) -> Any:
        """As the runtime does: JSON in, JSON out."""
        return json.loads(json.dumps(function.module.handler(json.loads(text), CONTEXT)))

    def sent(self, text: str) -> Json:
        """Collect a request. Its answer, which refuses and strips nothing."""
        with redirect_stdout(self.stack.said):
            answer: Json = self.invoke(self.collect, text)
        told = json.loads(answer["body"])
        if answer["statusCode"] != 200 or told.keys() & {"refused", "stripped"}:
            raise ValueError(f"clean traffic was answered {answer}")
        return answer

    def arrived(self, text: str) -> None:
        """Unify what a queue's event holds."""
        with redirect_stdout(self.stack.said):
            answer = self.invoke(self.unify, text)
        if answer != {"batchItemFailures": []}:
            raise ValueError(f"unify failed: {self.stack.said.getvalue()[-2000:]}")

    def whole(self, text: str) -> None:
        self.sent(text)
        self.arrived(queue_event(self.received()))

    def received(self, count: int = 1) -> list[Json]:
        """Messages as Lambda takes them, which are then gone."""
        found: list[Json] = []
        while len(found) < count:
            some = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
            for one in some.get("Messages", []):
                found.append(one)
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=one["ReceiptHandle"])
        return found

    def stream_end(self) -> list[str]:
        """Where the events table's stream ends now."""
        (stream,) = self._streams.list_streams(TableName=self.stack.outputs["EventsTable"])[
            "Streams"
        ]
        described = self._streams.describe_stream(StreamArn=stream["StreamArn"])
        return [
            self._streams.get_shard_iterator(
                StreamArn=stream["StreamArn"], ShardId=one["ShardId"], ShardIteratorType="LATEST"
            )["ShardIterator"]
            for one in described["StreamDescription"]["Shards"]
        ]

    def streamed(self, places: list[str]) -> list[Json]:
        """The insertions since then, as Lambda hands them to the archive."""
        found: list[Json] = []
        for place in places:
            page = self._streams.get_records(ShardIterator=place)
            while page["Records"]:
                found += [one for one in page["Records"] if one["eventName"] == "INSERT"]
                page = self._streams.get_records(ShardIterator=page["NextShardIterator"])
        return [as_json(one) for one in found]

    def archived(self, records: list[Json]) -> None:
        with redirect_stdout(self.stack.said):
            self.invoke(self.archive, json.dumps({"Records": records}))


def body_of(text: str) -> bytes:
    """What the client sent, of a gateway's event."""
    return base64.b64decode(json.loads(text)["body"])


def known_people(way: Way, kind: Kind, count: int) -> Traffic:
    """Traffic for people who were seen today and whose consent is on record."""
    first = traffic_of(way, kind, f"{kind}-known", count, seed=2)
    for _ in range(0, count, 100):
        way.whole(first.request(Shape(100, 100), way.stack.clock(), **first_consent(kind)))
    return traffic_of(way, kind, f"{kind}-known", count)


def traffic_of(way: Way, kind: Kind, name: str, people: int, seed: int = 1) -> Traffic:
    key = way.stack.facts["write_keys"]["server" if kind == "server" else "client"]
    return Traffic(kind, key, [f"{name}-{n:06d}" for n in range(people)], seed)


def first_consent(kind: Kind) -> dict[str, bool]:
    """What a first event says of consent: a browser's banner speaks in each of its events anyway,
    a server says it once."""
    return GRANTED if kind == "server" else {}
