"""Unification: duplicates, order, retries and crashes change nothing that a reader sees."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candor import bundles, traits
from candor.credentials import Source
from candor.errors import NotFound
from candor.outcomes import listing
from candor.policy import DAY
from candor.ports import Unavailable
from candor.unification import HOMES, Unfinished, unify
from tests.worlds import (
    APP,
    CRM,
    NOW,
    SHIPPED,
    WEB,
    Json,
    Shop,
    broken_rules,
    crash_at,
    order,
    policy,
    recorded,
    says,
    sent,
)

ANN = "user_id:42"

# Traits are folds.

facts = st.tuples(
    st.sampled_from([1, "1", True, 1.0, None, "x", [1], {"a": 1}]),
    st.sampled_from([0, 1000, 2000]),
    st.sampled_from(["web", "crm"]),
    st.none() | st.just("device"),
    st.booleans(),
    st.sampled_from(["crm", "app", "gone"]),
).map(list)
registers = st.dictionaries(st.sampled_from(["plan", "name"]), facts, max_size=2)


def same(one: Any, other: Any) -> bool:
    """Equal as a reader gets it: True is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(registers, registers, registers)
def test_traits_fold_alike_in_any_order_and_number(one: Json, two: Json, three: Json) -> None:
    folded = traits.fold(SHIPPED, one, two, three)

    assert same(traits.fold(SHIPPED, three, one, two), folded)
    assert same(traits.fold(SHIPPED, traits.fold(SHIPPED, two, three), one), folded)
    assert same(traits.fold(SHIPPED, folded, folded, two), folded)


@pytest.mark.parametrize("values", [(1, True), (0, False), (1, 1.0), ("1", 1), (None, 0)])
def test_the_same_moments_values_fold_alike_when_stored(values: tuple[Any, Any]) -> None:
    seen = []
    for turn in (values, values[::-1]):
        shop = Shop()
        for value in turn:
            shop.send(CRM, sent("identify", repr(value), userId="42", traits={"plan": value}))
        seen.append(json.dumps(shop.read(ANN)["traits"]))

    assert seen[0] == seen[1]


def test_the_latest_fact_stands_however_late_an_older_one_arrives() -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "m2", ago=60, userId="42", traits={"plan": "gold"}))
    shop.send(CRM, sent("identify", "m1", ago=600, userId="42", traits={"plan": "free"}))

    assert shop.view(ANN).traits() == {"plan": "gold"}


# Anything twice, in any order, cut anyhow.

DEVICES = ("anonymous_id:a1", "anonymous_id:a2", "anonymous_id:a3", "device_id:d1")
TRAITS = st.dictionaries(
    st.sampled_from(["name", "plan", "company"]),
    st.sampled_from(["x", "y", 1, None, ["z"]]),
    max_size=2,
)
AGO = st.sampled_from([0, 60, 120, 90_000, 200_000])
SIGNALS = st.dictionaries(st.sampled_from(["marketing", "personalization"]), st.booleans())


def named(event: Json, source: Source) -> Json:
    """The same event has the same messageId, and another source's has another."""
    text = json.dumps([event, source.id], sort_keys=True)
    return {**event, "messageId": hashlib.sha256(text.encode()).hexdigest()[:12]}


@st.composite
def happenings(draw: st.DrawFn) -> tuple[Source, Json]:
    """Something that needs no consent, so that no order can make it unwelcome."""
    source = draw(st.sampled_from([WEB, APP, CRM]))
    event = draw(
        st.sampled_from(
            [order("", draw(AGO)), sent("identify", "", draw(AGO), traits=draw(TRAITS))]
        )
    )
    event["context"] = says(analytics=True, **draw(SIGNALS))
    if draw(st.booleans()):
        event["anonymousId"] = draw(st.sampled_from(["a1", "a2", "a3"]))
    if source is CRM:
        event["userId"] = "42"
        if draw(st.booleans()):
            event["context"]["traits"] = {"email": "ann@example.com"}
    elif "anonymousId" not in event or draw(st.booleans()):
        event["context"]["device"] = {"id": "d1"}
    return source, named(event, source)


JOINED = named(
    sent("identify", "", userId="42", anonymousId="a1", context={"device": {"id": "d1"}}), CRM
)
Requests = list[tuple[Source, list[Json]]]
histories = st.lists(happenings(), min_size=1, max_size=8)


