"""The commands of `privacy`, `hold` and `fence`."""

import argparse
import csv
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cli import show
from cli.api import Api, identifier, segment
from cli.certificate import check, document_of
from cli.problem import Problem
from cli.receipt import save
from cli.screen import Screen, text
from cli.target import load_stack

ENDED = frozenset({"completed", "failed", "partial", "cancelled", "refused", "held"})
WAITING = frozenset({"pending", "held"})
"""A person or a hold has to end it."""
WAIT_SECONDS = 180
MOST_SUBJECTS = 1_000
"""In a request, as the API takes them."""


def erase(options: argparse.Namespace, screen: Screen) -> int:
    if (options.identifier is None) == (options.file is None):
        raise Problem("Name one person, or a --file of many.")
    if options.file:
        return _erase_many(options, screen)
    kind, value = identifier(options.identifier)
    api = Api(load_stack(options.endpoint_url, options.config_env))
    body = {
        "type": "erasure",
        "subject": {"type": kind, "value": value},
        "mode": options.mode,
        "verified_by": options.verified_by,
        "dry_run": options.dry_run,
    }
    with screen.progress("Looking what there is" if options.dry_run else "Asking for the erasure"):
        found = api.staff("dpo", "POST", "/privacy/requests", body)
    waits = not found.get("id") or found.get("status") in WAITING
    if options.dry_run or options.no_wait or waits:
        screen.show(show.request(found))
        screen.answer(found)
        return 0
    screen.note(f"{options.identifier} cannot be read any more. Request {found['id']}")
    found = wait(api, str(found["id"]), screen)
    return present(api, found, screen)


def _erase_many(options: argparse.Namespace, screen: Screen) -> int:
    """Asks for all of a file, and shows how far they are. Nothing is asked for where a line names
    nobody, or in a dry run, which tells what would go of all of them."""
    api = Api(load_stack(options.endpoint_url, options.config_env))
    subjects = _subjects(options.file)
    if options.dry_run:
        return _forecast(api, options, subjects, screen)
    body = {"mode": options.mode, "verified_by": options.verified_by}
    asked = []
    with screen.progress("Asking for the erasures") as progress:
        for start in range(0, len(subjects), MOST_SUBJECTS):
            some = subjects[start : start + MOST_SUBJECTS]
            found = api.staff("dpo", "POST", "/privacy/bulk", body | {"subjects": some})
            for index in found["nobody"]:
                screen.warn(f"Line {start + index + 1} names nobody, and was left out.")
            asked.append(str(found["id"]))
            progress.tick(f"{start + len(some)} of {len(subjects)}")
    statuses, attention = _followed(api, asked, options, screen)
    for status_, count in sorted(statuses.items()):
        screen.line(f"{count} {status_}")
    for id_ in attention:
        screen.warn(f"Look at it: candor privacy status {id_}")
    screen.answer({"bulk": asked, "statuses": statuses, "attention": attention})
    return 1 if attention else 0


def _followed(
    api: Api, ids: list[str], options: argparse.Namespace, screen: Screen
) -> tuple[Counter[str], list[str]]:
    """How many are in which status, once nothing moves any more, and what needs somebody."""
    with screen.progress("Deleting, searching again") as progress:
        while True:
            found = [api.staff("dpo", "GET", f"/privacy/bulk/{segment(id_)}") for id_ in ids]
            statuses = Counter[str]()
            for one in found:
                statuses.update(one["statuses"])
            ended = sum(count for status_, count in statuses.items() if status_ in ENDED)
            ended += sum(one["waiting"] for one in found)
            total = sum(one["total"] for one in found)
            progress.tick(f"{ended} of {total}")
            if options.no_wait or ended == total:
                return statuses, sorted(id_ for one in found for id_ in one["attention"])
            time.sleep(2)


