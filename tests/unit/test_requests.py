"""Privacy requests: what they wait for, how they are taken back, and what acts at once."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import erasure, fencing, keyring, requests, rights
from candor.errors import Clash, NotFound, Refused
from candor.policy import DAY, iso
from candor.ports import Key, Put, Table, Update
from candor.requests import Asking
from candor.restore import replay
from candor.retention import sweep
from candor.separation import separate
from candor.transit import LIFE_SECONDS
from tests.worlds import (
    CRM,
    NOW,
    WEB,
    Json,
    Shop,
    after_each_crash,
    broken_rules,
    crash_at,
    order,
    policy,
    says,
    sent,
)

ANN, MAIL = "user_id:42", "email:ann@example.com"
ASKING = Asking("t", "a test")


def shop_that(**erasing: Any) -> Shop:
    """With Ann as a customer, where an erasure waits for something."""
    shop = Shop(policy(lambda compiled: compiled["erasure"].update(erasing)))
    shop.send(CRM, sent("identify", "i1", userId="42", traits={"email": "ann@example.com"}))
    shop.send(CRM, order("o1", userId="42"))
    return shop


def swept(shop: Shop) -> None:
    sweep(shop.erasure, shop.world, shop.workflow, lambda: True)


def salts(shop: Shop) -> int:
    return sum("salt" in row for row in shop.rows.held("keys"))


def hidden(shop: Shop) -> bool:
    try:
        shop.view(ANN)
    except NotFound:
        return True
    return False


def test_who_waits_is_hidden_and_nothing_comes_in() -> None:
    shop = shop_that(waiting_days=7)
    before = shop.rows.held("events")

    id_ = shop.acknowledge(MAIL)

    assert shop.request(id_)["status"] == "pending"
    assert requests.shown(shop.request(id_))["acts_at"]
    assert hidden(shop)
    assert [one.reason for one in shop.send(CRM, order("o2", userId="42"))] == ["fenced"]
    assert shop.rows.held("events") == before
    assert salts(shop) == 2
    assert not shop.workflow.started


def test_when_the_wait_is_over_the_sweep_destroys() -> None:
    shop = shop_that(waiting_days=7)
    id_ = shop.acknowledge(MAIL)
    shop.clock.advance(7 * DAY - 1)
    swept(shop)
    assert salts(shop) == 2
    shop.clock.advance(2)
    swept(shop)
    assert salts(shop) == 0
    assert shop.request(id_)["status"] == "running"
    assert shop.erase(MAIL) == id_


def test_what_was_queued_while_somebody_waited_is_certified_too() -> None:
    shop = shop_that(waiting_days=7)
    id_ = shop.acknowledge(MAIL)
    shop.clock.advance(7 * DAY + 1)
    swept(shop)
    shop.erase(MAIL)
    told = shop.request(id_)["horizons"]
    (until,) = (one["until"] for one in told if "transit" in one["what"])
    assert until == iso(shop.clock() + LIFE_SECONDS)


def test_who_is_taken_back_is_there_as_before() -> None:
    shop = shop_that(waiting_days=7)
    before = shop.read(ANN)
    id_ = shop.acknowledge(MAIL)

    for _ in "twice":
        assert erasure.cancel(shop.erasure, id_)["status"] == "cancelled"

    assert shop.read(ANN) == before
    shop.send(CRM, order("o2", userId="42"))
    assert set(shop.event_ids(ANN)) == {"o1", "o2"}
    again = shop.acknowledge(MAIL)
    assert again != id_
    assert shop.request(again)["status"] == "pending"


def test_a_denial_of_who_is_hidden_holds_when_they_are_back() -> None:
    shop = shop_that(waiting_days=7)
    shop.choose(ANN, {"marketing": True})
    id_ = shop.acknowledge(MAIL)
    shop.clock.advance(60)
    shop.choose(ANN, {"marketing": False})
    shop.choose(ANN, {"analytics": True})
    erasure.cancel(shop.erasure, id_)
    assert shop.state(ANN, "marketing") == "denied"
    assert shop.state(ANN, "analytics") == "unknown"


def test_the_second_person_is_another_one() -> None:
    shop = shop_that(second_person=True)
    id_ = shop.acknowledge(MAIL)
    assert requests.shown(shop.request(id_))["awaits_approval"]
    assert salts(shop) == 2
    with pytest.raises(Clash):
        requests.approve(shop.erasure, id_, "t")
    requests.approve(shop.erasure, id_, "another")
    assert erasure.advance(shop.erasure, shop.workflow, id_)["status"] == "running"
    assert salts(shop) == 0
    with pytest.raises(Clash):
        requests.approve(shop.erasure, shop.acknowledge("user_id:1"), "t")


def test_a_refusal_says_its_ground() -> None:
    shop = shop_that(second_person=True)
    id_ = shop.acknowledge(MAIL)
    erasure.refuse(shop.erasure, id_, "legal_claims")
    told = requests.shown(shop.request(id_))
    assert (told["status"], told["ground"]) == ("refused", "legal_claims")
    assert not hidden(shop)


def test_what_is_destroyed_is_not_taken_back() -> None:
    shop = shop_that()
    id_ = shop.acknowledge(MAIL)
    with pytest.raises(Clash):
        erasure.cancel(shop.erasure, id_)
    with pytest.raises(Clash):
        erasure.refuse(shop.erasure, id_, "excessive")
    assert hidden(shop)
    assert shop.request(id_)["status"] == "running"


def erased_before(shop: Shop) -> str:
    """Somebody whose erasure is completed."""
    shop.send(CRM, order("o9", userId="9"))
    shop.acknowledge("user_id:9")
    shop.clock.advance(8 * DAY)
    swept(shop)
    return shop.erase("user_id:9")


def registers(shop: Shop) -> bool:
    """Whether they may, who were erased before."""
    shop.clock.advance(1)
    shop.choose("user_id:9", {"analytics": True})
    event = order("o10", NOW - shop.clock(), userId="9")
    return [one.reason for one in shop.send(CRM, event)] != ["fenced"]


def test_nobody_registers_anew_while_they_are_to_be_kept_out_for_good() -> None:
    shop = shop_that(waiting_days=7)
    erased_before(shop)
    second = shop.acknowledge("user_id:9", "erase_and_suppress")
    assert not registers(shop)
    shop.clock.advance(8 * DAY)
    swept(shop)
    assert shop.erase("user_id:9", "erase_and_suppress") == second
    assert not registers(shop)
    rights.lift_fence(shop.erasure, shop.id("user_id:9"))
    assert registers(shop)


def test_taking_back_leaves_an_earlier_erasure_as_it_was() -> None:
    shop = shop_that(waiting_days=7)
    erased_before(shop)
    fence = shop.rows.held("keys")
    second = shop.acknowledge("user_id:9", "erase_and_suppress")
    assert shop.rows.held("keys") != fence
    erasure.cancel(shop.erasure, second)
    assert shop.rows.held("keys") == fence
    assert [one.reason for one in shop.send(CRM, order("o11", userId="9"))] == ["fenced"]
    assert registers(shop)


def test_whom_a_request_kept_out_for_good_no_later_one_lets_in() -> None:
    shop = shop_that(waiting_days=7)
    shop.send(CRM, order("o9", userId="9"))
    shop.acknowledge("user_id:9", "erase_and_suppress")
    shop.clock.advance(8 * DAY)
    swept(shop)
    first = shop.erase("user_id:9", "erase_and_suppress")
    shop.clock.advance(4 * 365 * DAY)  # nothing is known of that request any more
    second = shop.acknowledge("user_id:9", "erase")
    assert second != first
    assert not registers(shop)
    shop.clock.advance(8 * DAY)
    swept(shop)
    assert shop.erase("user_id:9", "erase") == second
    assert not registers(shop)


def test_a_crash_while_taking_back_is_mended_by_the_sweep() -> None:
    def waiting() -> Shop:
        shop = shop_that(waiting_days=7)
        shop.acknowledge(MAIL)
        return shop

    def work(shop: Shop) -> None:
        (row,) = shop.rows.held("requests")
        erasure.cancel(shop.erasure, row["pk"])

    shops = after_each_crash(work, waiting)
    assert len(shops) > 3
    for shop in shops:
        swept(shop)
        (row,) = shop.rows.held("requests")
        assert hidden(shop) == (row["status"] == "pending")
        assert salts(shop) == 2


def test_a_crash_while_asking_is_taken_up_by_the_sweep() -> None:
    for shop in after_each_crash(lambda shop: shop.acknowledge(MAIL), shop_that):
        shop.clock.advance(DAY)
        swept(shop)
        for row in shop.rows.held("requests"):
            assert row["status"] == "running"
            assert shop.workflow.started
            assert salts(shop) == 0


def test_who_asks_again_joins_a_request_that_stopped_at_any_place() -> None:
    for shop in after_each_crash(lambda shop: shop.acknowledge(MAIL), shop_that):
        asked = [row["pk"] for row in shop.rows.held("requests")]
        begun = any("state" in row for row in shop.rows.held("graph"))
        again = shop.acknowledge(MAIL)
        assert again in asked or not begun
        assert shop.request(again)["status"] == "running"
        assert salts(shop) == 0


def test_a_machine_that_is_late_leaves_what_was_registered_since() -> None:
    shop = shop_that()
    id_ = shop.erase(MAIL)
    shop.clock.advance(60)
    shop.choose(ANN, {"analytics": True})
    shop.clock.advance(60)
    shop.send(CRM, order("o2", -120, userId="42"))
    before = shop.rows.held()

    erasure.plan(shop.erasure, id_)
    for store in ("graph", "events", "queues"):
        erasure.erase(shop.erasure, store, id_)
    assert erasure.verify(shop.erasure, id_)["clean"]
    erasure.certify(shop.erasure, shop.signer, id_)

    assert shop.event_ids(ANN) == ["o2"]
    assert shop.rows.held() == before


def test_who_ended_before_an_erasure_that_crashed_is_kept_out() -> None:
    def ended() -> Shop:
        shop = shop_that()
        shop.clock.advance(4 * 365 * DAY)
        return shop

    for shop in after_each_crash(lambda shop: shop.acknowledge(MAIL), ended):
        now = -4 * 365 * DAY
        (told,) = shop.send(CRM, order("o2", now, userId="42", traits={}))
        assert told.outcome == "stored" or told.reason == "fenced"
        shop.clock.advance(DAY)
        swept(shop)
        for row in shop.rows.held("requests"):
            assert row["status"] == "running"
        assert hidden(shop) or told.outcome == "stored"


def test_two_requests_that_meet_leave_nobody_hidden_for_nothing() -> None:
    shop = Shop(policy(lambda compiled: compiled["identifiers"]["anonymous_id"].update(limit=1)))
    shop.send(WEB, order("o", anonymousId="tablet"))
    for user in "12":
        shop.send(CRM, order(f"own{user}", userId=user, anonymousId=f"own{user}"))
    shop.send(CRM, order("b", userId="1", anonymousId="own2"))
    late = shop.ask("anonymous_id:own1")
    first = shop.acknowledge("user_id:1")
    with pytest.raises(Clash):
        erasure.advance(shop.erasure, shop.workflow, late["pk"])
    assert shop.request(late["pk"])["status"] == "refused"
    assert shop.request(first)["status"] == "running"


def test_what_was_denied_outlives_the_data() -> None:
    shop = shop_that()
    shop.choose(ANN, {"marketing": False, "analytics": True})
    shop.clock.advance(60)
    shop.erase(MAIL)
    shop.clock.advance(60)
    shop.choose(ANN, {"analytics": True})
    assert shop.state(ANN, "marketing") == "denied"
    assert shop.state(ANN, "analytics") == "granted"
    (told,) = [one for one in shop.view(ANN).consent_records() if one["purpose"] == "marketing"]
    assert told["mechanism"] == "erasure"
    shop.clock.advance(60)
    shop.choose(ANN, {"marketing": True})
    assert shop.state(ANN, "marketing") == "granted"


def test_a_second_erasure_forgets_no_denial_of_the_first() -> None:
    shop = shop_that()
    shop.choose(ANN, {"marketing": False})
    shop.erase(MAIL)
    shop.clock.advance(60)
    shop.choose(ANN, {"personalization": True})
    shop.choose(ANN, {"analytics": False})
    shop.erase(ANN)
    row = shop.rows.held("keys")[0]
    assert set(row["objections"]) >= {"analytics", "marketing"}


def test_who_is_restricted_is_kept_and_not_used() -> None:
    shop = shop_that()
    before = {purpose: shop.read(ANN, purpose) for purpose in ("service", "privacy_rights")}
    row = rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    assert row["status"] == "running"
    joined = rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    assert joined["pk"] == row["pk"]
    assert shop.read(ANN)["events"] == []
    assert shop.read(ANN)["traits"] == {}
    assert all("restricted" in one["because"] for one in _withheld(shop))
    assert shop.read(ANN, "privacy_rights")["events"] == before["privacy_rights"]["events"]
    assert [one.outcome for one in shop.send(CRM, order("o2", userId="42"))] == ["dropped"]

    lifted = rights.lift(shop.erasure, shop.world, row, "t")
    assert lifted["status"] == "completed"
    assert shop.read(ANN)["events"] == before["service"]["events"]


def test_a_restriction_that_is_over_lifts_no_later_one() -> None:
    shop = shop_that()
    first = rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    over = rights.lift(shop.erasure, shop.world, first, "t")
    shop.clock.advance(60)
    second = rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    assert second["pk"] != first["pk"]
    shop.clock.advance(60)

    assert rights.lift(shop.erasure, shop.world, over, "t")["status"] == "completed"

    assert not shop.view(ANN).may("service").allowed


def test_how_somebody_was_verified_ends_with_their_request() -> None:
    shop = shop_that(waiting_days=7)
    row = rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    rights.lift(shop.erasure, shop.world, row, "t")
    with pytest.raises(NotFound):
        rights.restrict(shop.erasure, shop.world, shop.id("user_id:nobody"), ASKING)
    erasure.cancel(shop.erasure, shop.acknowledge(MAIL))
    assert len(shop.rows.held("requests")) == 3
    assert not [row for row in shop.rows.held("requests") if "salt" in row]


def _withheld(shop: Shop) -> list[Json]:
    view = shop.view(ANN)
    view.events()
    view.traits()
    return view.withheld()


def test_a_restriction_outlives_merges_and_splits_and_stops_deletions() -> None:
    shop = shop_that()
    agreed = says(analytics=True, personalization=True)
    shop.send(WEB, sent("page", "p1", anonymousId="a1", context=agreed))
    rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    shop.choose((ANN, "anonymous_id:a1"), {"analytics": False, "personalization": False})
    assert shop.read("anonymous_id:a1", "analytics")["events"] == []
    shop.clock.advance(DAY)
    swept(shop)
    assert "p1" in shop.event_ids(ANN, "privacy_rights")
    separate(shop.world, shop.id(ANN), shop.id("anonymous_id:a1"), "t", "a test")
    for part in (ANN, "anonymous_id:a1"):
        assert "restricted" in shop.view(part).may("service").because


def test_an_objection_ends_what_rests_on_a_legitimate_interest() -> None:
    shop = Shop(
        policy(
            lambda compiled: compiled["purposes"]["profiling"].update(basis="legitimate_interest")
        )
    )
    shop.send(CRM, order("o1", userId="42"))
    assert shop.view(ANN).may("profiling").allowed
    row = rights.object_(shop.erasure, shop.world, shop.id(ANN), [], ASKING)
    assert row["status"] == "completed"
    assert not shop.view(ANN).may("profiling").allowed
    assert "salt" not in shop.request(row["pk"])


def test_an_objection_to_nothing_is_refused() -> None:
    shop = shop_that()
    with pytest.raises(Refused):
        rights.object_(shop.erasure, shop.world, shop.id(ANN), [], ASKING)
    with pytest.raises(Refused):
        rights.object_(shop.erasure, shop.world, shop.id(ANN), ["no purpose"], ASKING)
    assert not shop.rows.held("requests"), "what is no purpose may be anything"


def test_who_is_restricted_while_it_is_lifted_has_a_request_that_can_be_lifted_again() -> None:
    shop = shop_that()
    first = restricts(shop, ANN)

    met: list[str] = []

    def lift(call: str, detail: object) -> None:
        if (
            call == "rows.commit:before" and not met
        ):  # it was found in force, and is to be said again
            met.append(call)
            rights.lift(shop.erasure, shop.world, first, "staff")

    shop.rows.tap = lift
    second = restricts(shop, ANN)
    shop.rows.tap = None
    assert met
    assert (second["pk"] != first["pk"], second["status"]) == (True, "running")
    assert not shop.event_ids(ANN)
    rights.lift(shop.erasure, shop.world, second, "staff")
    assert shop.event_ids(ANN) == ["o1"]


def test_what_was_taken_back_is_not_said_again_when_older_tables_come_back() -> None:
    shop = shop_that()
    shop.choose(ANN, {"marketing": True})

    def ask(shop: Shop) -> None:
        objects_to(shop, ANN, "marketing")

    assert crash_at(shop, 6, lambda: ask(shop))
    (row,) = [one for one in shop.rows.held("requests") if one["type"] == "objection"]
    assert row["status"] == "pending"
    assert shop.state(ANN, "marketing") == "granted"
    erasure.cancel(shop.erasure, row["pk"])
    replayed(shop)
    assert shop.state(ANN, "marketing") == "granted"


def test_what_is_corrected_is_right_from_then_on() -> None:
    shop = shop_that()
    shop.send(CRM, sent("identify", "i2", userId="42", traits={"name": "Anm"}))
    shop.clock.advance(1)
    row = rights.rectify(shop.erasure, shop.world, shop.id(MAIL), {"name": "Ann"}, ASKING)
    assert row["status"] == "completed"
    assert shop.view(ANN).traits()["name"] == "Ann"
    assert "Ann" not in repr(shop.rows.held())
    for who, said in ((MAIL, {"shoe size": 1}), ("user_id:nobody", {"name": "x"})):
        with pytest.raises((Refused, NotFound)):
            rights.rectify(shop.erasure, shop.world, shop.id(who), said, ASKING)


def test_a_fence_is_lifted_by_a_person_when_the_erasure_is_over() -> None:
    shop = shop_that()
    with pytest.raises(NotFound):
        rights.lift_fence(shop.erasure, shop.id(ANN))
    shop.acknowledge(ANN, "erase_and_suppress")
    with pytest.raises(Clash):
        rights.lift_fence(shop.erasure, shop.id(ANN))
    shop.erase(ANN, "erase_and_suppress")
    rights.lift_fence(shop.erasure, shop.id(ANN))
    shop.clock.advance(1)
    shop.send(CRM, order("o2", NOW - shop.clock(), userId="42"))
    assert shop.event_ids(ANN) == ["o2"]
    assert [one.reason for one in shop.send(CRM, order("old", ago=60, userId="42"))] == ["fenced"]


@given(st.integers(0, 4_000_000_000))
def test_a_month_is_a_month(now: int) -> None:
    asked, due = (datetime.fromtimestamp(at, UTC) for at in (now, requests.answer_by(now, "gdpr")))
    assert (due.year * 12 + due.month) - (asked.year * 12 + asked.month) == 1
    assert due.day == asked.day or (due.day < asked.day and (due.day >= 28))
    assert due.time() == asked.time()
    assert requests.answer_by(now, "ccpa") == now + 45 * DAY


def test_no_request_names_anybody() -> None:
    shop = shop_that(waiting_days=1)
    shop.acknowledge(MAIL)
    assert "ann@example.com" not in repr(shop.rows.held("requests"))
    assert shop.rows.get([Key("requests", "nobody")]) == {}


def test_of_many_each_is_asked_for_once() -> None:
    shop = shop_that()
    shop.send(CRM, order("o9", userId="9"))
    under_way = shop.acknowledge("user_id:9")
    subjects = [shop.id(one) for one in (ANN, "user_id:9", "user_id:7", ANN)]

    row = requests.open_many(shop.erasure, shop.world.vault, subjects, "erase", ASKING)

    assert len(row["requests"]) == 3
    assert under_way in row["requests"]
    told = requests.progress(shop.erasure, row)
    assert told["statuses"] == {"pending": 2, "running": 1}
    for id_ in row["requests"]:
        erasure.advance(shop.erasure, shop.workflow, id_)
    assert requests.progress(shop.erasure, row)["statuses"] == {"running": 3}
    with pytest.raises(NotFound):
        requests.find(shop.rows, row["pk"])
    with pytest.raises(NotFound):
        requests.many(shop.rows, under_way)


def test_who_is_named_twice_among_many_needs_nobody() -> None:
    shop = shop_that(second_person=True)
    subjects = [shop.id(one) for one in (ANN, MAIL)]
    row = requests.open_many(shop.erasure, shop.world.vault, subjects, "erase", ASKING)
    assert len(requests.progress(shop.erasure, row)["attention"]) == 2
    first, second = row["requests"]
    requests.approve(shop.erasure, first, "another")
    erasure.advance(shop.erasure, shop.workflow, first)
    with pytest.raises(Clash):
        erasure.advance(shop.erasure, shop.workflow, second)
    assert requests.progress(shop.erasure, row)["attention"] == []


def test_of_many_none_is_lost_to_a_crash() -> None:
    def work(shop: Shop) -> None:
        subjects = [shop.id(f"user_id:{n}") for n in range(1, 61)]
        requests.open_many(shop.erasure, shop.world.vault, subjects, "erase", ASKING)

    for shop in after_each_crash(work, shop_that):
        written = sum(row["type"] == "erasure" for row in shop.rows.held("requests"))
        shop.clock.advance(DAY)
        swept(shop)
        assert len(shop.workflow.started) == written


def test_what_is_destroyed_in_part_cannot_be_taken_back() -> None:
    shop = shop_that()
    id_ = shop.acknowledge(ANN)
    erasure.fail(shop.erasure, id_)
    requests.taken_up(shop.erasure, shop.request(id_))  # and crashes
    with pytest.raises(Clash):
        erasure.cancel(shop.erasure, id_)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("swept_first", [True, False])
def test_a_request_that_was_made_twice_destroys_nothing_of_who_registered_anew(
    known: bool, swept_first: bool
) -> None:
    who = ANN if known else "user_id:7"
    shop = shop_that()
    orphan = shop.ask(who)["pk"]  # its maker crashed, and asked again
    id_ = shop.acknowledge(who)
    if swept_first:
        shop.clock.advance(7200)
        swept(shop)
    assert shop.erase(who) == id_
    shop.clock.advance(60)
    shop.choose(who, {"analytics": True})
    shop.clock.advance(7200)
    swept(shop)
    assert shop.request(orphan)["status"] == "refused"
    assert shop.view(who).identifiers()


# Restored tables


def backed_up(shop: Shop, *tables: Table) -> list[tuple[Key, Json]]:
    found = [(t, row) for t in tables for row in shop.rows.held(t)]
    return [(Key(t, row["pk"], row.get("sk")), dict(row)) for t, row in found]


def restore(shop: Shop, saved: list[tuple[Key, Json]], *tables: Table) -> None:
    """Tables as they were when they were saved."""
    for table in tables:
        gone = [Key(table, row["pk"], row.get("sk")) for row in shop.rows.held(table)]
        shop.rows.delete(gone)
    named = [(key, row) for key, row in saved if key.table in tables]
    bare = ("pk", "sk")
    shop.rows.put([Put(k, {n: v for n, v in row.items() if n not in bare}) for k, row in named])


def replayed(shop: Shop) -> Json:
    return replay(shop.erasure, shop.world, "", lambda: True)


def approved(shop: Shop, id_: str) -> None:
    requests.approve(shop.erasure, id_, "another")
    erasure.advance(shop.erasure, shop.workflow, id_)


def carried_out(shop: Shop, id_: str) -> None:
    """What the machine does."""
    erasure.plan(shop.erasure, id_)
    for store in ("graph", "events", "queues"):
        erasure.erase(shop.erasure, store, id_)
    erasure.verify(shop.erasure, id_)
    erasure.certify(shop.erasure, shop.signer, id_)


ALL: tuple[Table, ...] = ("keys", "graph", "events")


@pytest.mark.parametrize("tables", [ALL, ("keys",), ("graph", "events"), ("events",)])
def test_nobody_comes_back_with_a_restored_table(tables: tuple[Table, ...]) -> None:
    shop = shop_that()
    shop.choose(ANN, {"marketing": False})
    shop.send(CRM, order("o9", userId="9"))
    saved = backed_up(shop, *ALL)
    shop.erase(MAIL)
    restore(shop, saved, *tables)
    bob = [row for row in shop.rows.held("events") if row["pk"] == shop.id("user_id:9").key]

    assert replayed(shop)["requests"] == 1

    keys = {row["pk"]: row for row in shop.rows.held("keys")}
    for who in (ANN, MAIL):
        assert not [r for r in shop.rows.held() if shop.id(who).key in r["pk"] and "sk" in r]
        assert "salt" not in keys[shop.id(who).key]
        assert keys[shop.id(who).key]["objections"]
    assert [one.reason for one in shop.send(CRM, order("o2", userId="42"))] == ["fenced"]
    assert [row for row in shop.rows.held("events") if row["pk"] == shop.id("user_id:9").key] == bob
    assert broken_rules(shop) == []
    assert replayed(shop)["again"] == 0


def objects_to(shop: Shop, who: str, *purposes: str) -> Json:
    return rights.object_(shop.erasure, shop.world, shop.id(who), purposes, ASKING)


def restricts(shop: Shop, who: str) -> Json:
    return rights.restrict(shop.erasure, shop.world, shop.id(who), ASKING)


def test_what_was_objected_to_and_restricted_is_so_when_older_tables_come_back() -> None:
    shop = shop_that()
    shop.choose(ANN, {"marketing": True})
    saved = backed_up(shop, *ALL)
    shop.clock.advance(60)
    objects_to(shop, ANN, "marketing")
    shop.choose(ANN, {"analytics": True})
    restricts(shop, ANN)
    restore(shop, saved, *ALL)
    assert shop.state(ANN, "marketing") == "granted"
    for _ in range(2):
        replayed(shop)
        assert shop.state(ANN, "marketing") == "denied"
        assert not shop.event_ids(ANN)
        assert shop.event_ids(ANN, "privacy_rights") == ["o1"]


def test_a_restriction_that_was_lifted_is_so_when_older_tables_come_back() -> None:
    shop = shop_that()
    row = restricts(shop, ANN)
    saved = backed_up(shop, *ALL)
    rights.lift(shop.erasure, shop.world, row, "staff")
    restore(shop, saved, *ALL)
    assert not shop.event_ids(ANN)
    replayed(shop)
    assert shop.event_ids(ANN) == ["o1"]
    restricts(shop, ANN)
    replayed(shop)
    assert not shop.event_ids(ANN)


def test_who_objected_and_is_not_in_the_restored_tables_has_objected_when_they_come() -> None:
    shop = Shop()
    saved = backed_up(shop, *ALL)
    objects_to(shop, ANN, "profiling")
    restore(shop, saved, *ALL)
    replayed(shop)
    shop.send(CRM, order("o1", userId="42"))
    assert shop.state(ANN, "profiling") == "denied"


def test_who_asked_twice_is_restricted_until_both_are_lifted() -> None:
    shop = shop_that()
    rows = [restricts(shop, who) for who in (ANN, MAIL)]
    for row, shown in zip(rows, ([], ["o1"]), strict=True):
        rights.lift(shop.erasure, shop.world, row, "staff")
        assert shop.event_ids(ANN) == shown
        assert shop.request(row["pk"])["status"] == "completed"
    saved = backed_up(shop, *ALL)
    restore(shop, saved, *ALL)
    replayed(shop)
    assert shop.event_ids(ANN) == ["o1"]


def test_of_two_that_are_lifted_at_one_moment_one_lets_the_person_go() -> None:
    shop = shop_that()
    one, other = (restricts(shop, who) for who in (ANN, MAIL))

    def meanwhile(call: str, *_: Any) -> None:
        if call == "rows.update:before":  # after the look at the others
            shop.rows.tap = None
            rights.lift(shop.erasure, shop.world, other, "staff")

    shop.rows.tap = meanwhile
    rights.lift(shop.erasure, shop.world, one, "staff")
    assert shop.event_ids(ANN) == ["o1"]


def test_a_restriction_of_before_an_erasure_does_not_bind_who_registered_anew() -> None:
    shop = shop_that()
    restricts(shop, ANN)
    shop.clock.advance(60)
    shop.erase(ANN)
    shop.clock.advance(60)
    shop.choose(ANN, {"analytics": True})
    shop.send(CRM, order("o2", NOW - shop.clock(), userId="42"))
    replayed(shop)
    assert shop.event_ids(ANN) == ["o2"]


@pytest.mark.parametrize("status", ["running", "completed"])
def test_what_acts_at_once_and_stopped_halfway_is_taken_up_by_the_sweep(status: str) -> None:
    def granted() -> Shop:
        shop = shop_that()
        shop.choose(ANN, {"marketing": True})
        return shop

    def ask(shop: Shop) -> None:
        if status == "running":
            restricts(shop, ANN)
        else:
            objects_to(shop, ANN, "marketing")

    met = 0
    for shop in after_each_crash(ask, granted):
        asked = shop.rows.held("requests")
        shop.clock.advance(2 * 3600)
        swept(shop)
        for row in asked:
            assert shop.request(row["pk"])["status"] == status
            assert not shop.view(ANN).may("marketing").allowed
            met += row["status"] == "pending"
    assert met


def test_a_correction_that_stopped_halfway_has_failed_and_is_asked_for_again() -> None:
    def correct(shop: Shop) -> None:
        rights.rectify(shop.erasure, shop.world, shop.id(ANN), {"name": "A"}, ASKING)

    met = 0
    for shop in after_each_crash(correct, shop_that):
        for row in shop.rows.held("requests"):
            shop.clock.advance(2 * 3600)
            swept(shop)
            was_open = row["status"] == "pending"
            assert shop.request(row["pk"])["status"] == ("failed" if was_open else "completed")
            met += was_open
    assert met


def test_a_fence_comes_back_where_the_identifier_was_not_there_yet() -> None:
    shop = shop_that()
    saved = backed_up(shop, "keys")
    shop.send(CRM, order("o9", userId="9"))
    shop.erase("user_id:9")
    restore(shop, saved, "keys")
    assert replayed(shop)["again"] == 1
    assert [one.reason for one in shop.send(CRM, order("o10", userId="9"))] == ["fenced"]


def test_who_registered_anew_stays() -> None:
    shop = shop_that()
    shop.erase(MAIL)
    shop.clock.advance(60)
    shop.choose(ANN, {"analytics": True})
    shop.clock.advance(60)
    shop.send(CRM, order("o2", -120, userId="42"))
    saved = backed_up(shop, *ALL)
    shop.send(CRM, order("o3", -120, userId="42"))
    restore(shop, saved, *ALL)
    replayed(shop)
    assert shop.event_ids(ANN) == ["o2"]


def test_a_replay_that_meets_a_dead_store_may_be_repeated() -> None:
    def restored() -> Shop:
        shop = shop_that()
        saved = backed_up(shop, *ALL)
        shop.erase(MAIL)
        restore(shop, saved, *ALL)
        return shop

    for shop in after_each_crash(replayed, restored):
        replayed(shop)
        assert salts(shop) == 0
        assert not shop.rows.held("graph") + shop.rows.held("events")


def test_a_replay_that_stopped_in_an_erasure_says_again_what_the_person_had_asked_before() -> None:
    def restored() -> Shop:
        shop = shop_that()
        restricts(shop, ANN)
        objects_to(shop, ANN, "marketing")
        saved = backed_up(shop, *ALL)
        shop.clock.advance(60)
        shop.erase(MAIL)
        restore(shop, saved, *ALL)
        return shop

    for shop in after_each_crash(replayed, restored):
        for row in shop.rows.held("requests"):  # which may come first
            if row["type"] != "erasure":
                rights.again(shop.world, row)
        replayed(shop)
        assert not shop.rows.held("graph") + shop.rows.held("events")


def test_a_replay_without_time_says_where_to_go_on() -> None:
    shop = shop_that()
    for n in range(3):
        shop.send(CRM, order(f"p{n}", userId=f"p{n}"))
        shop.erase(f"user_id:p{n}")
    place, seen = "", 0
    for _ in range(9):
        turns = iter([True, False])
        told = replay(shop.erasure, shop.world, place, lambda turns=turns: next(turns))  # type: ignore[misc]
        place, seen = told["after"], seen + told["requests"]
        if not told["more"]:
            break
    assert seen == 3


def test_who_is_hidden_is_hidden_when_older_tables_come_back_and_who_is_not_is_not() -> None:
    shop = shop_that(waiting_days=7)
    before = backed_up(shop, *ALL)
    id_ = shop.acknowledge(ANN)
    hidden = backed_up(shop, *ALL)
    restore(shop, before, *ALL)
    replayed(shop)
    with pytest.raises(NotFound):
        shop.view(ANN)

    erasure.cancel(shop.erasure, id_)
    restore(shop, hidden, *ALL)
    replayed(shop)
    assert shop.event_ids(ANN)
    assert broken_rules(shop) == []


def test_who_is_held_is_held_when_older_tables_come_back_and_who_is_not_is_not() -> None:
    shop = shop_that()
    before = backed_up(shop, *ALL)
    hold = shop.hold(ANN, days=5000)
    held = backed_up(shop, *ALL)
    restore(shop, before, *ALL)
    replayed(shop)
    shop.clock.advance(4 * 365 * DAY)
    swept(shop)
    shop.expire()
    assert shop.rows.held("events")

    shop.release(hold)
    restore(shop, held, *ALL)
    replayed(shop)
    swept(shop)
    shop.expire()
    assert not shop.rows.held("events")


def test_of_two_erasures_the_later_one_keeps_out_when_older_tables_come_back() -> None:
    shop, people = shop_that(), [f"user_id:p{n}" for n in range(8)]  # requests come in any order
    saved = backed_up(shop, *ALL)
    for who in people:
        shop.choose(who, {"profiling": False})
        shop.erase(who)
    shop.clock.advance(60)
    for who in people:
        shop.choose(who, {"analytics": True})
    shop.clock.advance(60)
    for who in people:
        shop.erase(who)
    shop.clock.advance(60)
    restore(shop, saved, *ALL)
    replayed(shop)
    for who in people:
        shop.choose(who, {"analytics": True}, ago=90)  # from between the two
        with pytest.raises(NotFound):
            shop.view(who)
    objected = [row["pk"] for row in shop.rows.held("keys") if row.get("objections")]
    assert sorted(objected) == sorted(shop.id(who).key for who in people)


def test_who_waits_to_be_kept_out_for_good_does_not_register_after_a_restore() -> None:
    shop, people = shop_that(waiting_days=7), [f"user_id:p{n}" for n in range(8)]  # in any order
    for who in people:
        shop.send(CRM, order(f"of {who}", userId=who.removeprefix("user_id:")))
    saved = backed_up(shop, *ALL)
    for who in people:
        shop.acknowledge(who)
    shop.clock.advance(8 * DAY)
    swept(shop)
    for who in people:
        shop.erase(who)
    waiting = {who: shop.acknowledge(who, "erase_and_suppress") for who in people}
    restore(shop, saved, *ALL)
    replayed(shop)
    assert salts(shop) == 2  # of Ann and of her address
    shop.clock.advance(60)
    for who in people:
        shop.choose(who, {"analytics": True})
        with pytest.raises(NotFound):
            shop.view(who)
    for who in people:  # the erasure still holds
        erasure.cancel(shop.erasure, waiting[who])
        assert [one.reason for one in shop.send(CRM, order("x", 0, userId=who[8:]))] == ["fenced"]
    assert broken_rules(shop) == []


def test_nobody_registers_after_a_restore_while_an_earlier_request_is_not_completed() -> None:
    shop = shop_that()
    saved = backed_up(shop, *ALL)
    first = shop.ask(ANN)["pk"]  # and no further: a crash
    shop.erase(ANN)
    shop.clock.advance(2 * 3600)
    swept(shop)
    assert shop.request(first)["status"] == "running"
    restore(shop, saved, *ALL)
    replayed(shop)
    for done in (False, True):
        shop.clock.advance(60)
        shop.choose(ANN, {"analytics": True})
        fence = keyring.states(shop.rows, [shop.id(ANN).key])[shop.id(ANN).key].mode
        assert (fence is None) == done
        carried_out(shop, first)


def test_who_is_kept_out_for_good_is_so_after_a_restore_whatever_came_later() -> None:
    shop, people = shop_that(), [f"user_id:p{n}" for n in range(8)]  # requests come in any order
    saved = backed_up(shop, *ALL)
    for who in people:
        shop.ask(who)  # and no further: a crash
        shop.clock.advance(1)
        shop.erase(who, "erase_and_suppress")
    shop.clock.advance(2 * 3600)
    swept(shop)
    restore(shop, saved, *ALL)
    replayed(shop)
    modes = {keyring.states(shop.rows, [shop.id(who).key])[shop.id(who).key].mode for who in people}
    assert modes == {"erase_and_suppress"}


def test_a_suppression_that_was_taken_back_keeps_nobody_out_for_good_after_a_restore() -> None:
    shop, people = shop_that(waiting_days=7), [f"user_id:p{n}" for n in range(8)]  # in any order
    for who in people:
        shop.send(CRM, order(f"of {who}", userId=who.removeprefix("user_id:")))
    first = [shop.acknowledge(who, "erase_and_suppress") for who in people]
    saved = backed_up(shop, *ALL)
    for id_ in first:
        erasure.cancel(shop.erasure, id_)
    for who in people:
        shop.acknowledge(who)
    shop.clock.advance(8 * DAY)
    swept(shop)
    for who in people:
        shop.erase(who)
    restore(shop, saved, *ALL)
    replayed(shop)
    modes = {keyring.states(shop.rows, [shop.id(who).key])[shop.id(who).key].mode for who in people}
    assert modes == {"erase"}


def test_who_asks_in_the_second_in_which_they_registered_is_erased_after_a_restore() -> None:
    shop = shop_that()
    shop.erase(ANN)
    shop.clock.advance(60)
    shop.choose(ANN, {"analytics": True})
    saved = backed_up(shop, *ALL)
    shop.acknowledge(ANN)
    restore(shop, saved, *ALL)
    replayed(shop)
    with pytest.raises(NotFound):
        shop.view(ANN)


def test_who_was_another_profile_then_is_shown_again_after_a_restore() -> None:
    shop, who, device = shop_that(waiting_days=7), "user_id:9", "anonymous_id:a9"
    shop.send(CRM, order("o9", anonymousId="a9"))
    shop.clock.advance(1)
    shop.send(CRM, order("o10", userId="9"))
    saved = backed_up(shop, *ALL)
    shop.send(CRM, order("o11", userId="9", anonymousId="a9"))  # the older profile takes them in
    separate(shop.world, shop.id(device), shop.id(who), "staff", "sold")
    id_ = shop.acknowledge(who)
    restore(shop, saved, *ALL)
    replayed(shop)
    erasure.cancel(shop.erasure, id_)
    assert shop.event_ids(who) == ["o10"]
    assert broken_rules(shop) == []


def test_a_profile_that_is_others_again_after_a_restore_holds_nobody_and_denies_nothing() -> None:
    shop, other = shop_that(), "user_id:9"
    shop.send(CRM, order("o9", userId="9"))
    shop.choose(other, {"profiling": False})
    shop.hold(other)
    id_, node = shop.ask(ANN)["pk"], shop.node(other)
    assert node
    once = {"profiles": [node["profile"]]}  # before tables came back
    shop.rows.update(Update(requests.key_of(id_), set=once))
    erasure.advance(shop.erasure, shop.workflow, id_)
    assert shop.request(id_)["status"] == "running"
    assert not keyring.states(shop.rows, [shop.id(ANN).key])[shop.id(ANN).key].objections


def test_who_waits_is_hidden_after_a_restore_to_when_another_request_had_hidden_them() -> None:
    shop, people = shop_that(waiting_days=7), [f"user_id:p{n}" for n in range(8)]  # in any order
    for who in people:
        shop.send(CRM, order(f"of {who}", userId=who.removeprefix("user_id:")))
    first = [shop.acknowledge(who) for who in people]
    saved = backed_up(shop, *ALL)
    for id_ in first:
        erasure.cancel(shop.erasure, id_)
    for who in people:
        shop.acknowledge(who)
    restore(shop, saved, *ALL)
    replayed(shop)
    for who in people:
        with pytest.raises(NotFound):
            shop.view(who)


def test_two_that_erase_one_person_after_a_restore_both_come_to_their_end() -> None:
    shop, device = shop_that(second_person=True), "anonymous_id:a9"
    shop.send(CRM, order("o9", userId="42", anonymousId="a9"))
    saved = backed_up(shop, *ALL)
    separate(shop.world, shop.id(ANN), shop.id(device), "staff", "sold")
    one, other = shop.acknowledge(device), shop.acknowledge(ANN)
    approved(shop, one)
    restore(shop, saved, *ALL)  # when the two were together
    fencing.hide(shop.erasure, other)
    replayed(shop)
    approved(shop, other)
    for id_ in (one, other):
        carried_out(shop, id_)
        assert shop.request(id_)["status"] == "completed"


def test_who_is_held_keeps_their_data_when_older_tables_come_back_halfway() -> None:
    shop = shop_that()
    shop.hold(ANN)
    id_ = shop.acknowledge(ANN)
    assert shop.request(id_)["status"] == "held"
    requests.move(shop.erasure, id_, "running", requests.ACTIVE)  # and no further: a crash
    before = salts(shop)
    replayed(shop)
    assert salts(shop) == before == 2
    assert hidden(shop)


def test_a_request_stays_until_it_has_ended_and_for_its_time_after_that() -> None:
    shop = shop_that()
    hold = shop.hold(ANN, days=9 * 365)
    id_ = shop.acknowledge(ANN)
    shop.clock.advance(8 * 365 * DAY)
    shop.expire()
    shop.release(hold)
    assert shop.erase(ANN) == id_
    assert shop.request(id_)["certificate"]
    shop.clock.advance(4 * 365 * DAY)
    with pytest.raises(NotFound):
        shop.request(id_)


def test_nobody_registers_anew_with_what_was_chosen_in_the_second_before_the_erasure() -> None:
    shop = shop_that()
    shop.clock.advance(0.9)
    shop.erase(ANN)
    shop.choose(ANN, {"analytics": True}, ago=0.4)
    with pytest.raises(NotFound):
        shop.view(ANN)


def test_who_is_restricted_again_at_once_is_restricted() -> None:
    shop = shop_that()
    row = rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    rights.lift(shop.erasure, shop.world, row, "staff")
    rights.restrict(shop.erasure, shop.world, shop.id(ANN), ASKING)
    assert not shop.event_ids(ANN)


def test_what_was_before_an_erasure_stays_out_however_long_nobody_came_since() -> None:
    shop = shop_that()
    old = shop.message(CRM, order("old", userId="42"))
    shop.erase(ANN)
    shop.clock.advance(DAY)
    rights.lift_fence(shop.erasure, shop.id(ANN))
    for _ in range(2):
        shop.clock.advance(8 * DAY)
        swept(shop)
    assert [one.reason for one in shop.unify(old)] == ["fenced"]