def told(shop: Shop, history: Requests) -> Any:
    """What readers see after these requests."""
    for source, events in history:
        shop.send(source, *events)
    shop.send(CRM, JOINED)
    assert broken_rules(shop) == []
    return shop.read_for_all(ANN)


@st.composite
def requests(draw: st.DrawFn, history: list[tuple[Source, Json]]) -> Requests:
    """The same events, some of them twice, in any order, cut into requests anyhow."""
    cuts: Requests = []
    for source in (WEB, APP, CRM):
        events = [event for sender, event in history if sender is source]
        events += draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
        events = draw(st.permutations(events))
        while events:
            size = draw(st.integers(1, len(events)))
            cuts.append((source, events[:size]))
            events = events[size:]
    return cuts


def request(shop: Shop, source: Source, events: list[Json], late: int) -> Json:
    """The message of a request that is received, and says that it was sent, so much later."""
    shop.clock.now = NOW + late
    stamp = sent("", "", ago=-late)["timestamp"]
    return shop.message(source, *({**event, "sentAt": stamp} for event in events))


@settings(max_examples=2 * settings().max_examples)
@given(histories, st.data())
def test_any_cutting_duplication_order_and_retry_folds_to_the_same_profile(
    history: list[tuple[Source, Json]], data: st.DataObject
) -> None:
    cuts = data.draw(requests(history))
    whole, once = Shop(), Shop()
    tries = st.lists(st.sampled_from([0, 1, 90, 3000]), min_size=1)
    arrived = [request(whole, *cut, late) for cut in cuts for late in data.draw(tries)]
    arrived += data.draw(st.lists(st.sampled_from(arrived), max_size=3))
    for message in data.draw(st.permutations(arrived)):
        whole.unify(message)
    for cut in cuts:
        once.unify(request(once, *cut, 0))

    seen = told(whole, [])
    assert seen == told(Shop(), [(source, [event]) for source, event in history])
    assert bundle_names(whole) == bundle_names(once), "a retry overwrites what it was"
    ids = {event["messageId"] for _, event in history if event["type"] == "track"}
    views = [whole.event_ids(who) for who in (ANN, *DEVICES) if whole.node(who)]
    assert {id_ for view in views for id_ in view} == ids
    assert all(len(set(view)) == len(view) for view in views)


def bundle_names(shop: Shop) -> set[tuple[str, str]]:
    return {(row["pk"], row["sk"]) for row in shop.rows.held("events")}


def test_a_retried_batch_is_stored_once() -> None:
    """The archive hears of INSERT only: a retry must overwrite, and never insert again."""
    shop = Shop()
    batch = [order(f"o{n}", ago=n * 40_000, userId="42", anonymousId=f"a{n % 3}") for n in range(9)]
    batch.append(sent("page", "p1", anonymousId="a1", context=says(analytics=True)))
    message = shop.message(CRM, *batch)
    shop.unify(message)
    first = {(row["pk"], row["sk"]): row["n"] for row in shop.rows.held("events")}
    seen = shop.read(ANN)

    shop.clock.advance(3600)
    retried = shop.message(CRM, *[{**event, "sentAt": _now(shop)} for event in batch])
    for again in (message, retried):
        shop.unify(again)

    assert {(row["pk"], row["sk"]): row["n"] for row in shop.rows.held("events")} == first
    assert shop.read(ANN)["events"] == seen["events"]


def _now(shop: Shop) -> str:
    stamp: str = sent("x", "", ago=NOW - shop.clock())["timestamp"]
    return stamp


def test_a_bundle_is_named_by_all_that_was_sent_whatever_consent_drops() -> None:
    """Consent may come between a request and its retry, which must find the same row."""
    shop = Shop()
    signed_in = sent("track", "m1", anonymousId="a1", event="Signed In")
    request = shop.message(WEB, signed_in, sent("page", "m2", anonymousId="a1"))
    shop.unify(request)
    assert shop.event_ids("anonymous_id:a1", "privacy_rights") == ["m1"]

    shop.choose("anonymous_id:a1", {"analytics": True}, WEB)
    shop.unify(request)

    (bundle,) = shop.rows.held("events")
    assert bundle["n"] == 2