def _subjects(path: Path) -> list[dict[str, str]]:
    """Of a file with one `type:value` a line, or two columns of a CSV. Raises Problem."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Problem(f"{path} cannot be read: {type(error).__name__}.") from None
    if rows and [name.strip().lower() for name in rows[0]] == ["type", "value"]:
        rows = rows[1:]
    subjects = []
    for number, row in enumerate((row for row in rows if row), 1):
        kind, value = row if len(row) == 2 else identifier(",".join(row))
        if not kind.strip() or not value.strip():
            raise Problem(f"Row {number} of {path} is no identifier.", "Give type and value.")
        subjects.append({"type": kind.strip(), "value": value.strip()})
    if not subjects:
        raise Problem(f"{path} names nobody.")
    return subjects


def _forecast(
    api: Api, options: argparse.Namespace, subjects: list[dict[str, str]], screen: Screen
) -> int:
    found = Counter[str]()
    with screen.progress("Looking what there is") as progress:
        for number, subject in enumerate(subjects, 1):
            body = {"type": "erasure", "subject": subject, "dry_run": True}
            body["verified_by"] = options.verified_by
            try:
                told = api.staff("dpo", "POST", "/privacy/requests", body)
            except Problem as problem:
                raise Problem(f"Person {number}: {problem.what}", problem.fix) from None
            found.update({one["store"]: one["found"] or 0 for one in told["receipts"]})
            progress.tick(f"{number} of {len(subjects)}")
    for store, count in found.items():
        screen.line(f"{store}: {count}")
    screen.answer({"dry_run": True, "people": len(subjects), "found": found})
    return 0


def wait(api: Api, id_: str, screen: Screen) -> dict[str, Any]:
    """The request once it has ended. Raises Problem when that takes too long."""
    deadline = time.monotonic() + WAIT_SECONDS
    with screen.progress("Waiting for writers in flight, deleting, searching again") as progress:
        while True:
            found = api.staff("dpo", "GET", f"/privacy/requests/{id_}")
            if found.get("status") in ENDED:
                return found
            if time.monotonic() > deadline:
                raise Problem(
                    f"The erasure still runs after {WAIT_SECONDS} s.",
                    f"The person is unreadable already. Look again: candor privacy status {id_}",
                )
            progress.tick(str(found.get("status", "")))
            time.sleep(0.5)


def restrict(options: argparse.Namespace, screen: Screen) -> int:
    return _ask(options, screen, {"type": "restriction"})


def object_(options: argparse.Namespace, screen: Screen) -> int:
    return _ask(options, screen, {"type": "objection", "purposes": options.purposes})


def rectify(options: argparse.Namespace, screen: Screen) -> int:
    """`name=Ann` is text, `age:=7` is JSON."""
    traits = {}
    for one in options.traits:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise Problem(f"{one!r} corrects nothing.", "Give name=value, or name:=JSON.")
        try:
            traits[name.removesuffix(":")] = json.loads(value) if name[-1] == ":" else value
        except ValueError:
            raise Problem(f"The value of {name.removesuffix(':')!r} is no JSON.") from None
    return _ask(options, screen, {"type": "rectification", "traits": traits})


def _ask(options: argparse.Namespace, screen: Screen, body: dict[str, Any]) -> int:
    kind, value = identifier(options.identifier)
    body |= {"subject": {"type": kind, "value": value}, "verified_by": options.verified_by}
    return _tell(options, screen, "POST", "/privacy/requests", body)


def approve(options: argparse.Namespace, screen: Screen) -> int:
    return _tell(options, screen, "POST", f"/privacy/requests/{segment(options.id)}/approve", {})


def refuse(options: argparse.Namespace, screen: Screen) -> int:
    body = {"ground": options.ground}
    return _tell(options, screen, "POST", f"/privacy/requests/{segment(options.id)}/refuse", body)


def cancel(options: argparse.Namespace, screen: Screen) -> int:
    return _tell(options, screen, "DELETE", f"/privacy/requests/{segment(options.id)}")


def _tell(
    options: argparse.Namespace,
    screen: Screen,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff("dpo", method, path, body)
    screen.show(show.request(found))
    screen.answer(found)
    return 0


def place(options: argparse.Namespace, screen: Screen) -> int:
    kind, value = identifier(options.identifier)
    api = Api(load_stack(options.endpoint_url, options.config_env))
    until = options.until if "T" in options.until else f"{options.until}T00:00:00Z"
    body = {"subject": {"type": kind, "value": value}, "reason": options.reason, "until": until}
    found = api.staff("dpo", "POST", "/holds", body)
    screen.note(f"{options.identifier} is held until {show.when(found['until'])}: {found['id']}")
    screen.answer(found)
    return 0


def holds(options: argparse.Namespace, screen: Screen) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff("dpo", "GET", "/holds")
    table = show.grid("hold", "until", "identifiers", "reason", "released")
    table.columns[0].no_wrap = True  # to be copied
    for one in found.get("data", []):
        told = [show.plain(one.get(name) or "") for name in ("identifiers", "reason")]
        released = show.when(one["released"]) if one.get("released") else ""
        table.add_row(str(one.get("id")), show.when(one.get("until")), *told, released)
    screen.show(table if table.row_count else text("No legal holds yet.", "dim"))
    screen.answer(found)
    return 0


def release(options: argparse.Namespace, screen: Screen) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff("dpo", "DELETE", f"/holds/{segment(options.id)}")
    screen.note("Released: what fell due meanwhile goes, and erasures that waited for it go on.")
    screen.answer(found)
    return 0


def lift(options: argparse.Namespace, screen: Screen) -> int:
    kind, value = identifier(options.identifier)
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff("dpo", "DELETE", f"/fences/{quote(f'{kind}:{value}', safe=':')}")
    screen.note(f"Data of {options.identifier} is accepted again.")
    screen.answer(found)
    return 0


def status(options: argparse.Namespace, screen: Screen) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    if options.id is not None:
        found = api.staff("dpo", "GET", f"/privacy/requests/{segment(options.id)}")
        screen.show(show.request(found))
    else:
        found = api.staff("dpo", "GET", "/privacy/requests")
        table = show.grid("request", "type", "status", "due")
        for one in found.get("data", []):
            table.add_row(
                str(one.get("id")),
                str(one.get("type")),
                show.state(one.get("status")),
                show.when(one.get("due")),
            )
        screen.show(table if table.row_count else text("No privacy requests yet.", "dim"))
    screen.answer(found)
    return 0


def certificate(options: argparse.Namespace, screen: Screen) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff("dpo", "GET", f"/privacy/requests/{segment(options.id)}")
    if not found.get("certificate"):
        raise Problem(
            f"The request has no certificate: it is {found.get('status')}.",
            "Only a completed erasure has one.",
        )
    if options.out:
        save(options.out, json.dumps(found["certificate"], indent=1) + "\n")
    return present(api, found, screen)


def present(api: Api, found: dict[str, Any], screen: Screen) -> int:
    """Shows an ended request and checks its certificate. Answers the exit code."""
    screen.show(show.request(found))
    answer = dict(found)
    good = found.get("status") == "completed"
    if found.get("certificate"):
        verdict = check(found["certificate"], api.stack)
        answer["verified"] = verdict.good
        good = good and verdict.good is not False
        style = {True: "green", False: "bold red", None: "yellow"}[verdict.good]
        document = document_of(found["certificate"])
        words = text(verdict.words, style)
        screen.show(show.certificate(found["certificate"], document, words))
    if found.get("status") in {"partial", "failed"}:
        screen.warn(
            "The person is unreadable, but not everything is deleted yet. The hourly sweep begins "
            "it again, three times; ask for the same person again, and it goes on at once."
        )
    screen.answer(answer)
    return 0 if good else 1
