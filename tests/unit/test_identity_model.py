"""The graph against a model of its rules, whatever happens in whatever order, with crashes."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from candor import separation
from candor.consent import Mechanism
from candor.credentials import Source
from candor.errors import Refused
from candor.identity import MOST_MEMBERS
from tests.fakes import FakeClock, FakeRows
from tests.identity_model import Model
from tests.recorder import Recorder
from tests.worlds import (
    CRM,
    NOW,
    WEB,
    Json,
    Shop,
    broken_rules,
    permissions,
    policy,
    says,
    sent,
    unproven,
)

NAMES = [
    *(f"user_id:u{n}" for n in range(3)),
    *(f"email:e{n}@example.com" for n in range(3)),
    "phone:+49301234567",
    *(f"anonymous_id:a{n}" for n in range(3)),
    "device_id:d0",
]

LOGGED_IN = replace(WEB, trust="verified")
AGO = st.sampled_from([0, 30, 90, 600, 3600, NOW - 1.5, NOW])
"""Seconds since somebody said something; the last ones are of devices whose clock is dead."""
SIGNALS = st.dictionaries(
    st.sampled_from(["analytics", "marketing", "advertising", "personalization", "functional"]),
    st.booleans(),
    max_size=3,
)
CHOICES = st.dictionaries(
    st.sampled_from(["analytics", "marketing", "sale_share", "personalization", "service"]),
    st.booleans(),
    max_size=3,
)


class Crash(Exception):
    pass


def tight(compiled: Json) -> None:
    """Limits that bind soon, and purposes on each kind of legal basis."""
    compiled["purposes"]["personalization"]["basis"] = "legitimate_interest"
    for type_, limit in (("email", 2), ("anonymous_id", 2), ("device_id", 1)):
        compiled["identifiers"][type_]["limit"] = limit
    for type_, most in (("phone", 1), ("anonymous_id", 3)):
        compiled["identifiers"][type_]["shared_after"] = most


def event(id_: str, kind: str, who: list[str], ago: float = 0, **categories: bool) -> Json:
    """An event of these identifiers, which needs no consent and may tell of some."""
    of = dict(one.split(":") for one in who)
    fields: Json = {"userId": of.get("user_id"), "anonymousId": of.get("anonymous_id")}
    traits = {name: of[name] for name in ("email", "phone") if name in of}
    context: Json = {"device": {"id": of["device_id"]}} if "device_id" in of else {}
    context |= says(**categories) if categories else {}
    if kind == "identify":
        return sent("identify", id_, ago, traits=traits, context=context, **fields)
    context |= {"traits": traits}
    named: Json = {"event": "Order Completed", "properties": {"order_id": id_}}
    return sent("track", id_, ago, context=context, **named, **fields)


class Identity(RuleBasedStateMachine):
    """Each rule does the same to the shop and to the model; the partition is compared after it."""

    def __init__(self, rows: Callable[[FakeClock], Any] = FakeRows) -> None:
        super().__init__()
        self.shop = Shop(policy(tight), rows=rows)
        self.model = Model(self.shop.policy, lambda who: self.shop.id(who).key)
        self.count = 0
        self.delivered: list[tuple[Json, str, list[str], Json]] = []

    def crashing(self, work: Callable[[], Any], place: int | None) -> None:
        """Do it; where a place is given, crash there first, and repeat it."""
        if place is not None:
            recorder = Recorder()
            recorder.fail(place, Crash)
            self.shop.rows.tap = recorder.tap
            try:
                work()
            except Crash:
                pass
            else:
                return
            finally:
                self.shop.rows.tap = None
        work()

    def splitting(self, work: Callable[[], Any], place: int | None) -> None:
        """No part of a person may be used for what the person might not."""
        before = permissions(self.shop)
        self.crashing(work, place)
        assert permissions(self.shop) <= before

    def deliver(
        self, message: Json, trust: str, who: list[str], place: int | None, **consent: bool
    ) -> None:
        self.crashing(lambda: self.shop.unify(message), place)
        self.model.event(trust, who, **consent)

    @rule(
        source=st.sampled_from([WEB, CRM, CRM]),
        kind=st.sampled_from(["identify", "track", "track"]),
        who=st.lists(
            st.sampled_from(NAMES), min_size=1, max_size=4, unique_by=lambda one: one.split(":")[0]
        ),
        place=st.none() | st.integers(0, 60),
        later=st.booleans(),
        ago=AGO,
        said=SIGNALS,
        gpc=st.booleans(),
    )
    def an_event_arrives(
        self,
        source: Source,
        kind: str,
        who: list[str],
        place: int | None,
        later: bool,
        ago: float,
        said: dict[str, bool],
        gpc: bool,
    ) -> None:
        self.count += 1
        # A clock that stands at 1970 would make the event itself too old to be taken.
        told = event(f"m{self.count}", kind, who, min(ago, 3600), **said)
        message = self.shop.message(source, told, gpc=gpc)
        (taken,) = message["events"]
        consent = {"says": self.is_heard(source, who, taken["consent"]), "gpc": gpc}
        self.delivered.append((message, source.trust, who, consent))
        if not later:  # or it comes only when it comes again
            self.deliver(message, source.trust, who, place, **consent)

    def is_heard(self, source: Source, who: list[str], said: dict[str, bool]) -> bool:
        """Whether a signal counts: a public key grants nothing where it names no device."""
        unproven = source.trust == "client" and all(map(self.model.known, who))
        return any(not (granted and unproven) for granted in said.values())

    @rule(
        source=st.sampled_from([WEB, LOGGED_IN, CRM, CRM]),
        who=st.lists(
            st.sampled_from(NAMES), min_size=1, max_size=3, unique_by=lambda one: one.split(":")[0]
        ),
        ago=AGO,
        chosen=CHOICES,
        mechanism=st.sampled_from(["preference_center", "gpc"]),
        guardian=st.booleans(),
        minor=st.none() | st.booleans(),
        place=st.none() | st.integers(0, 40),
    )
    def a_person_chooses(
        self,
        source: Source,
        who: list[str],
        ago: float,
        chosen: dict[str, bool],
        mechanism: Mechanism,
        guardian: bool,
        minor: bool | None,
        place: int | None,
    ) -> None:
        denied = not all(chosen.values()) or minor is True
        granted = any(chosen.values()) or minor is False
        if guardian or minor is False:  # only a server says so, of a person, and not both
            named = any(map(self.model.known, who))
            granted &= source.trust == "server" and named and not (guardian and minor is False)
        granted &= mechanism != "gpc" and self.is_heard(source, who, {"any": True})
        # A denial is never lost for a grant beside it that does not count.
        with nullcontext() if granted or denied else pytest.raises(Refused):
            self.crashing(
                lambda: self.shop.choose(
                    tuple(who),
                    chosen,
                    source,
                    ago=ago,
                    mechanism=mechanism,
                    guardian=guardian,
                    minor=minor,
                ),
                place,
            )
        if granted or denied:
            self.model.choice(source.trust, who, granted=granted, denied=denied)

    @rule(previous=st.sampled_from(NAMES[:3] + NAMES[7:10]), user=st.sampled_from(NAMES[:3]))
    def an_alias_arrives(self, previous: str, user: str) -> None:
        self.count += 1
        value = previous.partition(":")[2]
        named: Json = {"previousId": value, "userId": user.partition(":")[2]}
        message = self.shop.message(CRM, sent("alias", f"m{self.count}", **named))
        same = value == named["userId"]
        who = [user] if same else [user, f"anonymous_id:{value}"]
        self.delivered.append((message, CRM.trust, who, {}))
        self.deliver(message, CRM.trust, who, None)

    @precondition(lambda self: self.delivered)
    @rule(data=st.data(), place=st.none() | st.integers(0, 60))
    def one_comes_again(self, data: st.DataObject, place: int | None) -> None:
        message, trust, who, consent = data.draw(st.sampled_from(self.delivered))
        self.deliver(message, trust, who, place, **consent)

    @precondition(lambda self: self.model.people)
    @rule(data=st.data(), place=st.none() | st.integers(0, 90), strangers=st.booleans())
    def a_person_separates_two(
        self, data: st.DataObject, place: int | None, strangers: bool
    ) -> None:
        people = [one for one in self.model.people if len(one) > 1]
        if strangers or not people:
            known = sorted(set().union(*self.model.people))
        else:
            known = sorted(data.draw(st.sampled_from(people)))
        one, other = (data.draw(st.sampled_from(known)) for _ in range(2))
        if one == other:
            return
        a, b = self.shop.id(one), self.shop.id(other)
        self.splitting(lambda: separation.separate(self.shop.world, a, b, "staff", "why"), place)
        self.model.separate(one, other)

    @precondition(lambda self: self.model.apart)
    @rule(data=st.data())
    def a_separation_is_lifted(self, data: st.DataObject) -> None:
        pairs = sorted(sorted(pair) for pair in self.model.apart)
        one, other = data.draw(st.sampled_from(pairs))
        separation.lift(self.shop.world, self.shop.id(one), self.shop.id(other), "staff")
        self.model.lift(one, other)

    @rule(who=st.sampled_from(NAMES), place=st.none() | st.integers(0, 40))
    def a_person_quarantines_one(self, who: str, place: int | None) -> None:
        if self.model.person(who):
            one = self.shop.id(who)
            self.splitting(lambda: separation.quarantine(self.shop.world, one, "staff", {}), place)
            self.model.quarantine(who)

    @precondition(lambda self: self.model.shared)
    @rule(data=st.data())
    def one_is_released(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.model.shared)))
        separation.release(self.shop.world, self.shop.id(who), "staff")
        self.model.release(who)

    @rule(count=st.integers(8, 14), source=st.sampled_from([WEB, CRM]))
    def many_use_one_device(self, count: int, source: Source) -> None:
        for n in range(count):
            self.count += 1
            who = [f"user_id:guest{n}", "anonymous_id:a0"]
            message = self.shop.message(source, event(f"m{self.count}", "track", who))
            self.deliver(message, source.trust, who, None)

    @invariant()
    def they_agree_who_is_one_person(self) -> None:
        model = {frozenset(self.shop.id(who).key for who in one) for one in self.model.people}
        assert self.shop.profiles() == model

    @invariant()
    def the_graph_is_sound(self) -> None:
        assert broken_rules(self.shop) == []
        assert all(len(one) <= MOST_MEMBERS for one in self.shop.profiles())

    @invariant()
    def registers_are_what_records_say(self) -> None:
        assert unproven(self.shop) == []


TestIdentity = Identity.TestCase
# At most 600 examples, whose some 95 steps each are 57,000.
TestIdentity.settings = settings(
    max_examples=min(settings().max_examples * 2, 600),
    stateful_step_count=settings().stateful_step_count * 3,
)
