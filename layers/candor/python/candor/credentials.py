"""Write keys of sources and tokens of staff: stored as hashes, checked in process, cached a minute.

A key is 32 random bytes, so a plain SHA-256 of it is safe to store and tells nothing.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from candor.errors import Forbidden, NotFound, Refused, Unauthenticated
from candor.policy import DAY, Policy
from candor.ports import ABSENT, PRESENT, Clock, Conflict, Key, Put, Row, Rows, Update
from candor.sealing import Vault, new_salt

CACHED_SECONDS = 60
LISTED_DAYS = 90
"""How long a revoked key is still listed."""
HIDDEN = frozenset({"pk", "due", "ttl", "salt", "secret"})
"""Attributes of a credential that no listing shows."""
WEBHOOK = "webhook"
"""The kind of source whose key is part of an address, so that it opens nothing else."""
WRITE_KEY, TOKEN = "wk_", "tk_"
"""What keys start with, so that a person can tell them apart."""
_ID = re.compile(r"[0-9a-f]{32}")
Trust = Literal["client", "server", "verified"]
Role = Literal["admin", "dpo", "steward", "analyst", "marketer"]

MAY: dict[str, frozenset[str]] = {
    "admin": frozenset({"keys", "outcomes", "retention"}),
    "dpo": frozenset({"read", "consent", "privacy", "outcomes", "identity", "retention"}),
    "steward": frozenset({"read", "outcomes", "identity"}),
    "analyst": frozenset({"read"}),
    "marketer": frozenset({"read"}),
}
"""What each role may do."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something that sends data."""

    id: str
    name: str
    kind: str
    trust: Trust
    secret: str | None = None
    """Shared with the sender, who proves identities or signs webhooks with it."""
    mapping: str | None = None
    """Of a webhook: the entry of `webhooks` in the policy by which its bodies are read."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A member of staff, or their program."""

    id: str
    name: str
    role: Role
    purposes: tuple[str, ...]
    """The first one is the default of a read that states none."""

    def needs(self, right: str) -> None:
        if right not in MAY[self.role]:
            raise Forbidden("forbidden", f"The role {self.role} may not do this.")

    def purpose(self, stated: str | None) -> str:
        """The purpose of a read: the one stated, or the token's default."""
        if stated is None and self.purposes:
            return self.purposes[0]
        if stated is None or stated not in self.purposes:
            allowed = ", ".join(self.purposes) or "none"
            raise Forbidden(
                "purpose_not_allowed",
                f"This token may read for these purposes: {allowed}. State one in X-Purpose.",
            )
        return stated


def check(spec: Mapping[str, Any], policy: Policy) -> None:
    """Raises Refused for a token that could never read anything, a webhook that nobody reads."""
    mapping, webhook = spec.get("mapping"), spec.get("source") == "webhook"
    if webhook != (mapping is not None) or (webhook and mapping not in policy.webhooks):
        named = ", ".join(sorted(policy.webhooks)) or "none"
        text = f"A webhook, and no other source, has a `mapping` of the policy's: {named}."
        raise Refused("unknown_mapping", text)
    if webhook and spec["trust"] != "server":
        raise Refused("bad_trust", "A webhook's trust is `server`: its signature proves it.")
    purposes = spec.get("purposes", ())
    unknown = sorted(set(purposes) - set(policy.purposes))
    if unknown or (spec["kind"] == "token" and "read" in MAY[spec["role"]] and not purposes):
        named = ", ".join(sorted(policy.purposes))
        raise Refused("unknown_purpose", f"`purposes` names some of the policy's: {named}.")


def issue(rows: Rows, spec: Mapping[str, Any], now: float) -> tuple[str, str]:
    """Make a credential and return its id and its key, which is nowhere stored.

    `spec` is {"kind": "source", "name", "source", "trust", "mapping" of a webhook} or
    {"kind": "token", "name", "role", "purposes"}.
    """
    prefix = WRITE_KEY if spec["kind"] == "source" else TOKEN
    key = prefix + secrets.token_urlsafe(32)
    id_ = _id(key)
    row: Row = {**spec, "created": int(now)}
    rows.commit(Put(Key("credentials", id_), row, when={"pk": ABSENT}))
    return id_, key


def revoke(rows: Rows, id_: str, now: float) -> None:
    """Refuse a key from now on; environments that cached it learn within a minute."""
    ends = int(now) + LISTED_DAYS * DAY
    once = {"revoked": int(now), "due": ends, "ttl": ends}
    change = Update(Key("credentials", id_), once=once, when={"pk": PRESENT})
    try:
        rows.update(change)
    except Conflict:
        raise NotFound("unknown_key", "There is no key with this id.") from None


