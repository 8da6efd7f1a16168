"""Consent in the words of other tools, from the sender's request to what may be read."""

from typing import Any

import pytest

from tests.moto.conftest import Answer, Cloud
from tests.unit.test_preferences import tcf

Json = dict[str, Any]
CANARY = "ann-heard"
BROWSER = f"{CANARY}-browser"


def send(cloud: Cloud, trust: str, *events: Json) -> Json:
    """A batch, as far as it goes; told is the answer."""
    named = [{"messageId": f"m{n}", "anonymousId": BROWSER, **one} for n, one in enumerate(events)]
    answer = cloud.call("POST", "/batch", {"batch": named}, key=cloud.write_keys[trust])
    assert answer.status == 200
    cloud.pump()
    body: Json = answer.body
    return body


def page(id_: str, **context: Any) -> Json:
    return {"type": "page", "messageId": id_, "context": context, "properties": {"title": "x"}}


def updated(id_: str, user: str | None, **categories: bool) -> Json:
    context = {"consent": {"categoryPreferences": categories}}
    event = "Segment Consent Preference Updated"
    return {"type": "track", "event": event, "messageId": id_, "userId": user, "context": context}


def read(cloud: Cloud, who: str, part: str = "", purpose: str = "privacy_rights") -> Json:
    path = f"/profiles/{who}{part}"
    answer = cloud.call("GET", path, key=cloud.tokens["dpo"], **{"X-Purpose": purpose})
    assert answer.status == 200, answer
    body: Json = answer.body
    return body


def pages(cloud: Cloud, who: str, purpose: str = "analytics") -> set[str]:
    return {one["messageId"] for one in read(cloud, who, "/events", purpose)["data"]}


def state(cloud: Cloud, who: str, purpose: str) -> str:
    told: str = read(cloud, who, "/consents")["purposes"][purpose]["state"]
    return told


def choose(cloud: Cloud, trust: str = "server", **body: Any) -> Answer:
    answer = cloud.call("POST", "/consents", body, key=cloud.write_keys[trust])
    assert CANARY not in str(answer.body)
    return answer


@pytest.mark.parametrize("trust", ["client", "server"])
def test_a_change_of_mind_in_the_settings_binds_as_far_as_its_sender_may_speak(
    cloud: Cloud, trust: str
) -> None:
    ann, browser = f"user_id:{CANARY}-42", f"anonymous_id:{BROWSER}"
    order = {"type": "track", "event": "Order Completed", "userId": f"{CANARY}-42"}
    send(cloud, "server", order, {**order, "messageId": "elsewhere", "anonymousId": None})
    send(cloud, trust, updated("u1", f"{CANARY}-42", analytics=True, advertising=False))

    assert state(cloud, ann, "marketing") == state(cloud, browser, "sale_share") == "denied"
    theirs = {"m0"} if trust == "client" else {"m0", "elsewhere"}
    assert pages(cloud, ann) == theirs
    told = read(cloud, ann, "/consents")["data"]
    assert {(one["purpose"], one["mechanism"], one["binds"]) for one in told} == {
        ("analytics", "preference_center", "device" if trust == "client" else "profile"),
        ("marketing", "preference_center", "profile"),
        ("sale_share", "preference_center", "profile"),
    }
    assert told[0]["evidence"] == {"messageId": "u1"}
    assert "u1" not in {one["messageId"] for one in read(cloud, ann, "/events")["data"]}
    outcomes = cloud.call("GET", "/outcomes", key=cloud.tokens["admin"]).body["data"]
    assert sum(one["outcomes"].get("recorded", 0) for one in outcomes) == 1
    assert CANARY not in cloud.held() + cloud.said.getvalue()


def test_a_deny_list_keeps_out_what_it_denies_and_lets_nothing_else_in(cloud: Cloud) -> None:
    yes = {"allowedConsentIds": ["analytics"], "deniedConsentIds": ["personalization"]}
    no = {"deniedConsentIds": ["personalization"], "resolutionStrategy": "or"}
    told = send(cloud, "client", page("p1", consentManagement=yes))
    assert "notes" not in told
    told = send(cloud, "client", {**page("p2", consentManagement=no), "anonymousId": "other"})
    assert [one["code"] for one in told["notes"]] == ["no_consent"]

    assert pages(cloud, f"anonymous_id:{BROWSER}") == {"p1"}
    assert state(cloud, "anonymous_id:other", "analytics") == "unknown"
    assert state(cloud, "anonymous_id:other", "personalization") == "denied"


def test_consent_mode_goes_in_and_comes_out(cloud: Cloud) -> None:
    said = {
        "ad_storage": "denied",
        "ad_user_data": "denied",
        "ad_personalization": "denied",
        "analytics_storage": "granted",
        "functionality_storage": "granted",
        "personalization_storage": "denied",
        "security_storage": "granted",
    }
    send(cloud, "client", page("p1", consent={"consentMode": said}))

    told = read(cloud, f"anonymous_id:{BROWSER}", "/consents")
    assert told["consent_mode"] == said
    assert told["category_preferences"] == {
        "functional": True,
        "analytics": True,
        "personalization": False,
        "marketing": False,
        "advertising": False,
    }
    choose(cloud, "client", anonymousId=BROWSER, purposes={"analytics": False})
    told = read(cloud, f"anonymous_id:{BROWSER}", "/consents")
    assert told["consent_mode"] == said | {"analytics_storage": "denied"}


def test_a_tc_string_is_heard_and_a_broken_one_denies(cloud: Cloud) -> None:
    sound = tcf([1, 8, 9, 10])
    assert "notes" not in send(cloud, "client", page("p1", consent={"tcf": sound}))
    browser = f"anonymous_id:{BROWSER}"
    assert pages(cloud, browser) == {"p1"}
    (told,) = [one for one in read(cloud, browser, "/consents")["data"] if one["granted"]]
    assert (told["mechanism"], told["binds"]) == ("tcf", "device")

    cloud.later += 60
    told = send(cloud, "client", page("p2", consent={"tcf": sound[:60]}))
    assert [one["code"] for one in told["notes"]] == ["bad_consent_string", "no_consent"]
    assert sound[:60] not in str(told)
    assert state(cloud, browser, "analytics") == "denied"
    assert pages(cloud, browser) == set()
    assert sound not in cloud.held()


def test_an_opt_out_and_an_objection_bind_the_person_and_only_ever_deny(cloud: Cloud) -> None:
    ann = {"userId": f"{CANARY}-42"}
    everything = {"analytics": True, "marketing": True, "profiling": True, "sale_share": True}
    assert choose(cloud, **ann, purposes=everything).body == {"success": True}
    cloud.later += 1
    signals: Json = {"opt_out": ["sale", "limit_use"], "objection": ["marketing"]}
    assert choose(cloud, "client", **ann, signals=signals).body == {"success": True}

    told = read(cloud, f"user_id:{CANARY}-42", "/consents")
    assert {name: one["state"] for name, one in told["purposes"].items() if name in everything} == {
        "analytics": "granted",
        "marketing": "denied",
        "profiling": "denied",
        "sale_share": "denied",
    }
    mechanisms = {one["purpose"]: one["mechanism"] for one in told["data"] if not one["granted"]}
    assert mechanisms == {
        "marketing": "objection",
        "profiling": "opt_out",
        "sale_share": "opt_out",
    }
    cloud.later += 1
    tried = choose(cloud, **ann, purposes={"sale_share": True}, signals={"opt_out": ["sale"]})
    assert tried.status == 200
    assert state(cloud, f"user_id:{CANARY}-42", "sale_share") == "denied"
