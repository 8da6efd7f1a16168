"""People for the canary scan: each with a canary in every field that the API takes."""

import base64
import gzip
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.emulator.canaries import Canaries

Json = dict[str, Any]


class Call(NamedTuple):
    """A request as it goes over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Person:
    number: int
    canaries: Canaries

    def of(self, field: str) -> str:
        return self.canaries.text(self.number, field)

    @property
    def user_id(self) -> str:
        return self.of("user")

    @property
    def identifiers(self) -> list[tuple[str, str]]:
        """Types and values in their normal form."""
        return [
            ("user_id", self.user_id),
            ("email", f"{self.of('mail')}@example.com"),
            ("phone", self.canaries.phone(self.number)),
            ("device_id", self.of("device")),
            ("anonymous_id", self.of("browser")),
            ("anonymous_id", self.of("before")),
            ("crm_id", self.of("contact")),
        ]

    def idkeys(self, secret: str) -> list[str]:
        """What the tables call their identifiers."""
        return [idkey(secret, kind, value) for kind, value in self.identifiers]

    def headers(self) -> dict[str, str]:
        """What a proxy or a browser adds to a request."""
        names = ["User-Agent", "X-Forwarded-For", "Forwarded", "Referer", "Cookie", "Origin"]
        return {name: self.of(name.lower()) for name in [*names, "X-Request-Id", "X-Custom"]}

    def seen_by_the_privacy_officer(self) -> list[str]:
        """What must be readable in the profile, or the scan would search for what is nowhere."""
        fields = ["name", "street", "employer", "title", "query", "url", "order", "unnamed event"]
        fields += ["unnamed property", "campaign", "screen", "plan"]
        return [self.of(field) for field in fields] + [value for _, value in self.identifiers]

    def as_browser(self) -> list[Json]:
        """Events of a client source. It speaks for its device."""
        of = self.of
        grants = {"Analytics": True, "Functional": True, of("category"): True}
        context: Json = {
            "consent": {"categoryPreferences": grants, of("consent name"): of("consent value")},
            "device": {"id": of("device"), "model": of("model"), of("part"): 1},
            "campaign": {"name": of("campaign"), "source": of("campaign source")},
            "locale": of("locale"),
            "timezone": of("timezone"),
            "ip": of("ip"),
            "userAgent": of("agent"),
            "page": {"url": of("page url"), "referrer": of("page referrer")},
            "location": {"city": of("city")},
            "network": {"carrier": of("carrier")},
            of("context name"): of("context value"),
        }
        page = {"name": of("page"), "path": f"/{of('path')}", "title": of("title")}
        page |= {"url": f"https://example.com/?who={of('url')}", "referrer": of("referrer")}
        page |= {"search": of("search"), of("property name"): of("property value")}
        track = {"query": of("query"), of("track name"): {of("inner"): [of("deep")]}}
        events: list[Json] = [
            {"type": "page", "name": of("page name"), "properties": page},
            {"type": "track", "event": "Products Searched", "properties": track},
            {
                "type": "track",
                "event": of("unnamed event"),
                "properties": {of("any name"): of("unnamed property"), "list": [of("listed")]},
            },
            {"type": "screen", "name": of("screen"), "properties": {of("s"): of("t")}},
        ]
        shared = {"anonymousId": of("browser"), "context": context, "channel": of("channel")}
        shared |= {of("field"): of("field value"), "integrations": {of("there"): True}}
        return [self._sent(event | shared) for event in events]

    def as_server(self) -> list[Json]:
        """Events of a server source. It speaks for the person."""
        of = self.of
        (_, mail), (_, phone) = self.identifiers[1], self.identifiers[2]
        traits: Json = {
            "email": mail.upper(),
            "phone": phone,
            "name": of("name"),
            "firstName": of("first"),
            "lastName": of("last"),
            "address": {"street": of("street"), of("address part"): of("address value")},
            "company": {"name": of("employer")},
            "plan": of("plan"),
            of("trait name"): of("trait value"),
        }
        order: Json = {"order_id": of("order"), "coupon": of("coupon"), of("ordered"): of("thing")}
        order |= {"products": [{"name": of("product"), of("product part"): of("part value")}]}
        users = {"collection": "users", "encoding": "none"}
        external = [users | {"type": "crm_id", "id": of("contact")}]
        external += [users | {"type": of("kind of id"), "id": of("external")}]
        context: Json = {"device": {"id": of("device")}, "externalIds": external}
        context |= {"traits": {"plan": of("plan"), of("context trait"): of("c")}, "ip": of("ip")}
        events: list[Json] = [
            {"type": "identify", "traits": traits, "anonymousId": of("browser")},
            {"type": "track", "event": "Order Completed", "properties": order},
            {"type": "group", "groupId": of("group"), "traits": {"name": of("group name")}},
            {"type": "alias", "previousId": of("before")},
            {"type": "track", "event": "Signed In", "properties": {"method": of("method")}},
        ]
        return [
            self._sent(event | {"userId": self.user_id, "context": context}) for event in events
        ]

    def _sent(self, event: Json) -> Json:
        name = event.get("event", event["type"])
        return event | {
            "messageId": self.of(f"message {name}"),
            "timestamp": datetime.now(UTC).isoformat(),
        }

    def choice(self) -> Json:
        """For POST /consents as a server."""
        evidence = {"form": self.of("form"), self.of("evidence name"): [self.of("evidence")]}
        return {
            "userId": self.user_id,
            "anonymousId": self.of("browser"),
            "purposes": {"analytics": True, "marketing": True, "profiling": False},
            "mechanism": "preference_center",
            "evidence": evidence | {"address": self.of("evidence address")},
        }

    def erasure(self, subject: tuple[str, str], **more: Any) -> Json:
        """For POST /privacy/requests."""
        return {
            "type": "erasure",
            "subject": {"type": subject[0], "value": subject[1]},
            "mode": "erase",
            "verified_by": f"passport of {self.of('passport')}",
        } | more

    def hostile(self, write_key: str, token: str) -> Iterator[Call]:
        """What should be refused, and quotes nothing in any log."""
        of, who = self.of, quote(f"email:{self.identifiers[1][1]}")
        headers = self.headers()
        source = headers | {"Authorization": _basic(write_key), "Content-Type": "application/json"}
        staff = headers | {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

        def post(path: str, body: Any, given: dict[str, str] = source) -> Call:
            return Call("POST", path, given, body if isinstance(body, bytes) else _json(body))

        event = self._sent({"type": "track", "event": "Signed In", "userId": self.user_id})
        yield post("/batch", b'{"batch": [{"userId": "' + of("torn").encode())
        yield post("/batch", of("no json").encode())
        yield post("/batch", [of("list")])
        yield post("/batch", {"batch": of("text")})
        yield post("/batch", {"batch": [of("text"), [of("list")], {of("only"): of("unknown")}]})
        yield post("/batch", gzip.compress(_json({"batch": [event]}))[:-9])
        yield post("/batch", {"batch": [event]}, source | {"Authorization": _basic(of("key"))})
        yield post("/track", event | {"writeKey": of("key")}, headers)
        yield post("/track", event | {"type": of("type")}, source | {"Content-Type": of("kind")})
        yield post("/track", event | {"timestamp": of("time")})
        yield post("/track", event | {"properties": of("properties")})
        yield post("/track", event | {"event": {of("event"): 1}})
        yield post("/track", event | {"userId": [of("user")], "anonymousId": {of("user"): 1}})
        yield post("/track", event | {"messageId": {of("message"): of("message")}})
        yield post("/track", event | {"properties": {"x": of("much") * 2000}})
        yield post("/batch", {"batch": [event | {"context": {"x": _nested(of("deep"))}}]})
        yield post("/track", _json(event)[:-1] + b', "x": NaN, "y": "' + of("nan").encode() + b'"}')
        yield post("/track", _json(event).replace(b"Signed In", b"\\ud800" + of("half").encode()))
        yield post("/consents", self.choice() | {of("field"): of("value")})
        yield post("/consents", self.choice() | {"purposes": {of("purpose"): True}})
        yield post("/consents", self.choice() | {"mechanism": of("mechanism")})
        yield post("/consents", self.choice() | {"timestamp": of("time")})
        yield post("/consents", self.choice() | {"subject": {"type": of("t"), "value": of("v")}})
        yield post("/privacy/requests", {"type": of("type")}, staff)
        yield post("/privacy/requests", self.erasure((of("type"), of("value"))), staff)
        yield post("/privacy/requests", self.erasure(("email", of("a")), mode=of("mode")), staff)
        yield post("/privacy/requests", self.erasure(self.identifiers[1], x=of("x")), staff)
        yield post("/privacy/requests", self.erasure(self.identifiers[1]), source)
        yield post("/keys", {"kind": of("kind"), "name": "n", of("name"): of("value")}, staff)
        yield post("/profiles/query", {"identifier": of("identifier")}, staff)
        for path in (f"/profiles/{who}", f"/profiles/{who}/events?cursor={of('cursor')}"):
            yield Call("GET", path, staff | {"X-Purpose": of("purpose")})
            yield Call("GET", path, headers | {"Authorization": f"Bearer {of('token')}"})
        yield Call("GET", f"/profiles/{who}/events?limit={of('limit')}&{of('name')}=1", staff)
        yield Call("GET", f"/profiles/{quote(of('type'))}:{quote(of('value'))}", staff)
        yield Call("GET", f"/privacy/requests/{quote(of('request'))}", staff)
        yield Call("DELETE", f"/keys/{quote(of('id'))}", staff)
        yield Call("GET", f"/{quote(of('path'))}", staff)


def idkey(secret: str, kind: str, value: str) -> str:
    """What the tables call an identifier, given in its normal form."""
    digest = hmac.digest(secret.encode(), f"{kind}\0{value}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:18]).decode()


def _nested(value: str) -> Any:
    tree: Any = value
    for _ in range(80):
        tree = {value: tree}
    return tree


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def _basic(key: str) -> str:
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
