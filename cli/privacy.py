"""The commands `privacy erase`, `privacy status` and `privacy certificate`."""

import argparse
import time
from typing import Any

from cli import show
from cli.api import Api, identifier, segment
from cli.certificate import check, document_of
from cli.problem import Problem
from cli.screen import Screen, text
from cli.target import load_stack

ENDED = frozenset({"completed", "failed", "partial", "cancelled", "refused", "held"})
WAIT_SECONDS = 180


def erase(options: argparse.Namespace, screen: Screen) -> int:
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
    if options.dry_run or options.no_wait or not found.get("id"):
        screen.show(show.request(found))
        screen.answer(found)
        return 0
    screen.note(f"{options.identifier} cannot be read any more. Request {found['id']}")
    found = wait(api, str(found["id"]), screen)
    return present(api, found, screen)


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
