"""The policy as the functions read it: compiled from `policy.yaml` at build and trusted as it is.

The mistakes a person can make in it are found at build (`cli/policy.py`), so that no function pays
for parsing YAML or for validation at its cold start.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from candor.spelling import Normaliser

Basis = Literal["consent", "contract", "legal_obligation", "legitimate_interest"]
UNNAMED = "unnamed"
"""The retention class of events that the catalogue does not name (local configuration only)."""

DAY = 86_400
"""Seconds."""


def iso(seconds: float) -> str:
    """A time as the API tells it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Purpose:
    basis: Basis
    description: str
    sees_everything: bool


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    priority: int
    limit: int
    shared_after: int
    """How many people's identifiers of one type it may meet; with one more it is quarantined."""
    known: bool
    normaliser: Normaliser
    never: tuple[re.Pattern[str], ...]
    sources: tuple[str, ...]
    purposes: frozenset[str]
    retention: str = ""
    """The class that says how long it stays, unseen, when nothing is kept under it."""
    region: str | None = None
    """Whose phone numbers those without a country's code are; `none`: nobody's."""
    needs_proof: bool = False
    """Whether an unproven client's word for it counts for nothing."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Somebody else who gets people's data."""

    name: str
    url: str
    knows: frozenset[str]
    """The types of identifiers that it knows people by."""
    tell: frozenset[str]
    """What it is told of: `erasure`."""
    answer_within_hours: int

    @classmethod
    def of(cls, rule: Mapping[str, Any]) -> Self:
        return cls(**{**rule, "knows": frozenset(rule["knows"]), "tell": frozenset(rule["tell"])})


@dataclass(frozen=True, slots=True)
class Attribute:
    """A trait, or an event with its `properties` (None: all of them)."""

    purposes: frozenset[str]
    retention: str
    properties: frozenset[str] | None = None
    verify_within: int | None = None
    """Days after which a trait is stale that no proven source has said again."""


@dataclass(frozen=True, slots=True)
class ErasureRule:
    """What is waited for before anything is destroyed; the person is hidden meanwhile."""

    waiting_days: int
    second_person: bool


DROPPED_TYPE = IdentifierRule(10**6, 10**6, 10**6, True, "trim", (), (), frozenset())
"""Comes last, limits nothing, is nobody's to see, and counts as a person's for who may join it."""
UNNAMED_EVENT = Attribute(frozenset({"service"}), UNNAMED)


@dataclass(frozen=True, slots=True)
class Policy:
    hash: str
    organization: str
    purposes: Mapping[str, Purpose]
    categories: Mapping[str, tuple[str, ...]]
    retention: Mapping[str, int]
    """Days by retention class."""
    records: Mapping[str, int]
    """Days by kind of record."""
    identifiers: Mapping[str, IdentifierRule]
    traits: Mapping[str, Attribute]
    events: Mapping[str, Attribute]
    gpc: frozenset[str]
    """The purposes that Global Privacy Control denies."""
    consent_mode: Mapping[str, tuple[str, ...]]
    """What the types of Google's Consent Mode stand for, as `categories` of banners."""
    tcf: Mapping[int, tuple[str, ...]]
    """The same of the purposes of IAB Europe's framework, by their numbers."""
    us_opt_outs: Mapping[str, tuple[str, ...]]
    """What ends with an opt-out: of `sale`, `sharing`, `targeted_advertising`, `sensitive`."""
    context_kept: frozenset[str]
    context_known: frozenset[str]
    source_priority: Mapping[str, int]
    """Rank by kind of source, 0 the strongest."""
    minimise_ip: Literal["truncate", "drop", "keep"]
    minimise_user_agent: Literal["family", "drop", "keep"]
    document: Mapping[str, Any]
    """The compiled form as it is, for whoever wants to know the policy."""
    imports: Mapping[str, Any]
    """How files are read, by the names of the mappings; `candor.imports` has their form."""
    webhooks: Mapping[str, Any]
    """The same of webhooks' bodies; `candor.webhooks` has their form."""
    erasure: ErasureRule
    destinations: Mapping[str, Destination]

    @classmethod
    def of(cls, compiled: Mapping[str, Any]) -> Self:
        """From the compiled form."""
        never_any = compiled["never_identifiers"]
        context = compiled["context"]
        return cls(
            hash=compiled["hash"],
            organization=compiled["organization"],
            purposes={
                name: Purpose(rule["basis"], rule["description"], rule["sees_everything"])
                for name, rule in compiled["purposes"].items()
            },
            categories={
                name.lower(): tuple(purposes)
                for name, purposes in compiled["consent_categories"].items()
            },
            retention=compiled["retention"],
            records=compiled["records"],
            identifiers={
                name: IdentifierRule(
                    rule["priority"],
                    rule["limit"],
                    rule["shared_after"],
                    rule["known"],
                    rule["normaliser"],
                    tuple(re.compile(text, re.IGNORECASE) for text in (*never_any, *rule["never"])),
                    tuple(rule["from"]),
                    frozenset(rule["purposes"]),
                    rule["retention"],
                    rule["region"],
                    rule["needs_proof"],
                )
                for name, rule in compiled["identifiers"].items()
            },
            traits={name: _attribute(rule) for name, rule in compiled["traits"].items()},
            events={name: _attribute(rule) for name, rule in compiled["events"].items()},
            gpc=frozenset(compiled["gpc"]),
            consent_mode=_tuples(compiled["consent_mode"]),
            tcf={int(one): listed for one, listed in _tuples(compiled["tcf"]).items()},
            us_opt_outs=_tuples(compiled["us_opt_outs"]),
            context_kept=frozenset(context["keep"]),
            context_known=frozenset(context["keep"] + context["use"] + context["drop"]),
            source_priority={
                kind: rank for rank, kind in enumerate(compiled["sources"]["priority"])
            },
            minimise_ip=compiled["minimise"]["ip"],
            minimise_user_agent=compiled["minimise"]["user_agent"],
            document=compiled,
            imports=compiled["imports"],
            webhooks=compiled["webhooks"],
            erasure=ErasureRule(**compiled["erasure"]),
            destinations={
                name: Destination.of(rule) for name, rule in compiled["destinations"].items()
            },
        )

    @classmethod
    def load(cls) -> Self:
        """The one that was built into the layer."""
        return cls.of(json.loads(Path(__file__).with_name("policy.json").read_bytes()))

    def event(self, name: str, *, unnamed: bool = False) -> Attribute | None:
        """The catalogue's entry, or that of what `UNNAMED_EVENTS=keep` let through; else None."""
        return self.events.get(name) or (UNNAMED_EVENT if unnamed else None)

    def identifier(self, type_: str) -> IdentifierRule:
        """The rule of a type that is stored, which the policy may have dropped since."""
        return self.identifiers.get(type_, DROPPED_TYPE)

    def due(self, days: int, since: float) -> int:
        """When something of `since` (epoch seconds) ends: the end of its UTC day, `days` later."""
        return int(since // DAY + 1 + days) * DAY


def _tuples(meaning: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(purposes) for name, purposes in meaning.items()}


def _attribute(rule: Mapping[str, Any]) -> Attribute:
    properties = rule.get("properties")
    return Attribute(
        frozenset(rule["purposes"]),
        rule["retention"],
        None if properties is None else frozenset(properties),
        rule.get("verify_within"),
    )
