"""Consent as folds over immutable records. Everything here is commutative and idempotent.

Two registers, because two kinds of signal speak for different things:

- a NODE's `signals`, per purpose `[minute, granted]`: what this device said last (riding signals of
  events, and grants that no known user stands behind). Latest wins; denial wins a tie.
- a PROFILE's `choices`, per purpose `[denied, granted]`, epoch seconds or 0: the latest denial from
  anywhere, and the latest grant by a known user through a server or verified source.

Of somebody who is marked as under the policy's age only what a guardian granted counts. The mark is
a choice like others, MINOR, denied by who says so and granted by who says that they are of age; and
so is a guardian's grant, under a name of its own. So both fold, and survive merges and splits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from candor.policy import Policy

Signals = Mapping[str, list[int]]
"""Purpose to [minute (epoch seconds, floored), 1 granted or 0 denied]."""
Choices = Mapping[str, list[int]]
"""Purpose to [latest denial, latest grant], epoch seconds, 0 for never."""
Mechanism = Literal[
    "banner",
    "preference_center",
    "api",
    "gpc",
    "tcf",
    "gpp",
    "opt_out",
    "objection",
    "restriction",
    "erasure",
    "split",
]
State = Literal["granted", "denied", "unknown"]
MINUTE, HOUR = 60, 3600
LATE = 2 * MINUTE
"""After how long a signal might come behind a later one."""
UNGUARDED = "the person is a minor, and no guardian granted it"
MINOR = "(minor)"
"""Whom this is denied is under the policy's age; granted it, of age."""
RESTRICTED = "(restricted)"
"""Whom this is denied is kept and not used, until it is granted. (GDPR Article 18)"""
UNDENIABLE = ("contract", "legal_obligation")
"""Legal bases that neither need consent nor end with a denial."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether data may be used, and why, in words a person understands."""

    allowed: bool
    because: str
    fix: str = ""


