"""Whom an event names: by the places of the policy, and as far as its sender may say so."""

from typing import Any

import pytest

from candor import collection, proofs
from candor.collection import Collected
from candor.credentials import Source
from candor.naming import MOST_EXTERNAL_IDS
from candor.policy import Policy
from tests.worlds import CRM, NOW, SHIPPED, Json, Shop, order, policy, sent

SECRET = "shared between the shop and Candor"
WEB = Source("web", "web shop", "website", "client", SECRET)
PROOF = proofs.make(SECRET, "42", int(NOW) + 3600)
DOTTED = policy(lambda p: p["identifiers"]["crm_id"]["from"].append("context.externalIds.ios.id"))


def external(id_: Any = "c1", type_: Any = "crm_id", **other: Any) -> Json:
    """An external id as Segment's libraries send it."""
    return {"id": id_, "type": type_, "collection": "users", "encoding": "none", **other}


def read(event: Json, source: Source = CRM, rules: Policy = SHIPPED) -> Collected:
    body = {"batch": [event]}
    return collection.collect(body, "batch", rules, NOW, keep_unnamed=False, sender=source)


def names(context: Json, rules: Policy = SHIPPED, **ids: Any) -> list[str]:
    collected = read(order("m", context=context, **ids), rules=rules)
    return [f"{type_}:{value}" for type_, value in collected.events[0]["ids"]]


# External ids


def test_an_external_id_is_one_of_the_type_whose_rule_reads_it() -> None:
    context = {"externalIds": [external(" c1 "), external("c2"), external(7), external(None)]}

    assert names(context, userId="42") == ["user_id:42", "crm_id:c1", "crm_id:c2", "crm_id:7"]
    assert names({"externalIds": [external()]}) == ["crm_id:c1"], "it names somebody by itself"


def test_a_type_of_external_ids_may_have_dots_in_its_name() -> None:
    assert names({"externalIds": [external("i", "ios.id")]}, DOTTED) == ["crm_id:i"]


@pytest.mark.parametrize("type_", ["user_id", "email", "ga_client_id", ""])
def test_an_external_id_that_no_rule_reads_is_stripped_and_told(type_: Any) -> None:
    """Also where a type is called that: it is read from where its rule says, and else nowhere."""
    context = {"externalIds": [external("secret", type_)]}
    collected = read(order("m", userId="42", context=context))

    (told,) = collected.stripped
    assert told["code"] == "not_in_policy"
    assert told["name"].startswith("context.externalIds")
    assert "`from`" in told["fix"]
    assert collected.events[0]["ids"] == [["user_id", "42"]]
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    "sent_ids",
    [
        [external(collection="accounts")],
        [external(encoding="sha256")],
        [external(type_=None)],
        [external(type_=["crm_id"])],
        [{"id": "c1", "type": "crm_id"}],
        {"crm_id": "c1"},
        ["c1"],
        "c1",
        7,
    ],
)
def test_external_ids_in_another_form_are_told_and_name_nobody(sent_ids: Any) -> None:
    collected = read(order("m", userId="42", context={"externalIds": sent_ids}))

    assert [said["code"] for said in collected.stripped] == ["bad_external_id"]
    assert collected.events[0]["ids"] == [["user_id", "42"]]


def test_no_external_ids_are_nothing_to_tell() -> None:
    assert read(order("m", userId="42", context={"externalIds": None})).stripped == []
    assert read(order("m", userId="42", context={"externalIds": []})).stripped == []


def test_an_event_makes_no_more_work_than_a_few_external_ids_do() -> None:
    many = [external(f"c{n}") for n in range(MOST_EXTERNAL_IDS + 1)]
    collected = read(order("m", context={"externalIds": many}))

    assert len(collected.events[0]["ids"]) == MOST_EXTERNAL_IDS
    assert [said["code"] for said in collected.stripped] == ["too_many_external_ids"]


def test_contacts_of_the_crm_that_share_an_address_become_one_person() -> None:
    shop = Shop()
    for id_ in ("c1", "c2"):
        context = {"externalIds": [external(id_)]}
        shop.send(CRM, sent("identify", id_, traits={"email": "ann@example.com"}, context=context))

    assert shop.profiles() == shop.people(["crm_id:c1", "crm_id:c2", "email:ann@example.com"])


