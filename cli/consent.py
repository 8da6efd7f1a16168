"""The commands `consent set`, `consent explain` and `consent rebuild`."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli import first_keys, history
from cli.api import Answered, Api, identifier, profile_path
from cli.problem import Problem
from cli.profile import unknown_explained
from cli.screen import Screen
from cli.show import listed, state
from cli.target import load_stack

Json = dict[str, Any]

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
    shown = {"language": options.language, "text_version": options.text_version}
    body |= {name: text for name, text in shown.items() if text}
    api = Api(load_stack(options.endpoint_url, options.config_env))
    with screen.progress("Recording the choice"):
        found = api.collect("server", "/consents", body)
    for purpose, granted in body["purposes"].items():
        word = "granted" if granted else "denied"
        screen.note(f"{options.identifier}: {purpose} ", state(word))
    screen.answer(found)
    return 0


def explain(options: argparse.Namespace, screen: Screen) -> int:
    who = options.identifier
    identifier(who)
    query = {"purpose": options.about}
    if options.at:
        from cli.importing import moment

        query["at"] = datetime.fromtimestamp(moment(options.at), UTC).isoformat()
    api = Api(load_stack(options.endpoint_url, options.config_env))
    path = f"{profile_path(who)}/consents/explain"
    with screen.progress("Reading the records"), unknown_explained(who):
        found = api.staff(options.role, "GET", path, purpose=options.purpose, query=query)
    screen.show(history.account(found, who, first_keys.source_names(api.stack)))
    screen.answer(found)
    return 0


def rebuild(options: argparse.Namespace, screen: Screen) -> int:
    if (options.identifier is None) == (options.file is None):
        raise Problem(
            "Whose registers?", "Name one identifier, or give a file of them with --file."
        )
    api = Api(load_stack(options.endpoint_url, options.config_env))
    if options.file:
        return _rebuild_many(options, screen, api)
    who = options.identifier
    identifier(who)
    with screen.progress("Comparing registers with records"), unknown_explained(who):
        found = _rebuild(api, options, who)
    screen.show(history.differences(found, who))
    screen.answer(found)
    return 0


def _rebuild(api: Api, options: argparse.Namespace, who: str) -> Json:
    path, body = f"{profile_path(who)}/consents/rebuild", {"dry_run": options.dry_run}
    return api.staff(options.role, "POST", path, body, purpose=options.purpose)


def _rebuild_many(options: argparse.Namespace, screen: Screen, api: Api) -> int:
    """One after another. Lines are told by their number, because they hold personal data."""
    counts = Counter(people=0, differing=0, differences=0, unknown=0)
    differing = []
    with screen.progress("Comparing registers with records") as progress:
        for number, who in _lines(options.file, options.begin):
            try:
                found = listed(_rebuild(api, options, who)["differences"])
            except Answered as answer:
                if answer.status != 404 or answer.fix:
                    raise Problem(answer.what, _stopped(answer.fix, number)) from None
                counts["unknown"] += 1
                continue
            except Problem as problem:
                raise Problem(problem.what, _stopped(problem.fix, number)) from None
            counts.update(people=1, differing=bool(found), differences=len(found))
            if found:
                differing.append({"line": number, "differences": len(found)})
            progress.tick(f"line {number}")
    told = {"success": True, "dry_run": options.dry_run, **counts, "lines": differing}
    screen.show(history.counted(told))
    screen.answer(told)
    return 0


def _lines(name: str, begin: int) -> Iterator[tuple[int, str]]:
    """Identifiers with the numbers of their lines, read as they are needed. Raises Problem."""
    try:
        with sys.stdin if name == "-" else Path(name).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                who = line.strip()
                if number < begin or not who:
                    continue
                if not all(who.partition(":")):
                    raise Problem(
                        f"Line {number} is not an identifier.",
                        "Give type and value on each line, like user_id:42.",
                    )
                yield number, who
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise Problem(f"{name} cannot be read: {why}.") from None


def _stopped(fix: str, line: int) -> str:
    """What was done is done, and doing it again would change nothing."""
    return f"{fix} It stopped at line {line}: go on with --from {line}.".strip()
