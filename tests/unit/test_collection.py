"""Collection: real SDKs are understood, hostile input is refused, and what is dropped is told."""

import gzip
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from candor.collection import (
    MOST_BYTES,
    MOST_EVENT_BYTES,
    MOST_EVENTS,
    MOST_MERGED_BYTES,
    PATHS,
    PREFERENCES_UPDATED,
    Collected,
    collect,
    message,
    parse,
)
from candor.credentials import Source
from candor.errors import Refused
from candor.policy import DAY
from candor.ports import Key, Update
from candor.stores.rules import LARGEST_MESSAGE
from candor.transit import Transit
from candor.unification import unify
from tests.worlds import CRM, NOW, SHIPPED, WEB, Json, Shop, says, sent

PREFERENCES = "categoryPreferences"
LARGEST_ANSWER = 6 * 1024 * 1024
"""Bytes that Lambda hands over. A larger one becomes a 502, and the SDK sends everything again."""


def taken(*events: Any, keep: bool = False, now: float = NOW, **top: Any) -> Collected:
    body = parse(json.dumps({"batch": list(events), **top}).encode())
    return collect(body, "batch", SHIPPED, now, keep_unnamed=keep)


def one(event: Json, *, keep: bool = False, now: float = NOW, **top: Any) -> Json:
    collected = taken(event, keep=keep, now=now, **top)
    assert not collected.refused, collected.refused
    (event,) = collected.events
    return event


def refusals(*events: Any, **top: Any) -> list[str]:
    return [said["code"] for said in taken(*events, **top).refused]


def stripped(collected: Collected) -> set[str]:
    return {said["name"] for said in collected.stripped}


# What real SDKs do.


@pytest.mark.parametrize("path", sorted(PATHS))
def test_every_path_of_segments_api_takes_its_events(path: str) -> None:
    event = {"userId": "42", "event": "Signed In"}
    body = {"batch": [{**event, "type": "track"}]} if PATHS[path] == "batch" else event

    collected = collect(body, PATHS[path], SHIPPED, NOW, keep_unnamed=False)

    (found,) = collected.events
    assert found["type"] == ("track" if PATHS[path] == "batch" else PATHS[path])
    assert found["ids"] == [["user_id", "42"]]


def test_unused_ids_come_as_null_and_mean_nothing() -> None:
    nulls = dict.fromkeys(["userId", "groupId", "previousId", "category", "name", "traits"])

    event = one({"type": "page", "anonymousId": "a1", **nulls, "properties": None, "context": None})

    assert event["ids"] == [["anonymous_id", "a1"]]


def test_a_body_is_taken_gzipped_or_plain() -> None:
    body = json.dumps({"batch": []}).encode()

    assert parse(gzip.compress(body)) == parse(body) == {"batch": []}


def test_the_batchs_context_holds_for_every_event_and_an_events_own_wins() -> None:
    shared = {"locale": "de-AT", "timezone": "Europe/Vienna"}
    own = sent("page", "m1", anonymousId="a1", context={"locale": "en-GB"})

    event = one(own, context=shared)

    assert event["context"] == {"locale": "en-GB", "timezone": "Europe/Vienna"}


def test_a_self_alias_is_a_no_op() -> None:
    event = one(sent("alias", "m1", userId="42", previousId="42"))

    assert event["ids"] == [["user_id", "42"]]


def test_an_alias_names_both_identifiers() -> None:
    event = one(sent("alias", "m1", userId="42", previousId="a1"))

    assert event["ids"] == [["user_id", "42"], ["anonymous_id", "a1"]]


def test_identifiers_are_found_where_the_policy_says_strongest_first() -> None:
    traits = {"email": "Ann@Example.com", "phone": "+49 170 1234567"}
    context = {"device": {"id": "D1"}}

    event = one(sent("identify", "m", userId=42, anonymousId="a1", traits=traits, context=context))

    assert event["ids"] == [
        ["user_id", "42"],
        ["email", "ann@example.com"],
        ["phone", "+491701234567"],
        ["device_id", "D1"],
        ["anonymous_id", "a1"],
    ]


def test_a_groups_traits_are_not_its_members() -> None:
    collected = taken(sent("group", "m", userId="42", groupId="g", traits={"email": "i@corp.com"}))

    assert collected.events[0]["ids"] == [["user_id", "42"]]
    assert stripped(collected) == {"traits.email"}


# Names and times.