def signal(at: float, *, granted: bool) -> list[int]:
    return [int(at // MINUTE) * MINUTE, int(granted)]


def hear(register: dict[str, list[int]], purpose: str, at: float, *, granted: bool) -> None:
    """Fold one signal into a register."""
    said, seen = signal(at, granted=granted), register.get(purpose)
    if seen is None or (said[0], -said[1]) > (seen[0], -seen[1]):
        register[purpose] = said


def fold_signals(*registers: Signals) -> dict[str, list[int]]:
    folded: dict[str, list[int]] = {}
    for register in registers:
        for purpose, (minute, granted) in register.items():
            hear(folded, purpose, minute, granted=bool(granted))
    return folded


def hear_device(register: Signals, said: Signals, now: float) -> dict[str, list[int]]:
    """What a device's register becomes by what the device said, as it is heard at `now`.

    Devices say the same with every event, and that is not written again: a grant never, a denial
    once an hour. So a denial stands for its hour: a grant from within it counts only while it is
    new, as the device might have said no since. Nothing that comes late adds a permission.
    """
    folded = fold_signals(register, said)
    for purpose, (minute, granted) in register.items():
        heard, again = folded[purpose]
        within = heard // HOUR == minute // HOUR
        late = now - heard > LATE
        if (granted and again) or (not granted and within and (not again or late)):
            folded[purpose] = [minute, granted]
    return folded


def fold_choices(*registers: Choices) -> dict[str, list[int]]:
    folded: dict[str, list[int]] = {}
    for register in registers:
        choose(folded, register)
    return folded


def choose(register: dict[str, list[int]], chosen: Choices) -> None:
    """Fold choices into a register."""
    for purpose, (denied, granted) in chosen.items():
        seen = register.setdefault(purpose, [0, 0])
        seen[0], seen[1] = max(seen[0], denied), max(seen[1], granted)


def by_guardian(purpose: str) -> str:
    """Under what name a guardian's grant of a purpose is kept."""
    return f"guardian:{purpose}"


def register_of(record: Mapping[str, Any]) -> dict[str, list[int]]:
    """What a record that binds a profile is in the register of its choices."""
    purpose, at = record["purpose"], max(1, record["at"])  # 0 means never
    if not record["granted"]:
        return {purpose: [at, 0]}
    if record.get("guardian"):  # who speaks of whom they guard says that they are a minor
        return {by_guardian(purpose): [0, at], MINOR: [at, 0]}
    return {purpose: [0, at]}


def is_minor(choices: Choices) -> bool:
    """Whether the person is marked as under the policy's age."""
    marked, of_age = choices.get(MINOR, (0, 0))
    return bool(marked) and marked >= of_age


def is_restricted(choices: Choices) -> bool:
    denied, granted = choices.get(RESTRICTED, (0, 0))
    return bool(denied) and denied >= granted


def denials(choices: Choices) -> dict[str, int]:
    """The purposes that stand denied, with when."""
    named = (one for one in choices if one not in (MINOR, RESTRICTED))
    return {one: standing(choices, one)[0] for one in named if denies(choices, one)}


def standing(choices: Choices, purpose: str) -> tuple[int, int]:
    """The latest denial of a purpose, and the latest grant that counts; 0 for none.

    What a minor granted never counts, and what a guardian granted no more once they are of age.
    (GDPR Article 8; EDPB Guidelines 05/2020, section 7.1.4)
    """
    denied, granted = choices.get(purpose, (0, 0))
    if purpose in (MINOR, RESTRICTED):
        return denied, granted
    marked, of_age = choices.get(MINOR, (0, 0))
    if is_minor(choices):
        granted = choices.get(by_guardian(purpose), (0, 0))[1]
    return denied, granted if granted >= of_age or not marked else 0


def denies(choices: Choices, purpose: str) -> bool:
    """Whether an explicit denial stands: it is later than any grant, or as late."""
    denied, granted = standing(choices, purpose)
    return bool(denied) and denied >= granted


def forbids(policy: Policy, choices: Choices, purpose: str) -> bool:
    """Whether a person's choices forbid a purpose, whatever any device says of it."""
    rule = policy.purposes[purpose]
    if is_restricted(choices) and not rule.sees_everything:
        return True
    if rule.basis in UNDENIABLE:
        return False
    unasked = is_minor(choices) and policy.purposes[purpose].basis == "consent"
    return denies(choices, purpose) or (unasked and not standing(choices, purpose)[1])


def verdict(policy: Policy, purpose: str, choices: Choices, signals: Signals) -> Verdict:
    """May data that came with an identifier of these `signals`, in a profile of these `choices`, be
    used for `purpose`? Fails closed: what is not known is not allowed."""
    rule = policy.purposes.get(purpose)
    if rule is None:
        return Verdict(False, "the policy names no such purpose", "name it in policy.yaml")
    if is_restricted(choices) and not rule.sees_everything:
        since = _day(choices[RESTRICTED][0])
        return Verdict(False, f"processing is restricted since {since}", "lift the restriction")
    if rule.basis in UNDENIABLE:
        return Verdict(True, f"its legal basis is {rule.basis}, which needs no consent")
    denied, granted = standing(choices, purpose)
    if denies(choices, purpose):
        return Verdict(False, f"denied by choice on {_day(denied)}", "only the person can grant it")
    if rule.basis == "legitimate_interest":
        return Verdict(True, "its legal basis is legitimate_interest, and nobody objected")
    if forbids(policy, choices, purpose):
        return Verdict(False, UNGUARDED, "a guardian can grant it")
    said = signals.get(purpose)
    if said and not said[1]:
        because = f"denied on the device on {_day(said[0])}"
        return Verdict(False, because, "only the device's user can grant it")
    if granted:
        who = "a guardian" if is_minor(choices) else "the person"
        return Verdict(True, f"granted by {who} on {_day(granted)}")
    if said:
        return Verdict(True, f"granted on the device on {_day(said[0])}")
    return Verdict(False, "no consent is on record", "record a grant by POST /v1/consents")


def summary(
    policy: Policy, purpose: str, choices: Choices, devices: Iterable[Signals]
) -> tuple[State, str]:
    """The state of a purpose over a whole profile, for people; use `verdict` to decide."""
    basis = policy.purposes[purpose].basis
    if basis in UNDENIABLE:
        return "unknown", f"no consent is needed: {basis}"
    denied, granted = standing(choices, purpose)
    said = [register[purpose] for register in devices if purpose in register]
    grants = sum(granted_there for _, granted_there in said)
    if denies(choices, purpose):
        return "denied", f"denied by choice on {_day(denied)}; this binds everything of the person"
    if basis == "consent" and forbids(policy, choices, purpose):
        return "denied", UNGUARDED
    if granted:
        refusing = len(said) - grants
        who = "a guardian" if is_minor(choices) else "the person"
        but = f", but {refusing} device(s) said no for what they sent" if refusing else ""
        return "granted", f"granted by {who} on {_day(granted)}{but}"
    if grants:
        return "granted", f"granted on {grants} of {len(said)} device(s), for what these sent"
    if said:
        return "denied", f"denied on {len(said)} device(s)"
    if basis == "legitimate_interest":
        return "unknown", "nobody objected, and no consent is needed: legitimate_interest"
    return "unknown", "no consent is on record, so nothing is used for this"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