# Devices that are not to be followed

ADVERTISING = "38400000-8CF0-11BD-B23E-10B96E40000D"


@pytest.mark.parametrize("tracking", [{}, {"adTrackingEnabled": True}, {"adTrackingEnabled": None}])
def test_an_advertising_id_names_a_device(tracking: Json) -> None:
    device = {"id": "d", "advertisingId": ADVERTISING, **tracking}

    assert names({"device": device}) == ["device_id:d", f"advertising_id:{ADVERTISING.lower()}"]


@pytest.mark.parametrize("tracking", [False, 0, "false", "no", {}])
def test_a_device_that_is_not_to_be_followed_has_no_advertising_id(tracking: Any) -> None:
    device = {"id": "d", "advertisingId": ADVERTISING, "adTrackingEnabled": tracking}

    assert names({"device": device}) == ["device_id:d"]


def test_the_advertising_id_of_who_refused_names_nobody() -> None:
    nobody = "00000000-0000-0000-0000-000000000000"

    assert names({"device": {"id": "d", "advertisingId": nobody}}) == ["device_id:d"]


# What needs a proof


def test_what_needs_a_proof_is_left_out_of_an_unproven_event_and_told() -> None:
    context = {"externalIds": [external("c1"), external("c2")]}
    collected = read(order("m", userId="42", anonymousId="b", context=context), WEB)

    assert collected.events[0]["ids"] == [["user_id", "42"], ["anonymous_id", "b"]]
    (note,) = [n for n in collected.answer()["notes"] if n["code"] == "unproven_identifier"]
    assert note["names"] == ["crm_id"]
    assert "context.identityProof" in note["fix"]
    assert "c1" not in str(note)


def test_an_event_that_names_nobody_without_a_proof_is_refused_and_told_why() -> None:
    collected = read(order("m", context={"externalIds": [external()]}), WEB)

    (refused,) = collected.refused
    assert refused["code"] == "no_identifier"
    assert "crm_id only, which needs a proof" in refused["message"]
    assert collected.events == []


@pytest.mark.parametrize("source", [CRM, WEB], ids=["server", "verified"])
def test_who_proves_it_may_name_it(source: Source) -> None:
    context = {"externalIds": [external()]} | ({"identityProof": PROOF} if source is WEB else {})
    collected = read(order("m", userId="42", context=context), source)

    assert collected.events[0]["ids"] == [["user_id", "42"], ["crm_id", "c1"]]
    assert not [n for n in collected.notes if n["code"] == "unproven_identifier"]


def test_a_user_that_needs_a_proof_is_named_by_it() -> None:
    strict = policy(lambda p: p["identifiers"]["user_id"].update(needs_proof=True))
    proven = order("m", userId="42", anonymousId="b", context={"identityProof": PROOF})

    assert read(proven, WEB, strict).events[0]["ids"][0] == ["user_id", "42"]
    for wrong in (order("m", userId="43", anonymousId="b", context={"identityProof": PROOF}),
                  order("m", userId="42", anonymousId="b")):  # fmt: skip
        assert read(wrong, WEB, strict).events[0]["ids"] == [["anonymous_id", "b"]]


def test_only_the_crms_own_id_needs_a_proof_by_default() -> None:
    assert [name for name, rule in SHIPPED.identifiers.items() if rule.needs_proof] == ["crm_id"]


def test_an_unproven_name_joins_nobody_and_an_erased_one_keeps_its_event_out() -> None:
    """The event may hold the erased person's traits, whatever its sender may name."""
    shop = Shop()
    context = {"externalIds": [external()]}
    shop.send(CRM, order("o", context=context))
    shop.send(WEB, order("p", anonymousId="b", context=context))
    assert shop.profiles() == shop.people(["crm_id:c1"], ["anonymous_id:b"])

    shop.erase("crm_id:c1")
    (dropped,) = shop.send(WEB, order("q", anonymousId="b", context=context))

    assert (dropped.outcome, dropped.reason) == ("dropped", "fenced")
    assert shop.event_ids("anonymous_id:b") == ["p"]
