"""Identity: who is one person, by which evidence, and what may never be joined."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from candor.credentials import Source
from candor.errors import Clash
from candor.identity import EVERYBODY, MOST_MEMBERS, claim
from candor.policy import DAY
from candor.ports import Key, Update
from candor.retention import sweep
from tests.worlds import (
    APP,
    CRM,
    NOW,
    SHIPPED,
    WEB,
    Json,
    Shop,
    broken_rules,
    order,
    policy,
    recorded,
    says,
    sent,
)

FIELDS = {"user_id": "userId", "anonymous_id": "anonymousId"}


def joins(id_: str, *who: str, ago: float = 0) -> Json:
    """An event that carries these identifiers and needs no consent."""
    fields: Json = {"traits": {}, "context": {}}
    for type_, value in (name.split(":") for name in who):
        if type_ == "device_id":
            fields["context"] = {"device": {"id": value}}
        elif type_ in FIELDS:
            fields[FIELDS[type_]] = value
        else:
            fields["traits"][type_] = value
    return sent("identify", id_, ago, **fields)


def the_limits(**limits: int) -> Callable[[Json], object]:
    def change(compiled: Json) -> None:
        for type_, limit in limits.items():
            compiled["identifiers"][type_]["limit"] = limit

    return change


# What an event's source may say.


def claimed(source: Source, *who: str) -> tuple[str, str]:
    shop = Shop()
    made = claim([shop.id(name) for name in who], source.trust, SHIPPED)
    return made.home.type, made.device.type


def test_a_client_speaks_for_its_device_and_a_server_for_the_person() -> None:
    everybody = ("anonymous_id:a1", "email:ann@example.com", "user_id:42", "device_id:d1")

    assert claimed(WEB, *everybody) == ("device_id", "device_id")
    assert claimed(CRM, *everybody) == ("user_id", "device_id")
    assert claimed(CRM, "email:ann@example.com", "user_id:42") == ("user_id", "user_id")
    assert claimed(WEB, "email:ann@example.com", "user_id:42") == ("user_id", "user_id")


@given(st.permutations(["anonymous_id:a1", "email:ann@example.com", "user_id:42", "device_id:d1"]))
def test_where_an_event_is_stored_does_not_depend_on_the_order_of_its_identifiers(
    who: list[str],
) -> None:
    assert claimed(CRM, *who) == ("user_id", "device_id")
    assert claimed(WEB, *who) == ("device_id", "device_id")


@pytest.mark.parametrize("source", [WEB, APP], ids=lambda source: source.id)
def test_an_unproven_client_writes_only_under_its_own_device(source: Source) -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"))
    shop.send(source, {**joins("i1", "user_id:42", "anonymous_id:a1"), "traits": {"name": "Eve"}})
    shop.send(source, order("o2", userId="42", anonymousId="a1"))

    homes = {row["pk"]: row["n"] for row in shop.rows.held("events")}
    assert homes == {shop.id("user_id:42").key: 1, shop.id("anonymous_id:a1").key: 1}


# One person.


def journey() -> Shop:
    """An anonymous visitor signs up, uses the app, and is in the CRM."""
    shop = Shop()
    grants = says(analytics=True)
    shop.send(WEB, sent("page", "p1", anonymousId="a1", context=grants, name="Home"))
    shop.send(WEB, {**joins("i1", "user_id:42", "anonymous_id:a1"), "traits": {"name": "Ann"}})
    shop.send(APP, joins("i2", "user_id:42", "device_id:d1"))
    shop.send(CRM, joins("i3", "user_id:42", "email:ann@example.com", "phone:+491701234567"))
    return shop


ANN = [
    "user_id:42",
    "email:ann@example.com",
    "phone:+491701234567",
    "device_id:d1",
    "anonymous_id:a1",
]


def test_a_visitor_who_signs_up_uses_the_app_and_is_in_the_crm_is_one_profile() -> None:
    shop = journey()

    assert shop.profiles() == shop.people(ANN)
    assert broken_rules(shop) == []
    for who in ANN:
        person = shop.view(who)
        assert [f"{one['type']}:{one['value']}" for one in person.identifiers()] == list(ANN)
        assert person.traits()["name"] == "Ann"
        assert "p1" in shop.event_ids(who, "analytics")


def test_every_link_tells_its_evidence() -> None:
    links = journey().view("user_id:42", "privacy_rights").links()

    told = {(one["b"]["type"], one["source"], one["trust"], one["rule"]) for one in links} | {
        (one["a"]["type"], one["source"], one["trust"], one["rule"]) for one in links
    }
    assert len(links) == 4
    assert {one["refused"] for one in links} == {None}
    assert ("anonymous_id", "web", "client", "identify_carries_both") in told
    assert ("device_id", "app", "client", "identify_carries_both") in told
    assert ("email", "crm", "server", "identify_carries_both") in told
    assert {one["time"] for one in links} == {int(NOW)}


def test_a_link_tells_whether_it_merged_two_profiles() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42"), order("o2", anonymousId="a1"))
    shop.send(CRM, order("o3", userId="42", anonymousId="a1"))
    shop.send(CRM, order("o4", userId="42", anonymousId="a2"))

    links = shop.view("user_id:42", "privacy_rights").links()

    devices = {"anonymous_id:a1": True, "anonymous_id:a2": False}
    ends = ("a", "b")
    assert devices == {
        f"{one[end]['type']}:{one[end]['value']}": one["merged"]
        for one in links
        for end in ends
        if one[end]["type"] == "anonymous_id"
    }


@pytest.mark.parametrize("amount", [1, 300])
def test_a_merge_is_one_transaction_that_touches_no_data_however_much_there_is(
    amount: int,
) -> None:
    shop = Shop()
    for side in ("a1", "a2"):
        shop.send(WEB, *(order(f"{side}-{n}", ago=n * 60, anonymousId=side) for n in range(amount)))
        shop.send(
            WEB,
            {**joins(f"i-{side}", f"anonymous_id:{side}"), "traits": {"name": "x" * 50 * amount}},
        )
    again = shop.message(APP, {**sent("alias", "al", userId="a1"), "previousId": "a2"})
    again["events"][0]["ids"] = [["anonymous_id", "a1"], ["anonymous_id", "a2"]]

    calls = recorded(shop, lambda: shop.unify(again))

    (transaction,) = calls.before("rows.commit")
    assert {(type(write).__name__, write.key.sk.partition("#")[0]) for write in transaction} == {
        ("Put", "LINK"),
        ("Update", "PROFILE"),
        ("Delete", "PROFILE"),
        ("Update", "NODE"),
    }
    assert len(transaction) == 5
    assert calls.before("rows.put", "rows.delete", "rows.update", "rows.query") == []
    assert shop.profiles() == shop.people(["anonymous_id:a1", "anonymous_id:a2"])


def test_the_older_profile_survives() -> None:
    shop = Shop()
    for who in ("anonymous_id:a1", "user_id:42"):
        shop.send(CRM, joins(who, who))
        shop.clock.advance(1)
    first = shop.view("anonymous_id:a1").profile.id

    shop.send(CRM, joins("i3", "user_id:42", "anonymous_id:a1"))

    assert shop.view("user_id:42").profile.id == first


# Limits.


def refusals(shop: Shop) -> set[str]:
    rows = [row for row in shop.rows.held("graph") if "refused" in row]
    assert len(rows) % 2 == 0, "told at both ends"
    return {row["refused"] for row in rows}


@pytest.mark.parametrize("source", [WEB, CRM], ids=lambda source: source.id)
def test_two_user_ids_are_never_in_one_profile(source: Source) -> None:
    shop = Shop()
    shop.send(source, joins("i1", "user_id:42", "anonymous_id:a1"))
    shop.send(source, joins("i2", "user_id:43", "anonymous_id:a1"))

    assert not any(
        {shop.id("user_id:42").key, shop.id("user_id:43").key} <= one for one in shop.profiles()
    )
    assert len(refusals(shop)) == 1
    assert broken_rules(shop) == []


def test_of_a_shared_device_the_server_stores_each_persons_events_with_the_person() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="42", anonymousId="a1"))
    (outcome,) = shop.send(CRM, order("o2", userId="43", anonymousId="a1"))

    assert outcome.outcome == "stored"
    assert shop.event_ids("user_id:43") == ["o2"]
    assert shop.event_ids("user_id:42") == ["o1"]


def test_of_a_shared_device_a_client_does_not_give_one_persons_events_to_another() -> None:
    shop = Shop()
    shop.send(WEB, order("o1", userId="42", anonymousId="a1"))
    (outcome,) = shop.send(WEB, order("o2", userId="43", anonymousId="a1"))

    assert (outcome.outcome, outcome.reason) == ("dropped", "identity_conflict")
    assert shop.event_ids("user_id:42") == ["o1"]


def test_a_client_never_joins_two_known_people() -> None:
    shop = Shop()
    shop.send(CRM, joins("i1", "user_id:42"), joins("i2", "email:bob@example.com"))
    shop.send(WEB, joins("i3", "user_id:42", "email:bob@example.com"))
    shop.send(WEB, joins("i4", "user_id:42", "anonymous_id:a1"))
    shop.send(WEB, joins("i5", "anonymous_id:a1", "email:bob@example.com"))

    assert shop.profiles() == shop.people(
        ["user_id:42", "anonymous_id:a1"], ["email:bob@example.com"]
    )
    assert refusals(shop) == {"client_may_not_join_known_users"}
    shop.send(CRM, joins("i6", "user_id:42", "email:bob@example.com"))
    assert len(shop.profiles()) == 1, "a server may"


def test_a_refused_link_is_told_to_those_who_ask_why() -> None:
    shop = Shop()
    shop.send(CRM, joins("i1", "user_id:42", "anonymous_id:a1"))
    shop.send(CRM, joins("i2", "user_id:43", "anonymous_id:a1"))

    (refused,) = [
        one for one in shop.view("anonymous_id:a1", "privacy_rights").links() if one["refused"]
    ]

    assert refused["refused"] == "limit:user_id"
    assert refused["b"]["value"] is None, "of others nothing is told"


def test_a_profile_never_grows_past_what_a_merge_can_carry() -> None:
    rules = policy(the_limits(anonymous_id=90, device_id=90))
    shop = Shop(rules)
    for number in range(50):
        shop.send(CRM, joins(f"a{number}", "user_id:42", f"anonymous_id:a{number}"))
        shop.send(CRM, joins(f"d{number}", "user_id:42", f"device_id:d{number}"))

    sizes = sorted(len(members) for members in shop.profiles())
    assert sizes[-1] == MOST_MEMBERS
    assert "limit:profile" in refusals(shop)
    assert broken_rules(shop) == []


def test_the_largest_merge_is_still_one_transaction() -> None:
    rules = policy(the_limits(anonymous_id=90, device_id=90))
    shop = Shop(rules)
    for number in range(1, 45):
        shop.send(CRM, joins(f"a{number}", "anonymous_id:a0", f"device_id:a{number}"))
        shop.send(CRM, joins(f"d{number}", "device_id:d0", f"anonymous_id:d{number}"))
    assert sorted(len(members) for members in shop.profiles()) == [45, 45]

    calls = recorded(shop, lambda: shop.send(CRM, joins("m", "anonymous_id:a0", "device_id:d0")))

    assert len(calls.before("rows.commit")) == 1
    assert [len(members) for members in shop.profiles()] == [90]
    assert broken_rules(shop) == []


# Laws.

PEOPLE = ["user_id:42", "email:a@example.com", "email:b@example.com"]
PEOPLE += [f"{type_}:{n}x" for type_ in ("anonymous_id", "device_id") for n in range(4)]
people = st.sampled_from(PEOPLE)
meetings = st.lists(
    st.lists(people, min_size=1, max_size=3, unique_by=lambda who: who.partition(":")[0]),
    min_size=1,
    max_size=8,
)


def components(groups: Iterable[Iterable[str]]) -> set[frozenset[str]]:
    found: list[set[str]] = []
    for group in groups:
        joined = set(group).union(*(one for one in found if one & set(group)))
        found = [one for one in found if not one & joined] + [joined]
    return {frozenset(one) for one in found}


@given(meetings, st.data())
def test_merges_agree_with_connected_components_in_any_order_of_arrival(
    met: list[list[str]], data: st.DataObject
) -> None:
    shop = Shop()
    arrival = data.draw(st.permutations([*enumerate(met), *enumerate(met)]))

    for number, group in arrival:
        shop.clock.advance(0.5)
        shop.send(CRM, joins(f"i{number}", *group))

    assert shop.profiles() == shop.people(*components(met))
    assert broken_rules(shop) == []


@given(meetings)
def test_one_message_joins_what_many_join(met: list[list[str]]) -> None:
    shop = Shop()

    shop.send(CRM, *(joins(f"i{number}", *group) for number, group in enumerate(met)))

    assert shop.profiles() == shop.people(*components(met))
    assert broken_rules(shop) == []


def test_a_conflict_leaves_no_wrong_idea_of_who_belongs_to_whom() -> None:
    """While a client joins Ann's browser to 42, the CRM says that the browser is Bob's."""
    shop = Shop()
    shop.send(CRM, joins("i1", "user_id:42"))
    shop.clock.advance(1)
    shop.send(CRM, joins("i2", "anonymous_id:bobs", "device_id:bobs"))
    meanwhile: list[Callable[[], Any]] = [
        lambda: shop.send(CRM, joins("i3", "user_id:bob", "anonymous_id:bobs"))
    ]

    def tap(call: str, detail: Any) -> None:
        if call == "rows.commit:before" and meanwhile:
            meanwhile.pop()()

    shop.rows.tap = tap
    shop.send(
        WEB,
        joins("i4", "user_id:42", "anonymous_id:bobs"),
        joins("i5", "device_id:bobs", "anonymous_id:new"),
    )

    assert not meanwhile
    assert shop.profiles() == shop.people(
        ["user_id:42"],
        ["user_id:bob", "anonymous_id:bobs", "device_id:bobs", "anonymous_id:new"],
    )


# Ends.


def test_an_identifier_that_is_seen_lives_on_though_it_is_nobodys_home() -> None:
    shop = Shop()
    shop.send(WEB, joins("i1", "user_id:42", "anonymous_id:a1"))
    for year in range(5):
        shop.clock.advance(365 * DAY)
        shop.send(WEB, joins(f"y{year}", "user_id:42", "anonymous_id:a1", ago=-365 * DAY * year))

    assert shop.profiles() == shop.people(["user_id:42", "anonymous_id:a1"])
    assert len(shop.view("user_id:42").identifiers()) == 2


@pytest.mark.parametrize("link_days", [1095, 3000])
@pytest.mark.parametrize("ending", ["not yet deleted", "deleted", "swept"])
def test_an_identifier_that_ended_joins_its_profile_again(ending: str, link_days: int) -> None:
    shop = Shop(policy(lambda compiled: compiled["records"].update(link=link_days)))
    shop.send(CRM, joins("i1", "user_id:42"))
    shop.clock.advance(500 * DAY)
    shop.send(CRM, joins("i2", "user_id:42", "anonymous_id:a1", ago=-500 * DAY))
    for day in (900, 1300, 1700):
        shop.clock.now = NOW + day * DAY
        shop.send(WEB, joins(f"d{day}", "anonymous_id:a1", ago=-day * DAY))
    if ending == "deleted":
        shop.expire()
    if ending == "swept":
        sweep(shop.erasure, shop.world, shop.workflow, lambda: True)

    (outcome,) = shop.send(WEB, joins("i3", "user_id:42", "anonymous_id:a1", ago=-1700 * DAY))

    assert outcome.outcome == "stored", outcome.reason
    assert shop.profiles() == shop.people(["user_id:42", "anonymous_id:a1"])
    assert broken_rules(shop) == []


@pytest.mark.parametrize("deleted", ["nothing", "both ends", "user_id:43", "anonymous_id:a1"])
def test_a_refusal_is_told_again_when_its_record_has_ended(deleted: str) -> None:
    """DynamoDB deletes each of the two rows when it gets to it."""
    shop = Shop()
    shop.send(CRM, joins("i1", "user_id:42", "anonymous_id:a1"))
    shop.send(CRM, joins("i2", "user_id:43", "anonymous_id:a1"))
    for year in range(1, 5):
        shop.clock.advance(365 * DAY)
        both = [joins(f"y{year}-{n}", f"user_id:{n}", ago=-365 * DAY * year) for n in (42, 43)]
        shop.send(CRM, *both)
        shop.send(WEB, joins(f"w{year}", "anonymous_id:a1", ago=-365 * DAY * year))
    if deleted == "both ends":
        shop.expire()
    elif deleted != "nothing":
        pk = f"I#{shop.id(deleted).key}"
        links = [row["sk"] for row in shop.rows.held("graph") if row["pk"] == pk]
        shop.rows.delete([Key("graph", pk, sk) for sk in links if sk.startswith("LINK#")])

    (outcome,) = shop.send(CRM, joins("i3", "user_id:43", "anonymous_id:a1", ago=-365 * DAY * 4))

    assert outcome.outcome == "stored"
    living = [r for r in shop.rows.held("graph") if "refused" in r and r["due"] > shop.clock()]
    assert len(living) == 2


# Whatever happens.

names_of = st.sampled_from(
    ["user_id:42", "user_id:43", "email:a@example.com", "anonymous_id:1x", "anonymous_id:2x"]
)
groups_of = st.lists(names_of, min_size=1, max_size=4, unique_by=lambda who: who.split(":")[0])


class Histories(RuleBasedStateMachine):
    """Anything may happen in any order; a node always names an active profile that lists it."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop(policy(the_limits(anonymous_id=2)))
        self.count = 0

    @property
    def since(self) -> float:
        return NOW - self.shop.clock()

    @rule(source=st.sampled_from([WEB, CRM]), met=st.lists(groups_of, min_size=1, max_size=3))
    def events_arrive(self, source: Source, met: list[list[str]]) -> None:
        self.count += 1
        events = [joins(f"{self.count}-{n}", *who, ago=self.since) for n, who in enumerate(met)]
        self.shop.send(source, *events)

    @rule(who=names_of, source=st.sampled_from([WEB, CRM]), granted=st.booleans())
    def somebody_chooses(self, who: str, source: Source, granted: bool) -> None:
        device = "anonymous_id:1x" if granted else who
        self.shop.choose((who, device) if who != device else who, {"marketing": granted}, source)

    @rule(who=names_of)
    def somebody_is_erased(self, who: str) -> None:
        self.shop.clock.advance(1)
        try:
            self.shop.erase(who)
        except Clash:
            return
        self.shop.clock.advance(1)

    @rule(days=st.sampled_from([1, 400, 1000, 1097]))
    def time_passes(self, days: int) -> None:
        self.shop.clock.advance(days * DAY)

    @rule()
    def sweep_runs(self) -> None:
        sweep(self.shop.erasure, self.shop.world, self.shop.workflow, lambda: True)

    @rule()
    def dynamodb_ends_what_is_due(self) -> None:
        self.sweep_runs()  # it does so every hour, and nodes have days until DynamoDB ends them
        self.shop.expire()

    @invariant()
    def the_graph_is_sound(self) -> None:
        assert broken_rules(self.shop) == []


TestHistories = Histories.TestCase


def test_broken_rules_would_see_a_broken_graph() -> None:
    """The checker itself can fail."""
    for spoil, seen in (
        ({"profile": "nowhere"}, "a node names a profile that is not there"),
        ({"type": "email"}, "a node names a profile that does not list it"),
    ):
        shop = journey()
        node = next(row for row in shop.rows.held("graph") if row["sk"] == "NODE")
        shop.rows.update(Update(Key("graph", node["pk"], node["sk"]), set=spoil))
        assert seen in broken_rules(shop)
    shop = journey()
    profile = next(row for row in shop.rows.held("graph") if row["sk"] == "PROFILE")
    one, other = list(profile["members"])[:2]
    for kept in (other, EVERYBODY):
        apart = {"apart": {one: [kept]}}
        shop.rows.update(Update(Key("graph", profile["pk"], profile["sk"]), set=apart))
        assert broken_rules(shop) == ["a profile holds who is to be apart"]
