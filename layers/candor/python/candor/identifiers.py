"""Identifiers: their normal form, and the one form that keys, indexes and logs may hold."""

import base64
import hmac
import re
from dataclasses import dataclass

from candor.policy import Policy
from candor.spelling import spell

LONGEST = 256
"""Characters an identifier's value may have."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")


@dataclass(frozen=True, slots=True)
class Identifier:
    """A pair of type and normalised value; `key` is its idkey."""

    type: str
    value: str
    key: str


class Identifiers:
    """Makes identifiers by the policy's rules and the permanent HMAC secret."""

    def __init__(self, policy: Policy, secret: str) -> None:
        self._policy = policy
        self._secret = secret.encode()

    def make(self, type_: str, value: object) -> Identifier | None:
        """The identifier, or None where `normal_form` says that this names nobody."""
        normal = normal_form(self._policy, type_, value)
        if normal is None:
            return None
        return Identifier(type_, normal, self._key(f"{type_}\0{normal}"))

    def pseudonym(self, idkey: str) -> str:
        """What the audit log calls an identifier: not joinable to the tables without the secret."""
        return self._key(f"audit\0{idkey}")

    def _key(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:18]).decode()


def normal_form(policy: Policy, type_: str, value: object) -> str | None:
    """The one spelling of an identifier's value, by the normaliser of its type.

    None where the policy or good sense says that it names nobody: a type without a rule, a value
    of another kind than text or whole number, one that its normaliser can make nothing of, empty,
    too long, with control characters, or blocked.
    """
    rule = policy.identifiers.get(type_)
    if rule is None or isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if len(text) > 4 * LONGEST:
        return None
    normal = spell(text, rule.normaliser, rule.region)
    if not normal or len(normal) > LONGEST or _CONTROL.search(normal):
        return None
    return None if any(never.fullmatch(normal) for never in rule.never) else normal
