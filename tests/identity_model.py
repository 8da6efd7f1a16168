"""Who is one person, by the rules as docs/identity.md and the policy say them: sets in memory.

Written from the rules and not from the code, to be held against it. Identifiers are "type:value".
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from candor.identity import MOST_MEMBERS
from candor.policy import Policy

Pair = frozenset[str]


@dataclass
class Model:
    """Decisions are ordered by the version that they gave to the people whom they were about: one
    more than the highest of before. `tie` orders what that leaves open."""

    policy: Policy
    tie: Callable[[str], str]
    people: list[set[str]] = field(default_factory=list)
    links: dict[Pair, int] = field(default_factory=dict)
    """Accepted links with the version of when they were decided last."""
    refused: set[Pair] = field(default_factory=set)
    apart: set[Pair] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    """In quarantine."""
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many of a type somebody met."""
    version: dict[str, int] = field(default_factory=dict)
    """Of the person that somebody is in."""

    # The rules

    def type(self, who: str) -> str:
        return who.partition(":")[0]

    def known(self, who: str) -> bool:
        return self.policy.identifiers[self.type(who)].known

    def strength(self, who: str) -> int:
        return self.policy.identifiers[self.type(who)].priority

    def person(self, who: str) -> set[str] | None:
        return next((one for one in self.people if who in one), None)

    def barrier(self, one: set[str], other: set[str], trust: str) -> str | None:
        """Why two sets of identifiers may not be one person."""
        if (one | other) & self.shared:
            return "quarantined"
        if any(frozenset((a, b)) in self.apart for a in one for b in other):
            return "separated"
        if trust == "client" and all(any(map(self.known, side)) for side in (one, other)):
            return "client"
        if len(one) + len(other) > MOST_MEMBERS:
            return "profile"
        counts = Counter(self.type(who) for who in [*one, *other])
        rules = self.policy.identifiers
        over = [type_ for type_, count in counts.items() if count > rules[type_].limit]
        return min(over, key=lambda type_: rules[type_].priority, default=None)

    # What happens

    def event(
        self, trust: str, ids: Iterable[str], *, says: bool = False, gpc: bool = False
    ) -> None:
        """An event that names these identifiers arrives; it may say something of consent."""
        ranked, home, device = self._claim(trust, ids)
        others = [who for who in ranked if who != home]
        if gpc:
            self._ensure(device)
        self._resolve(home, others, trust)
        self._heal(ranked, home, others, trust)
        if says:
            self._ensure(device)

    def choice(self, trust: str, ids: Iterable[str], *, granted: bool, denied: bool) -> None:
        """An explicit choice is recorded: a denial for everybody it names, a grant for one."""
        ranked, home, device = self._claim(trust, ids)
        self._resolve(home, [who for who in ranked if who != home], trust)
        person = next(filter(self.known, ranked), None)
        for who in ranked if denied else ():
            self._ensure(who)
        if granted:
            self._ensure(person if person and trust != "client" else device)

    def _claim(self, trust: str, ids: Iterable[str]) -> tuple[list[str], str, str]:
        """The identifiers by strength, the home, and the device whose consent is told."""
        ranked = sorted(set(ids), key=self.strength)
        devices = [who for who in ranked if not self.known(who)]
        home = devices[0] if trust == "client" and devices else ranked[0]
        return ranked, home, devices[0] if devices else home

    def _ensure(self, who: str) -> None:
        """What is recorded of somebody gives them a place, by themselves if they have none."""
        if self.person(who) is None:
            self.people.append({who})

    def _heal(self, ranked: list[str], home: str, others: list[str], trust: str) -> None:
        if shared := [who for who in ranked if self.is_shared(who)]:
            for who in shared:
                self.quarantine(who)
            self._resolve(home, others, trust)

    def _resolve(self, home: str, others: list[str], trust: str) -> None:
        if self.person(home) is None:
            self._place(home, others, trust)
        for who in others:
            self._meet(home, who, trust)

    def _place(self, home: str, others: list[str], trust: str) -> None:
        """A newcomer goes to the strongest companion that may take it, else starts with the new."""
        for who in others:
            person = self.person(who)
            if person and not self.barrier({home}, person, trust):
                self._count(home, who, trust)
                person.add(home)
                self._decide(person, (home, who))
                return
        group = {home}
        for who in others:
            if self.person(who) is None and not self.barrier(group, {who}, trust):
                self._count(home, who, trust)
                group.add(who)
        self.people.append(group)
        self._decide(group, *((home, who) for who in group - {home}))

    def _meet(self, home: str, who: str, trust: str) -> None:
        mine, theirs, pair = self.person(home), self.person(who), frozenset((home, who))
        assert mine is not None
        if theirs is mine:
            if pair not in self.links:
                self._decide(mine, (home, who))
            return
        barrier = self.barrier(mine, theirs or {who}, trust)
        if barrier is None:
            self._count(home, who, trust)
            self.people = [one for one in self.people if one is not theirs]
            mine |= theirs or {who}
            self._decide(mine, (home, who))
        elif barrier != "quarantined" and pair not in self.links:
            self._count(home, who, trust, barrier)
            self.refused.add(pair)

    # What many share

    def _count(self, home: str, who: str, trust: str, barrier: str = "") -> None:
        """Two that met for the first time: one of them may have met too many of the other's type.
        A public key is heard about devices only."""
        if frozenset((home, who)) in self.links.keys() | self.refused:
            return
        blamed = self._blamed(home, who, barrier)
        if blamed and not (trust == "client" and self.known(blamed)):
            self.met[blamed, self.type(who if blamed == home else home)] += 1

    def _blamed(self, home: str, who: str, barrier: str) -> str | None:
        stronger, weaker = sorted((home, who), key=self.strength)
        if not barrier:
            return weaker if self.known(stronger) else None
        if barrier == "separated":
            return None
        rest = [one for one in (home, who) if self.type(one) != barrier]
        blamed = rest[0] if len(rest) == 1 else weaker
        return blamed if self.person(blamed) else None

    def is_shared(self, who: str) -> bool:
        """Met more of what is stronger than the policy says one person's does; or more of a type
        that is weaker, of which a profile may hold that many."""
        met = {type_: n for (one, type_), n in self.met.items() if one == who}
        rule = self.policy.identifiers[self.type(who)]
        others = {type_: self.policy.identifiers[type_] for type_ in met}
        stronger = sum(n for type_, n in met.items() if others[type_].priority < rule.priority)
        return who not in self.shared and (
            stronger > rule.shared_after
            or any(
                n > max(rule.shared_after, others[type_].limit)
                for type_, n in met.items()
                if others[type_].priority >= rule.priority
            )
        )

    def _decide(self, about: set[str], *pairs: tuple[str, str]) -> None:
        version = 1 + max(self.version.get(who, 0) for who in about)
        self.version |= dict.fromkeys(about, version)
        for pair in map(frozenset, pairs):
            self.links[pair] = version
            self.refused.discard(pair)

    def separate(self, one: str, other: str) -> None:
        """A person takes two apart: the links are gone through again, in order, without one that
        would join them. What hangs by no link stays with the first."""
        pair = frozenset((one, other))
        whole, theirs = self.person(one), self.person(other)
        if pair in self.apart or whole is None or theirs is None:
            return
        self.apart.add(pair)
        self._decide(whole | theirs)
        if whole is not theirs:
            return
        groups = [{who} for who in whole]
        within = [link for link in self.links if link <= whole]

        def order(link: Pair) -> tuple[int, list[str]]:
            return self.links[link], sorted(map(self.tie, link))

        for link in sorted(within, key=order):
            a, b = (next(g for g in groups if who in g) for who in link)
            if a is not b and not pair <= a | b:
                groups = [g for g in groups if g is not a and g is not b] + [a | b]
        moves = next(g for g in groups if other in g)
        self.people = [p for p in self.people if p is not whole] + [whole - moves, moves]

    def lift(self, one: str, other: str) -> None:
        self.apart.discard(frozenset((one, other)))
        for who in (one, other):
            self._decide(self.person(who) or {who})

    def quarantine(self, who: str) -> None:
        """What many share is with nobody, and whom it alone held together part. Whom no link holds
        stay with the most."""
        if who in self.shared:
            return
        whole = self.person(who)
        self.shared.add(who)
        self._decide(whole or {who})
        if whole and len(whole) > 1:
            within = [link for link in self.links if link <= whole]
            linked = set().union(*within) - {who}
            parts = [{one} for one in linked]
            for a, b in (link for link in within if who not in link):
                both = [part for part in parts if part & {a, b}]
                parts = [part for part in parts if part not in both] + [set().union(*both)]
            parts.sort(key=lambda part: (-len(part), sorted(map(self.tie, part))))
            most, *rest = parts or [set()]
            rest = [most | whole - linked - {who}, *rest, {who}]
            self.people = [p for p in self.people if p is not whole] + rest

    def release(self, who: str) -> None:
        self.shared.discard(who)
        self._decide(self.person(who) or {who})
        self.met = Counter({key: n for key, n in self.met.items() if key[0] != who})
