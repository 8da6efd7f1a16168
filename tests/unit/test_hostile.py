"""Hostile input by chance: whatever collection is sent is answered honestly and stops nothing."""

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import hostile
from tests.served import Served
from tests.worlds import Json, broken_rules

TEXTS = st.text(max_size=8) | st.sampled_from(
    ["analytics", "user_id", "null", "\0", "\ud83d", "-1"]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | st.sampled_from(hostile.VALUES)
NAMES = TEXTS | st.sampled_from(
    [*hostile.SHARED, *hostile.SHARED["context"], "userId", "type", "event", "email", "products"]
)
TREES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=4) | st.dictionaries(NAMES, one, max_size=4)
)


@st.composite
def events(draw: st.DrawFn) -> Any:
    """A good event in which some things were replaced by others."""
    event = hostile.SHARED | draw(st.sampled_from(hostile.CALLS))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(list(hostile.paths(event))))
        event = hostile.replaced(event, path, draw(TREES))
    return draw(st.just(event) | TREES) if draw(st.integers(0, 9)) == 0 else event


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A batch of them, or nearly one."""
    batch: Json = {"batch": draw(st.lists(events(), max_size=5))}
    for name in draw(st.lists(NAMES, max_size=2)):
        batch[name] = draw(TREES)
    text = json.dumps(batch, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    if draw(st.booleans()):
        text = gzip.compress(text, mtime=0)
    for _ in range(draw(st.integers(0, 3)) if draw(st.integers(0, 3)) == 0 else 0):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.binary(max_size=4)) + text[place + draw(st.integers(0, 4)) :]
    form: bytes = b"data=" + base64.b64encode(text)
    return form if draw(st.integers(0, 3)) == 0 else text


@given(
    body=bodies() | st.binary(max_size=200),
    path=st.sampled_from(["/batch", "/track", "/i", "/page", "/screen", "/g", "/alias", "/import"]),
    trust=st.sampled_from(["client", "server"]),
    gpc=st.sampled_from(["", "0", "1", "\0"]),
)
def test_whatever_is_sent_is_answered_and_the_next_is_heard(
    body: bytes, path: str, trust: str, gpc: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        served = Served(patch)
        key = served.write_key(trust)

        def send(path: str, body: bytes) -> Json:
            event = {
                "httpMethod": "POST",
                "resource": path,
                "headers": {"Authorization": f"Bearer {key}", "Sec-GPC": gpc},
                "body": base64.b64encode(body).decode(),
                "isBase64Encoded": True,
            }
            answer: Json = served.invoke("collect", event)
            return answer

        answer = send(path, body)
        assert answer["statusCode"] in (200, 400)
        assert hostile.undocumented(answer["statusCode"], json.loads(answer["body"])) == []
        good = {**hostile.EVENT, "userId": "good", "messageId": "good"}
        assert send("/batch", json.dumps({"batch": [good]}).encode())["statusCode"] == 200
        served.unify()  # which sees that no message fails
        served.shop.archive()
        assert "good" in served.shop.event_ids("user_id:good")
        for who in ("user_id:mallory", "anonymous_id:e"):
            if served.shop.node(who):
                json.dumps(served.shop.read_for_all(who))
        assert broken_rules(served.shop) == []
