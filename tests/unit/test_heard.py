"""Consent that events carry: what is recorded of it, how and for whom; and explicit choices."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import outcomes
from candor.collection import PREFERENCES_UPDATED, collect
from candor.consent import MINUTE
from candor.credentials import Source
from candor.policy import DAY, Policy
from candor.unification import Outcome
from tests.served import Served
from tests.unit.test_preferences import EVERY_TCF, tcf
from tests.worlds import APP, CRM, NOW, SHIPPED, WEB, Json, Shop, order, policy, says, sent

KNOWN = policy(
    lambda p: p["events"].update(
        {PREFERENCES_UPDATED: {**p["events"]["Signed In"], "properties": ["version"]}}
    )
)


def updated(id_: str, ago: float = 0, **fields: Any) -> Json:
    """Somebody changed their mind in the shop's settings."""
    return sent("track", id_, ago, event=PREFERENCES_UPDATED, **fields)


def notes(event: Json, sender: Source = WEB) -> list[str]:
    found = collect({"batch": [event]}, "batch", SHIPPED, NOW, keep_unnamed=False, sender=sender)
    assert not found.refused
    return [note["code"] for note in found.notes]


def records(shop: Shop, who: str = "user_id:42") -> list[tuple[str, bool, str, str]]:
    """Purpose, choice, mechanism and what it binds, newest first."""
    return [
        (one["purpose"], one["granted"], one["mechanism"], one["binds"])
        for one in shop.view(who, "privacy_rights").consent_records()
    ]


# Riding signals, in any tool's words.


@pytest.mark.parametrize(
    "context",
    [
        says(analytics=True),
        {"consentManagement": {"allowedConsentIds": ["analytics"], "deniedConsentIds": []}},
        {"consent": {"consentMode": {"analytics_storage": "granted"}}},
        {"consent": {"tcf": tcf([1, 8, 9, 10])}},
    ],
)
def test_a_grant_in_any_tools_words_lets_what_it_comes_with_be_kept(context: Json) -> None:
    shop = Shop()
    (outcome,) = shop.send(WEB, sent("page", "p1", anonymousId="a", context=context))

    assert outcome.outcome == "stored"
    assert shop.event_ids("anonymous_id:a", "analytics") == ["p1"]
    assert notes(sent("page", "p1", anonymousId="a", context=context)) == []


@pytest.mark.parametrize(
    "context",
    [
        {"consentManagement": {"deniedConsentIds": ["marketing"]}},
        {"consent": {"tcf": tcf([1, 8, 9, 10])[:-4]}},
        {"consent": {"consentMode": {"analytics_storage": "denied"}}},
        {"consent": {"gpp": "DBABTA~1YNN", "categoryPreferences": {"analytics": False}}},
        {"consent": {"someTool": {"analytics": True}}},
    ],
)
def test_what_grants_nothing_keeps_nothing(context: Json) -> None:
    shop = Shop()
    (outcome,) = shop.send(WEB, sent("page", "p1", anonymousId="a", context=context))

    assert outcome.reason == "no_consent"
    assert "no_consent" in notes(sent("page", "p1", anonymousId="a", context=context))


def test_a_record_says_which_standard_it_was_heard_by() -> None:
    shop = Shop()
    said = says(analytics=True, functional=True)
    said["consent"] |= {"tcf": tcf(EVERY_TCF), "us_privacy": "1YYN"}
    shop.send(WEB, sent("page", "p1", anonymousId="a", context=said))

    assert sorted(records(shop, "anonymous_id:a")) == [
        ("analytics", True, "banner", "device"),
        ("marketing", True, "tcf", "device"),
        ("personalization", True, "tcf", "device"),
        ("profiling", True, "tcf", "device"),
        ("sale_share", False, "gpp", "device"),
        ("service", True, "banner", "device"),
    ]


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_events_the_record_names_the_mechanism_of_the_one_that_stands(turn: int) -> None:
    shop = Shop()
    later = sent("page", "p1", 60, anonymousId="a", context={"consent": {"tcf": tcf([])}})
    earlier = sent("page", "p2", 600, anonymousId="a", context=says(analytics=True))
    shop.send(WEB, *[later, earlier][::turn])

    (told,) = [one for one in records(shop, "anonymous_id:a") if one[0] == "analytics"]
    assert told == ("analytics", False, "tcf", "device")


def test_rudderstacks_and_segments_words_in_one_event_and_denial_wins() -> None:
    context = says(analytics=True) | {"consentManagement": {"deniedConsentIds": ["analytics"]}}
    shop = Shop()
    (outcome,) = shop.send(WEB, sent("page", "p1", anonymousId="a", context=context))
    assert outcome.reason == "no_consent"


