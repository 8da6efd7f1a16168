"""The command `status`: what runs, what waits, what failed."""

import argparse
import time
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from cli.api import Api
from cli.aws import AwsError, Clients
from cli.emulator import gone, health
from cli.problem import Problem
from cli.screen import Screen, text
from cli.show import facts, grid, panel, state, when
from cli.target import choose, load_stack

QUEUES = {
    "events": "EventsQueueUrl",
    "audit": "AuditQueueUrl",
    "drop": "DropQueueUrl",
    "events, failed": "EventsDlqUrl",
    "audit, failed": "AuditDlqUrl",
    "archive, failed": "ArchiveDlqUrl",
    "drop, failed": "DropDlqUrl",
}
REDRIVE = "`candor dlq list` shows why; docs/operations.md says how to put it right."


def run(options: argparse.Namespace, screen: Screen) -> int:
    stack = load_stack(options.endpoint_url, options.config_env)
    endpoint = stack.get("endpoint_url")
    if endpoint and health(endpoint) is None:
        raise gone(endpoint, choose(endpoint, "local"))
    with screen.progress("Asking every part"):
        found = collect_facts(stack)
    screen.show(picture(found))
    screen.answer(found)
    return 0 if found["healthy"] else 1


def collect_facts(stack: dict[str, Any]) -> dict[str, Any]:
    """Everything that `status` tells, as one object; what cannot be had is None."""
    clients, api, outputs = Clients(stack.get("endpoint_url")), Api(stack), stack["outputs"]
    found: dict[str, Any] = {
        "endpoint": stack.get("endpoint_url") or "AWS",
        "api_url": stack["api_url"],
        "functions": {},
        "queues": {},
        "keys": None,
        "requests": None,
        "outcomes": [],
        "unknown_names": 0,
        "problems": [],
    }
    try:
        for output, name in outputs.items():
            if output.endswith("Function"):
                about = clients.functions.get_function_configuration(FunctionName=name)
                found["functions"][name] = about.get("State", "Active")
        for label, output in QUEUES.items():
            if output in outputs:
                found["queues"][label] = depth(clients, outputs[output])
    except AwsError as error:
        found["problems"].append(f"The stack is not what it was: {error} Run `make up`.")
    try:
        listed = api.staff("admin", "GET", "/keys").get("data", [])
        found["keys"] = sum(not one.get("revoked") for one in listed)
        found["requests"] = api.staff("dpo", "GET", "/privacy/requests").get("data", [])[:5]
        counted = api.staff("admin", "GET", "/outcomes").get("data", [])
        found["outcomes"] = outcomes(counted, {one["id"]: one["name"] for one in listed})
        found["unknown_names"] = len({str(name) for one in counted for name in one["names"]})
    except Problem as problem:
        found["problems"].append(str(problem))
    for label, count in found["queues"].items():
        if label.endswith("failed") and count:
            what = "1 message" if count == 1 else f"{count} messages"
            found["problems"].append(f"{what} failed for good: {label}. {REDRIVE}")
    inactive = [name for name, state_ in found["functions"].items() if state_ != "Active"]
    found["problems"] += [f"The function {name} is not active." for name in inactive]
    found["healthy"] = not found["problems"]
    return found


def outcomes(counted: list[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
    """What became of each source's events, by reason: today (UTC) and in the last week."""
    today = int(time.time() // 86_400)
    sums: dict[tuple[str, str], list[int]] = {}
    for one in counted:
        for outcome, count in one["outcomes"].items():
            both = sums.setdefault((one["source"], outcome), [0, 0])
            both[0] += count if one["day"] == today else 0
            both[1] += count
    return [
        {
            "source": names.get(source, source),
            "outcome": outcome.partition(":")[0],
            "reason": outcome.partition(":")[2],
            "today": both[0],
            "week": both[1],
        }
        for (source, outcome), both in sorted(sums.items())
    ]


def depth(clients: Clients, url: str) -> int:
    """Messages that wait or are being worked on, about."""
    found = clients.sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    return sum(int(count) for count in found["Attributes"].values())


def picture(found: dict[str, Any]) -> Panel:
    rows = facts()
    rows.add_row("endpoint", found["endpoint"])
    rows.add_row("API", f"{found['api_url']}/v1")
    active = sum(each == "Active" for each in found["functions"].values())
    rows.add_row("functions", f"{active} of {len(found['functions'])} active")
    waiting = Text(" · ").join(
        text(f"{name} {count}", "red" if count and "failed" in name else "")
        for name, count in found["queues"].items()
    )
    rows.add_row("messages", waiting)
    rows.add_row("keys", "?" if found["keys"] is None else str(found["keys"]))
    parts: list[Any] = [rows]
    requests = grid("privacy request", "type", "status", "due")
    for one in found["requests"] or []:
        requests.add_row(
            str(one.get("id")),
            str(one.get("type")),
            state(one.get("status")),
            when(one.get("due")),
        )
    if requests.row_count:
        parts += ["", requests]
    counts = grid("source", "its events were", "because", "today", "7 days")
    for one in found["outcomes"]:
        what = one["outcome"].replace("_", " ")
        counts.add_row(one["source"], what, one["reason"], one["today"], one["week"])
    if counts.row_count:
        parts += ["", counts]
    if found["unknown_names"]:
        told = f"Names that policy.yaml does not know: {found['unknown_names']}. Look at them: "
        parts += ["", text(f"{told}candor policy suggest", "yellow")]
    for problem in found["problems"]:
        parts += ["", text(problem, "red")]
    colour = "green" if found["healthy"] else "red"
    return panel(Group(*parts), "candor", colour)
