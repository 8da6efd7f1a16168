"""Requests and answers: every failure has its status, and no answer repeats what was sent."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from candor import bodies
from candor.errors import Busy, Clash, Forbidden, NotFound, Refused, Unauthenticated
from candor.ports import Conflict, Unavailable
from candor.sealing import Damaged
from candor.web import Answer, Request, preflight, serve
from tests.worlds import NOW, SHIPPED, WEB, Json, Shop

SECRET = "ann@example.com"  # what somebody sent, and no answer may repeat
MODELS: list[type[BaseModel]] = [
    bodies.Choice,
    bodies.Credential,
    bodies.PrivacyRequest,
    bodies.Query,
]


def event(**fields: Any) -> Json:
    """As API Gateway's Lambda proxy integration sends it, nulls and all."""
    nothing: Json = dict.fromkeys(["headers", "queryStringParameters", "pathParameters", "body"])
    return {"httpMethod": "GET", "resource": "/x", "isBase64Encoded": False} | nothing | fields


def served(operation: Any, faults: list[Exception] | None = None, **fields: Any) -> Json:
    told = faults if faults is not None else []
    return serve(event(**fields), {("GET", "/x"): operation}, told.append)


def raising(error: Exception) -> Any:
    def operation(request: Request) -> Answer:
        raise error

    return operation


def said(answer: Json) -> Json:
    body: Json = json.loads(answer["body"])
    return body


def test_an_answer_is_json_that_no_cache_keeps_and_any_page_may_read() -> None:
    answer = served(lambda request: Answer({"a": 1}, 201, {"X-Own": "1"}))

    assert (answer["statusCode"], said(answer), answer["isBase64Encoded"]) == (201, {"a": 1}, False)
    assert answer["headers"] == {
        "Content-Type": "application/json",
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "no-store",
        "X-Own": "1",
    }


@pytest.mark.parametrize(
    ("body", "sent", "encoded"),
    [
        ("<p>Grüße</p>", "<p>Grüße</p>", False),
        (b"\x47\x49\x46\xff", base64.b64encode(b"\x47\x49\x46\xff").decode(), True),
        ("", "", False),
        (b"", "", True),
    ],
)
def test_an_answer_may_be_text_or_bytes_and_says_which(
    body: str | bytes, sent: str, encoded: bool
) -> None:
    answer = served(lambda request: Answer(body, headers={"Content-Type": "image/gif"}))

    assert (answer["body"], answer["isBase64Encoded"]) == (sent, encoded)
    assert answer["headers"]["Content-Type"] == "image/gif"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("c", "m"), 400),
        (Unauthenticated("c", "m"), 401),
        (Forbidden("c", "m"), 403),
        (NotFound("c", "m"), 404),
        (Clash("c", "m"), 409),
        (Busy("c", "m", retry_after=7), 503),
    ],
)
def test_every_refusal_has_its_status_and_is_nobodys_fault_here(
    error: Refused, status: int
) -> None:
    faults: list[Exception] = []

    answer = served(raising(error), faults)

    assert answer["statusCode"] == status
    assert said(answer) == {"success": False, "code": "c", "message": "m"}
    assert answer["headers"].get("Retry-After") == ("7" if status == 503 else None)
    assert faults == []


def test_an_outage_asks_to_send_again() -> None:
    faults: list[Exception] = []
    outage = Unavailable(SECRET)

    answer = served(raising(outage), faults)

    assert (answer["statusCode"], said(answer)["code"]) == (503, "unavailable")
    assert int(answer["headers"]["Retry-After"]) > 0
    assert answer["headers"]["Access-Control-Expose-Headers"] == "Retry-After"
    assert faults == [outage]
    assert SECRET not in repr(answer)


DEFECTS = [
    ValueError(SECRET),
    KeyError(SECRET),
    Damaged(SECRET),
    Conflict(),
    RecursionError(SECRET),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: type(defect).__name__)
