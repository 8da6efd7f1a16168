"""What may be known of people, and what may not be lost, by the rules as docs/ say them: plain
times and sets in memory.

Written from the rules and not from the code, to be held against it. Identifiers are "type:value".
Who is one person is held elsewhere (tests/identity_model.py), and is told to this model.
"""

import copy
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from candor.consent import RESTRICTED
from candor.keyring import Mode
from candor.policy import DAY, Policy

Kind = Literal["event", "trait", "record"]
OPEN = ("pending", "held", "running", "partial")
ENDED = ("completed", "cancelled", "refused")


@dataclass(frozen=True)
class Said:
    """One thing that was said of somebody: what no other one holds tells it from all others."""

    id: str
    kind: Kind
    name: str
    """Of an event or a trait, by the catalogue."""
    home: str
    at: int
    """When, epoch seconds."""


@dataclass
class Kept:
    said: Said
    life: int
    """Of its home, when it was taken."""
    due: float
    sure: bool
    """Whether it is there for certain: it was taken, and nobody may take it away before its day."""
    archived: bool = False
    least: float = 0
    """The earliest day that it may have."""


@dataclass
class Request:
    mode: Mode
    created: int
    subject: str
    status: str
    members: frozenset[str] = frozenset()
    acknowledged: bool = False
    shredded: bool = False
    """Whether its people's keys are destroyed."""
    over: float = float("inf")
    """When it was seen to be completed."""
    objected: dict[str, int] = field(default_factory=dict)


@dataclass
class Hold:
    until: int
    members: set[str]
    released: bool = False


@dataclass
class Lives:
    """All that tables hold, and a backup with them."""

    kept: dict[str, Kept] = field(default_factory=dict)
    life: Counter[str] = field(default_factory=Counter)
    """How often somebody was erased."""
    fenced: dict[str, tuple[Mode, int, str]] = field(default_factory=dict)
    """How, since when, and by which request somebody is kept out."""
    before: dict[str, tuple[Mode, int, str]] = field(default_factory=dict)
    """How they were, by a request that was completed, before that one came."""
    lifted: dict[str, int] = field(default_factory=dict)
    chosen: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """The latest denial and grant of each purpose that somebody's own choices say."""
    objected: dict[str, dict[str, int]] = field(default_factory=dict)
    """What outlived an erasure: purposes, with when they were denied."""
    seen: dict[str, int] = field(default_factory=dict)
    """The last day of an identifier."""
    ends: dict[str, int] = field(default_factory=dict)
    """Until when an identifier lasts at least."""
    restricted: set[str] = field(default_factory=set)


