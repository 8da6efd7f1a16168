"""What a sender says of consent, in the words of its own tool, as purposes of the policy.

Pure. Each form that `Preferences` knows is read by itself; of two that disagree about a purpose,
denial wins. What is not known, not readable or not mapped grants nothing, and is told.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from candor.consent import Mechanism
from candor.policy import Policy

if TYPE_CHECKING:  # the decoders cost a cold start what most requests have no use for
    from candor.signals import OptOuts, TcString

ConsentType = Literal[
    "ad_storage",
    "ad_user_data",
    "ad_personalization",
    "analytics_storage",
    "functionality_storage",
    "personalization_storage",
    "security_storage",
]
"""Of Google's Consent Mode v2, "Consent types":
https://developers.google.com/tag-platform/security/concepts/consent-mode"""
CONSENT_TYPES: tuple[ConsentType, ...] = get_args(ConsentType)
TCF_PURPOSES = range(1, 12)
"""What versions 2.2 and 2.3 of IAB Europe's framework define."""
OptOut = Literal["sale", "sharing", "targeted_advertising", "limit_use"]
OPT_OUTS: Mapping[OptOut, str] = {
    "sale": "sale",
    "sharing": "sharing",
    "targeted_advertising": "targeted_advertising",
    "limit_use": "sensitive",
}
"""What a person opts out of (sale and sharing: California Civil Code 1798.120; limiting the use of
sensitive data: 1798.121; targeted advertising: laws of other states), as `us_opt_outs` names it."""
EXPLICIT = ("opt_out", "objection")
"""Forms that only an explicit choice has."""
MECHANISMS: Mapping[str, Mechanism] = {
    "tcf": "tcf",
    "gpp": "gpp",
    "us_privacy": "gpp",  # it is a section of GPP
    "opt_out": "opt_out",
    "objection": "objection",
}
"""Of forms that say by themselves how they came about. The others are what their sender says."""

Json = dict[str, Any]
Choices = dict[str, bool]
"""Purposes that a form grants or denies."""
K = TypeVar("K")
SHAPE = 'Send {"categoryPreferences": {"analytics": true}}, each true or false.'
LISTS = 'Send {"allowedConsentIds": ["analytics"], "deniedConsentIds": ["marketing"]}.'
TYPES = 'Send {"analytics_storage": "granted", "ad_storage": "denied"}.'


@dataclass(frozen=True, slots=True)
class Note:
    """What does not count, why, and what would. `name` is the sender's word, as it was sent."""

    code: str
    name: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Heard:
    purposes: Choices = field(default_factory=dict)
    mechanisms: dict[str, Mechanism] = field(default_factory=dict)
    """By purpose, where a form of MECHANISMS decided."""
    notes: list[Note] = field(default_factory=list)


