"""The command `tail`: what became of each event, from the functions' logs at an emulator."""

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from cli.aws import AwsError, Clients, explained
from cli.emulator import gone, health
from cli.first_keys import source_names
from cli.problem import Problem
from cli.screen import Screen, document, text
from cli.target import choose, load_stack

FUNCTIONS = ("CollectFunction", "UnifyFunction")
COLOURS = {
    "stored": "green",
    "recorded": "green",
    "dropped": "yellow",
    "stripped": "yellow",
    "refused": "red",
}
OVERLAP_MS = 2_000
FIELDS = {
    "type": "type",
    "event_name": "name",  # a log record has a `name` of its own
    "source": "source",
    "outcome": "outcome",
    "reason": "reason",
}


def run(options: argparse.Namespace, screen: Screen) -> int:
    stack = load_stack(options.endpoint_url, options.config_env)
    if not stack.get("endpoint_url"):
        raise Problem(
            "`candor tail` reads an emulator's logs; on AWS, functions do not log single events.",
            "`candor status` counts what became of them, by source and reason.",
        )
    if health(stack["endpoint_url"]) is None:
        raise gone(stack["endpoint_url"], choose(stack["endpoint_url"], "local"))
    groups = [f"/aws/lambda/{stack['outputs'][each]}" for each in FUNCTIONS]
    names = source_names(stack)
    reader = Reader(Clients(stack["endpoint_url"]), groups)
    until = time.monotonic() + options.seconds if options.seconds else None
    since = int((time.time() - options.since) * 1000)
    if not screen.as_json:
        screen.err.print(text("Waiting for events; Ctrl-C ends it.", "dim"))
    try:
        while until is None or time.monotonic() < until:
            for line in reader.new(since):
                source = str(line.get("source", ""))
                line["source"] = names.get(source, source)
                if screen.as_json:
                    print(document(line), flush=True)
                else:
                    screen.line(told(line))
            since = max(since, reader.latest - OVERLAP_MS)
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    return 0


class Reader:
    """Outcome lines, each once, though every poll overlaps with the one before."""

    def __init__(self, clients: Clients, groups: list[str]) -> None:
        self._logs = clients.logs
        self._groups = groups
        self._seen: dict[str, int] = {}
        self.latest = 0

    def new(self, since: int) -> list[dict[str, Any]]:
        """What was logged at or after `since` (epoch milliseconds) and not answered yet."""
        fresh = []
        for group in self._groups:
            for event in self._events(group, since):
                key, at = f"{group}\0{event.get('eventId')}\0{event['message']}", event["timestamp"]
                if key in self._seen:
                    continue
                self._seen[key] = at
                self.latest = max(self.latest, at)
                line = outcome(event["message"])
                if line:
                    fresh.append(line | {"at": at})
        horizon = self.latest - 10 * OVERLAP_MS
        self._seen = {key: at for key, at in self._seen.items() if at >= horizon}
        return sorted(fresh, key=lambda line: int(line["at"]))

    def _events(self, group: str, since: int) -> Iterator[dict[str, Any]]:
        pages = self._logs.get_paginator("filter_log_events")
        try:
            for page in pages.paginate(logGroupName=group, startTime=since):
                yield from (dict(event) for event in page["events"])
        except AwsError as error:
            if "ResourceNotFoundException" not in str(error):
                raise explained(error, "Reading the logs") from None


def outcome(message: str) -> dict[str, Any] | None:
    """The fields of an outcome line; None for any other line of the log."""
    try:
        found = json.loads(message)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("message") != "outcome":
        return None
    return {ours: found[theirs] for theirs, ours in FIELDS.items() if found.get(theirs)}


def told(line: dict[str, Any]) -> Text:
    at = time.strftime("%H:%M:%S", time.localtime(line["at"] / 1000))
    word = str(line.get("outcome", "?"))
    name = str(line.get("name") or "")
    kind = str(line.get("type", ""))
    return Text.assemble(
        text(at, "dim"),
        "  ",
        text(f"{word:<9}", COLOURS.get(word, "cyan")),
        text(f"{kind:<9}"),
        text(f"{'' if name == kind else name:<24}", "bold"),
        text(f" {line.get('source', '')}"),
        text(f"   {line['reason']}" if line.get("reason") else "", "yellow"),
    )
