"""Consent from a browser's banner to what staff may see, on every endpoint."""

import json
import secrets
from collections.abc import Collection
from typing import Any

from cli.api import Api, profile_path
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation
from tests.emulator.reading import profile, readable
from tests.emulator.test_body_forms import post

Json = dict[str, Any]
ALL = {"analytics": True, "personalization": True, "marketing": True, "advertising": True}
PARTS = ("", "/traits", "/events")


class Visitor:
    """A browser, and who signs in there."""

    def __init__(self, api: Api) -> None:
        self.api, name = api, secrets.token_hex(6)
        self.browser, self.user = ("anonymous_id", f"b-{name}"), ("user_id", f"u-{name}")
        self.sent = 0

    def event(self, kind: str, consent: Json | None, **fields: Any) -> Json:
        self.sent += 1
        context = {"consent": {"categoryPreferences": consent}} if consent else {}
        named = {"messageId": f"{self.user[1]}-{self.sent}", "anonymousId": self.browser[1]}
        return named | {"type": kind, "context": context} | fields

    def browses(self, consent: Json | None, *, gpc: bool = False, **fields: Any) -> str:
        """Views a product; returns the event's id, as it is taken."""
        about = {"event": "Product Viewed", "properties": {"product_id": "p"}}
        event = self.event("track", consent, **about, **fields)
        body = {"batch": [event], "writeKey": self.api.stack["write_keys"]["client"]}
        headers = {"Content-Type": "text/plain"} | ({"Sec-GPC": "1"} if gpc else {})
        assert post(self.api, "/batch", json.dumps(body).encode(), headers)["success"]
        return str(event["messageId"])

    def orders(self, **ids: str) -> str:
        """The shop's server tells of an order, which needs no consent."""
        event = self.event("track", None, event="Order Completed", properties={"order_id": "o"})
        self.api.collect("server", "/track", event | {"userId": self.user[1]} | ids)
        return str(event["messageId"])

    def chooses(self, source: Any = "server", **purposes: bool) -> Json:
        named = {"userId": self.user[1]}
        return self.api.collect(source, "/consents", named | {"purposes": purposes})

    def states(self, who: tuple[str, str] | None = None) -> dict[str, str]:
        path = f"{profile_path(':'.join(who or self.user))}/consents"
        told = self.api.staff("dpo", "GET", path, purpose="privacy_rights")["purposes"]
        return {name: one["state"] for name, one in told.items()}

    def arrived(self, *ids: str, who: tuple[str, str] | None = None) -> None:
        mine = who or self.user
        await_true("it is stored", lambda: set(ids) <= set(readable(self.api, mine)))

    def seen(self, role: Any, purpose: str, part: str) -> Json:
        path = f"{profile_path(':'.join(self.user))}{part}"
        return self.api.staff(role, "GET", path, purpose=purpose)


def shown(answer: Json) -> Collection[Any]:
    """Events and traits in an answer to a read."""
    events = answer.get("events", answer)
    return [*events.get("data", ()), *answer.get("traits", ())]


def test_from_a_withdrawals_answer_on_no_read_shows_anything_and_then_it_is_gone(
    api: Api, installation: Installation
) -> None:
    ann = Visitor(api)
    viewed, order = ann.browses(ALL), ann.orders()
    api.collect("server", "/identify", {"userId": ann.user[1], "traits": {"name": "Ann"}})
    ann.arrived(viewed, order)
    assert shown(ann.seen("marketer", "marketing", "/events"))

    assert ann.chooses(marketing=False) == {"success": True}

    for part in PARTS:
        answer = ann.seen("marketer", "marketing", part)
        assert not shown(answer), part
        if part != "/traits":
            assert answer["withheld"]
    assert ann.states()["marketing"] == "denied"
    assert shown(ann.seen("analyst", "analytics", "/events")), "another purpose goes on"

    ann.chooses(analytics=False, personalization=False, profiling=False)
    installation.invoke("Sweep", {})
    assert readable(api, ann.user) == [order], "no purpose is left for the rest"


def test_global_privacy_control_of_a_browser_holds_after_it_signs_in_and_is_merged(
    api: Api,
) -> None:
    ann = Visitor(api)
    ann.chooses(sale_share=True)
    await_true("the grant counts", lambda: ann.states()["sale_share"] == "granted")
    viewed = ann.browses(ALL, gpc=True)
    ann.arrived(viewed, who=ann.browser)
    assert ann.states(ann.browser)["sale_share"] == "denied"
    assert ann.states()["sale_share"] == "granted", "nobody knows yet whose browser it is"

    ann.arrived(ann.orders(), viewed)

    assert ann.states()["sale_share"] == "denied"
    assert ann.states()["marketing"] == "granted", "the banner's, for what the browser sent"


def test_a_new_browsers_default_of_no_revokes_nothing_elsewhere(api: Api) -> None:
    ann = Visitor(api)
    ann.chooses(analytics=True, marketing=True)
    ann.arrived(ann.orders())
    nothing = dict.fromkeys(ALL, False)

    event = ann.event("identify", nothing, userId=ann.user[1], anonymousId=f"{ann.user[1]}-new")
    api.collect("client", "/identify", event)
    here = await_true("it is known", lambda: profile(api, ("anonymous_id", f"{ann.user[1]}-new")))

    assert here
    assert ann.states()["analytics"] == ann.states()["marketing"] == "granted"


def test_an_unproven_client_grants_nothing_for_a_known_user(api: Api) -> None:
    ann = Visitor(api)
    order = ann.orders(anonymousId=ann.browser[1])
    ann.arrived(order)

    named = {"userId": ann.user[1], "anonymousId": ann.browser[1]}
    api.collect("client", "/consents", named | {"purposes": {"marketing": True}})
    told = api.staff(
        "dpo", "GET", f"{profile_path(':'.join(ann.user))}/consents", purpose="privacy_rights"
    )

    assert told["purposes"]["marketing"]["may"] is False, "the device said so for itself"
    assert not [one for one in told["data"] if one["binds"] == "profile"]


def test_of_a_minor_only_what_a_guardian_granted_counts(api: Api) -> None:
    ann = Visitor(api)
    ann.chooses(marketing=True)
    assert ann.states()["marketing"] == "granted"

    api.collect("server", "/consents", {"userId": ann.user[1], "minor": True})
    assert ann.states()["marketing"] == "denied"

    said = {"userId": ann.user[1], "purposes": {"marketing": True}, "guardian": True}
    api.collect("server", "/consents", said | {"evidence": {"verified_by": "letter"}})
    assert ann.states()["marketing"] == "granted"