# An explicit choice that comes as an event.


def test_a_choice_needs_no_name_in_the_policy_and_is_no_event() -> None:
    shop = Shop()
    event = updated("m1", userId="42", anonymousId="a", context=says(marketing=False))
    event["properties"] = {"version": "7"}
    (outcome,) = shop.send(WEB, event)

    assert outcome == Outcome("track", PREFERENCES_UPDATED, "web", "recorded")
    assert shop.rows.held("events") == []
    assert shop.state("user_id:42", "marketing") == "denied"
    assert outcomes.listing(shop.rows, 1, NOW)[0]["outcomes"] == {
        "recorded": 1,
        "stripped:not_in_policy": 1,
    }


def test_where_the_policy_names_it_it_is_stored_too() -> None:
    shop = Shop(KNOWN)
    event = updated("m1", userId="42", context=says(marketing=False))
    (outcome,) = shop.send(CRM, event)

    assert outcome.outcome == "stored"
    assert shop.event_ids("user_id:42") == ["m1"]
    assert records(shop) == [("marketing", False, "preference_center", "profile")]


@pytest.mark.parametrize("source", [WEB, APP, CRM], ids=lambda source: source.id)
@pytest.mark.parametrize("rules", [SHIPPED, KNOWN], ids=["unnamed", "named"])
def test_its_denial_binds_the_whole_profile_whoever_sends_it(source: Source, rules: Policy) -> None:
    shop = Shop(rules)
    shop.send(CRM, order("o1", userId="42", anonymousId="a"))
    shop.choose("user_id:42", {"marketing": True}, ago=60)
    shop.send(source, updated("m1", anonymousId="a", context=says(marketing=False)))

    assert shop.state("user_id:42", "marketing") == "denied"
    assert records(shop)[0] == ("marketing", False, "preference_center", "profile")


def test_a_browsers_grant_is_its_devices_and_a_servers_is_the_persons() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"), order("o2", userId="42", anonymousId="a"))
    mind: Json = {"userId": "42", "anonymousId": "a", "context": says(analytics=True)}
    shop.send(WEB, updated("m1", **mind))
    assert records(shop) == [("analytics", True, "preference_center", "device")]
    assert shop.event_ids("user_id:42", "analytics") == ["o2"]

    shop.send(CRM, updated("m2", **mind))
    assert records(shop)[0] == ("analytics", True, "preference_center", "profile")
    assert set(shop.event_ids("user_id:42", "analytics")) == {"o1", "o2"}


def test_a_proven_browser_grants_for_its_user() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    message = shop.message(WEB, updated("m1", userId="42", context=says(analytics=True)))
    message["events"][0]["trust"] = "verified"
    shop.unify(message)
    assert records(shop) == [("analytics", True, "preference_center", "profile")]


def test_a_browser_without_a_device_grants_nothing_and_is_told() -> None:
    shop = Shop()
    event = updated("m1", userId="42", context=says(analytics=True, marketing=False))
    assert "device_required" in notes(event)
    (outcome,) = shop.send(WEB, event)

    assert outcome.also == (("choice_dropped", "device_required"),)
    assert records(shop) == [("marketing", False, "preference_center", "profile")]
    only = updated("m2", userId="43", context=says(analytics=True))
    (outcome,) = shop.send(WEB, only)
    assert outcome.also == (("choice_dropped", "device_required"),)


def test_a_choice_counts_for_what_comes_with_it() -> None:
    shop = Shop()
    page, choice = (
        sent("page", "p1", 60, anonymousId="a"),
        updated("m1", anonymousId="a", context=says(analytics=True)),
    )
    found = shop.send(WEB, page, choice)
    assert [one.outcome for one in found] == ["stored", "recorded"]

    refused = updated("m2", anonymousId="a", context=says(analytics=False))
    found = shop.send(
        WEB, sent("page", "p2", anonymousId="a", context=says(analytics=True)), refused
    )
    assert found[0].reason == "no_consent"


def test_a_choice_is_as_old_as_it_is_and_never_too_old() -> None:
    shop = Shop()
    shop.choose("user_id:42", {"marketing": True}, ago=DAY)
    shop.send(CRM, updated("m1", 700 * DAY, userId="42", context=says(marketing=False)))
    assert shop.state("user_id:42", "marketing") == "granted"

    shop.send(CRM, updated("m2", 100, userId="42", context=says(marketing=False)))
    assert shop.state("user_id:42", "marketing") == "denied"