class Model:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.now = Lives()
        self.requests: dict[str, Request] = {}
        self.holds: dict[str, Hold] = {}

    # What may be known

    def hidden(self, who: str) -> bool:
        """Whether a request that waits, or is under way, lets nobody read of this one."""
        return any(
            who in one.members and one.status in OPEN and one.acknowledged
            for one in self.requests.values()
        )

    def doubtful(self, who: str) -> bool:
        """Whether a request that nobody was told of yet may hide this one."""
        return any(
            (who in one.members or who == one.subject)
            and one.status in OPEN
            and not one.acknowledged
            for one in self.requests.values()
        )

    def kept_out(self, who: str) -> bool:
        return who in self.now.fenced or self.hidden(who)

    def refuses(self, named: Iterable[str], at: int) -> bool:
        """Whether an event that happened then is dropped for whom it names."""
        return any(self.kept_out(who) or at < self.now.lifted.get(who, 0) for who in named)

    def ends_at(self, kept: Kept) -> float:
        """What of a person's traits has ended by today's policy has ended."""
        said = kept.said
        return min(kept.due, self.due(said)) if said.kind == "trait" else kept.due

    def lives(self, kept: Kept) -> bool:
        return kept.life == self.now.life[kept.said.home]

    def may_show(self, id_: str, now: float) -> bool:
        kept = self.now.kept.get(id_)
        return (
            kept is not None
            and self.lives(kept)
            and self.ends_at(kept) > now
            and not self.kept_out(kept.said.home)
        )

    def has_to_be(self, kept: Kept, now: float) -> bool:
        """Whether it has to be there, readable with its key, be it shown or hidden."""
        home = kept.said.home
        return (
            kept.sure
            and self.lives(kept)
            and min(self.ends_at(kept), kept.least) > now
            and self.now.ends.get(home, 0) > now
            and not any(
                home in one.members and (one.shredded or one.status in ("running", "partial"))
                for one in self.requests.values()
                if one.status in OPEN
            )
        )

    def due(self, said: Said) -> int:
        if said.kind == "record":
            return self.policy.due(self.policy.records["consent"], said.at)
        named = (self.policy.events if said.kind == "event" else self.policy.traits)[said.name]
        return self.policy.due(self.policy.retention[named.retention], said.at)

    # What happens

    def take(self, said: Said, now: float, *, sure: bool, stored: bool) -> None:
        """Something is said (again). Where it may not have been stored, either day may be its."""
        before = self.now.kept.get(said.id)
        life = self.now.life[said.home]
        due = self.due(said)
        if before and before.life == life and said.kind != "event" and before.due > now:
            due = int(before.due)  # what is said again is not newer
        if before and before.life == life:
            sure = sure or before.sure
        # What is archived keeps its day, however much longer it may stay by today's policy.
        archived = bool(before and before.archived and before.life == life and due <= before.due)
        least = due
        if before and before.life == life and not stored:
            due, least = int(max(before.due, due)), int(min(before.least, due))
        self.now.kept[said.id] = Kept(said, life, due, sure, archived, least)

    def see(self, named: Iterable[str], now: float) -> None:
        today = int(now // DAY)
        due = self.policy.due(self.policy.records["identifier"], now)
        for who in named:
            if self.now.ends.get(who, now + 1) <= now:  # they had ended, and come anew
                self.end(who, now)
            if self.now.seen.get(who, -1) < today:
                self.now.ends[who] = due
            self.now.ends[who] = min(due, self.now.ends.get(who, due))
            self.now.seen[who] = today

    def choose(
        self, named: Collection[str], person: str | None, chosen: dict[str, bool], at: int
    ) -> None:
        """A denial binds whoever is named, a grant the strongest, where it is somebody's word."""
        for who in named:
            for purpose, granted in chosen.items():
                if not granted or who == person:
                    times = self.now.chosen.setdefault(who, {}).setdefault(purpose, [0, 0])
                    times[granted] = max(times[granted], at)

    def remember(self, who: str, purpose: str, at: int) -> None:
        """A denial that outlives what is there of somebody."""
        kept = self.now.objected.setdefault(who, {})
        kept[purpose] = max(at, kept.get(purpose, 0))

    def restrict(self, who: str, people: Collection[str], now: float, *, on: bool) -> None:
        """From now on. What is said last counts, also where all is said in one second."""
        denied, granted = self.folded(people).get(RESTRICTED, (0, 0))
        at = max(int(now), granted if on else denied + 1)
        for one in [who] if on else people:  # which are parted again with what they were allowed
            self.choose([one], one, {RESTRICTED: not on}, at)

    def standing(self, people: Iterable[str]) -> dict[str, int]:
        """What stands denied of a person, with when."""
        return {
            purpose: denied
            for purpose, (denied, granted) in self.folded(people).items()
            if denied and denied >= granted
        }

    def folded(self, people: Iterable[str]) -> dict[str, tuple[int, int]]:
        """When each purpose was denied, and granted, last."""
        folded: dict[str, tuple[int, int]] = {}
        for who in people:
            told = [(p, denied, at) for p, (denied, at) in self.now.chosen.get(who, {}).items()]
            told += [(p, at, 0) for p, at in self.now.objected.get(who, {}).items()]
            for purpose, denied, granted in told:
                times = folded.get(purpose, (0, 0))
                folded[purpose] = max(times[0], denied), max(times[1], granted)
        return folded

    def end(self, who: str, now: float) -> None:
        """An identifier whose time is over takes along its key, and what was denied of it."""
        for times in self.now.chosen.get(who, {}).values():
            times[0] = 0
        for kept in self.now.kept.values():
            if kept.said.home == who:
                kept.archived = False
                kept.sure = kept.sure and self.now.ends.get(who, 0) > now

    def hide(self, id_: str, seen: Mapping[str, str]) -> None:
        """The fence of an erasure that was over gives way. Of one that was under way then it is not
        decided: `seen` says by which request somebody is kept out."""
        one = self.requests[id_]
        for who in one.members:
            mode, _, by = found = self.now.fenced.get(who, (one.mode, one.created, id_))
            weaker = mode == "erase_and_suppress" != one.mode
            gives_way = self.requests[by].over < one.created or seen.get(who) == id_
            if by != id_ and not weaker and gives_way:
                self.now.before[who] = found
                found = one.mode, one.created, id_
            self.now.fenced[who] = found

    def shred(self, id_: str, objected: dict[str, int]) -> None:
        one = self.requests[id_]
        one.shredded, one.objected = True, objected
        for who in one.members:
            self.forget(id_, who)

    def forget(self, id_: str, who: str) -> None:
        one, now = self.requests[id_], self.now
        now.life[who] += 1
        suppressed = now.fenced.get(who, ("erase",))[0] == "erase_and_suppress"
        now.fenced[who] = "erase_and_suppress" if suppressed else one.mode, one.created, id_
        for gone in (now.chosen, now.seen, now.ends, now.before):
            gone.pop(who, None)
        now.restricted.discard(who)
        for purpose, at in one.objected.items():
            self.remember(who, purpose, at)

    def show(self, id_: str) -> None:
        """A request that nothing was destroyed for is over."""
        for who in [who for who, (_, _, by) in self.now.fenced.items() if by == id_]:
            del self.now.fenced[who]
            if who in self.now.before:
                self.now.fenced[who] = self.now.before.pop(who)

    def over(self, who: str) -> bool | None:
        """Whether the erasure that keeps somebody out is completed. None: where two were asked for
        at once, either may be the one."""
        _, since, _ = self.now.fenced.get(who, ("", 0, ""))
        states = {
            one.status == "completed"
            for one in self.requests.values()
            if who in one.members and one.status in (*OPEN, "completed") and one.created >= since
        }
        return False if not since else states.pop() if len(states) == 1 else None

    def register_anew(self, speaks: Iterable[str], at: float, free: Collection[str]) -> None:
        """Whom a choice lets in again. `free`: who is seen to be in."""
        for who in speaks:
            mode, since, _ = self.now.fenced.get(who, ("", 0, ""))
            over = self.over(who)
            if mode == "erase" and int(at) > since and (who in free if over is None else over):
                self.lift(who, int(at))

    def lift(self, who: str, at: int) -> None:
        _, since, _ = self.now.fenced.pop(who)
        self.now.before.pop(who, None)
        self.now.lifted[who] = max(at, since + 1)

    def renew(self, now: float) -> None:
        """A changed policy reaches what is there, and brings nothing back that has ended."""
        for kept in self.now.kept.values():
            if kept.due > now:
                kept.due = self.due(kept.said)
                kept.least = min(kept.least, kept.due)
        days = self.policy.records["identifier"]
        for who, last in self.now.seen.items():
            due = self.policy.due(days, last * DAY)
            self.now.ends[who] = min(due, self.now.ends[who])

    def held(self, who: str, now: float) -> bool:
        return any(
            who in one.members and one.until > now and not one.released
            for one in self.holds.values()
        )

    # Restored tables

    def backup(self) -> Lives:
        return copy.deepcopy(self.now)

    def restore(self, saved: Lives) -> None:
        """What was kept then is kept again, but for whom a request covers that was answered since;
        the last one of them keeps them out, or the last that is not over. What has begun to hide
        people hides them."""
        self.now = copy.deepcopy(saved)
        for id_ in (id_ for id_, one in self.requests.items() if not one.shredded):
            self.show(id_)
        over_first = sorted(self.requests.items(), key=lambda one: (one[1].status in OPEN, one[0]))
        for id_, one in over_first:
            for who in one.members:
                if one.shredded and self.now.lifted.get(who, -1) <= one.created:
                    self.forget(id_, who)
            if one.status in OPEN and one.acknowledged and not one.shredded:
                self.hide(id_, {})
