"""Why data could be used for a purpose at some time, or could not: from consent records alone.

Looked at is what was known by then: records that had been received, of what had been chosen. So an
answer about last March is the same whatever came since, but for three things that are today's: who
the person's identifiers are, the policy, and that records end. (Demonstrating consent: GDPR
Article 7(1))
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from candor import consents
from candor.consent import (
    MINOR,
    RESTRICTED,
    UNDENIABLE,
    Choices,
    Signals,
    Verdict,
    denies,
    is_minor,
    is_restricted,
    register_of,
    signal,
    verdict,
)
from candor.consent import standing as standing_of
from candor.errors import Refused
from candor.explanation import TRUSTED
from candor.policy import DAY, Policy
from candor.ports import Row
from candor.profiles import MOST_LISTED, View
from candor.registers import Record, Registers, rebuilt, standing

Json = dict[str, Any]
WAYS = {
    "banner": "by a banner or what a device sent",
    "preference_center": "in a preference center",
    "api": "through the API",
    "gpc": "by Global Privacy Control",
    "tcf": "by a TCF string",
    "gpp": "by a GPP string",
    "opt_out": "by an opt-out",
    "objection": "by an objection",
    "restriction": "by a request to restrict processing",
    "split": "before they were separated from somebody",
    "erasure": "before their data was erased",
}
ENDS = {
    "contract": "Nothing that the person chooses: it ends with the contract, or by the policy.",
    "legal_obligation": "Nothing that the person chooses: it ends with the obligation.",
    "legitimate_interest": "An objection ends it.",
    "consent": "A denial ends it.",
}


@dataclass(frozen=True, slots=True)
class Account:
    """What decided on one purpose, for a person and for each of their identifiers."""

    person: Verdict
    identifiers: Mapping[str, Verdict]
    records: tuple[tuple[str, Row, str], ...]
    """What was known, the oldest first: the identifier, the record, and where it does not decide,
    why not."""
    later: int
    """How many records of that time arrived only after it."""


def account(
    policy: Policy, purpose: str, at: int, found: Iterable[Record], first: Mapping[str, int]
) -> Account:
    """What the records (in any order) of these identifiers say of a purpose, as of a time.

    `first` are the days since which the identifiers are here. A denial that a part of a person took
    along when it was split off counts from when it was made: it bound the part then.
    """
    told = sorted(_about(found, purpose), key=_turn)
    made = [one for one in told if one[1]["at"] <= at]
    known = [one for one in made if _known(one[1]) <= at]
    here = {idkey: day for idkey, day in first.items() if day <= at // DAY}
    counted = [*standing(known, here)]
    counting = {(idkey, row["sk"]) for idkey, row in counted}
    registers = rebuilt(counted)
    person = verdict(policy, purpose, registers.choices, {})
    verdicts = {
        idkey: verdict(policy, purpose, registers.choices, registers.signals.get(idkey, {}))
        for idkey in first
    }
    judge = _Judge(policy, purpose, registers, person)
    records = tuple(
        (idkey, row, judge.reason(idkey, row) if (idkey, row["sk"]) in counting else OVER)
        for idkey, row in known
    )
    return Account(person, verdicts, records, len(made) - len(known))


def _about(found: Iterable[Record], purpose: str) -> Iterator[Record]:
    """The records that have a say: a guardian's grant of something else tells of a minor."""
    for idkey, row in found:
        if row["purpose"] in (purpose, MINOR, RESTRICTED):
            yield idkey, row
        elif row.get("guardian"):
            kept = {name: row[name] for name in row if name != "guardian"}
            yield idkey, kept | {"purpose": MINOR, "granted": False}


OVER = "Its identifier had not been seen for so long that it ended, and began anew."


class _Judge:
    """Says of each record why it does not decide; "" where it does.

    A record decides where the verdict, or its reason, would be another without its kind: without
    any denial, say.
    """

    def __init__(self, policy: Policy, purpose: str, registers: Registers, person: Verdict) -> None:
        self._policy, self._purpose, self._person = policy, purpose, person
        self._signals = registers.signals
        self._choices = registers.choices
        self._times = standing_of(registers.choices, purpose)
        self._denied = denies(registers.choices, purpose)
        self._basis = policy.purposes[purpose].basis if purpose in policy.purposes else None

    def reason(self, idkey: str, row: Row) -> str:
        if self._basis is None:
            return "The policy names no such purpose."
        if row["binds"] == "profile":
            return self._choice(row)
        return self._signal(self._signals[idkey], row)

    def _choice(self, row: Row) -> str:
        granted, kept = bool(row["granted"]), register_of(row)
        name = next(iter(kept))
        if kept[name][granted] != self._choices[name][granted]:
            return f"A later {'grant' if granted else 'denial'} took its place."
        without = [*self._choices[name]]
        without[granted] = 0
        if self._would_be({**self._choices, name: without}, {}) != self._person:
            return ""
        if not granted and not self._denied and self._basis not in UNDENIABLE and self._times[1]:
            whose = "A guardian's" if is_minor(self._choices) else "The person's"
            return f"{whose} grant of {_day(self._times[1])} came later."
        return self._outweighed()

    def _signal(self, signals: Signals, row: Row) -> str:
        if signal(row["at"], granted=row["granted"]) != signals[self._purpose]:
            return "The device said something later."
        if self._would_be(self._choices, signals) != self._would_be(self._choices, {}):
            return ""
        return self._outweighed()

    def _would_be(self, choices: Choices, signals: Signals) -> Verdict:
        return verdict(self._policy, self._purpose, choices, signals)

    def _outweighed(self) -> str:
        """By what: the legal basis, or what the person chose."""
        if is_restricted(self._choices):
            return f"Something else decides: {self._person.because}."
        if self._basis in UNDENIABLE:
            return f"The legal basis is {self._basis}: nobody's choice changes it."
        if self._denied:
            return f"The person's denial of {_day(self._times[0])} outweighs it."
        if self._basis == "legitimate_interest":
            return "The legal basis is legitimate_interest: only an objection changes it."
        return f"Something else decides: {self._person.because}."