def test_standards_keep_their_name_in_a_choice() -> None:
    shop = Shop()
    said = {"consent": {"gpp": "DBABTA~1YYN", "categoryPreferences": {"analytics": True}}}
    shop.send(CRM, updated("m1", userId="42", context=said))
    assert set(records(shop)) == {
        ("analytics", True, "preference_center", "profile"),
        ("sale_share", False, "gpp", "profile"),
    }


@pytest.mark.parametrize("context", [{}, says(statistics=True), {"consent": None}])
def test_a_choice_of_nothing_is_told_and_changes_nothing(context: Json) -> None:
    shop = Shop()
    event = updated("m1", userId="42", context=context)
    assert "nothing_chosen" in notes(event)
    (outcome,) = shop.send(CRM, event)
    assert outcome.outcome == "recorded"
    assert shop.rows.held("graph") == []


def test_a_purpose_that_the_policy_lost_meanwhile_is_left_out() -> None:
    shop = Shop()
    message = shop.message(CRM, updated("m1", userId="42", context=says(analytics=False)))
    message["events"][0]["consent"]["astrology"] = True
    shop.unify(message)
    assert records(shop) == [("analytics", False, "preference_center", "profile")]


# Who was erased.


def test_nothing_of_a_fenced_person_is_recorded() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    shop.erase("user_id:42", "erase_and_suppress")
    before = shop.rows.held("graph")
    for granted in (True, False):
        event = updated(f"m{granted}", userId="42", context=says(marketing=granted))
        (outcome,) = shop.send(CRM, event)
        assert (outcome.outcome, outcome.reason) == ("dropped", "fenced")
    assert shop.rows.held("graph") == before


def test_a_grant_in_the_settings_is_a_new_registration() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    shop.erase("user_id:42")
    shop.clock.advance(60)
    again = updated("m1", -60, userId="42", context=says(analytics=True))
    found = shop.send(CRM, order("o2", -60, userId="42"), again)

    assert [one.outcome for one in found] == ["stored", "recorded"]
    assert shop.event_ids("user_id:42") == ["o2"]
    assert shop.state("user_id:42", "analytics") == "granted"


def test_one_that_names_somebody_fenced_without_proof_is_dropped_whole() -> None:
    shop = Shop()
    known = {"id": "c1", "type": "crm_id", "collection": "users", "encoding": "none"}
    ann = {"externalIds": [known]}
    shop.send(CRM, order("o1", context=ann))
    shop.erase("crm_id:c1")
    event = updated("m1", anonymousId="a", context=ann | says(marketing=False))
    (outcome,) = shop.send(WEB, event)

    assert outcome.reason == "fenced"
    assert shop.node("anonymous_id:a") is None


# In any order and number.


def test_of_many_choices_of_one_message_only_those_that_count_are_written() -> None:
    """A public key must not decide how much there is to write."""
    shop = Shop()
    many = [
        updated(f"m{n}", n, anonymousId="a", context=says(marketing=n % 2 == 0, analytics=True))
        for n in range(200)
    ]
    shop.send(WEB, *many)
    told = [one for one in shop.rows.held("graph") if one["sk"].startswith("CONSENT#")]
    assert len(told) <= 2 * 2 * 2
    assert shop.state("anonymous_id:a", "marketing") == "denied"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([WEB, CRM]),
            st.sampled_from([0, 30, 60, 3600]),
            st.dictionaries(st.sampled_from(["marketing", "analytics"]), st.booleans(), min_size=1),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_choices_fold_alike_in_any_order_cut_and_number_beside_signals(
    told: list[tuple[Source, int, dict[str, bool], bool]], data: st.DataObject
) -> None:
    def event(number: int) -> tuple[Source, Json]:
        source, ago, choices, explicit = told[number]
        make = updated if explicit else lambda *a, **f: sent("page", *a, **f)
        who = {"userId": "42", "anonymousId": "a", "context": says(**choices)}
        return source, make(f"m{number}", ago, **who)

    def folded(numbers: list[int], *, together: bool) -> Any:
        shop = Shop()
        shop.send(CRM, order("o", userId="42", anonymousId="a"))
        if together:
            for source in (WEB, CRM):
                shop.send(source, *(e for s, e in map(event, numbers) if s is source))
        else:
            for number in numbers:
                shop.send(event(number)[0], event(number)[1])
        # What devices said again is not written (test_consent_folds has what holds of that).
        return shop.view("user_id:42").profile.choices

    once = folded([*range(len(told))], together=False)
    numbers = [*range(len(told)), *data.draw(st.lists(st.integers(0, len(told) - 1), max_size=2))]
    turned = data.draw(st.permutations(numbers))
    assert folded(turned, together=data.draw(st.booleans())) == once


