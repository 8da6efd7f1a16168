"""Consent receipts: what a person chose, signed, in a form that they keep and others can read.

JSON-LD with the terms that the guide "Consent Records and Receipts as per ISO/IEC TS 27560:2023
using DPV" (https://w3id.org/dpv/guides/consent-27560, final report of 2024-08-01) gives the fields
of the specification, in its sections "DPV-27560 Consent Record" and "DPV-27560 Consent Receipts".
docs/consent-receipts.md says what is in it, what is not, and how anybody checks one.

Nothing in it is a raw identifier or a value: it will lie in mailboxes.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from candor import dpv, notice
from candor.consent import UNDENIABLE
from candor.consents import records
from candor.errors import Forbidden, Refused
from candor.policy import Policy, iso
from candor.ports import Row, Signer
from candor.profiles import MOST_LISTED, View
from candor.signatures import fingerprint, signed

Json = dict[str, Any]
GUARDIAN = {"@type": "dpv:GuardianOfDataSubject"}
SCHEMA = "candor/consent-receipt/1"
CONTROLLER, SUBJECT = "_:controller", "_:subject"
STATES = {
    "consent": {"granted": "dpv:ConsentGiven", "unknown": "dpv:ConsentUnknown"},
    "legitimate_interest": {
        "granted": "dpv:LegitimateInterestNotObjected",
        "denied": "dpv:LegitimateInterestObjected",
        "unknown": "dpv:LegitimateInterestNotObjected",
    },
}
"""What a state is called, by legal basis. A denied consent was refused or withdrawn."""
TAKING_BACK = (
    "Every choice can be changed at any time, for each purpose by itself, as easily as it was "
    "made: in the consent settings, or by writing to this address."
)
"""GDPR Article 7(3)."""
SCOPES = {"device": "what this device sends", "profile": "everything about the person"}


def issue(view: View, subject: str, signer: Signer, only: str | None = None) -> dict[str, str]:
    """A signed receipt of the person's choices for every purpose that is theirs to choose, or for
    `only` one. `subject` is the pseudonym of the identifier that was asked for.

    `key_sha256` tells a checker which public key to take; a wrong one proves nothing.
    Raises Refused, and Forbidden for a purpose of reading that would see a part of it.
    """
    if not view.world.policy.purposes[view.purpose].sees_everything:
        text = "A receipt is handed to the person: read it for a purpose that sees everything."
        raise Forbidden("needs_whole_view", text)
    chosen = choosable(view.world.policy, only)
    text = document(view, subject, str(uuid.uuid4()), chosen)
    return signed(text, signer) | {"key_sha256": fingerprint(signer.public_key())}


def choosable(policy: Policy, only: str | None) -> list[str]:
    """The purposes that a person can say no to, or `only` that one. Raises Refused."""
    found = [name for name, rule in policy.purposes.items() if rule.basis not in UNDENIABLE]
    if only is None:
        return found
    if only not in policy.purposes:
        named = ", ".join(sorted(policy.purposes))
        raise Refused("unknown_purpose", f"The policy's purposes are: {named}.")
    if only not in found:
        text = "Nobody chooses what rests on a contract or a legal obligation."
        raise Refused("not_a_choice", text)
    return [only]


def document(view: View, subject: str, id_: str, purposes: Iterable[str]) -> str:
    """The text to sign: the same for the same facts, id and second. ASCII, so that no mailbox
    changes a byte of it."""
    world, said = view.world, _by_purpose(view)
    policy = world.policy.document
    states = view.consents()
    told = {
        "@context": dpv.CONTEXT,
        "@id": f"urn:uuid:{id_}",
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": id_,
        "dct:conformsTo": {"@type": "dct:Standard", "dct:identifier": SCHEMA},
        "dct:created": iso(world.clock()),
        "dct:publisher": CONTROLLER,
        "dpv:hasDataController": {
            "@id": CONTROLLER,
            "@type": "dpv:DataController",
            "dpv:hasName": policy["organization"],
            "dpv:hasContact": policy["contact"],
        },
        "dpv:hasDataSubject": {
            "@id": SUBJECT,
            "@type": "dpv:DataSubject",
            "dct:identifier": subject,
        },
        "dpv:hasNotice": _policy_notice(world.policy.hash),
        "dpv:hasConsentControl": {
            "@type": "dpv:ManageConsent",
            "dct:description": TAKING_BACK,
            "dpv:isExercisedAt": policy["contact"],
        },
        "dpv:hasRight": [
            {
                "@type": ["dpv:DataSubjectRight", dpv.RIGHTS[title]],
                "dct:title": title,
                "dct:description": text,
                "dpv:isExercisedAt": policy["contact"],
            }
            for title, text in notice.RIGHTS.items()
        ],
        "dpv:hasRecordOfActivity": [
            _record(world.policy, subject, name, states[name], said.get(name, []))
            for name in purposes
        ],
    }
    return json.dumps(told, indent=1)


def _record(policy: Policy, subject: str, purpose: str, state: Json, said: list[Row]) -> Json:
    """What was chosen for one purpose, and what it is about."""
    rule = policy.purposes[purpose]
    named = {"skos:broader": dpv.PURPOSES[purpose]} if purpose in dpv.PURPOSES else {}
    history = list(_history(rule.basis, said))
    kind = STATES[rule.basis].get(state["state"]) or _latest_denial(history)
    now = {"@type": kind, "dct:description": state["because"]}
    told: Json = {
        "@type": "dpv:ConsentRecord",
        "dct:identifier": f"{subject}/{purpose}",
        "dpv:hasLegalBasis": dpv.BASES[rule.basis],
        "dpv:hasPurpose": {
            "@type": "dpv:Purpose",
            "dct:identifier": purpose,
            "dct:title": notice.label(purpose),
            "dct:description": rule.description,
            **named,
        },
        "dpv:hasProcess": list(_processes(policy.document, purpose)),
    }
    if len(history) > MOST_LISTED:
        told["dct:extent"] = f"the newest {MOST_LISTED} of {len(history)} choices"
    history = history[-MOST_LISTED:]
    if rule.basis == "consent":
        return told | {"dpv:hasStatus": now, "dpv:hasConsentStatus": history}
    # An objection is no consent's status, and DPV has no property of its own for it.
    return told | {"dpv:hasStatus": [now, *history]}


# Choices


def _by_purpose(view: View) -> dict[str, list[Row]]:
    """Every choice on record, oldest first, each once with the idkey that it stands under."""
    said = [row | {"idkey": idkey} for idkey, row in records(view.world, list(view.members))]
    found: dict[str, dict[tuple[object, ...], Row]] = {}
    for row in sorted(said, key=lambda row: (row["sk"], row["idkey"])):
        found.setdefault(row["purpose"], {}).setdefault(_name(row), row)
    return {purpose: list(rows.values()) for purpose, rows in found.items()}


def _name(row: Row) -> tuple[object, ...]:
    """Tells a choice from all others. One that named several identifiers is on record under each,
    and is one choice where it binds the person."""
    place = "" if row["binds"] == "profile" else row["idkey"]
    told = (row.get(name) for name in ("guardian", "language", "text_version"))
    return (place, *(row[name] for name in ("at", "granted", "mechanism", "source")), *told)


def _history(basis: str, said: Iterable[Row]) -> Iterator[Json]:
    """Choices as events. A denial withdraws where something that it reaches was ever granted
    before it, and refuses where nothing was; said again it says the same."""
    granted: set[str] = set()
    for row in said:
        everything = row["binds"] == "profile"
        place = "profile" if everything else row["idkey"]
        if row["granted"]:
            granted.add(place)
            kind = "dpv:ConsentGiven"
        else:
            reached = granted if everything else granted & {place}
            kind = "dpv:ConsentWithdrawn" if reached else "dpv:ConsentRefused"
        if basis != "consent":
            kind = STATES[basis]["granted" if row["granted"] else "denied"]
        yield _event(kind, row)


def _event(kind: str, row: Row) -> Json:
    shown = {
        name: row[attribute]
        for name, attribute in (("dct:language", "language"), ("dcat:version", "text_version"))
        if row.get(attribute)
    }
    notices = [{"@type": "dpv:ConsentNotice", **shown}] if shown else []
    told: Json = {
        "@type": kind,
        "dpv:isIndicatedAtTime": iso(row["at"]),
        "dpv:isIndicatedBy": GUARDIAN if row.get("guardian") else SUBJECT,
        "dpv:hasIndicationMethod": row["mechanism"],
        "dpv:hasScope": {"@type": "dpv:Scope", "rdf:value": SCOPES[row["binds"]]},
        "dpv:hasNotice": [*notices, _policy_notice(row["policy"])],
    }
    if kind == "dpv:ConsentGiven":
        until = "the person takes it back"
        told["dpv:hasDuration"] = {"@type": "dpv:UntilEventDuration", "rdf:value": until}
    return told


def _latest_denial(history: list[Json]) -> str:
    """What a denial that stands is called; a minor has said nothing that counts."""
    denials = [event["@type"] for event in history if event["@type"] != "dpv:ConsentGiven"]
    return str(denials[-1]) if denials else "dpv:ConsentUnknown"


def _policy_notice(hash_: str) -> Json:
    """The policy that was in force; everybody can read it at /v1/policy."""
    return {"@type": "dpv:PrivacyNotice", "dcat:version": hash_}


# What it is about


def _processes(policy: Mapping[str, Any], purpose: str) -> Iterator[Json]:
    """The personal data that the policy keeps for a purpose, one process for each time of keeping
    it, the shortest first."""
    by_days: dict[int, list[Json]] = {}
    sections = {"identifiers": _identifier, "traits": _trait, "events": _happening}
    for section, about in sections.items():
        for name, rule in policy[section].items():
            if purpose in rule["purposes"]:
                days = policy["retention"][rule["retention"]]
                by_days.setdefault(days, []).append(about(name, rule))
    for days, data in sorted(by_days.items()):
        happened = any(one["dct:identifier"].startswith("events.") for one in data)
        duration = {"@type": "xsd:duration", "@value": f"P{days}D"}
        yield {
            "@type": "dpv:Process",
            "dpv:hasStorageCondition": {
                "@type": "dpv:StorageDuration",
                "dpv:hasDuration": {"@type": "dpv:TemporalDuration", "rdf:value": duration},
            },
            "dpv:hasPersonalData": [*data, *(_device(policy) if happened else ())],
        }


def _identifier(name: str, rule: Json) -> Json:
    title = notice.IDENTIFIERS.get(name, notice.label(name))
    return _data(f"identifiers.{name}", title, dpv.IDENTIFIERS.get(name), rule)


def _trait(name: str, rule: Json) -> Json:
    return _data(f"traits.{name}", notice.label(name), dpv.TRAITS.get(name), rule)


def _happening(name: str, rule: Json) -> Json:
    title = notice.CALLS.get(name, name)
    return _data(f"events.{name}", title, dpv.EVENTS.get(name, dpv.ANY_EVENT), rule)


def _device(policy: Mapping[str, Any]) -> list[Json]:
    """What is kept of the device with each event."""
    dropped = {
        "ip": policy["minimise"]["ip"] == "drop",
        "userAgent": policy["minimise"]["user_agent"] == "drop",
    }
    return [
        _data(f"context.{name}", notice.CONTEXT.get(name, notice.label(name)), dpv.DEVICE.get(name))
        for name in policy["context"]["keep"]
        if not dropped.get(name)
    ]


def _data(id_: str, title: str, broader: str | None, rule: Mapping[str, Any] = {}) -> Json:
    special = rule.get("sensitivity") == "special"
    return {
        "@type": "dpv:SpecialCategoryPersonalData" if special else "dpv:PersonalData",
        "dct:identifier": id_,
        "dct:title": title,
    } | ({"skos:broader": broader} if broader else {})
