"""Calls of Candor's HTTP API, as an SDK or a colleague's script would make them."""

import json
import os
import re
from base64 import b64encode
from typing import Any, Literal
from urllib.parse import quote, urlencode

import urllib3

from cli.emulator import gone, health
from cli.problem import Problem
from cli.target import choose

Role = Literal["admin", "dpo", "steward", "analyst", "marketer"]
Source = Literal["client", "app", "server", "crm"]


class Answered(Problem):
    """The API refused a call. `status`, `code` and `message` are its own.

    `retry_after`: the seconds after which it may be sent again.
    """

    def __init__(
        self, status: int, code: str, message: str, fix: str, retry_after: int | None = None
    ) -> None:
        super().__init__(f"{message} ({status} {code})", fix)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Api:
    """One stack's API. Keys and tokens come from its stack file."""

    def __init__(self, stack: dict[str, Any]) -> None:
        self.stack = stack
        self._base = f"{stack['api_url'].rstrip('/')}/v1"
        self._pool = urllib3.PoolManager(
            retries=urllib3.Retry(connect=1, read=0, redirect=0, status=0, other=0),
            timeout=urllib3.Timeout(connect=5, read=40),
        )

    def collect(self, source: Source, path: str, body: Any) -> dict[str, Any]:
        """A call as a source: POST `path` with its write key."""
        pair = b64encode(f"{self._secret('write_keys', source)}:".encode()).decode()
        return self._call("POST", path, {"Authorization": f"Basic {pair}"}, body)

    def anyone(self, path: str) -> dict[str, Any]:
        """A call that takes no key."""
        return self._call("GET", path, {}, None)

    def page(self, path: str) -> str:
        """What anyone may read there that is no JSON."""
        status, data, _ = self._ask("GET", path, {}, None)
        if status != 200:
            understood(status, data)
        return data.decode(errors="replace")

    def staff(
        self,
        role: Role,
        method: str,
        path: str,
        body: Any = None,
        *,
        purpose: str | None = None,
        query: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """A call as a person with that role; as whoever CANDOR_TOKEN is of, where that is set."""
        token = os.environ.get("CANDOR_TOKEN") or self._secret("tokens", role)
        headers = {"Authorization": f"Bearer {token}"}
        if purpose:
            headers["X-Purpose"] = purpose
        full = f"{path}?{urlencode(query)}" if query else path
        return self._call(method, full, headers, body)

    def _secret(self, kind: str, name: str) -> str:
        found = self.stack.get(kind, {}).get(name)
        if not found:
            raise Problem(
                f"There is no key for {name!r} of this stack on this machine.",
                "Run `make up`, which issues the first ones.",
            )
        return str(found)

    def _call(self, method: str, path: str, headers: dict[str, str], body: Any) -> dict[str, Any]:
        return understood(*self._ask(method, path, headers, body))

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> tuple[int, bytes, str]:
        """Status, body and Retry-After of the answer. Raises Problem where there is none."""
        if body is not None:
            headers = headers | {"Content-Type": "application/json"}
        try:
            answer = self._pool.request(
                method,
                self._base + path,
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
            )
        except urllib3.exceptions.HTTPError as error:
            endpoint = self.stack.get("endpoint_url")
            if endpoint and health(endpoint) is None:
                raise gone(endpoint, choose(endpoint, "local")) from None
            slow = isinstance(error, urllib3.exceptions.TimeoutError)
            what = "did not answer in time" if slow else "does not answer"
            raise Problem(
                f"The API at {self.stack['api_url']} {what}.",
                "Run `make up`: it starts what does not run. `candor status` shows what does.",
            ) from None
        return answer.status, answer.data, answer.headers.get("Retry-After", "")


def understood(status: int, data: bytes, retry_after: str = "") -> dict[str, Any]:
    """The answer's JSON object. Raises Answered for anything but success."""
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if 200 <= status < 300:
        if isinstance(found, dict):
            return found
        raise Problem("What answers is not Candor's API.", "`candor status` shows its address.")
    body = found if isinstance(found, dict) else {}
    code = str(body.get("code") or body.get("__type") or "no_code")
    message = str(body.get("message") or data[:200].decode(errors="replace") or "No reason given")
    seconds = int(retry_after) if retry_after.isdecimal() else None
    raise Answered(status, code, message.rstrip("."), fix_for(status, code), seconds)


def fix_for(status: int, code: str) -> str:
    if status == 401:
        return "The keys in .local/stack.json are not this stack's: run `make up` to renew them."
    if status in {403, 404} and code in {"no_code", "NotFoundException"}:
        return "The stack is not there any more, or is an older one: run `make up`."
    if status == 403:
        return "Choose a role or a purpose that may: --as, --purpose."
    if status >= 500:
        return "Look at `candor status`, and at the function's log with `candor tail`."
    return ""


def identifier(text: str) -> tuple[str, str]:
    """`user_id:42` as its type and value. Raises Problem."""
    kind, colon, value = text.partition(":")
    if not colon or not kind or not value:
        raise Problem(
            f"{text!r} is not an identifier.",
            "Give type and value, like user_id:42 or email:a@b.c.",
        )
    return kind, value


def segment(id_: str) -> str:
    """An id as a segment of a path, so that it cannot name another. Raises Problem."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", id_):
        raise Problem(f"{id_!r} is not an id.", "`candor keys list`, `candor privacy status` tell.")
    return id_


def profile_path(text: str) -> str:
    kind, value = identifier(text)
    return f"/profiles/{quote(f'{kind}:{value}', safe=':')}"
