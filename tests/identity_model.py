"""Who is one person, by the rules as docs/identity.md and the policy say them: sets in memory.

Written from the rules and not from the code, to be held against it. Identifiers are "type:value".
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from candor.identity import MOST_MEMBERS, SHARED
from candor.policy import Policy

Pair = frozenset[str]


@dataclass
class Model:
    """Decisions are made one after another. `tie` orders those that were made at once."""

    policy: Policy
    tie: Callable[[str], str]
    people: list[set[str]] = field(default_factory=list)
    links: dict[Pair, int] = field(default_factory=dict)
    """Accepted links with when they were decided."""
    refused: set[Pair] = field(default_factory=set)
    apart: set[Pair] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    """In quarantine."""
    strikes: Counter[str] = field(default_factory=Counter)
    decisions: int = 0

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
        for type_, count in counts.items():
            if count > self.policy.identifiers[type_].limit:
                return type_
        return None

    # What happens

    def event(self, trust: str, ids: Iterable[str]) -> None:
        """An event that names these identifiers arrives."""
        ranked = sorted(set(ids), key=self.strength)
        devices = [who for who in ranked if not self.known(who)]
        home = devices[0] if trust == "client" and devices else ranked[0]
        others = [who for who in ranked if who != home]
        if self.person(home) is None:
            self._place(home, others, trust)
        for who in others:
            self._meet(home, who, trust)

    def _place(self, home: str, others: list[str], trust: str) -> None:
        """A newcomer goes to the strongest companion that may take it, else starts with the new."""
        for who in others:
            person = self.person(who)
            if person and not self.barrier({home}, person, trust):
                person.add(home)
                self._decide((home, who))
                return
        group = {home}
        for who in others:
            if self.person(who) is None and not self.barrier(group, {who}, trust):
                group.add(who)
        self.people.append(group)
        self._decide(*((home, who) for who in group - {home}))

    def _meet(self, home: str, who: str, trust: str) -> None:
        mine, theirs, pair = self.person(home), self.person(who), frozenset((home, who))
        assert mine is not None
        if theirs is mine:
            if pair not in self.links:
                self._decide((home, who))
            return
        barrier = self.barrier(mine, theirs or {who}, trust)
        if barrier is None:
            self.people = [one for one in self.people if one is not theirs]
            mine |= theirs or {who}
            self._decide((home, who))
        elif barrier != "quarantined":
            blamed = self._blamed(home, who, trust, barrier)
            if pair not in self.links and pair not in self.refused:
                self.refused.add(pair)
                if blamed:
                    self.strikes[blamed] += 1
            if blamed and self.strikes[blamed] >= self._many(barrier):
                self.quarantine(blamed)

    def _many(self, barrier: str) -> int:
        """Ten, and no fewer than the limit lets one have."""
        rule = self.policy.identifiers.get(barrier)
        return max(SHARED, rule.limit if rule else 0)

    def _blamed(self, home: str, who: str, trust: str, barrier: str) -> str | None:
        """Which of two seems to be shared by many: a public key is heard about devices only."""
        if barrier == "separated":
            return None
        weaker = max(home, who, key=self.strength)
        rest = [one for one in (home, who) if self.type(one) != barrier]
        blamed = rest[0] if len(rest) == 1 else weaker
        if self.person(blamed) is None or (trust == "client" and self.known(blamed)):
            return None
        return blamed

    def _decide(self, *pairs: tuple[str, str]) -> None:
        self.decisions += 1
        for pair in map(frozenset, pairs):
            self.links[pair] = self.decisions
            self.refused.discard(pair)

    def separate(self, one: str, other: str) -> None:
        """A person takes two apart: the links are gone through again, in order, without one that
        would join them. What hangs by no link stays with the first."""
        pair = frozenset((one, other))
        whole = self.person(one)
        self.apart.add(pair)
        if whole is not self.person(other) or whole is None:
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
        self.decisions += 1

    def lift(self, one: str, other: str) -> None:
        self.apart.discard(frozenset((one, other)))

    def quarantine(self, who: str) -> None:
        """What many share is with nobody."""
        whole = self.person(who)
        self.shared.add(who)
        if whole and len(whole) > 1:
            self.people = [p for p in self.people if p is not whole] + [whole - {who}, {who}]
            self.decisions += 1

    def release(self, who: str) -> None:
        self.shared.discard(who)
        self.strikes[who] = 0
