"""What analytics.js is told before it sends: where to, by whom it was asked."""

import json
from typing import Any

import pytest

from candor import credentials
from tests.served import Served

Json = dict[str, Any]
RESOURCE = "/projects/{writeKey}/settings"
DOMAIN = "a1b2c3.execute-api.eu-central-1.amazonaws.com"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    return Served(monkeypatch)


def asked(served: Served, key: str, *, local: bool = False, **more: Any) -> Json:
    """The function's answer. `more` are `host`, and entries of the request's context."""
    served.wiring._environ = {"CONFIGURATION": "local" if local else "prod"}
    host = more.pop("host", DOMAIN)
    context = {"apiId": "a1b2c3", "domainName": DOMAIN, "path": f"/v1/projects/{key}/settings"}
    event = {
        "httpMethod": "GET",
        "resource": RESOURCE,
        "headers": {"Host": host, "X-Forwarded-Host": "evil.example"},
        "pathParameters": {"writeKey": key},
        "requestContext": context | more,
    }
    answer: Json = served.invoke("collect", event)
    return answer


def destination(answer: Json) -> Json:
    assert answer["statusCode"] == 200
    (found,) = json.loads(answer["body"])["integrations"].values()
    assert isinstance(found, dict)
    return found


def test_a_browser_is_told_to_send_where_it_asked(served: Served) -> None:
    key = served.write_key("client")
    told = destination(asked(served, key))
    assert told["apiKey"] == key
    assert (told["protocol"], told["apiHost"]) == ("https", f"{DOMAIN}/v1")


@pytest.mark.parametrize("base", ["", "/v1", "/events/v1"])
def test_behind_a_domain_of_ones_own_its_base_path_counts(served: Served, base: str) -> None:
    key = served.write_key("client")
    path = f"{base}/projects/{key}/settings"
    told = destination(asked(served, key, domainName="data.shop.example", path=path))
    assert told["apiHost"] == f"data.shop.example{base}"


def test_on_aws_no_header_says_where_to_send(served: Served) -> None:
    told = destination(asked(served, served.write_key("client"), host="evil.example"))
    assert told["apiHost"] == f"{DOMAIN}/v1"


@pytest.mark.parametrize(
    ("host", "api_host"),
    [
        ("127.0.0.1:4566", "127.0.0.1:4566/_aws/execute-api/a1b2c3/v1"),
        ("a1b2c3.execute-api.localhost:4566", "a1b2c3.execute-api.localhost:4566/v1"),
    ],
)
def test_an_emulator_is_where_the_browser_found_it(
    served: Served, host: str, api_host: str
) -> None:
    told = destination(asked(served, served.write_key("client"), local=True, host=host))
    assert (told["protocol"], told["apiHost"]) == ("http", api_host)


def test_nothing_is_sent_to_or_loaded_from_anybody_else(served: Served) -> None:
    """By the library's own rules: a second integration loads code, metrics go to Segment."""
    document = json.loads(asked(served, served.write_key("client"))["body"])
    assert set(document["integrations"]) == {"Segment.io"}
    assert document["metrics"] == {"sampleRate": 0}
    assert not document["remotePlugins"]
    assert "segment.com" not in json.dumps(document)


def test_any_page_may_read_it_and_a_cache_keeps_it_for_a_minute(served: Served) -> None:
    headers = asked(served, served.write_key("client"))["headers"]
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "public, max-age=60"


def test_a_key_that_no_browser_may_hold_gets_the_answer_of_an_unknown_one(served: Served) -> None:
    shop = served.shop
    id_, revoked = credentials.issue(
        shop.rows,
        {"kind": "source", "name": "old", "source": "website", "trust": "client"},
        shop.clock(),
    )
    credentials.revoke(shop.rows, id_, shop.clock())
    keys = [served.write_key("server"), served.token("admin"), revoked, "wk_none", "ä", " "]
    answers = [asked(served, key) for key in keys]
    assert {answer["statusCode"] for answer in answers} == {404}
    assert {answer["headers"]["Cache-Control"] for answer in answers} == {"no-store"}
    (body,) = {answer["body"] for answer in answers}
    assert '"code":"unknown_key"' in body
