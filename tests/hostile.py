"""What nobody's SDK sends: bodies that break parsers, and values where others belong."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from cli import openapi

Json = dict[str, Any]
CODES = openapi.codes()
OF_EVENTS = {
    part: openapi.event_codes()[model]
    for part, model in (("refused", "RefusedEvent"), ("stripped", "Stripped"), ("notes", "Note"))
}
EVENT: Json = {"type": "track", "event": "Order Completed", "userId": "mallory"}

# One of each JSON type, and of each that has several kinds.
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**40, 1e308, "", " ", "x", "x" * 10_000, "a\0b", "\ud83d"),
    *([], [1], [[]], [None], {}, {"a": 1}, {"": {"": []}}, [{"id": {}}]),
]
CALLS: list[Json] = [
    {
        "type": "identify",
        "userId": "mallory",
        "traits": {"email": "mallory@example.com", "name": "Mallory"},
    },
    {**EVENT, "properties": {"order_id": "1", "products": [{"name": "x"}]}},
    {"type": "page", "anonymousId": "e", "name": "Home", "category": "x", "properties": {}},
    {"type": "screen", "anonymousId": "e", "name": "Home", "category": "x", "properties": {}},
    {"type": "group", "userId": "mallory", "groupId": "g", "traits": {"name": "x"}},
    {"type": "alias", "userId": "mallory", "previousId": "e"},
]
RECENTLY = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
SHARED: Json = {
    "messageId": "m",
    "timestamp": RECENTLY,
    "originalTimestamp": RECENTLY,
    "sentAt": RECENTLY,
    "anonymousId": "e",
    "integrations": {"All": True},
    "context": {
        "ip": "192.0.2.7",
        "userAgent": "Mozilla/5.0 (X11) Firefox/127.0",
        "identityProof": "1790000000.AAAA",
        "device": {"id": "d", "type": "ios"},
        "traits": {"email": "mallory@example.com"},
        "consent": {"categoryPreferences": {"analytics": True}},
        "externalIds": [{"id": "x", "type": "crm_id", "collection": "users", "encoding": "none"}],
        "page": {"url": "https://example.com/"},
    },
}


def misfits() -> Iterator[Json]:
    """Each call with each of its fields, however deep, replaced by each value."""
    for call in CALLS:
        whole = SHARED | call
        for path in paths(whole):
            for value in VALUES:
                yield replaced(whole, path, value)


def paths(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield (*path, name)
            yield from paths(value, (*path, name))


def replaced(tree: Json, path: tuple[str, ...], value: Any) -> Json:
    name, *rest = path
    return {**tree, name: replaced(tree[name], tuple(rest), value) if rest else value}


def bodies() -> Iterator[tuple[str, bytes, set[int]]]:
    """Names, bodies for /batch, and the statuses that are right."""
    whole = _batch(EVENT)
    for name, body in (*_not_json(whole), *_odd_gzip(whole)):
        yield name, body, {400}
    for name, event in _odd_events():
        yield name, _batch(event), {200}
    for name, text in _odd_texts():
        yield name, b'{"batch":[' + text + b"]}", {200}
    half = whole.replace(b"mallory", b"m\\ud83d").decode()
    yield "UTF-16 with half a pair", half.encode("utf-16"), {400}
    yield "UTF-16", whole.decode().encode("utf-16"), {400}
    yield "a byte order mark", b"\xef\xbb\xbf" + whole, {200}
    yield "gzip of two members", gzip.compress(whole[:30]) + gzip.compress(whole[30:]), {200}
    yield "gzip with an empty member", gzip.compress(whole) + gzip.compress(b""), {200}
    yield "too many events", json.dumps({"batch": [EVENT] * 2501}).encode(), {400}
    yield "as many nulls as events", json.dumps({"batch": [None] * 2500}).encode(), {200}
    yield "no events", b'{"batch":[]}', {200}
    yield "a batch in a batch", json.dumps({"batch": [{"batch": [EVENT]}]}).encode(), {200}
    swelling = {"batch": [EVENT] * 400, "context": {f"c{n}": "x" * 60 for n in range(300)}}
    yield "a shared context that swells", json.dumps(swelling).encode(), {200}
    for name, value in product(("context", "integrations", "sentAt", "writeKey"), VALUES):
        odd = json.dumps({"batch": [EVENT], name: value}).encode()
        yield f"a batch's {name} {value!r:.20}", odd, {200}
    for value in VALUES:
        if not isinstance(value, list):
            yield f"the batch {value!r:.20}", json.dumps({"batch": value}).encode(), {400}


def _batch(event: Json) -> bytes:
    return json.dumps({"batch": [event]}).encode()


def _with_property(whole: bytes, text: bytes) -> bytes:
    return whole[:-3] + b',"properties":{' + text + b"}}]}"


def _not_json(whole: bytes) -> Iterator[tuple[str, bytes]]:
    for text in ("", "  \n ", "\0\0", "[]", "null", "true", "1", '"x"', "{", "{}}", "'{}'"):
        yield f"the text {text!r}", text.encode()
    yield "cut", whole[:-3]
    yield "10,000 levels of lists", b'{"batch":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    yield "10,000 levels of objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000
    deep = b'"products":' + b"[" * 10_000 + b"]" * 10_000
    yield "10,000 levels in a property", _with_property(whole, deep)
    yield "lists that are never closed", b"[" * 400_000
    yield "a million keys", b"{" + b",".join(b'"%d":0' % n for n in range(10**6)) + b"}"
    yield "over the limit", b'{"batch":[' + b" " * 500_000 + b"]}"
    yield "invalid UTF-8", whole.replace(b"mallory", b"\xff\xfe")
    yield "overlong UTF-8", whole.replace(b"mallory", b"\xc0\xaf")
    yield "cut UTF-8", whole.replace(b"mallory", b"m\xcc")
    yield "half a pair as bytes", whole.replace(b"mallory", b"m\xed\xa0\x80")
    numbers = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "0x10", "01", "1.", "9" * 100_000)
    for number in numbers:
        yield f"the number {number[:9]}", _with_property(whole, f'"total":{number}'.encode())
    yield "a comment", whole + b"/* */"
    yield "a raw control character", whole.replace(b"mallory", b"m\x01")
    yield "form data of no kind", b"data=%%%%"
    yield "form data of other bytes", b"data=" + b"//8=" * 9


def _odd_gzip(whole: bytes) -> Iterator[tuple[str, bytes]]:
    zipped = gzip.compress(whole)
    yield "gzip's magic alone", zipped[:2]
    yield "gzip cut in its header", zipped[:7]
    yield "gzip cut in its data", zipped[:-12]
    yield "gzip cut in its checksum", zipped[:-1]
    yield "gzip with a wrong checksum", zipped[:-8] + b"\0\0\0\0" + zipped[-4:]
    yield "gzip of a reserved method", zipped[:2] + b"\x09" + zipped[3:]
    yield "gzip in gzip", gzip.compress(zipped)
    yield "gzip with other bytes behind it", zipped + b"{}"
    yield "gzip with another body behind it", zipped * 2
    yield "gzip with half another body behind it", zipped + zipped[:-4]
    yield "a gzip bomb", gzip.compress(b"[" * 100_000_000, 1)
    yield "a gzip bomb of many members", gzip.compress(b" " * 100_000) * 5_000
    yield "a gzip bomb of empty members", gzip.compress(b"") * 100_000


def _odd_events() -> Iterator[tuple[str, Json]]:
    ids = ("x" * 10_240, " " * 40, "\0", "a\0b", "\u2028", "null", "é" * 300, -1, 0, 10**30)
    for name, id_ in product(("userId", "anonymousId"), ids):
        yield f"the {name} {id_!r:.20}", {**EVENT, name: id_}
    for stamp in (
        *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z"),
        *("2026-01-01T00:00:00+99:99", "20260101", "2026-W01-1", "yesterday", "1" * 64, "-1"),
        *("٢٠٢٦-٠١-٠١", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00.123456789Z"),
    ):
        yield f"the timestamp {stamp:.30}", {**EVENT, "timestamp": stamp}
        happened = {"timestamp": RECENTLY}
        yield f"the sentAt {stamp:.30}", {**EVENT, **happened, "sentAt": stamp}
    mapped = "::ffff:192.0.2.1"
    for address in ("999.1.1.1", "::", "1.2.3.4.5", "fe80::1%eth0", mapped, "x" * 5_000):
        yield f"the ip {address:.20}", {**EVENT, "context": {"ip": address}}
    for agent in ("", "\0", "(" * 5_000, "Mozilla/" + "9" * 5_000, "a/b " * 2_000):
        yield f"the user agent {agent!r:.20}", {**EVENT, "context": {"userAgent": agent}}
    for proof in ("", ".", "a.b.c", "9" * 400 + ".x", "1790000000.", "-1.AAAA", "٣.AAAA", "\0.\0"):
        yield f"the proof {proof!r:.20}", {**EVENT, "context": {"identityProof": proof}}
    mails = {f"mallory.number{n}@example.com": 1 for n in range(300)}
    yield "stripped names that are people's", {**EVENT, "properties": mails}
    yield "stripped names of 10 KB", {**EVENT, "properties": {"n" * 10_000: 1, "\0" * 5_000: 1}}
    yield "many stripped names", {**EVENT, "properties": {f"k{n}": 1 for n in range(2500)}}
    odd_names = {
        "__proto__": {},
        "constructor": 1,
        "": 2,
        "pk": "x",
        "a\tb": 1,
        "\ud83d": 1,
        "$": 1,
    }
    yield "odd stripped names", {**EVENT, **odd_names, "properties": odd_names}
    yield "fields of our messages", {**EVENT, "apart": True, "trust": "server", "ids": [], "day": 1}
    yield "a deep property", {**EVENT, "properties": {"products": _nested(60)}}
    yield "too deep a property", {**EVENT, "properties": {"products": _nested(600)}}
    categories = {"\0": True, "İ": True, "analytics": "yes", "": [], "x" * 9_000: True}
    odd = {"consent": {"categoryPreferences": categories}}
    yield "odd categories", {**EVENT, "context": odd}


def _odd_texts() -> Iterator[tuple[str, bytes]]:
    event = json.dumps(EVENT).encode()
    nines = b"9" * 4_000
    yield "the same key twice", event[:-1] + b',"userId":"other","userId":"mallory"}'
    yield "half a pair", event.replace(b"mallory", b"m\\ud83d")
    yield "a pair turned round", event.replace(b"mallory", b"m\\udc00\\ud83d")
    yield "a number of 4,000 digits", event[:-1] + b',"properties":{"total":%b}}' % nines
    yield "an id of 4,000 digits", event[:-1] + b',"anonymousId":%b}' % nines
    yield "minus nothing", event[:-1] + b',"properties":{"total":-0.0}}'
    yield "a tiny number", event[:-1] + b',"properties":{"total":1e-400}}'


def _nested(levels: int) -> Any:
    tree: Any = []
    for _ in range(levels):
        tree = [tree]
    return tree


def undocumented(status: int, body: Any) -> list[str]:
    """What an answer says that openapi.json does not; [] where all is well."""
    if status != 200:
        code = body.get("code")
        return [] if code in CODES.get(status, ()) and body.get("message") else [f"{status} {code}"]
    if body.get("success") is not True:
        return ["no success"]
    told = {part: body.get(part, []) for part in OF_EVENTS}
    return [
        f"{part} {one['code']}"
        for part, list_ in told.items()
        for one in list_
        if one["code"] not in OF_EVENTS[part]
    ]
