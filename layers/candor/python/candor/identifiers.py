"""Identifiers: their normal form, and the only form of them that keys, indexes and logs may hold."""

import base64
import hmac
import re
import unicodedata
from dataclasses import dataclass

from candor.policy import IdentifierRule, Policy

LONGEST = 256
"""Characters an identifier's value may have."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Identifier:
    """A pair of type and normalised value; `key` is its idkey."""

    type: str
    value: str
    key: str


class Identifiers:
    """Makes identifiers by the policy's rules and the permanent HMAC secret."""

    def __init__(self, policy: Policy, secret: str) -> None:
        self._rules = policy.identifiers
        self._secret = secret.encode()

    def make(self, type_: str, value: object) -> Identifier | None:
        """The identifier, or None where the policy or good sense says that this names nobody."""
        rule = self._rules.get(type_)
        if rule is None or isinstance(value, bool) or not isinstance(value, str | int):
            return None
        normal = normalise(str(value), rule)
        if not normal or len(normal) > LONGEST or _CONTROL.search(normal):
            return None
        if any(pattern.fullmatch(normal) for pattern in rule.never):
            return None
        return Identifier(type_, normal, self._key(f"{type_}\0{normal}"))

    def pseudonym(self, idkey: str) -> str:
        """What the audit log calls an identifier: not joinable to the tables without the secret."""
        return self._key(f"audit\0{idkey}")

    def _key(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:18]).decode()


def normalise(value: str, rule: IdentifierRule) -> str:
    """Trimmed and in Unicode NFC; `lower` folds case, `digits` keeps digits and a leading plus."""
    normal = unicodedata.normalize("NFC", value).strip()
    if rule.normaliser == "lower":
        return normal.lower()
    if rule.normaliser == "digits":
        plus = "+" if normal.startswith("+") else ""
        return plus + re.sub(r"\D", "", normal)
    return normal
