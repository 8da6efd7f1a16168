"""How right profiles are, against the truth of a simulated year.

Only an identifier that was sent and belongs to exactly one person counts in pairs; what several
people share, and what is nobody's, is wrong in nobody's profile. Of the others:

- recall of a person: of all pairs of that person's identifiers, the share in one profile. One that
  is in no profile is with no other;
- precision of a person: of all pairs in one profile with at least one of that person's identifiers,
  the share whose other one is the same person's.

Both are averaged over the people who have such a pair, so that each person weighs the same, however
many identifiers one has and however large a wrong profile is. `pooled_…` are over all pairs at
once.

Events found: of the events that only one person owns, of people with a known identifier, the share
that is shown where one of the person's own known identifiers finds it; averaged over the people.

Exposure: the share of all people who are exposed. A person is exposed if some profile shows
something that only that person owns (an identifier; an event; an address or number told as a trait)
and is found by a known identifier (user_id, email, phone) that only another one owns: whoever looks
up the other sees it. An event that carries another's account or address belongs to the other too
(see `simulator`), so what is done in a session that was left open is not exposure: no matcher could
know better. `exposed_by` says what was seen, `through` which shared identifiers the profile holds.

Merged: the part of them who are exposed by an identifier or a trait. They, and not only what they
did at a device that others use too, were taken for somebody else.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from math import comb

from tests.bench.accuracy.matchers import Profile
from tests.bench.accuracy.simulator import KNOWN, Year

NOTHING_SHARED = "nothing shared"


@dataclass(frozen=True, slots=True)
class Measured:
    """Shares from 0 to 1."""

    precision: float
    recall: float
    pooled_precision: float
    pooled_recall: float
    events_found: float
    exposure: float
    merged: float
    exposed_by: dict[str, float]
    """By identifiers, by events, by traits; one person may be exposed by more than one."""
    through: dict[str, float]
    """By the kinds of shared identifiers in the profiles that expose; the same."""


def measure(year: Year, profiles: Collection[Profile]) -> Measured:
    whose = {name: next(iter(owners)) for name, owners in year.owners.items() if len(owners) == 1}
    pairs = _pairs(whose, profiles)
    exposed_by, through = _exposed(year, whose, profiles)
    everybody = year.people
    return Measured(
        **pairs,
        events_found=_events_found(year, whose, profiles),
        exposure=len(set().union(*exposed_by.values())) / everybody,
        merged=len(exposed_by["identifiers"] | exposed_by["traits"]) / everybody,
        exposed_by={what: len(people) / everybody for what, people in exposed_by.items()},
        through={kind: len(people) / everybody for kind, people in sorted(through.items())},
    )


def _pairs(whose: dict[str, int], profiles: Iterable[Profile]) -> dict[str, float]:
    own, right, wrong = Counter(whose.values()), Counter[int](), Counter[int]()
    for profile in profiles:
        here = Counter(whose[name] for name in profile.identifiers if name in whose)
        for person, n in here.items():
            right[person] += comb(n, 2)
            wrong[person] += n * (here.total() - n)
    possible = {person: comb(n, 2) for person, n in own.items() if n > 1}
    together = {person: right[person] + wrong[person] for person in own}
    together = {person: n for person, n in together.items() if n}
    crossing = wrong.total() / 2  # each such pair is counted at both its ends
    return {
        "precision": _mean(right[person] / n for person, n in together.items()),
        "recall": _mean(right[person] / n for person, n in possible.items()),
        "pooled_precision": _ratio(right.total(), right.total() + crossing),
        "pooled_recall": _ratio(right.total(), sum(possible.values())),
    }


def _events_found(year: Year, whose: dict[str, int], profiles: Iterable[Profile]) -> float:
    known = {person for name, person in whose.items() if _is_known(name)}
    mine = {
        id_: next(iter(owners))
        for id_, owners in year.event_owners.items()
        if len(owners) == 1 and owners <= known
    }
    found = Counter[int]()
    for profile in profiles:
        finders = _finders(whose, profile)
        found.update(mine[id_] for id_ in profile.events if mine.get(id_) in finders)
    return _mean(found[person] / n for person, n in Counter(mine.values()).items())


def _finders(whose: dict[str, int], profile: Profile) -> set[int]:
    """The people whose own known identifiers find a profile."""
    return {whose[name] for name in profile.identifiers if name in whose and _is_known(name)}


def _exposed(
    year: Year, whose: dict[str, int], profiles: Iterable[Profile]
) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    exposed_by: dict[str, set[int]] = {"identifiers": set(), "events": set(), "traits": set()}
    through: dict[str, set[int]] = defaultdict(set)
    for profile in profiles:
        finders = _finders(whose, profile)
        if not finders:
            continue
        seen = {
            "identifiers": {whose[name] for name in profile.identifiers if name in whose},
            "events": _single(year.event_owners.get(id_, set()) for id_ in profile.events),
            "traits": {whose[name] for name in profile.traits if name in whose},
        }
        shared = {year.kinds.get(name, "") for name in profile.identifiers if name not in whose}
        for what, people in seen.items():
            exposed = {person for person in people if finders - {person}}
            exposed_by[what] |= exposed
            for kind in shared or {NOTHING_SHARED}:
                through[kind] |= exposed
    return exposed_by, {kind: people for kind, people in through.items() if people}


def _single(owners: Iterable[AbstractSet[int]]) -> set[int]:
    return set(chain.from_iterable(each for each in owners if len(each) == 1))


def _is_known(identifier: str) -> bool:
    return identifier.partition(":")[0] in KNOWN


def _mean(values: Iterable[float]) -> float:
    """1 of nothing: nothing is wrong."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 1.0


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
