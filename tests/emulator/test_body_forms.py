"""The forms in which SDKs and browsers post JSON. What the body holds decides, not its headers."""

import base64
import gzip
import json
import secrets
from itertools import product
from typing import Any
from urllib.parse import quote

import urllib3

from cli.api import Api
from tests.emulator.conftest import await_true
from tests.emulator.reading import events_of
from tests.emulators import MiniStack

Json = dict[str, Any]
FORM = "application/x-www-form-urlencoded"
MEDIA = (
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "text/plain;charset=UTF-8",
    FORM,
    "application/octet-stream",
    "image/png",
    "nonsense",
    None,
)
PACKED = ("not", "said", "unsaid")
"""Whether a body is gzipped, and whether a header says so."""


def plain(text: bytes) -> bytes:
    return text


def form(text: bytes) -> bytes:
    """As Segment's pixel calls have it: base64 of the JSON in a field of a form."""
    return b"data=" + quote(base64.b64encode(text), safe="").encode()


def post(api: Api, path: str, body: bytes, headers: dict[str, str]) -> Json:
    url = f"{api.stack['api_url']}/v1{path}"
    answer = urllib3.request("POST", url, body=body, headers=headers, retries=False)
    assert answer.status == 200, answer.data
    told: Json = answer.json()
    return told


def test_json_is_taken_in_every_form_that_it_comes_in(
    api: Api, own_emulator: MiniStack | None
) -> None:
    user = f"form-{secrets.token_hex(6)}"
    expected, who = {}, ("user_id", user)
    for n, (media, shape, packed) in enumerate(product(MEDIA, (plain, form), PACKED)):
        if media is None and packed != "not":
            continue  # MiniStack makes text of a body without a type, which AWS does not
        if own_emulator is None and media == FORM:
            continue  # LocalStack reads it as the form that it says, whatever it is
        id_, name = f"{user}-{n}", f"Grüße ☕ {n}"
        event = {"type": "track", "event": "Products Searched", "properties": {"query": name}}
        event |= {"userId": user, "messageId": id_, "writeKey": api.stack["write_keys"]["server"]}
        event |= {"context": {"consent": {"categoryPreferences": {"Analytics": True}}}}
        body = shape(json.dumps(event, ensure_ascii=False).encode())
        headers = {"Content-Type": media} if media else {}
        if packed != "not":
            body = gzip.compress(body)
        if packed == "said":
            headers["Content-Encoding"] = "gzip"
        assert post(api, "/track", body, headers) == {"success": True}, (media, packed)
        expected[id_] = name
    await_true("all are readable", lambda: len(events_of(api, who)) >= len(expected))
    found = {event["messageId"]: event["properties"]["query"] for event in events_of(api, who)}
    assert found == expected
