"""What the deployed API tells anybody of itself."""

import json

import urllib3

from candor import pages
from cli import docs, openapi
from cli.api import Api


def asked(api: Api, path: str) -> urllib3.BaseHTTPResponse:
    answer = urllib3.request("GET", f"{api.stack['api_url']}/v1/{path}", retries=False)
    assert answer.status == 200
    return answer


def test_the_api_describes_itself_to_programs_and_to_people(api: Api) -> None:
    document = openapi.OUT.read_text()
    answer = asked(api, "openapi.json")
    assert answer.data.decode() == document
    assert answer.headers["Content-Type"] == "application/json"
    answer = asked(api, "docs")
    page = answer.data.decode()
    assert page == docs.page(json.loads(document))
    for name, value in pages.headers(page).items():
        assert answer.headers[name] == value
