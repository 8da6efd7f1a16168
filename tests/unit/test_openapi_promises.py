"""Whatever is sent, the answer is one that openapi.json promises. Requests are drawn from it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor.credentials import MAY
from cli import docs, openapi
from tests.described import Caller
from tests.served import Served

Json = dict[str, Any]
DOCUMENT: Json = json.loads(openapi.OUT.read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
CALLS = [f"{verb.upper()} {path}" for path, verbs in DOCUMENT["paths"].items() for verb in verbs]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
TIMES = st.datetimes().map(lambda time: f"{time.isoformat()}Z")
INSIDE = st.sampled_from(["user_id:42", "email:ann@example.com", "0" * 32]) | st.text(min_size=1)


def fitting(schema: Json) -> st.SearchStrategy[Any]:
    """Values that a schema allows."""
    if "$ref" in schema:
        return st.deferred(lambda: fitting(SCHEMAS[schema["$ref"].rpartition("/")[2]]))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    some = schema.get("anyOf") or schema.get("oneOf")
    if some:
        return st.one_of(*(fitting(one) for one in some))
    least, most = schema.get("minLength", 0), schema.get("maxLength", 40)
    kinds: dict[str, Any] = {
        "null": st.none,
        "boolean": st.booleans,
        "integer": lambda: st.integers(schema.get("minimum"), schema.get("maximum")),
        "string": lambda: TIMES if "format" in schema else st.text(min_size=least, max_size=most),
        "array": lambda: st.lists(fitting(schema["items"]), max_size=3),
        "object": lambda: _object(schema),
    }
    made: st.SearchStrategy[Any] = kinds[schema["type"]]()
    return made


def _object(schema: Json) -> st.SearchStrategy[Json]:
    fields = {name: fitting(one) for name, one in schema.get("properties", {}).items()}
    inner = schema.get("additionalProperties")
    if not fields:
        values = fitting(inner) if isinstance(inner, dict) else ANYTHING
        least = schema.get("minProperties", 0)
        return st.dictionaries(st.text(max_size=8), values, min_size=least, max_size=4)
    required = {name: fields.pop(name) for name in schema.get("required", [])}
    return st.fixed_dictionaries(required, optional=fields)


@pytest.fixture(scope="module")
def call() -> Iterator[Caller]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Caller(Served(monkeypatch), DOCUMENT)


@pytest.fixture(scope="module")
def keys(call: Caller) -> dict[str, str]:
    """Of each role and trust; and what is no key."""
    served = call.served
    sources = {trust: served.write_key(trust) for trust in ("client", "server")}
    return {"": "", "nobody": "wk_none"} | sources | {role: served.token(role) for role in MAY}


@pytest.mark.parametrize("name", CALLS)
@given(data=st.data())
def test_every_answer_is_promised(
    call: Caller, keys: dict[str, str], name: str, data: st.DataObject
) -> None:
    method, _, path = name.partition(" ")
    operation = DOCUMENT["paths"][path][method.lower()]
    who = data.draw(st.sampled_from(sorted(keys)), "who")
    drawn: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for one in docs.given(DOCUMENT, operation):
        values = INSIDE if one["in"] == "path" else fitting(one["schema"]) | st.text()
        if one["in"] == "path" or data.draw(st.booleans()):
            drawn[one["in"]][one["name"]] = str(data.draw(values, one["name"]))
    if who:
        drawn["header"]["Authorization"] = f"Bearer {keys[who]}"
    body = None
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        body = data.draw(fitting(content["schema"]) | ANYTHING, "body")
    inside, query, headers = drawn.values()
    status, _ = call.answer(method, path, inside, query=query, headers=headers, body=body)
    assert status < 500
    if status < 300:
        assert who in may(operation)


def may(operation: Json) -> set[str]:
    """Who may succeed with a call."""
    ways = {name for way in operation["security"] for name in way}
    if not ways:
        return {"", "nobody", "client", "server", *MAY}
    roles = operation.get("description", "").partition(": ")[2].rstrip(".").split(", ")
    return {"client", "server"} | {*roles} if "writeKey" in ways else {*roles}
