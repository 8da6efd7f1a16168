"""The first credentials of a stack, written into its table directly; later ones come by the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli.aws import AwsError, Clients, explained
from cli.problem import Problem

if TYPE_CHECKING:
    from candor.ports import Rows

SOURCES: dict[str, dict[str, Any]] = {
    "client": {"kind": "source", "name": "web shop", "source": "website", "trust": "client"},
    "app": {"kind": "source", "name": "shop app", "source": "app", "trust": "client"},
    "server": {"kind": "source", "name": "shop server", "source": "server", "trust": "server"},
    "crm": {"kind": "source", "name": "CRM", "source": "crm", "trust": "server"},
}
PURPOSES = {
    "admin": [],
    "dpo": ["privacy_rights", "service"],
    "steward": ["service"],
    "analyst": ["analytics", "service"],
    "marketer": ["marketing", "personalization", "service"],
}
TOKENS: dict[str, dict[str, Any]] = {
    role: {"kind": "token", "name": f"first {role}", "role": role, "purposes": purposes}
    for role, purposes in PURPOSES.items()
}


def ensure(rows: "Rows", known: dict[str, Any] | None, now: float) -> dict[str, dict[str, str]]:
    """`write_keys`, `tokens` and their `ids`: those of `known` that still work, others new."""
    # The layer's package is imported where it is needed, so that `candor --help` stays quick.
    from candor import credentials

    old = known or {}
    result: dict[str, dict[str, str]] = {"write_keys": {}, "tokens": {}, "ids": {}}
    with _failures_explained():
        live = {row["id"] for row in credentials.listing(rows) if "revoked" not in row}
    for kind, specs in (("write_keys", SOURCES), ("tokens", TOKENS)):
        for name, spec in specs.items():
            id_, key = old.get("ids", {}).get(name), old.get(kind, {}).get(name)
            if not key or id_ not in live:
                id_, key = issue(rows, spec, now)
            result[kind][name], result["ids"][name] = key, id_
    return result


def source_names(stack: dict[str, Any]) -> dict[str, str]:
    """The first sources' names by their ids, for what the API tells of sources."""
    ids = stack.get("ids", {})
    return {ids[key]: spec["name"] for key, spec in SOURCES.items() if key in ids}


def names(stack: dict[str, Any]) -> dict[str, str]:
    """The names of the first sources and of the first members of staff by their ids."""
    ids = stack.get("ids", {})
    staff = {ids[key]: spec["name"] for key, spec in TOKENS.items() if key in ids}
    return source_names(stack) | staff


def issue(rows: "Rows", spec: dict[str, Any], now: float) -> tuple[str, str]:
    """A new credential's id and key. Raises Problem."""
    from candor import credentials

    with _failures_explained():
        return credentials.issue(rows, spec, now)


def credentials_table(clients: Clients, outputs: dict[str, str]) -> "Rows":
    """The stack's table of credentials. Raises Problem when the stack names none."""
    from candor.stores.dynamo import DynamoRows

    if "CredentialsTable" not in outputs:
        raise Problem("The stack names no table of credentials: its template is not ours.")
    return DynamoRows(clients.dynamodb, {"credentials": outputs["CredentialsTable"]})


@contextmanager
def _failures_explained() -> Iterator[None]:
    from candor.ports import Unavailable
    from candor.stores.clients import StoreError

    try:
        yield
    except AwsError as error:
        raise explained(error, "Issuing keys") from None
    except (StoreError, Unavailable) as error:
        raise Problem(f"Issuing keys failed: {error}") from None