def share_secret(rows: Rows, vault: Vault, id_: str, given: str | None) -> dict[str, str]:
    """Give a source a secret, `given` or a random one; the former counts no more.

    Returns it as `secret`, and of a webhook the `verify_token` that its sender presents. It has to
    be read again to check signatures, so it is sealed where keys are hashed. Environments that
    cached the source learn of it within a minute. Raises NotFound.
    """
    secret, salt = given or secrets.token_urlsafe(32), new_salt()
    sealed = {"salt": salt, "secret": vault.seal(salt, secret, f"credentials/{id_}")}
    alive = {"kind": "source", "revoked": ABSENT}
    try:
        row = rows.update(Update(Key("credentials", id_), set=sealed, when=alive))
    except Conflict:
        raise NotFound("unknown_key", "There is no source with this id.") from None
    token = {"verify_token": verify_token(secret)} if row["source"] == "webhook" else {}
    return {"secret": secret, **token}


def verify_token(secret: str) -> str:
    """What a webhook's sender presents at the handshake. It tells nothing of the secret."""
    return hmac.digest(secret.encode(), b"candor/webhook/verify-token", "sha256").hex()[:40]


def listing(rows: Rows) -> list[Row]:
    """Every credential, oldest first, without anything secret."""
    found = [
        {"id": row["pk"]} | {name: row[name] for name in row if name not in HIDDEN}
        for row in rows.scan("credentials")
    ]
    return sorted(found, key=lambda row: (row["created"], row["id"]))


class Credentials:
    """Tells who sent a request."""

    def __init__(self, rows: Rows, clock: Clock, vault: Callable[[], Vault]) -> None:
        self._rows = rows
        self._clock = clock
        self._vault = vault
        self._cache: dict[str, tuple[float, Row | None]] = {}

    def source(self, headers: Mapping[str, str], in_body: object = None) -> Source:
        """The source whose write key came as Basic user name, Bearer token or `writeKey`."""
        found = self.known(presented(headers) or in_body)
        if found is None or found.kind == WEBHOOK:
            raise Unauthenticated("unknown_key", "The write key is missing, unknown or revoked.")
        return found

    def webhook(self, key: str) -> Source:
        """The webhook whose write key stands in the path, known to whoever sees its address."""
        found = self.known(key)
        if found is None or found.kind != WEBHOOK:
            raise Unauthenticated("unknown_key", "The write key is missing, unknown or revoked.")
        return found

    def trusted(self, id_: str) -> Source:
        """The source with this id, where it may speak for people. Its key was not presented."""
        row = self._cached(id_) if _ID.fullmatch(id_) else None
        if row is None or row["kind"] != "source" or row["trust"] != "server":
            raise Unauthenticated("unknown_source", "There is no source of trust server like this.")
        return Source(id_, row["name"], row["source"], row["trust"])

    def known(self, key: object) -> Source | None:
        """The source with this write key, unless it is revoked."""
        row, id_ = self._row(key if isinstance(key, str) else None)
        if row is None or row["kind"] != "source":
            return None
        secret = row.get("secret")
        if secret:
            secret = self._vault().open(row["salt"], secret, f"credentials/{id_}")
        return Source(id_, row["name"], row["source"], row["trust"], secret, row.get("mapping"))

    def principal(self, headers: Mapping[str, str]) -> Principal:
        row, id_ = self._row(presented(headers))
        if row is None or row["kind"] != "token":
            raise Unauthenticated("unknown_token", "The token is missing, unknown or revoked.")
        return Principal(id_, row["name"], row["role"], tuple(row["purposes"]))

    def _row(self, key: str | None) -> tuple[Row | None, str]:
        if not key or len(key) > 200 or not key.isascii():
            return None, ""
        return self._cached(_id(key)), _id(key)

    def _cached(self, id_: str) -> Row | None:
        """A credential by its id, as it was within the last minute; None where it is revoked."""
        now = self._clock()
        cached = self._cache.get(id_)
        if cached is None or cached[0] <= now:
            if len(self._cache) > 1000:
                self._cache.clear()
            address = Key("credentials", id_)
            row = self._rows.get([address]).get(address)
            cached = self._cache[id_] = (now + CACHED_SECONDS, row)
        row = cached[1]
        return None if row is None or "revoked" in row else row


def _id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def presented(headers: Mapping[str, str]) -> str | None:
    """The key of the Authorization header (names in lower case). Never raises."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=False).decode().partition(":")[0]
        except ValueError:
            return None
    return None