def explained(view: View, purpose: str, at: float) -> Json:
    """What is told of a purpose as of a time, which is at most now: the verdict for the person and
    for each device, and the records behind it.

    Of very many records the newest are told, and those that decide. Raises Refused for a purpose
    that neither the policy nor a record names.
    """
    world = view.world
    time = int(min(at, world.clock()))
    first = {idkey: member.node["first"] for idkey, member in view.members.items()}
    found = [*consents.records(world, [*view.members])]
    rule = world.policy.purposes.get(purpose)
    if rule is None and all(row["purpose"] != purpose for _, row in found):
        named = ", ".join(sorted(world.policy.purposes))
        raise Refused("unknown_purpose", f"The policy's purposes are: {named}.")
    told = account(world.policy, purpose, time, found, first)
    basis = rule.basis if rule else None
    spoke = {idkey for idkey, row, _ in told.records if row["binds"] == "device"}
    devices = {
        idkey
        for idkey, member in view.members.items()
        if not world.policy.identifier(member.type).known and first[idkey] <= time // DAY
    }
    shown = [
        {"identifier": view.named(idkey), **_verdict(one, basis)}
        for idkey, one in told.identifiers.items()
        if idkey in spoke | devices
    ]
    older = len(told.records) - MOST_LISTED
    listed = [one for n, one in enumerate(told.records) if n >= older or not one[2]]
    return {
        "about": purpose,
        "at": time,
        "basis": basis,
        "policy": world.policy.hash,
        **_verdict(told.person, basis),
        "devices": shown,
        "data": [_record(*one, view.named) for one in listed],
        "next": None,
        "left_out": len(told.records) - len(listed),
        "later": told.later,
    }


def sentence(row: Mapping[str, Any]) -> str:
    """What a consent record says."""
    word = "Granted" if row["granted"] else "Denied"
    if row["purpose"] == MINOR:
        word = "Said to be of age" if row["granted"] else "Said to be a minor"
    elif row.get("guardian"):
        word = "Granted by a guardian"
    if row["purpose"] == RESTRICTED:
        word = "Let be used again" if row["granted"] else "Restricted, to be kept and not used,"
    if row["mechanism"] == "split":
        return f"{word} on {_moment(row['at'])}, {WAYS['split']}; this part took it along."
    if row["mechanism"] == "erasure":
        return f"{word} on {_moment(row['at'])}, {WAYS['erasure']}; it outlives the data."
    way = WAYS.get(row["mechanism"], f"by {row['mechanism']}")
    by = f"{way}, from {row['source']} on {_moment(row['at'])} ({TRUSTED[row['trust']]})"
    whom = "the whole person" if row["binds"] == "profile" else "this device and what it sends"
    text = [row[name] for name in ("text_version", "language") if name in row]
    read = f"; the text shown was {', '.join(text)}" if text else ""
    return f"{word} {by}, for {whom}{read}."


def _record(idkey: str, row: Row, why: str, named: Callable[[str], Json]) -> Json:
    kept = ("granted", "at", "received", "mechanism", "source", "trust", "binds", "policy")
    more = [name for name in ("language", "text_version") if name in row]
    told = {name: row[name] for name in (*kept, *more)} | {"identifier": named(idkey)}
    return told | {"said": sentence(row), "decides": not why, "because": why or _decides(row)}


def _decides(row: Row) -> str:
    return "It decides for the person." if row["binds"] == "profile" else "It decides here."


def _verdict(one: Verdict, basis: str | None) -> Json:
    fix = ENDS.get(basis or "", "") if one.allowed else one.fix
    return {"allowed": one.allowed, "because": one.because, "fix": fix}


def _turn(one: Record) -> tuple[int, int, str, str]:
    idkey, row = one
    return row["at"], row["received"], idkey, row["sk"]


def _known(row: Row) -> int:
    known: int = row["at"] if row["mechanism"] in ("split", "erasure") else row["received"]
    return known


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
