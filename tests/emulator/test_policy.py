"""The policy that is in force, through the gateway, for anybody who asks."""

from typing import Any

import urllib3

from candor import notice, pages
from candor.policy import Policy
from cli import changes
from cli.api import Api
from tests.worlds import SHIPPED


def get(stack: dict[str, Any], **headers: str) -> urllib3.BaseHTTPResponse:
    url = f"{stack['api_url']}/v1/policy"
    return urllib3.request(
        "GET", url, headers={name.replace("_", "-"): headers[name] for name in headers}
    )


def test_what_is_deployed_is_what_is_answered(api: Api) -> None:
    deployed = api.anyone("/policy")

    assert Policy.of(deployed) == SHIPPED
    assert changes.compare(deployed, SHIPPED.document) == []


def test_a_browser_gets_a_page_as_it_was_written(stack: dict[str, Any]) -> None:
    page = get(stack, Accept="text/html,*/*;q=0.8")

    assert page.status == 200
    assert page.data.decode() == notice.page(SHIPPED.document)
    for name in ("Content-Type", "Content-Language", "Content-Security-Policy"):
        assert page.headers[name] == pages.headers(page.data.decode())[name]
    again = get(stack, Accept="text/html", If_None_Match=page.headers["ETag"])
    assert (again.status, again.data) == (304, b"")
