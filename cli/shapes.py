"""Reading parts of a policy that may have any shape, so that every mistake in it is told."""

import re
from collections.abc import Iterator
from typing import Any

from cli import patterns
from cli.places import Path

ATTRIBUTES = ("identifiers", "traits", "events")
Found = Iterator[tuple[Path, str, str]]
"""Mistakes: where, what, and what to do about it."""


def at(policy: Any, *path: str) -> Any:
    for step in path:
        policy = policy.get(step) if isinstance(policy, dict) else None
    return policy


def mapping(policy: Any, *path: str) -> dict[Any, Any]:
    found = at(policy, *path)
    return found if isinstance(found, dict) else {}


def attributes(policy: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    for section in ATTRIBUTES:
        for name, entry in mapping(policy, section).items():
            if isinstance(entry, dict):
                yield (section, name), entry


def rules(policy: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, rule in mapping(policy, "identifiers").items():
        if isinstance(rule, dict):
            yield name, rule


def texts(found: Any) -> Iterator[tuple[int, str]]:
    for index, text in enumerate(found if isinstance(found, list) else []):
        if isinstance(text, str):
            yield index, text


def flat(names: Any) -> list[Any]:
    if not isinstance(names, list):
        return [names]
    return [name for one in names for name in flat(one)]


def numbers(found: dict[Any, Any]) -> dict[str, int]:
    return {
        str(name): number
        for name, number in found.items()
        if isinstance(number, int) and not isinstance(number, bool)
    }


def pattern_of(text: str) -> re.Pattern[str] | None:
    if patterns.may_hang(text):
        return None
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error:
        return None