def test_a_defect_never_tells_its_text(
    defect: Exception, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[Exception] = []

    answer = served(raising(defect), faults)

    assert (answer["statusCode"], said(answer)["code"]) == (500, "internal")
    assert faults == [defect]
    for place in (repr(answer), capsys.readouterr(), caplog.text):
        assert SECRET not in repr(place)


class Unshowable:
    def __repr__(self) -> str:
        return SECRET


def test_an_answer_that_is_no_json_is_a_defect_like_any_other() -> None:
    faults: list[Exception] = []

    answer = served(lambda request: Answer({"a": Unshowable()}), faults)

    assert answer["statusCode"] == 500
    assert len(faults) == 1
    assert SECRET not in repr(answer)


def test_a_path_that_is_not_there_is_not_found() -> None:
    for method, resource in (("DELETE", "/x"), ("GET", "/y")):
        answer = served(lambda request: Answer({}), httpMethod=method, resource=resource)
        assert (answer["statusCode"], said(answer)["code"]) == (404, "unknown_path")


def test_an_event_of_another_shape_is_a_defect_and_no_crash() -> None:
    for shape in ({}, {"httpMethod": "GET"}, {"httpMethod": "GET", "resource": "/x", "headers": 7}):
        assert serve(shape, {}, lambda _: None)["statusCode"] in (404, 500)


def seen(**fields: Any) -> Request:
    requests: list[Request] = []

    def operation(request: Request) -> Answer:
        requests.append(request)
        return Answer({})

    answer = served(operation, **fields)
    assert answer["statusCode"] == 200, answer
    return requests[0]


def test_a_request_is_read_as_the_gateway_sends_it() -> None:
    request = seen(
        headers={"X-Purpose": "service", "AUTHORIZATION": "Bearer x"},
        pathParameters={"identifier": "email:ann%2Bnews%40example.com"},
        queryStringParameters={"limit": "5"},
        body="é",
    )

    assert request.headers == {"x-purpose": "service", "authorization": "Bearer x"}
    assert request.path == {"identifier": "email:ann+news@example.com"}
    assert request.query == {"limit": "5"}
    assert request.body == "é".encode()


@given(st.binary(max_size=50))
def test_a_body_arrives_byte_for_byte(body: bytes) -> None:
    sent = base64.b64encode(body).decode()

    assert seen(body=sent, isBase64Encoded=True).body == body


@pytest.mark.parametrize("body", ["A", "AAAAA", "=", "é", "\ud800"], ids=ascii)
def test_a_body_that_is_no_base64_is_refused_or_read_as_nothing(body: str) -> None:
    answer = served(lambda request: Answer({}), body=body, isBase64Encoded=True)

    assert answer["statusCode"] in (200, 400)


@pytest.mark.parametrize(
    "body",
    ["{", "[" * 10_000, '{"a": NaN}', '{"a": 1e400}', '{"a": -Infinity}', "\udcff"],
    ids=ascii,
)
def test_a_body_that_is_no_json_is_refused(body: str) -> None:
    answer = served(lambda request: Answer({"x": request.json()}), body=body[:20_000])

    assert (answer["statusCode"], said(answer)["code"]) == (400, "bad_json")


def test_no_body_is_an_empty_object() -> None:
    assert seen().json() == {}


def test_a_browser_may_ask_before_it_sends() -> None:
    answer = served(preflight)

    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer["headers"]["Access-Control-Allow-Methods"]
    assert "Authorization" in answer["headers"]["Access-Control-Allow-Headers"]


# Bodies.

GOOD: dict[type[BaseModel], Json] = {
    bodies.Choice: {"userId": "42", "purposes": {"marketing": True}},
    bodies.Credential: {"kind": "source", "name": "w", "source": "app", "trust": "client"},
    bodies.PrivacyRequest: {
        "type": "erasure",
        "subject": {"type": "email", "value": SECRET},
        "verified_by": "a passport",
    },
    bodies.Query: {"identifier": {"type": "email", "value": SECRET}},
}
BAD: list[tuple[type[BaseModel], Json, str]] = [
    (bodies.Choice, {"userId": 42}, "user"),
    (bodies.Choice, {"purposes": []}, "purposes"),
    (bodies.Choice, {"purposes": {"marketing": "yes"}}, "purposes"),
    (bodies.Choice, {"purposes": {SECRET: 1}}, "purposes"),
    (bodies.Choice, {"mechanism": SECRET}, "mechanism"),
    (bodies.Choice, {"timestamp": SECRET}, "timestamp"),
    (bodies.Choice, {"timestamp": "2026-09-21T10:00:00"}, "timestamp"),
    (bodies.Choice, {"evidence": [SECRET]}, "evidence"),
    (bodies.Choice, {SECRET: 1}, "not known"),
    (bodies.Credential, {"kind": SECRET}, "kind"),
    (bodies.Credential, {"kind": None}, "kind"),
    (bodies.Credential, {"trust": "verified"}, "trust"),
    (bodies.Credential, {"kind": "token", "role": SECRET}, "role"),
    (bodies.Credential, {"name": ""}, "name"),
    (bodies.PrivacyRequest, {"type": SECRET}, "type"),
    (bodies.PrivacyRequest, {"subject": SECRET}, "subject"),
    (bodies.PrivacyRequest, {"subject": {"type": "email", "value": ""}}, "value"),
    (bodies.PrivacyRequest, {"mode": SECRET}, "mode"),
    (bodies.PrivacyRequest, {"dry_run": "false"}, "dry_run"),
    (bodies.PrivacyRequest, {"verified_by": ""}, "verified_by"),
    (bodies.Query, {"identifier": None}, "identifier"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_good_body_is_taken(model: type[BaseModel]) -> None:
    assert isinstance(bodies.parse(model, GOOD[model]), model)


@pytest.mark.parametrize(("model", "change", "names"), BAD)
def test_a_bad_body_is_refused_by_the_fields_name_and_never_its_value(
    model: type[BaseModel], change: Json, names: str
) -> None:
    body = {**GOOD[model], **change}

    with pytest.raises(Refused) as refused:
        bodies.parse(model, body)

    assert (refused.value.status, refused.value.code) == (400, "bad_body")
    assert names in refused.value.message
    assert SECRET not in refused.value.message


secrets = st.sampled_from([SECRET, 4242424242, 42.4242, "\ud800" + SECRET])
fields = st.sampled_from(
    ["kind", "name", "role", "trust", "type", "subject", "value", "purposes", "mode", "userId"]
)
shapes = st.recursive(
    secrets | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(fields | st.just(SECRET), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from(MODELS), shapes)
def test_no_body_makes_parsing_fail_otherwise_or_repeats_itself(
    model: type[BaseModel], body: Any
) -> None:
    text = refusal(model, body)

    assert "4242" not in text
    assert SECRET not in text
    assert len(text) < 2000


def refusal(model: type[BaseModel], body: Any) -> str:
    try:
        bodies.parse(model, body)
    except Refused as refused:
        return json.dumps(refused.message)
    return ""


def choice(body: Json) -> Any:
    parsed = bodies.parse(bodies.Choice, {**GOOD[bodies.Choice], **body})
    return parsed.choice(Shop().world.identifiers, NOW, WEB.id, WEB.trust, parsed.heard(SHIPPED))


def test_a_choice_names_whom_it_is_of() -> None:
    subject = {"type": "email", "value": "Ann@Example.com"}

    made = choice({"anonymousId": "a1", "subject": subject})

    assert [(one.type, one.value) for one in made.ids] == [
        ("user_id", "42"),
        ("anonymous_id", "a1"),
        ("email", "ann@example.com"),
    ]
    assert choice({"userId": None, "anonymousId": "null"}).ids == ()
    assert choice({"userId": "\ud800"}).ids == ()


@pytest.mark.parametrize(
    ("stated", "at"),
    [
        (None, NOW),
        ("2026-09-21T00:00:00Z", 1_789_948_800.0),
        ("2026-09-21T02:00:00+02:00", 1_789_948_800.0),
        ("2999-01-01T00:00:00Z", NOW),
    ],
)
def test_a_choice_is_never_of_the_future(stated: str | None, at: float) -> None:
    assert choice({"timestamp": stated}).at == at


def test_a_choice_of_before_time_is_still_a_choice() -> None:
    assert choice({"timestamp": "0001-01-01T00:00:00Z"}).at >= 0
