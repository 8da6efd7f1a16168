"""The command `consent set`."""

import argparse
from datetime import UTC, datetime
from typing import Any

from cli.api import Api, identifier
from cli.problem import Problem
from cli.screen import Screen
from cli.show import state
from cli.target import load_stack

FIELDS = {"user_id": "userId", "anonymous_id": "anonymousId"}
STATES = {"granted": True, "denied": False}


def body_of(text: str, choices: list[str], now: datetime) -> dict[str, Any]:
    """The body of POST /v1/consents. Raises Problem."""
    kind, value = identifier(text)
    if kind not in FIELDS:
        raise Problem(
            f"A choice is recorded for a user_id or an anonymous_id, not for {kind!r}.",
            f"`candor profile show {text} --as dpo` shows the person's others.",
        )
    purposes = {}
    for choice in choices:
        purpose, _, word = choice.partition("=")
        if not purpose or word not in STATES:
            raise Problem(f"{choice!r} is not a choice.", "Write it like marketing=granted.")
        purposes[purpose] = STATES[word]
    return {
        FIELDS[kind]: value,
        "purposes": purposes,
        "mechanism": "preference_center",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def set(options: argparse.Namespace, screen: Screen) -> int:
    body = body_of(options.identifier, options.choices, datetime.now(UTC))
    api = Api(load_stack(options.endpoint_url, options.config_env))
    with screen.progress("Recording the choice"):
        found = api.collect("server", "/consents", body)
    for purpose, granted in body["purposes"].items():
        word = "granted" if granted else "denied"
        screen.note(f"{options.identifier}: {purpose} ", state(word))
    screen.answer(found)
    return 0