def test_a_retry_that_takes_longer_dates_its_events_anew_and_still_overwrites() -> None:
    shop = Shop()
    request = [order("o1", userId="42", sentAt=sent("x", "")["timestamp"])]
    for _ in range(3):
        shop.send(CRM, *request)
        shop.clock.advance(60)

    assert len(shop.rows.held("events")) == 1


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=40))
def test_bundles_are_cut_alike_every_time_and_never_too_big(sizes: list[int]) -> None:
    parts = list(bundles.cut(sizes, lambda size: size))

    assert [size for part in parts for size in part] == sizes
    assert parts == list(bundles.cut(iter(sizes), lambda size: size))
    assert all(sum(part) <= bundles.MOST_BYTES for part in parts)


def test_no_bundle_holds_more_than_its_number_of_events() -> None:
    shop = Shop()
    shop.send(CRM, *(order(f"o{n}", userId="42") for n in range(600)))

    assert sorted(row["n"] for row in shop.rows.held("events")) == [88, 256, 256]
    events, cursor = shop.view(ANN).events(limit=500)
    assert cursor
    assert len(events) + len(shop.view(ANN).events(500, cursor)[0]) == 600


def test_many_events_of_one_person_are_one_write() -> None:
    shop = Shop()
    events = [order(f"o{n}", ago=n, userId="42") for n in range(100)]

    calls = recorded(shop, lambda: shop.send(CRM, *events))

    (bundle,) = calls.before("rows.put")
    assert len(bundle) == 1
    assert calls.before("rows.query") == [], "nothing is read to know whether it was there"


# Crashes.


def work(shop: Shop) -> None:
    """A visitor signs up, is refused as somebody else, and comes from the CRM."""
    everything = says(analytics=True, marketing=False)
    signed_up = sent("identify", "i1", userId="42", anonymousId="a1", traits={"name": "Ann"})
    seen = sent("page", "p1", anonymousId="a1", context=everything)
    shop.send(WEB, seen, signed_up, order("o1", anonymousId="a1", userId="42"))
    shop.send(CRM, sent("identify", "i2", userId="43", anonymousId="a1", traits={"plan": "free"}))
    known = {"email": "ann@example.com", "plan": "gold"}
    shop.send(CRM, sent("identify", "i3", userId="42", traits=known), order("o2", userId="42"))


def choose(shop: Shop) -> None:
    both = {"marketing": True, "personalization": False}
    shop.choose((ANN, "anonymous_id:a1"), both, CRM, evidence={"form": "7"})
    shop.choose("anonymous_id:a9", {"analytics": True}, WEB)


def merged(shop: Shop) -> None:
    shop.send(CRM, order("o3", userId="42", anonymousId="a8"))
    shop.send(WEB, sent("identify", "i8", anonymousId="a8", context={"device": {"id": "d8"}}))


def nothing(shop: Shop) -> None:
    pass


def others(shop: Shop) -> None:
    shop.send(WEB, order("o4", anonymousId="a8"), order("o5", anonymousId="a9"))


@pytest.mark.parametrize(
    ("before", "done", "who"),
    [
        (nothing, work, ANN),
        (work, work, ANN),
        (work, choose, ANN),
        (others, merged, "anonymous_id:a8"),
    ],
)
def test_a_crash_at_any_store_call_and_a_repeat_leave_what_no_crash_leaves(
    before: Callable[[Shop], None], done: Callable[[Shop], None], who: str
) -> None:
    whole = Shop()
    before(whole)
    done(whole)
    expected, size = whole.read_for_all(who), len(whole.rows.held("graph"))

    crashed, place = True, -1
    while crashed:
        place += 1
        shop = Shop()
        before(shop)
        crashed = crash_at(shop, place, lambda shop=shop: done(shop))  # type: ignore[misc]
        assert broken_rules(shop) == [], f"after a crash at step {place}"
        done(shop)
        assert broken_rules(shop) == []
        assert shop.read_for_all(who) == expected
        assert len(shop.rows.held("graph")) == size, f"after a crash at step {place}"
    assert place > 20


