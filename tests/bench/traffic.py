"""The traffic that is measured: a shop's visitors, as Segment's own libraries send them.

`visit.json` holds the events and their surroundings. Here each becomes one of its own: ids, times,
products and prices differ, so that nothing compresses better than it would in life.
"""

import base64
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]
Kind = Literal["server", "browser", "signed in"]
"""Who sends: a server for a person that it knows; a browser of somebody unknown, whose banner
speaks in each event; the same browser once its person has signed in, which names both."""
KINDS: tuple[Kind, ...] = ("server", "browser", "signed in")
VISIT: Json = json.loads(Path(__file__).with_name("visit.json").read_text())
ORDERS = 100
"""One event in so many is an order, which is kept longer and so lies in a bundle of its own."""
BRANDS = ("Nordvik", "Almhof", "Tresmar", "Lumen", "Fjordline", "Kestrel", "Ostara", "Bergwerk")
THINGS = (
    "Jacket",
    "Boots",
    "Tent",
    "Backpack",
    "Headlamp",
    "Gloves",
    "Bottle",
    "Trousers",
    "Stove",
)
VARIANTS = ("black", "moss green", "navy", "red", "sand", "grey", "S", "M", "L", "XL", "42", "44")


class Shape(NamedTuple):
    """How a request is filled."""

    events: int
    people: int

    def __str__(self) -> str:
        return f"{self.events}/{self.people}"


class Case(NamedTuple):
    """What is measured: requests of a shape from one kind of source, of whose messages unify gets
    so many at once."""

    shape: Shape
    kind: Kind
    messages: int = 1


SHAPES = (Shape(100, 1), Shape(100, 100), Shape(20, 1), Shape(1, 1))


class Traffic:
    """Requests of one source, each for people who come round in turn. `key` is its write key."""

    def __init__(self, kind: Kind, key: str, people: list[str], seed: int = 1) -> None:
        self.kind, self._key, self._people = kind, key, people
        self._random = Random(seed)  # noqa: S311
        self._turn = self._sent = 0

    def request(self, shape: Shape, at: float, **consent: bool) -> str:
        """The event that Lambda gets for `POST /v1/batch`, as text; `at` in epoch seconds."""
        people = list(self._next(shape.people))
        events = [
            self._event(people[n % shape.people], at - 0.05 * (shape.events - n), consent)
            for n in range(shape.events)
        ]
        return gateway_event(self.body(events, at), self._key)

    def body(self, events: list[Json], at: float) -> bytes:
        sent = {"batch": events, "sentAt": _iso(at)}
        return json.dumps(sent, separators=(",", ":")).encode()

    def _next(self, count: int) -> Iterator[str]:
        for _ in range(count):
            yield self._people[self._turn % len(self._people)]
            self._turn += 1

    def _event(self, person: str, at: float, consent: dict[str, bool]) -> Json:
        self._sent += 1
        order = self._sent % ORDERS == 0
        kinds: list[Json] = VISIT["events"]
        kind = VISIT["order"] if order else kinds[self._sent % len(kinds)]
        properties = dict(kind["properties"])
        if "product" in kind:
            product = self._product()
            properties |= {name: product[name] for name in kind["product"]}
        if "products" in kind:
            properties["products"] = [self._line() for _ in range(kind["products"])]
        for name in properties.keys() & {"cart_id", "order_id"}:
            properties[name] = self._random.randbytes(6).hex()
        around = VISIT["server" if self.kind == "server" else "browser"]
        event = {**around, "event": kind["event"], "properties": properties}
        if consent:
            event["context"] = event["context"] | {"consent": {"categoryPreferences": consent}}
        names = {
            "server": {"userId": person},
            "browser": {"anonymousId": f"device-of-{person}"},
            "signed in": {"userId": person, "anonymousId": f"device-of-{person}"},
        }
        id_ = str(uuid.UUID(bytes=self._random.randbytes(16), version=4))
        return event | names[self.kind] | {"messageId": id_, "timestamp": _iso(at)}

    def _product(self) -> Json:
        chance = self._random
        brand, thing = chance.choice(BRANDS), chance.choice(THINGS)
        number = chance.randrange(100_000, 999_999)
        variant = chance.choice(VARIANTS)
        return {
            "product_id": str(number),
            "sku": f"{brand[:3].upper()}-{number}-{variant[:2].upper()}",
            "category": f"Outdoor/{thing}s",
            "name": f"{brand} {thing} {chance.randrange(100, 999)}",
            "brand": brand,
            "variant": variant,
            "price": chance.randrange(995, 39_995) / 100,
            "url": f"https://shop.example.com/p/{brand.lower()}-{thing.lower()}-{number}",
        }

    def _line(self) -> Json:
        product = self._product()
        return {n: product[n] for n in ("product_id", "sku", "name", "price")} | {"quantity": 1}


def gateway_event(body: bytes, key: str) -> str:
    """What API Gateway hands to Lambda (proxy integration of a REST API, any type binary)."""
    headers = {
        "Accept-Encoding": "gzip, deflate",
        "Authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}",
        "Content-Type": "application/json",
        "Host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
        "User-Agent": "analytics-python/2.3.4",
        "X-Amzn-Trace-Id": "Root=1-66f0c5d2-0123456789abcdef01234567",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    context = {
        "accountId": "123456789012",
        "apiId": "abcdefghij",
        "httpMethod": "POST",
        "identity": {"sourceIp": "203.0.113.7", "userAgent": "analytics-python/2.3.4"},
        "path": "/v1/batch",
        "protocol": "HTTP/1.1",
        "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        "resourceId": "123456",
        "resourcePath": "/batch",
        "stage": "v1",
    }
    return json.dumps(
        {
            "resource": "/batch",
            "path": "/batch",
            "httpMethod": "POST",
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": context,
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
    )


def queue_event(messages: list[Json]) -> str:
    """What Lambda hands to a function for messages that it received from a queue."""
    records = [
        {
            "messageId": one["MessageId"],
            "receiptHandle": one["ReceiptHandle"],
            "body": one["Body"],
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1760000000000",
                "SenderId": "AROAEXAMPLE:candor-collect",
                "ApproximateFirstReceiveTimestamp": "1760000000001",
            },
            "messageAttributes": {},
            "md5OfBody": one["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:candor-events",
            "awsRegion": "us-east-1",
        }
        for one in messages
    ]
    return json.dumps({"Records": records})


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