def test_a_client_clock_that_is_wrong_is_corrected() -> None:
    hour = 3600
    late = sent("page", "m1", ago=25 * hour, anonymousId="a1")  # happened an hour before sending
    stated_now = sent("page", "x", ago=24 * hour)["timestamp"]

    event = one(late, sentAt=stated_now)

    assert event["at"] == (NOW - hour) * 1000
    assert event["day"] == (NOW - 25 * hour) // DAY, "the day is the client's, so a retry keeps it"


@pytest.mark.parametrize("sent_at", ["2060-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "soon", 7])
def test_a_time_of_sending_that_cannot_be_loses_nothing_and_is_told(sent_at: Any) -> None:
    shop = Shop()
    event = sent("identify", "m", ago=3600, userId="42", traits={"name": "Ann"}, sentAt=sent_at)

    (note,) = taken(event).notes
    shop.send(CRM, event)

    assert (note["code"], "sentAt" in note["message"]) == ("bad_sent_at", True)
    assert one(event)["at"] == (NOW - 3600) * 1000
    assert shop.read("user_id:42")["traits"]["name"]["value"] == "Ann"


@pytest.mark.parametrize("years", [-1, 30])
def test_a_clock_that_is_years_off_is_corrected_all_the_same(years: int) -> None:
    behind = -years * 365 * DAY
    event = sent("identify", "m", ago=behind + 60, userId="42", traits={"name": "Ann"})

    collected = taken(event, sentAt=sent("page", "x", ago=behind)["timestamp"])

    assert [event["at"] for event in collected.events] == [(NOW - 60) * 1000]
    assert collected.notes == []


@given(
    st.sampled_from(["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"])
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    st.sampled_from(["originalTimestamp", "timestamp"]),
    st.integers(-100 * DAY, 100 * DAY),
)
@example("9999-01-01T00:00:00Z", "timestamp", 0)
def test_no_clock_makes_a_time_that_cannot_be(sent_at: str, field: str, ago: int) -> None:
    event = {**sent("page", "m", anonymousId="a", sentAt=sent_at)}
    event[field] = sent("page", "m", ago=ago)["timestamp"]

    for found in taken(event).events:
        assert 0 <= found["at"] <= NOW * 1000
        assert 0 <= found["day"] <= NOW // DAY


def test_an_event_that_should_be_gone_already_is_refused() -> None:
    kept = 90 * DAY

    assert refusals(sent("page", "m", ago=kept - DAY, anonymousId="a")) == []
    assert refusals(sent("page", "m", ago=kept + 2 * DAY, anonymousId="a")) == ["too_old"]


@pytest.mark.parametrize("stamp", ["yesterday", 1.79e9, "", [], {}, True, "2026-13-01", "9" * 99])
def test_a_time_that_is_none_is_refused_or_ignored_and_never_believed(stamp: Any) -> None:
    collected = taken({"type": "page", "anonymousId": "a", "timestamp": stamp})

    assert [said["code"] for said in collected.refused] in ([], ["bad_timestamp"])
    assert all(event["at"] == int(NOW * 1000) for event in collected.events)


def test_the_message_id_is_the_clients() -> None:
    assert one(sent("page", "m-1", anonymousId="a"))["id"] == "m-1"


@pytest.mark.parametrize("given_id", [None, "", 7, "x" * 257, "\ud800", "a\0b", ["m"]], ids=ascii)
def test_without_a_message_id_a_dated_event_is_named_by_its_content(given_id: Any) -> None:
    event = {**sent("page", "", anonymousId="a"), "messageId": given_id}

    first, again = (one({**event, "sentAt": f"2026-09-21T15:0{n}:00Z"}) for n in range(2))
    other = one({**event, "name": "Home"})

    assert first["id"] == again["id"] != other["id"]
    assert first["id"].isascii()


def test_equal_events_of_one_batch_stay_two() -> None:
    event = {**sent("page", "", anonymousId="a"), "messageId": None}

    first, second = taken(event, event).events

    assert first["id"] != second["id"]


def test_an_id_given_to_different_events_of_a_batch_is_told() -> None:
    page = sent("page", "m", anonymousId="a", context=says(analytics=True))
    others = [{**page, "properties": {"title": title}} for title in ("A", "B")]

    (note,) = taken(page, page, *others).answer()["notes"]

    assert (note["code"], note["indexes"]) == ("duplicate_message_id", [2, 3])
    assert "messageId" in note["fix"]


def test_without_a_message_id_and_a_time_every_event_is_another() -> None:
    event = {"type": "page", "anonymousId": "a"}

    assert one(event)["id"] != one(event)["id"]


# Stripping.


def test_what_the_policy_does_not_name_is_stripped_and_told_with_the_fix() -> None:
    collected = taken(
        sent(
            *("track", "m1"),
            userId="42",
            event="Signed Up",
            properties={"method": "web", "iban": "DE02120300000000202051"},
            context={"locale": "de", "shoeSize": 44, "traits": {"religion": "none"}},
            secret="s3cret",
        )
    )

    queued = json.dumps(collected.events)
    assert stripped(collected) == {
        "properties.iban",
        "context.shoeSize",
        "traits.religion",
        "secret",
    }
    assert all("policy.yaml" in said["fix"] for said in collected.stripped)
    assert {said["messageId"] for said in collected.stripped} == {"m1"}
    for gone in ("iban", "DE0212", "44", "religion", "s3cret"):
        assert gone not in queued
        assert "DE0212" not in json.dumps(collected.answer()), "names are told, and never values"
    assert collected.events[0]["properties"] == {"method": "web"}


@pytest.mark.parametrize("name", ["a\ud800b", "a\x00b", "a\nb", "x" * 10_240], ids=ascii)
def test_a_name_is_told_short_and_harmless(name: str) -> None:
    event = sent("track", "m", userId="1", event=name, properties={name: 1}, context={name: 1})

    collected = taken(event, keep=True, writeKey=name)

    for text in [*stripped(collected), *(note["name"] for note in collected.notes)]:
        assert text.isprintable()
        assert len(text) <= 80


def test_what_every_sdk_sends_of_its_surroundings_goes_without_a_word() -> None:
    context = {"ip": "203.0.113.7", "userAgent": "x", "library": {"name": "analytics.js"}}

    collected = taken(sent("page", "m", anonymousId="a", context=context), sentAt=None)

    assert collected.stripped == []
    assert "203.0.113.7" not in json.dumps(collected.events)


def test_an_unnamed_event_is_refused_with_the_fix() -> None:
    (said,) = taken(sent("track", "m", userId="1", event="Wishlist Shared")).refused

    assert said["code"] == "not_in_policy"
    assert "'Wishlist Shared'" in said["message"]
    assert "events" in said["message"]


def test_an_unnamed_event_is_kept_for_a_day_where_that_is_configured() -> None:
    event = sent("track", "m", userId="1", event="Wishlist Shared", properties={"any": 1})

    collected = taken(event, keep=True)

    assert collected.events[0]["unnamed"] is True
    assert collected.events[0]["properties"] == {"any": 1}
    (note,) = collected.notes
    assert note["code"] == "not_in_policy"
    assert "1 day" in note["kept"]


def test_an_old_unnamed_event_is_refused_because_its_day_is_over() -> None:
    event = sent("track", "m", ago=3 * DAY, userId="1", event="Wishlist Shared")

    assert refusals(event, keep=True) == ["too_old"]


@pytest.mark.parametrize("name", ["page", "identify", " ", "", None, 7])
def test_a_track_call_needs_a_name_of_its_own(name: Any) -> None:
    assert len(refusals(sent("track", "m", userId="1", event=name), keep=True)) == 1


def test_a_track_call_with_a_calls_name_is_told_so_and_is_no_unknown_name() -> None:
    collected = taken(sent("track", "m", userId="1", event="identify"))

    (said,) = collected.refused
    assert said["code"] == "bad_event_name"
    assert "policy" not in said["message"], "which names it"
    assert collected.names == set()


def test_properties_of_an_identify_call_are_said_to_be_traits() -> None:
    collected = taken(sent("identify", "m", userId="1", properties={"zz": 1}))

    (said,) = collected.stripped
    assert said["name"] == "properties.zz"
    assert "trait" in said["fix"]
    assert "policy.yaml" not in said["fix"]
    assert collected.names == set(), "no entry of the policy would keep it"


# Consent in the event.


@pytest.mark.parametrize("turn", [1, -1])
def test_categories_become_purposes_and_a_denial_wins(turn: int) -> None:
    choices = {"Advertising": True, "MARKETING": False, " analytics ": True, "other": True}
    context = {"consent": {"categoryPreferences": dict([*choices.items()][::turn])}}

    event = one(sent("page", "m", anonymousId="a", context=context))

    assert event["consent"] == {"marketing": False, "sale_share": True, "analytics": True}


@pytest.mark.parametrize("choice", [1, "true", "yes", None, [], {}, 1.0])
def test_only_true_grants(choice: Any) -> None:
    context = {"consent": {"categoryPreferences": {"analytics": choice}}}

    assert one(sent("page", "m", anonymousId="a", context=context))["consent"] == {
        "analytics": False
    }


@pytest.mark.parametrize(
    ("consent", "code", "names"),
    [
        ("yes", "bad_consent", ["consent"]),
        ({PREFERENCES: ["analytics"]}, "bad_consent", [PREFERENCES]),
        ({PREFERENCES: {"Analytics": "true"}}, "bad_consent", ["Analytics"]),
        ({PREFERENCES: {"Statistik": True}}, "unknown_consent_category", ["Statistik"]),
        ({PREFERENCES: {"a\nb": True}}, "unknown_consent_category", ["ab"]),
    ],
    ids=ascii,
)
def test_consent_that_cannot_count_is_told(consent: Any, code: str, names: list[str]) -> None:
    event = sent("track", "m", userId="1", event="Signed Up", context={"consent": consent})

    (note,) = taken(event).answer()["notes"]

    assert (note["code"], note["names"]) == (code, names)
    assert note["message"]
    assert note["fix"]


def test_traits_of_the_context_that_are_none_are_told() -> None:
    collected = taken(sent("identify", "m", userId="1", context={"traits": "vip"}))

    assert [(said["code"], said["name"]) for said in collected.stripped] == [
        ("not_an_object", "context.traits")
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("guest", "never names anybody"),
        ("x" * 300, "more than 256"),
        (42.5, "neither text"),
        (" ", "blank"),
        ("a\0b", "control"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_an_id_that_names_nobody_beside_one_that_does_is_told(value: Any, why: str) -> None:
    (note,) = taken(sent("identify", "m", userId=value, anonymousId="a1")).notes

    assert (note["code"], note["name"]) == ("ignored_identifier", "userId")
    assert why in note["message"]
    assert str(value).strip() == "" or str(value) not in json.dumps(note)
    assert taken(sent("identify", "m", userId="", anonymousId="a1")).notes == []


def test_an_event_that_will_need_a_grant_says_so() -> None:
    (note,) = taken(sent("page", "m", anonymousId="a")).notes

    assert note["code"] == "no_consent"
    assert note["purposes"] == ["analytics", "personalization"]
    granted = {"consent": {"categoryPreferences": {"analytics": True}}}
    assert taken(sent("page", "m", anonymousId="a", context=granted)).notes == []
    assert taken(sent("track", "m", userId="1", event="Signed Up")).notes == []


def test_a_grant_that_will_not_count_is_told_as_none() -> None:
    granted = {"consent": {"categoryPreferences": {"analytics": True, "personalization": True}}}
    page = sent("page", "m", userId="1", context=granted)

    def codes(sender: Source | None, event: Json, *, gpc: bool = False) -> list[str]:
        body = {"batch": [event]}
        found = collect(body, "batch", SHIPPED, NOW, keep_unnamed=False, sender=sender, gpc=gpc)
        return [note["code"] for note in found.notes]

    assert codes(WEB, page) == ["no_consent"], "a public key says nothing for a person it names"
    assert codes(CRM, page) == []
    assert codes(WEB, page | {"anonymousId": "a"}) == []
    ad = {"consent": {"categoryPreferences": {"advertising": True}}}
    install = sent("track", "m", anonymousId="a", event="Install Attributed", context=ad)
    assert codes(WEB, install) == []
    assert codes(WEB, install, gpc=True) == ["no_consent"]


def test_what_holds_for_many_events_is_told_once() -> None:
    pages = [sent("page", f"m{n}", anonymousId="a") for n in range(4)]
    tracks = [
        sent("track", f"t{n}", anonymousId="a", event=name)
        for n, name in enumerate(["Product List Viewed", "Product Viewed"])
    ]

    answer = taken(*pages, *tracks).answer()

    told = [(note["indexes"], note["names"]) for note in answer["notes"]]
    assert told == [
        ([0, 1, 2, 3, 4], ["page", "Product List Viewed"]),
        ([5], ["Product Viewed"]),
    ]


# Hostile input.

HOSTILE = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "text": b'"x"',
    "null": b"null",
    "not a number": b'{"batch": [NaN]}',
    "infinity": b'{"batch": [-Infinity]}',
    "a number without end": b'{"batch": [1e400]}',
    "a whole number without end": b'{"batch": [' + b"9" * 5000 + b"]}",
    "invalid UTF-8": b'{"batch": ["\xff\xfe"]}',
    "deep lists": b'{"batch": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "too much": b'{"batch": ["' + b"x" * MOST_BYTES + b'"]}',
    "a gzip bomb": gzip.compress(b'{"batch": ["' + b"x" * 50_000_000 + b'"]}'),
    "half a gzip": gzip.compress(b'{"batch": []}')[:-4],
    "no gzip": b"\x1f\x8b and so on",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        parse(HOSTILE[name])


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    for variant in (body, b"\x1f\x8b" + body, gzip.compress(body)):
        with suppress(Refused):
            assert isinstance(parse(variant), dict)


def test_duplicate_keys_are_one() -> None:
    body = parse(b'{"type":"page","userId":"1","userId":"2"}')

    assert collect(body, "page", SHIPPED, NOW, keep_unnamed=False).events[0]["ids"] == [
        ["user_id", "2"]
    ]


@pytest.mark.parametrize("id_", ["x" * 10_240, " ", "\0", "\ud800", [], {}, 1.5, True])
def test_an_id_that_names_nobody_is_no_id(id_: Any) -> None:
    assert refusals(sent("page", "m", userId=id_, anonymousId=id_)) == ["no_identifier"]


@pytest.mark.parametrize("event", [None, 7, "x", [], True])
def test_what_is_no_event_is_refused_by_itself(event: Any) -> None:
    collected = taken(sent("page", "m1", anonymousId="a"), event)

    assert [said["index"] for said in collected.refused] == [1]
    assert len(collected.events) == 1


def test_a_refused_event_never_takes_its_neighbours_along() -> None:
    huge = sent("page", "big", anonymousId="a", properties={"title": "x" * MOST_EVENT_BYTES})

    collected = taken(huge, sent("page", "m", anonymousId="a"), sent("dance", "d", userId="1"))

    assert [said["code"] for said in collected.refused] == ["event_too_large", "unknown_type"]
    assert [event["id"] for event in collected.events] == ["m"]


def test_too_many_events_are_refused_together() -> None:
    with pytest.raises(Refused):
        taken(*[{}] * (MOST_EVENTS + 1))
    with pytest.raises(Refused):
        collect({"batch": {"type": "page"}}, "batch", SHIPPED, NOW, keep_unnamed=False)


NAMES = """
    type event name userId anonymousId previousId messageId timestamp originalTimestamp sentAt
    context integrations properties traits consent categoryPreferences device id email phone
    campaign locale batch analytics writeKey consentManagement allowedConsentIds deniedConsentIds
    consentMode ad_storage tcf gpp us_privacy
"""
WEIRD: list[Any] = ["", " ", "\0", "\ud800", "x" * 300, "x" * 10_240, "null", "page", "track"]
WEIRD += ["identify", "alias", "group", "screen", "Signed Up", "ann@example.com", "granted", "1YYN"]
WEIRD += [PREFERENCES_UPDATED]
WEIRD += ["2026-09-20T10:00:00Z", 0, -1, 10**30, 1.5, -0.0, True, False, None, [], {}]
names = st.sampled_from(NAMES.split())
weird = st.sampled_from(WEIRD)
any_name = st.text() | st.sampled_from(["a\ud800", "\udfff", "n\0", "x" * 999])
hostile_json = st.recursive(
    weird | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | any_name, inner),
    max_leaves=25,
)
hostile_events = st.dictionaries(names, hostile_json, max_size=9)


@given(
    st.dictionaries(names, hostile_json, max_size=5),
    st.lists(hostile_events | hostile_json, max_size=4),
    st.sampled_from(sorted(PATHS)),
    st.booleans(),
)
def test_no_json_makes_collection_fail_otherwise_than_by_refusing(
    top: Json, batch: list[Any], path: str, keep: bool
) -> None:
    sent_body = json.dumps({**top, "batch": batch}).encode()
    try:
        body = parse(sent_body)
        collected = collect(body, PATHS[path], SHIPPED, NOW, keep_unnamed=keep)
    except Refused:
        return
    queued = json.dumps(message(collected, {}, WEB, NOW)).encode()
    assert json.loads(queued)
    assert json.dumps(collected.answer()).encode()
    assert json.dumps(collected.answer(), ensure_ascii=False).encode(), "no lone surrogates"
    Shop().unify(json.loads(queued))


def deep(levels: int) -> Collected | None:
    nested = "[" * levels + "]" * levels
    event = '{"type":"track","event":"Deep","userId":"1","messageId":"m","properties":{"a":%s}}'
    try:
        body = parse(b'{"batch":[' + (event % nested).encode() + b"]}")
    except Refused:
        return None
    collected = collect(body, "batch", SHIPPED, NOW, keep_unnamed=True)
    return collected if collected.events else None


def test_what_is_taken_is_never_too_deep_to_be_stored_and_read() -> None:
    deepest = next(levels for levels in range(1100, 0, -1) if deep(levels))

    for levels in range(deepest, deepest - 8, -1):
        shop, collected = Shop(), deep(levels)
        assert collected
        unify(message(collected, {}, WEB, NOW), shop.world)
        assert json.dumps({"answer": {"data": shop.event_ids("user_id:1")}})
        events = shop.view("user_id:1").events()
        assert json.dumps({"answer": {"data": events}})


def test_the_answer_to_the_largest_request_can_be_given() -> None:
    """Each unnamed field costs the sender few bytes, and the answer many."""
    junk = {f"k{number}": 1 for number in range(15)}
    body = json.dumps({"batch": [{"type": "page", "userId": "1", **junk}] * MOST_EVENTS})
    assert len(body.replace(" ", "")) <= MOST_BYTES

    collected = collect(json.loads(body), "batch", SHIPPED, NOW, keep_unnamed=True)

    assert len(json.dumps(collected.answer())) < LARGEST_ANSWER
    assert stripped(collected), "and still says what was stripped"


def test_a_shared_context_counts_in_every_event_that_it_is_merged_into() -> None:
    """120 KB must not become 70 MB for unify to open."""
    shared = {"campaign": {"name": "x" * 30_000}}
    events = [{"type": "page", "anonymousId": f"a{n}"} for n in range(MOST_EVENTS)]
    try:
        collected = taken(*events, context=shared)
    except Refused:
        return

    assert len(json.dumps(collected.events)) < 1.1 * MOST_MERGED_BYTES


def test_the_largest_message_fits_the_queue() -> None:
    letters = "".join(chr(33 + (n * n + n // 7) % 90) for n in range(30_000))
    filled = [sent("page", f"m{n}", anonymousId="a") for n in range(15)]
    for number, event in enumerate(filled):
        event["properties"] = {"title": letters[number:] + letters[:number]}
    shop = Shop()
    shop.rows.update(Update(Key("keys", "warm"), set={"salt": b"x"}))

    collected = taken(*filled)
    body = Transit(shop.rows, shop.world.vault, shop.clock).seal(message(collected, {}, WEB, NOW))

    assert len(collected.events) == 15
    assert len(body) <= LARGEST_MESSAGE


# What the answer must not keep to itself.


def test_traits_that_consent_keeps_out_are_told() -> None:
    event = sent("identify", "m", userId="42", traits={"favourite_category": "shoes", "name": "A"})

    (note,) = taken(event).notes

    assert note["code"] == "no_consent"
    assert note["name"] == "traits.favourite_category"
    assert note["purposes"] == ["marketing", "personalization"]


def test_a_group_keeps_its_id_and_says_what_becomes_of_its_traits() -> None:
    collected = taken(sent("group", "m", userId="42", groupId="acme", traits={"size": 7}))

    assert collected.events[0]["properties"] == {"groupId": "acme"}
    (said,) = collected.stripped
    assert said["name"] == "traits.size"
    assert "identify" in said["fix"]


def test_half_a_character_becomes_the_sign_for_one() -> None:
    properties = {"title": "x\ud83d", "path": "\ud83d\ude00"}

    event = one(sent("page", "m", anonymousId="a", properties=properties))

    assert event["properties"] == {"title": "x\ufffd", "path": "\U0001f600"}


@pytest.mark.parametrize("name", ["a\ud800b", "a\x00b", "a\nb"], ids=ascii)
def test_an_event_is_not_named_by_broken_characters(name: str) -> None:
    assert refusals(sent("track", "m", userId="42", event=name), keep=True) == ["bad_event_name"]


def test_a_trait_too_large_for_its_row_is_stripped_and_said_so() -> None:
    traits = {"name": "Ann", "company": "x" * 5000}

    collected = taken(sent("identify", "m", userId="42", traits=traits))

    assert collected.events[0]["traits"] == {"name": "Ann"}
    assert [said["code"] for said in collected.stripped] == ["value_too_large"]