def test_an_outage_is_told_as_one() -> None:
    shop = Shop()
    message = shop.message(CRM, order("o1", userId="42"))

    def tap(call: str, detail: Any) -> None:
        raise Unavailable(call)

    shop.rows.tap = tap
    with pytest.raises(Unavailable):
        shop.unify(message)


# What is dropped, and why.


def test_each_event_has_its_outcome_and_none_is_personal() -> None:
    shop = Shop()
    page = sent("page", "p1", anonymousId="a1", name="ann@example.com")

    outcomes = shop.send(WEB, page, order("o1", anonymousId="a1"))

    assert [(o.type, o.name, o.source, o.outcome, o.reason) for o in outcomes] == [
        ("page", "page", "web", "dropped", "no_consent"),
        ("track", "Order Completed", "web", "stored", ""),
    ]


def test_a_custom_events_name_is_not_told_in_outcomes() -> None:
    shop = Shop()
    event = sent("track", "m1", userId="42", event="Ann Smith's Birthday")

    (outcome,) = shop.unify(shop.message(CRM, event, keep_unnamed=True))

    assert outcome.name == "(unnamed)"


@pytest.mark.parametrize("before", [True, False])
def test_consent_of_the_same_request_counts_wherever_it_stands_in_it(before: bool) -> None:
    shop = Shop()
    pages = [
        sent("page", "p1", anonymousId="a1", context=says(analytics=True)),
        sent("page", "p2", anonymousId="a1"),
    ]

    shop.send(WEB, *(pages if before else reversed(pages)))

    assert set(shop.event_ids("anonymous_id:a1", "analytics")) == {"p1", "p2"}


def test_a_trait_without_its_consent_is_not_stored() -> None:
    shop = Shop()
    about = {"name": "Ann", "favourite_category": "shoes"}
    shop.send(WEB, sent("identify", "i1", anonymousId="a1", traits=about))
    shop.choose("anonymous_id:a1", {"marketing": True, "personalization": True}, WEB)

    assert shop.view("anonymous_id:a1", "privacy_rights").traits() == {"name": "Ann"}


@pytest.mark.parametrize("source", [WEB, CRM], ids=lambda source: source.id)
def test_a_denial_of_any_of_an_events_people_keeps_it_out(source: Source) -> None:
    shop = Shop()
    shop.choose(ANN, {"analytics": False})
    page = sent("page", "p1", userId="42", anonymousId="a1", context=says(analytics=True))

    (outcome,) = shop.send(source, page)

    assert outcome.reason == "no_consent"
    assert shop.rows.held("events") == []


def test_a_trait_without_its_consent_is_counted() -> None:
    shop = Shop()
    told: Json = {"traits": {"birthday": "1990-01-01", "gender": "f"}}
    shop.send(CRM, sent("identify", "i", userId="1", **told))

    (day,) = listing(shop.rows, 7, shop.clock())
    assert day["outcomes"] == {"trait_dropped:no_consent": 2}


def test_a_message_of_before_a_policy_change_keeps_only_what_is_still_named() -> None:
    shop = Shop()
    about = {"plan": "gold", "name": "Ann", "email": "ann@example.com"}
    event = sent("identify", "i1", userId="42", traits=about, context=says(marketing=True))
    message = shop.message(CRM, event)

    def without(compiled: Json) -> None:
        del compiled["traits"]["plan"], compiled["identifiers"]["email"]
        del compiled["purposes"]["sale_share"]
        compiled["consent_categories"]["advertising"] = ["marketing"]

    later = Shop(policy(without))
    later.unify(message)

    assert later.view(ANN).traits() == {"email": "ann@example.com", "name": "Ann"}
    assert [one["type"] for one in later.view(ANN).identifiers()] == ["user_id"]


def test_nothing_that_was_sent_is_readable_where_it_is_held() -> None:
    shop = Shop()
    canaries = {
        "email": "canary-email@example.com",
        "phone": "+4915550001111",
        "name": "Canary Name",
        "address": {"street": "Canary Street"},
    }
    context = {"device": {"id": "canary-device"}, "timezone": "Canary/Zone", **says(analytics=True)}
    ids: Json = {"userId": "canary-user", "anonymousId": "canary-anonymous"}
    page = {"title": "Canary Title", "url": "https://example.com/canary-url"}
    shop.send(
        CRM,
        sent("identify", "canary-message-1", **ids, traits=canaries, context=context),
        sent("page", "canary-message-2", **ids, properties=page, context=context),
        order("canary-message-3", **ids),
    )
    shop.choose("user_id:canary-user", {"marketing": False}, evidence={"spoken": "Canary Evidence"})
    shop.acknowledge("email:other@example.com")

    held = repr(shop.rows.held()).lower()

    assert "canary" not in held
    assert "4915550001111" not in held
    assert shop.view("user_id:canary-user").traits()["name"] == "Canary Name", "and yet it is there"