@pytest.mark.parametrize("turn", list(permutations(range(3))))
def test_the_latest_choice_stands_in_any_order_of_arrival(turn: list[int]) -> None:
    shop = Shop()
    said = [
        updated("m1", 3 * MINUTE, userId="42", context=says(marketing=True)),
        updated("m2", 2 * MINUTE, userId="42", context=says(marketing=False)),
        updated("m3", MINUTE, userId="42", context=says(marketing=True)),
    ]
    for number in turn:
        shop.send(CRM, said[number])
    assert shop.state("user_id:42", "marketing") == "granted"


# POST /v1/consents.


@pytest.mark.parametrize(
    ("signals", "status", "code"),
    [
        ({"categoryPreferences": {"statistics": True}}, 400, "nothing_chosen"),
        ({"objection": True}, 400, "nothing_chosen"),
        ({"objection": ["astrology"]}, 400, "unknown_purpose"),
        ({"opt_out": ["selling"]}, 400, "bad_body"),
        ({"tcf": 7}, 400, "bad_body"),
        ({}, 400, "nothing_chosen"),
        ({"someTool": {"all": True}}, 400, "nothing_chosen"),
        ({"someTool": 1, "us_privacy": "1YNN"}, 400, "nothing_chosen"),
        ({"someTool": 1, "us_privacy": "1YYN"}, 200, "unknown_consent_form"),
        ({"us_privacy": "nonsense"}, 200, "bad_consent_string"),
    ],
)
def test_what_of_signals_does_not_count_is_told(
    monkeypatch: pytest.MonkeyPatch, signals: Json, status: int, code: str
) -> None:
    served = Served(monkeypatch)
    body, told = post(served, {"userId": "42", "signals": signals})

    assert (status, code) == (told, body.get("code") or body["notes"][0]["code"])
    assert "nonsense" not in str(body)
    assert bool(served.shop.rows.held("graph")) == (status == 200)


def post(served: Served, body: Json, trust: str = "server") -> tuple[Json, int]:
    key = {"Authorization": f"Bearer {served.write_key(trust)}"}
    call = {"resource": "/consents", "httpMethod": "POST", "headers": key}
    answer = served.invoke("api", call | {"body": json.dumps(body)})
    return json.loads(answer["body"]), answer["statusCode"]


@pytest.mark.parametrize(
    ("purposes", "categories", "expected"),
    [
        (True, True, ("api", True)),
        (True, False, ("api", False)),
        (False, True, ("api", False)),
    ],
)
def test_of_purposes_and_signals_that_disagree_the_denial_counts(
    monkeypatch: pytest.MonkeyPatch, purposes: bool, categories: bool, expected: tuple[str, bool]
) -> None:
    served = Served(monkeypatch)
    signals: Json = {"categoryPreferences": {"analytics": categories}}
    post(served, {"userId": "42", "purposes": {"analytics": purposes}, "signals": signals})
    assert records(served.shop) == [("analytics", expected[1], expected[0], "profile")]


def test_the_mechanism_is_that_of_the_signal_that_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(monkeypatch)
    everything = dict.fromkeys(("analytics", "marketing"), True)
    body = {"userId": "42", "purposes": everything, "signals": {"objection": ["marketing"]}}
    assert post(served, body) == ({"success": True}, 200)
    assert set(records(served.shop)) == {
        ("analytics", True, "api", "profile"),
        ("marketing", False, "objection", "profile"),
    }
    served = Served(monkeypatch)
    body = {"userId": "42", "purposes": {"marketing": False}, "signals": {"tcf": tcf(EVERY_TCF)}}
    post(served, body)
    assert ("marketing", False, "api", "profile") in records(served.shop)
    assert ("analytics", True, "tcf", "profile") in records(served.shop)


def test_no_denial_in_signals_is_lost_for_a_grant_that_cannot_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = Served(monkeypatch)
    signals: Json = {"categoryPreferences": {"analytics": True}, "opt_out": ["sale"], "new": 1}
    body, status = post(served, {"userId": "42", "signals": signals}, "client")

    assert status == 200
    codes = [(one["code"], one.get("name", "")) for one in body["notes"]]
    assert codes == [("unknown_consent_form", "new"), ("device_required", "")]
    assert records(served.shop) == [("sale_share", False, "opt_out", "profile")]
