"""The commands `archive vacuum` and `archive status`."""

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

from cli.aws import AwsError, Clients, explained
from cli.problem import Problem
from cli.screen import Progress, Screen, text
from cli.show import grid, state, when
from cli.target import load_stack

POLL_SECONDS = 0.5
LAST = 10
"""Runs that `status` shows."""
Json = dict[str, Any]


def vacuum(options: argparse.Namespace, screen: Screen) -> int:
    stack = load_stack(options.endpoint_url, options.config_env)
    clients = Clients(stack.get("endpoint_url"))
    name = time.strftime("by-hand-%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        arn = clients.stepfunctions.start_execution(
            stateMachineArn=_machine(stack), name=name, input="{}"
        )["executionArn"]
        if options.no_wait:
            screen.note(f"It runs. `candor archive status` tells how far it is: {name}")
            screen.answer({"run": name, "status": "running"})
            return 0
        with screen.progress("Dropping what nobody can read any more") as progress:
            found = _ended(clients, arn, progress)
    except AwsError as error:
        raise explained(error, "The vacuum") from None
    except KeyboardInterrupt:
        screen.warn("It runs on. `candor archive status` tells how far it is.")
        raise
    _show(screen, [found])
    if found["status"] != "succeeded":
        screen.warn(
            "Not everything was gone through, so no request is told that all is dropped. "
            "What is left is unreadable, and the next night tries again. docs/operations.md"
        )
    screen.answer(found)
    return 0 if found["status"] == "succeeded" else 1


def status(options: argparse.Namespace, screen: Screen) -> int:
    stack = load_stack(options.endpoint_url, options.config_env)
    clients = Clients(stack.get("endpoint_url"))
    try:
        listed = clients.stepfunctions.list_executions(
            stateMachineArn=_machine(stack), maxResults=LAST
        )["executions"]
        found = [_described(clients, one["executionArn"]) for one in listed]
    except AwsError as error:
        raise explained(error, "Asking for the runs of the vacuum") from None
    if found:
        _show(screen, found)
    else:
        screen.show(text("The vacuum did not run yet: it does every night.", "dim"))
    screen.answer({"runs": found})
    return 0


def _machine(stack: Mapping[str, Any]) -> str:
    arn = stack["outputs"].get("VacuumMachineArn")
    if not arn:
        raise Problem("This stack has no vacuum yet.", "Deploy it again: `make up`.")
    return str(arn)


def _ended(clients: Clients, arn: str, progress: Progress) -> Json:
    while (found := _described(clients, arn))["status"] == "running":
        progress.tick(found["groups"])
        time.sleep(POLL_SECONDS)
    return found


def _described(clients: Clients, arn: str) -> Json:
    """A run: its counts once it has ended, and how many groups it went through."""
    about = clients.stepfunctions.describe_execution(executionArn=arn)
    counts: Json = json.loads(about.get("output") or "{}")
    return {
        "run": about["name"],
        "status": about["status"].lower(),
        "started": about["startDate"].timestamp(),
        "groups": _groups(clients, arn),
        "error": about.get("error"),
        **{name: count for name, count in counts.items() if name != "run"},
    }


def _groups(clients: Clients, arn: str) -> str:
    """Of the classes and dates of the archive, how many are done."""
    runs = clients.stepfunctions.list_map_runs(executionArn=arn)["mapRuns"]
    if not runs:
        return ""
    counts = clients.stepfunctions.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["itemCounts"]
    return f"{counts['succeeded']} of {counts['total']}"


def _show(screen: Screen, runs: list[Json]) -> None:
    table = grid("run", "started", "status", "groups", "requests", "objects", "dropped", "because")
    for one in runs:
        table.add_row(
            one["run"],
            when(one["started"]),
            state(one["status"]),
            one["groups"],
            *(one.get(name, "") for name in ("requests", "objects", "records_dropped")),
            one["error"] or "",
        )
    screen.show(table)