# What a public key can and cannot do to somebody.


def test_what_a_public_key_says_of_a_person_never_outranks_the_shop() -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "i1", userId="42", traits={"name": "Ann"}))

    shop.send(WEB, sent("identify", "i2", userId="42", traits={"name": "Eve", "plan": "pro"}))
    shop.send(WEB, sent("identify", "i3", userId="42", anonymousId="a9", traits={"name": "Eve"}))

    assert shop.view(ANN).traits() == {"name": "Ann", "plan": "pro"}


def test_a_profile_full_of_devices_silences_none() -> None:
    shop = Shop()
    flood = [sent("identify", f"f{n}", userId="42", anonymousId=f"flood-{n}") for n in range(60)]
    shop.send(WEB, *flood)

    (outcome,) = shop.send(WEB, order("o1", userId="42", anonymousId="the real browser"))

    assert (outcome.outcome, outcome.reason) == ("stored", "")
    assert shop.event_ids("anonymous_id:the real browser") == ["o1"]
    assert "anonymous_id:the real browser" not in shop.read(ANN)["identifiers"]
    assert broken_rules(shop) == []

    shop.erase(ANN)

    with pytest.raises(NotFound):
        shop.view("anonymous_id:the real browser")
    assert not shop.rows.held("events")


def test_an_alias_of_somebody_erased_stays_out_whatever_the_old_id_was() -> None:
    shop = Shop()
    shop.send(CRM, sent("identify", "i1", userId="ann@old.example"))
    shop.erase("user_id:ann@old.example")

    outcomes = shop.send(CRM, sent("alias", "a1", userId="new", previousId="ann@old.example"))

    assert [one.reason for one in outcomes] == ["fenced"]
    assert shop.node("user_id:new") is None


@pytest.mark.parametrize("apart", [False, True])
def test_a_message_that_time_cuts_off_gets_on_with_each_delivery(apart: bool) -> None:
    shop = Shop()
    message = shop.message(CRM, *(order(f"o{n}", userId=f"u{n}") for n in range(3 * HOMES)))
    waiting, deliveries = [message], 0

    while waiting:
        deliveries += 1
        time = enough_for((1 + apart) * HOMES + 5)
        waiting = unify(waiting.pop(), shop.world, time, apart=apart)[1]

    assert deliveries == 3, "each gets through a part and some of the next"
    assert all(shop.event_ids(f"user_id:u{n}") == [f"o{n}"] for n in range(3 * HOMES))


@pytest.mark.parametrize("apart", [False, True])
def test_what_time_cuts_off_is_counted_once_for_each_event(apart: bool) -> None:
    shop = Shop()
    pages = (sent("page", f"p{n}", userId=f"u{n}") for n in range(3 * HOMES))
    message = shop.message(CRM, *pages) | {"counts": {"refused:bad": 7}, "names": [], "once": "x"}
    waiting = [message]

    while waiting:
        one = waiting.pop()
        for _ in range(2):  # the first answer is lost, and it comes again
            waiting = unify(one, shop.world, enough_for(2 * HOMES), apart=apart)[1]

    (day,) = listing(shop.rows, 7, shop.clock())
    assert day["outcomes"] == {"dropped:no_consent": 3 * HOMES, "refused:bad": 7}


def test_a_message_without_time_for_anything_has_failed() -> None:
    shop = Shop()
    with pytest.raises(Unfinished):
        unify(shop.message(CRM, order("o", userId="u")), shop.world, enough_for(0))


def enough_for(steps: int) -> Callable[[], bool]:
    """Time that is up after it was asked for so often."""
    asked = iter(range(steps))
    return lambda: next(asked, None) is not None


# A message that fails.


class Poison(Exception):
    """What a defect in us would raise."""


