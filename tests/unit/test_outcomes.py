"""Nothing is dropped silently: everything is counted, once, and by nobody's name."""

import json
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import collection, outcomes, transit
from candor.policy import DAY
from candor.ports import Conflict
from tests.served import Served
from tests.worlds import CRM, NOW, SHIPPED, WEB, Json, Shop, order, sent

TODAY = int(NOW // DAY)


def counted(shop: Shop, source: str = "web") -> dict[str, int]:
    told = outcomes.listing(shop.rows, 30, shop.clock())
    (found,) = [one["outcomes"] for one in told if one["source"] == source] or [{}]
    return dict(found)


def named(shop: Shop) -> set[tuple[str, ...]]:
    told = outcomes.listing(shop.rows, 30, shop.clock())
    return {tuple(name.values()) for one in told for name in one["names"]}


def message(*events: Any, now: float = NOW, **top: Any) -> Json:
    """As it lies in the queue, what was not taken included."""
    body = {"batch": list(events), **top}
    collected = collection.collect(body, "batch", SHIPPED, now, keep_unnamed=False)
    taken: Json = json.loads(json.dumps(collection.message(collected, body, WEB, now)))
    return taken


MIXED = (
    order("o1", userId="1"),
    sent("page", "p1", anonymousId="a"),
    sent("track", "t1", userId="1", event="Never Named"),
    sent("track", "t2", userId="1", event="Signed Up", properties={"iban": "DE02", "method": "w"}),
    "no event",
)


def test_what_is_refused_stripped_or_dropped_is_counted_by_reason() -> None:
    shop = Shop()
    shop.unify(message(*MIXED))

    assert counted(shop) == {
        "dropped:no_consent": 1,
        "refused:not_an_object": 1,
        "refused:not_in_policy": 1,
        "stripped:not_in_policy": 1,
    }
    assert named(shop) == {("events", "", "Never Named"), ("properties", "Signed Up", "iban")}


def test_a_message_that_comes_twice_and_a_request_that_is_sent_again_count_once() -> None:
    shop = Shop()
    named = [event for event in MIXED if isinstance(event, dict)]
    for turn in range(3):
        again = message(*named, now=NOW + turn, sentAt=f"2026-09-21T15:0{turn}:00Z")
        shop.unify(again)
        shop.unify(again)

    assert counted(shop)["dropped:no_consent"] == 1
    assert counted(shop)["refused:not_in_policy"] == 1


def test_another_request_with_the_same_mistake_counts_again() -> None:
    shop = Shop()
    for number in range(3):
        shop.unify(message(sent("track", f"t{number}", userId="1", event="Never Named")))

    assert counted(shop) == {"refused:not_in_policy": 3}


def test_a_request_that_is_refused_as_a_whole_counts() -> None:
    shop = Shop()
    for refusal in [collection.refusal("bad_json", WEB, NOW) for _ in range(3)]:
        shop.unify(refusal)
        shop.unify(refusal)  # the queue may deliver it twice

    assert counted(shop) == {"request_refused:bad_json": 3}


@pytest.mark.parametrize(
    "event", [{"type": "track", "userId": "same", "event": ""}, "no event"], ids=ascii
)
def test_a_client_that_is_broken_the_same_way_every_time_shows_how_often(event: Any) -> None:
    """Without a messageId a retry looks like the next mistake, and hiding many would be worse."""
    shop = Shop()
    for _ in range(4):
        again = message(event)
        shop.unify(again)
        shop.unify(again)

    assert list(counted(shop).values()) == [4]


def test_a_request_that_fits_no_message_counts_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(monkeypatch)
    monkeypatch.setattr(transit, "MOST_BYTES", 2_000)
    noise = "".join(f"{number:x}" for number in range(3_000))
    event = sent("page", "m", anonymousId="a", properties={"title": noise})
    status, answer = served.collect({"batch": [event]}, served.write_key("client"))
    served.unify()

    assert (status, answer["code"]) == (400, "body_too_large")
    (told,) = outcomes.listing(served.shop.rows, 30, served.shop.clock())
    assert told["outcomes"] == {"request_refused:body_too_large": 1}


def test_what_is_stored_counts_once_however_often_the_stream_tells_of_it() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="1"), order("o2", userId="1"))
    shop.send(WEB, order("o3", userId="2"))
    for _ in range(2):
        outcomes.count_stored(shop.rows, shop.rows.held("events"), shop.clock())

    assert counted(shop, "crm") == {"stored": 2}
    assert counted(shop, "web") == {"stored": 1}


def test_clean_traffic_costs_no_count() -> None:
    shop = Shop()
    shop.unify(message(order("o1", userId="1")))

    assert shop.rows.held("counts") == []


@pytest.mark.parametrize(
    "hostile",
    [
        "ann@example.com",
        "+49 170 1234567",
        "user 1234567",
        "born 1987",
        "x" * 65,
        "030 123 45 67",
        "12.05.87",
        "٠١٢٣ x",
        "a\nb",
        "a\tb",
        "",
        " ",
        "{{7*7}}",
        "<script>",
        "4111 1111 1111 1111",
    ],
    ids=ascii,
)
def test_a_name_that_may_be_somebodys_data_is_counted_and_not_kept(hostile: str) -> None:
    shop = Shop()
    event = sent("track", "t", userId="1", event="Signed Up", properties={hostile: 1})
    shop.unify(message(event, sent("track", "u", userId="1", event=hostile or "?")))

    assert named(shop) == set()
    assert "stripped:not_in_policy" in counted(shop)
    assert hostile.strip() == "" or hostile not in repr(shop.rows.held("counts"))


@pytest.mark.parametrize(
    "name", ["größe", "gro\u0308\u00dfe", "ключ", "顧客区分", "2fa_enabled", "3D Secure"], ids=ascii
)
def test_a_name_in_letters_of_any_script_is_kept(name: str) -> None:
    shop = Shop()
    shop.unify(message(sent("track", "t", userId="1", event="Signed Up", properties={name: 1})))

    assert named(shop) == {("properties", "Signed Up", name)}


def test_no_more_names_than_200_a_source_and_day() -> None:
    shop = Shop()
    for part in range(5):
        names = {f"prop_{part}_{n}": 1 for n in range(90)}
        shop.unify(
            message(sent("track", f"t{part}", userId="1", event="Signed Up", properties=names))
        )

    assert len(named(shop)) == outcomes.MOST_NAMES
    assert counted(shop) == {"stripped:not_in_policy": 450}


def test_counts_and_names_end_after_30_days() -> None:
    shop = Shop()
    shop.unify(message(*MIXED))
    shop.clock.advance(30 * DAY)
    assert shop.rows.held("counts")
    assert all(row["ttl"] <= (TODAY + 32) * DAY for row in shop.rows.held("counts"))
    shop.clock.advance(2 * DAY)
    shop.expire()

    assert shop.rows.held("counts") == []


@given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=12))
def test_any_repetition_of_counts_counts_each_once(told: Collection[str]) -> None:
    shop = Shop()
    for once in told:
        outcomes.count(shop.rows, "web", NOW, {"dropped:fenced": 1}, once)

    assert counted(shop).get("dropped:fenced", 0) == len(set(told))


def test_two_counts_that_meet_both_count() -> None:
    shop = Shop()
    met = iter([True, False])
    commit = shop.rows.commit

    def meeting(*writes: Any) -> None:
        if next(met, False):
            raise Conflict
        commit(*writes)

    shop.rows.commit = meeting  # type: ignore[method-assign]
    outcomes.count(shop.rows, "web", NOW, {"stored": 1}, "a")

    assert counted(shop) == {"stored": 1}
