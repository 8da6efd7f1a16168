"""The command `profile show`."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cli import show as look
from cli.api import Answered, Api, Role, identifier, profile_path
from cli.first_keys import source_names
from cli.problem import Problem
from cli.screen import Screen
from cli.target import ROOT, load_stack


def show(options: argparse.Namespace, screen: Screen) -> int:
    identifier(options.identifier)
    api = Api(load_stack(options.endpoint_url, options.config_env))
    with screen.progress("Reading"):
        found = read(api, options.identifier, options.role, options.purpose)
    screen.show(look.profile(found, f"{options.identifier} as {options.role}"))
    if options.why:
        evidence = links(api, options.identifier, options.role, options.purpose)
        tree = look.why(evidence, options.identifier, source_names(api.stack))
        screen.show(look.panel(tree, "why"))
        found = found | {"links": evidence}
    screen.answer(found)
    return 0


def read(api: Api, text: str, role: Role, purpose: str | None) -> dict[str, Any]:
    """The profile. Raises Problem, whose sentence says what a 404 can mean."""
    kind, value = identifier(text)
    body = {"identifier": {"type": kind, "value": value}}
    with unknown_explained(text):
        return api.staff(role, "POST", "/profiles/query", body, purpose=purpose)


@contextmanager
def unknown_explained(text: str) -> Iterator[None]:
    """Raises Problem in the place of a 404, with what that can mean."""
    try:
        yield
    except Answered as answer:
        if answer.status != 404 or answer.fix:
            raise
        kind, known = identifier(text)[0], _types()
        if known and kind not in known:
            what = f"There is no profile for {text}: policy.yaml has no identifier type {kind!r}."
            raise Problem(what, f"It has {', '.join(known)}.") from None
        raise Problem(
            f"There is no profile for {text}.",
            "Nobody was seen with it, or the person was erased: these look alike on purpose.",
        ) from None


def _types() -> list[str]:
    """The types of identifiers that the policy here names; none where it cannot be read."""
    from cli import policy  # takes a moment, and is seldom needed

    try:
        return [*policy.read(ROOT / "policy.yaml")["identifiers"]]
    except Problem:
        return []


def links(api: Api, text: str, role: Role, purpose: str | None) -> list[dict[str, Any]]:
    """All the evidence that holds the profile together."""
    found: list[dict[str, Any]] = []
    query: dict[str, str] = {}
    while True:
        path = f"{profile_path(text)}/links"
        page = api.staff(role, "GET", path, purpose=purpose, query=query)
        found += page.get("data", [])
        if not page.get("next"):
            return found
        query = {"cursor": str(page["next"])}