def poisoned(shop: Shop, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Whatever is stored of these people fails, for a reason of its own."""
    bad, put = {shop.id(name).key for name in names}, bundles.put

    def failing(world: Any, home: str, *rest: Any, **more: Any) -> Any:
        if home in bad:
            raise Poison(home)
        return put(world, home, *rest, **more)

    monkeypatch.setattr(bundles, "put", failing)


def test_one_bad_event_takes_no_neighbour_to_the_dead_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop()
    people = [f"u{n}" for n in range(5)]
    message = shop.message(CRM, *(order(f"o-{name}", userId=name) for name in people * 2))
    poisoned(shop, monkeypatch, "user_id:u3")
    with pytest.raises(Poison):
        unify(message, shop.world)

    outcomes, failing = unify(message, shop.world, apart=True)

    assert [[event["id"] for event in one["events"]] for one in failing] == [["o-u3"] * 2]
    assert failing[0]["apart"]
    assert {one.outcome for one in outcomes} == {"stored"}
    assert len(outcomes) == 8
    for name in (name for name in people if name != "u3"):
        assert shop.event_ids(f"user_id:{name}") == [f"o-{name}"]
    monkeypatch.undo()
    shop.unify(failing[0])
    assert shop.event_ids("user_id:u3") == ["o-u3"], "it is stored as soon as it can be"


def test_an_event_that_cannot_even_be_read_goes_alone() -> None:
    shop = Shop()
    message = shop.message(CRM, order("o1", userId="1"), order("o2", userId="2"))
    del message["events"][0]["ids"]

    _, failing = unify(message, shop.world, apart=True)

    assert [[event["id"] for event in one["events"]] for one in failing] == [["o1"]]
    assert shop.event_ids("user_id:2") == ["o2"]


def test_stored_apart_or_together_is_the_same() -> None:
    seen = []
    for apart in (False, True):
        shop = Shop()
        events = [order(f"o{n}", userId=f"u{n % 3}", anonymousId=f"a{n % 2}") for n in range(12)]
        message = shop.message(CRM, *events)
        if apart:
            assert unify(message, shop.world, apart=True)[1] == []
        else:
            unify(message, shop.world)
        assert not broken_rules(shop)
        seen.append({row["sk"] for row in shop.rows.held("events")})

    assert seen[0] == seen[1]


def test_an_outage_is_not_taken_for_a_bad_event() -> None:
    shop = Shop()
    message = shop.message(CRM, order("o1", userId="1"), order("o2", userId="2"))

    def out(call: str, _: Any) -> None:
        if call == "rows.put:before":
            raise Unavailable("throttled")

    shop.rows.tap = out
    with pytest.raises(Unavailable):
        unify(message, shop.world, apart=True)


# Global Privacy Control.


def gpc(shop: Shop, source: Source, *events: Json) -> Json:
    message = shop.message(source, *events)
    for event in message["events"]:
        event["gpc"] = True
    return message


def test_gpc_denies_for_the_person_from_when_it_was_first_seen() -> None:
    shop = Shop()
    shop.choose("user_id:42", {"sale_share": True}, ago=3600)
    visit = order("o1", ago=60, userId="42", anonymousId="a")
    shop.unify(gpc(shop, WEB, visit))

    assert shop.state("user_id:42", "sale_share") == "denied"
    (record,) = [
        r
        for r in shop.view("user_id:42", "privacy_rights").consent_records()
        if r["mechanism"] == "gpc"
    ]
    assert record["at"] == NOW - 60


def test_gpc_counts_for_the_event_that_it_first_comes_with() -> None:
    shop = Shop()
    granted: Json = {"anonymousId": "a", "context": says(advertising=True)}
    event = sent("track", "m", event="Install Attributed", properties={}, **granted)
    purposes = shop.policy.events["Install Attributed"].purposes
    assert purposes <= shop.policy.gpc | {"analytics"}

    (outcome,) = shop.unify(gpc(shop, WEB, event))

    assert outcome.reason == "no_consent"


def test_gpc_that_goes_on_says_nothing_new() -> None:
    shop = Shop()
    shop.unify(gpc(shop, WEB, order("o1", ago=60, userId="42", anonymousId="a")))
    shop.choose("user_id:42", {"sale_share": True}, ago=30)
    before = shop.rows.held("graph")
    shop.unify(gpc(shop, WEB, order("o2", ago=10, userId="42", anonymousId="a")))

    assert shop.state("user_id:42", "sale_share") == "granted", "what the person chose since stands"
    assert shop.rows.held("graph") == before

    shop.unify(gpc(shop, WEB, order("o3", ago=5, userId="42", anonymousId="another browser")))
    assert shop.state("user_id:42", "sale_share") == "denied"


def test_gpc_counts_where_nothing_may_be_stored() -> None:
    shop = Shop()
    (outcome,) = shop.unify(gpc(shop, WEB, sent("page", "p", anonymousId="a")))

    assert outcome.reason == "no_consent"
    assert shop.state("anonymous_id:a", "sale_share") == "denied"


# Which of two values.


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_values_of_one_moment_the_kind_that_the_policy_trusts_more_wins(turn: int) -> None:
    shop = Shop()
    server = Source("server", "shop server", "server", "server")
    said = [(CRM, "crm's"), (server, "server's")][::turn]
    for source, plan in said:
        shop.send(source, sent("identify", plan, userId="42", traits={"plan": plan}))

    assert shop.view(ANN).traits()["plan"] == "server's"


def test_a_trait_that_nobody_confirmed_for_long_is_stale() -> None:
    days = 100
    shop = Shop(policy(lambda it: it["traits"]["plan"].update(verify_within=days)))
    shop.send(CRM, sent("identify", "m1", userId="42", traits={"plan": "free"}))

    def plan() -> tuple[bool, int | None]:
        told = shop.view(ANN).traits(verbose=True)["plan"]
        return told["stale"], told["verified_at"]

    assert plan() == (False, NOW * 1000)
    shop.clock.advance(days * DAY)
    assert plan() == (True, NOW * 1000)
    later = shop.clock() - NOW
    shop.send(CRM, sent("identify", "m2", ago=-later, userId="42", traits={"plan": "free"}))
    assert plan() == (False, shop.clock() * 1000), "who says the same again confirms it"


def test_what_only_a_public_key_said_was_never_verified() -> None:
    shop = Shop(policy(lambda it: it["traits"]["plan"].update(verify_within=100)))
    shop.send(WEB, sent("identify", "m1", userId="42", traits={"plan": "free"}))

    told = shop.view(ANN).traits(verbose=True)["plan"]
    assert (told["stale"], told["verified_at"]) == (True, None)


# Who knows of an event


@pytest.mark.parametrize("stated", [True, False])
def test_a_public_key_neither_replaces_nor_hides_what_the_server_said(stated: bool) -> None:
    shop = Shop()
    shop.send(CRM, order("order-1", userId="42"))
    forged = order("order-1", userId="42") | {"properties": {"total": 1}}
    if not stated:
        forged = sent("track", "order-1", userId="42", event="Signed Out") | {"timestamp": None}

    shop.send(WEB, forged)

    events = shop.view("user_id:42").events()[0]
    assert ("crm", 9) in {(event["source"], event["properties"].get("total")) for event in events}
    assert len(events) == 2, "both are told, with who said it"


def test_an_unproven_event_does_not_replace_the_proven_one_of_the_same_key() -> None:
    shop = Shop()
    event = order("order-1", userId="42")
    message = shop.message(WEB, event)
    proven = json.loads(json.dumps(message))
    proven["events"][0]["trust"] = "verified"
    shop.unify(proven)

    message["events"][0]["properties"] = {"total": 1}
    shop.unify(message)

    totals = [one["properties"]["total"] for one in shop.view("user_id:42").events()[0]]
    assert sorted(totals) == [1, 9]


def test_pages_of_events_miss_none_of_those_that_share_a_messageid() -> None:
    shop = Shop()
    for source in (CRM, WEB):
        shop.send(source, order("o", userId="42"), order("p", userId="42"))

    found, cursor = shop.view("user_id:42").events(1)
    while cursor:
        more, cursor = shop.view("user_id:42").events(1, cursor)
        found += more

    assert sorted((one["messageId"], one["source"]) for one in found) == sorted(
        (id_, source.id) for id_ in "op" for source in (CRM, WEB)
    )