class Preferences:
    """Reads what one request says of consent. A string that comes again is not decoded again."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._notes: list[Note] = []
        self._decoded: dict[tuple[str, str], tuple[Choices, str | None]] = {}
        self._forms: Mapping[str, Callable[[Any], Choices]] = {
            "categoryPreferences": self._categories,
            "consentManagement": self._consent_ids,
            "consentMode": self._consent_mode,
            "tcf": lambda text: self._string("tcf", text),
            "gpp": lambda text: self._string("gpp", text),
            "us_privacy": lambda text: self._string("us_privacy", text),
            "opt_out": self._opt_out,
            "objection": self._objection,
        }

    def read(self, said: Iterable[tuple[str, Any]], *, explicit: bool = False) -> Heard:
        """What pairs of form and value come to. `explicit` lets those of EXPLICIT count too."""
        heard = Heard()
        self._notes = heard.notes
        for form, value in said:
            if value is None:  # how SDKs write what they do not use
                continue
            read = self._forms.get(form)
            if read is None or (form in EXPLICIT and not explicit):
                message = "It is no form of consent that counts here, and grants nothing."
                names = ", ".join(one for one in self._forms if explicit or one not in EXPLICIT)
                self.said("unknown_consent_form", form, message, f"There is: {names}.")
                continue
            for purpose, granted in read(value).items():
                if granted < heard.purposes.get(purpose, 2):
                    heard.purposes[purpose] = granted
                    heard.mechanisms.pop(purpose, None)
                    if form in MECHANISMS:
                        heard.mechanisms[purpose] = MECHANISMS[form]
        return heard

    def said(self, code: str, name: str, message: str, fix: str) -> None:
        """Note what does not count."""
        self._notes.append(Note(code, name, message, fix))

    def _categories(self, stated: Any) -> Choices:
        """Segment's: category to true or false. A category that is not there says nothing.

        https://segment.com/docs/privacy/consent-management/consent-in-unify/, "Consent object"
        """
        choices: Choices = {}
        for category, choice in self._object("categoryPreferences", stated, SHAPE).items():
            purposes = self._purposes_of(category)
            if purposes is not None and not isinstance(choice, bool):
                message = "Only true grants: what is neither true nor false counts as a denial."
                self.said("bad_consent", category, message, SHAPE)
            for purpose in purposes or ():
                choices[purpose] = choices.get(purpose, True) and choice is True
        return choices

    def _consent_ids(self, stated: Any) -> Choices:
        """RudderStack's: lists of categories that are allowed and denied.

        Strategy `and` needs consent to all categories that stand for something, `or` to at least
        one (https://www.rudderstack.com/docs/data-governance/consent-management/passing-consent/).
        RudderStack's server looks at the denied ones alone, and lets pass what nobody denied. Here
        only an id that is allowed grants: that nobody denied it is no consent. An id in both lists
        is denied, and a list of denied ones that cannot be read denies all categories.
        """
        stated = self._object("consentManagement", stated, LISTS)
        strategy = stated.get("resolutionStrategy")
        if strategy not in (None, "and", "or"):
            message = "It is neither `and` nor `or`, and counts as `and`, the stricter one."
            self.said("bad_consent", "resolutionStrategy", message, "Send `and` or `or`.")
        allowed = self._ids(stated, "allowedConsentIds", "grants nothing")
        denied = self._ids(stated, "deniedConsentIds", "denies everything")
        categories = self._policy.categories
        said = dict.fromkeys(allowed or (), True)
        said |= dict.fromkeys(categories if denied is None else denied, False)
        if strategy != "or":
            return _needing_all(categories, said)
        return {
            purpose: True in answers
            for purpose, answers in _answers(categories, said)
            if answers != {None}
        }

    def _ids(self, stated: Json, name: str, otherwise: str) -> list[str] | None:
        """Categories of the policy that a list names; None where it is no list of names."""
        ids = stated.get(name)
        if ids is None:
            return []
        if not isinstance(ids, list) or not all(_is_id(one) for one in ids):
            self.said("bad_consent", name, f"It is no list of ids, and {otherwise}.", LISTS)
            return None
        known = [one for one in map(str, ids) if self._purposes_of(one) is not None]
        return [_category(one) for one in known]

    def _purposes_of(self, category: str) -> tuple[str, ...] | None:
        purposes = self._policy.categories.get(_category(category))
        if purposes is None:
            message = "The policy has no such category: neither grant nor denial counts."
            fix = "Send a category of the policy, or add it under `consent_categories`."
            self.said("unknown_consent_category", category, message, fix)
        return purposes

    def _consent_mode(self, stated: Any) -> Choices:
        """Google's: type to `granted` or `denied`. A purpose needs all types that stand for it."""
        said: dict[str, bool] = {}
        for type_, choice in self._object("consentMode", stated, TYPES).items():
            if type_ not in CONSENT_TYPES:
                message = "Consent Mode has no such type: neither grant nor denial counts."
                fix = f"There is: {', '.join(CONSENT_TYPES)}."
                self.said("unknown_consent_type", type_, message, fix)
                continue
            if choice not in ("granted", "denied"):
                message = "Only `granted` grants: what is neither that nor `denied` is a denial."
                self.said("bad_consent", type_, message, TYPES)
            said[type_] = choice == "granted"
        self._mapped("consent_mode", self._policy.consent_mode)
        return _needing_all(self._policy.consent_mode, said)

    def _string(self, form: str, text: Any) -> Choices:
        """A string of IAB's. One that cannot be relied on denies all that its section maps."""
        if form != "us_privacy":
            self._mapped("tcf", self._policy.tcf)
        if form != "tcf":
            self._mapped("us_opt_outs", self._policy.us_opt_outs)
        choices: Choices = self._denied(form)
        why: str | None = "It is no text."
        if isinstance(text, str):
            if (form, text) not in self._decoded:
                self._decoded[form, text] = self._decode(form, text)
            choices, why = self._decoded[form, text]
        if why:
            fix = "Send the string as the consent platform makes it, whole and of today's version."
            self.said("bad_consent_string", form, f"It denies what it stands for: {why}", fix)
        return choices

    def _decode(self, form: str, text: str) -> tuple[Choices, str | None]:
        """What a string says; and why it cannot be relied on, if it cannot."""
        from candor import signals

        if form == "us_privacy":
            out = signals.us_privacy_opt_outs(text)
            return self._opted_out(out), out.denied
        if form == "gpp":
            grants = signals.gpp_grants(text)
            why = grants.denied or (grants.tcf_eu.denied if grants.tcf_eu else None)
            if why:
                return self._denied(form), why
            choices: Choices = {}
            for out in filter(None, (grants.us_privacy, grants.us_national)):
                choices |= self._opted_out(out)
            european = signals.decode_gpp(text).tcf_eu
            return (self._consented(european) if european else {}) | choices, None
        why = signals.tcf_grants(text).denied
        return (
            (self._denied(form), why) if why else (self._consented(signals.decode_tcf(text)), None)
        )

    def _consented(self, string: "TcString") -> Choices:
        """The purposes that a TC string consents to, which need all of TCF's that stand for them.

        No vendor is looked up: the shop that asks on its own pages is what TCF calls the publisher.
        It is in no vendor list, and publisher restrictions bind vendors. What the person allows the
        publisher itself stands in the segment of that name; few strings have one, and the purposes
        of the core are what the person saw in either case. So consent must stand in the core, and
        in the publisher's segment where there is one. A legitimate interest is no consent, and
        counts for nothing.
        """
        from candor.signals.tcf import granted

        consent = granted(string).consent
        if string.publisher:
            consent &= string.publisher.purposes_consent
        return _needing_all(self._policy.tcf, {one: one in consent for one in self._policy.tcf})

    def _opted_out(self, out: "OptOuts") -> Choices:
        """What an opt-out denies. Not having opted out is no consent, and grants nothing."""
        words = {
            "sale": out.sale,
            "sharing": out.sharing,
            "targeted_advertising": out.targeted_advertising,
            "sensitive": bool(out.sensitive_refused),
        }
        meaning = self._policy.us_opt_outs
        return {p: False for word, holds in words.items() if holds for p in meaning.get(word, ())}

    def _denied(self, form: str) -> Choices:
        """All that the sections of a string's form map, as denied."""
        tcf = self._policy.tcf if form != "us_privacy" else {}
        out = self._policy.us_opt_outs if form != "tcf" else {}
        return {p: False for part in (*tcf.values(), *out.values()) for p in part}

    def _opt_out(self, stated: Any) -> Choices:
        """A person's own opt-outs: a list of OPT_OUTS."""
        choices: Choices = {}
        for word in stated if isinstance(stated, list) else ():
            purposes = self._policy.us_opt_outs.get(OPT_OUTS.get(word, ""), ())
            choices |= dict.fromkeys(purposes, False)
            if not purposes:
                self._unmapped(str(word), "us_opt_outs")
        return choices

    def _objection(self, stated: Any) -> Choices:
        """An objection (GDPR Article 21): to these purposes, or with true to all that rest on a
        legitimate interest."""
        if isinstance(stated, list):
            return dict.fromkeys(stated, False)
        rules = self._policy.purposes.items()
        choices = {name: False for name, rule in rules if rule.basis == "legitimate_interest"}
        if not choices:
            message = "No purpose rests on legitimate_interest: it denies nothing."
            self.said("unmapped_consent", "objection", message, "List the purposes it is about.")
        return choices

    def _object(self, name: str, value: Any, fix: str) -> Json:
        if isinstance(value, dict):
            return value
        self.said("bad_consent", name, "It is not a JSON object, and grants nothing.", fix)
        return {}

    def _mapped(self, section: str, meaning: Mapping[Any, Any]) -> None:
        if not meaning:
            self._unmapped(section, section)

    def _unmapped(self, name: str, section: str) -> None:
        message = "The policy maps it to no purpose: neither grant nor denial counts."
        self.said("unmapped_consent", name, message, f"Add it under `{section}`.")


def consent_mode(policy: Policy, usable: Collection[str]) -> dict[ConsentType, str]:
    """`granted` or `denied` for each type of Consent Mode: granted where the policy maps it, and
    only to purposes that are `usable`. Read back, that grants none but these."""
    given = _standing(policy.consent_mode, usable)
    return {one: "granted" if given.get(one) else "denied" for one in CONSENT_TYPES}


def category_preferences(policy: Policy, usable: Collection[str]) -> dict[str, bool]:
    """The same for each consent category of the policy, as Segment has them."""
    return _standing(policy.categories, usable)


def _standing(meaning: Mapping[str, Collection[str]], usable: Collection[str]) -> dict[str, bool]:
    return {
        name: bool(purposes) and all(purpose in usable for purpose in purposes)
        for name, purposes in meaning.items()
    }


def _needing_all(meaning: Mapping[K, Collection[str]], said: Mapping[K, bool]) -> Choices:
    """Purposes by what was said of all that stand for them: one denial denies, and only where none
    was left out is a purpose granted."""
    return {
        purpose: False not in answers
        for purpose, answers in _answers(meaning, said)
        if False in answers or None not in answers
    }


def _answers(
    meaning: Mapping[K, Collection[str]], said: Mapping[K, bool]
) -> Iterator[tuple[str, set[bool | None]]]:
    """Each purpose that something stands for, with what was said of all that do."""
    answers: dict[str, set[bool | None]] = {}
    for name, purposes in meaning.items():
        for purpose in purposes:
            answers.setdefault(purpose, set()).add(said.get(name))
    yield from answers.items()


def _category(name: str) -> str:
    return name.strip().lower()


def _is_id(one: object) -> bool:
    return isinstance(one, str | int) and not isinstance(one, bool)
