"""The commands `dlq list` and `dlq redrive`: messages that failed for good, and their way back.

What a message says is never shown: events are sealed, and nobody needs it to mend what failed.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import AwsError, Clients, explained
from cli.problem import Problem
from cli.screen import Progress, Screen, text
from cli.show import grid, when
from cli.status import depth
from cli.target import load_stack

AT_ONCE = 10
"""Messages that one call of SQS gives."""
MOST_SHOWN = 100
"""Messages of a queue that `list` looks at."""
LOGGED_BY = {"events": "UnifyFunction", "drop": "CollectFunction"}
"""Whose log says of single messages why they failed."""
MOST_LINES = 10_000
"""Of a log that are searched for reasons."""
HIDDEN_SECONDS = 60
"""For which a message that is being moved is hidden from others."""
POLL_SECONDS = 1.0
NO_TASKS = frozenset({"InvalidAction", "NotImplemented", "UnknownOperation", "501"})
"""What an endpoint says that has no message move tasks."""
ATTRIBUTES = [
    "ApproximateReceiveCount",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SentTimestamp",
]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A dead-letter queue of the stack. Without `source` it takes no message back to a queue."""

    name: str
    url: str
    source: str | None


def list(options: argparse.Namespace, screen: Screen) -> int:
    stack = load_stack(options.endpoint_url, options.config_env)
    clients = Clients(stack.get("endpoint_url"))
    try:
        with screen.progress("Looking into the dead-letter queues"):
            found = [looked_into(clients, one) for one in dead_letters(stack)]
            _explain(clients, stack, found)
    except AwsError as error:
        raise explained(error, "Looking into the queues") from None
    queues = grid("failed", "messages", "oldest", "goes back to")
    messages = grid("message", "queue", "sent", "bytes", "received", "because")
    for one in found:
        back = one["queue"] if one["redrivable"] else "– (docs/operations.md)"
        queues.add_row(one["queue"], one["waiting"], when(one["oldest"]), back)
        for message in one["messages"]:
            messages.add_row(
                message["id"],
                one["queue"],
                when(message["sent"]),
                message["bytes"],
                message["received"],
                message["because"] or "",
            )
    screen.show(queues)
    if messages.row_count:
        screen.show("", messages)
    hidden = sum(one["waiting"] - len(one["messages"]) for one in found)
    if hidden > 0:
        screen.show(text(f"{hidden} more wait that a look does not show.", "dim"))
    screen.answer({"queues": found})
    return 0


def redrive(options: argparse.Namespace, screen: Screen) -> int:
    stack = load_stack(options.endpoint_url, options.config_env)
    clients = Clients(stack.get("endpoint_url"))
    queue = named(stack, options.queue)
    if queue.source is None:
        raise Problem(
            f"What failed in {queue.name} did not come from a queue, so it has none to go back to.",
            "docs/operations.md says what to do instead.",
        )
    told: Json = {"queue": queue.name, "moved": 0, "failed_since": None, "waiting": None}
    try:
        before = depth(clients, queue.url)
        if options.dry_run:
            count = before if options.limit is None else min(before, options.limit)
            screen.note(f"{count} would go back to {queue.name}; nothing was moved.")
            screen.answer(told | {"dry_run": True, "would_move": count})
            return 0
        with screen.progress(f"Moving messages back to {queue.name}") as progress:
            told["moved"] = _move(clients, queue, before, options.limit, progress)
        screen.note(f"{told['moved']} moved back to {queue.name}")
        if told["moved"] and options.wait:
            with screen.progress("Waiting until they are through") as progress:
                told["waiting"] = settled(clients, queue.source, options.wait, progress)
            since = depth(clients, queue.url) - (before - told["moved"])
            told["failed_since"] = max(0, since)
    except AwsError as error:
        raise explained(error, "Moving messages") from None
    except KeyboardInterrupt:
        screen.warn("Broken off: what was not moved waits where it was.")
        raise
    if told["waiting"]:
        screen.warn(
            f"{told['waiting']} still wait in {queue.name} after {options.wait} s: each is tried "
            "eight times before it fails again. `candor dlq list` shows what comes back."
        )
    if told["failed_since"]:
        # SQS gives what is moved another id, and unify sends what fails on in parts.
        screen.warn(
            f"{told['failed_since']} failed since then: what came back, or others that failed "
            "meanwhile. `candor dlq list` shows why."
        )
    elif told["failed_since"] == 0 and not told["waiting"]:
        screen.note("None came back.")
    screen.answer(told)
    return 1 if told["failed_since"] or told["waiting"] else 0


def dead_letters(stack: Mapping[str, Any]) -> Iterator[DeadLetters]:
    """All that the stack's outputs name."""
    outputs: Mapping[str, str] = stack["outputs"]
    for output in sorted(name for name in outputs if name.endswith("DlqUrl")):
        name = output.removesuffix("DlqUrl")
        yield DeadLetters(name.lower(), outputs[output], outputs.get(f"{name}QueueUrl"))


def named(stack: Mapping[str, Any], name: str) -> DeadLetters:
    """Raises Problem where there is none of this name."""
    found = {one.name: one for one in dead_letters(stack)}
    if name not in found:
        raise Problem(f"There is no dead-letter queue {name!r}.", f"There are {', '.join(found)}.")
    return found[name]


def looked_into(clients: Clients, queue: DeadLetters) -> Json:
    """What waits there. It waits on: nothing is hidden or taken, only SQS counts one receive more.

    SQS gives what it likes, ten at once, so of a long queue only a part is seen.
    """
    waiting, seen = depth(clients, queue.url), dict[str, Any]()
    while len(seen) < min(waiting, MOST_SHOWN):
        taken = clients.sqs.receive_message(
            QueueUrl=queue.url,
            MaxNumberOfMessages=AT_ONCE,
            VisibilityTimeout=0,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        ).get("Messages", [])
        fresh = {one["MessageId"]: one for one in taken if one["MessageId"] not in seen}
        if not fresh:
            break
        seen |= fresh
    messages = sorted(
        (
            {
                "id": one["MessageId"],
                "sent": int(one["Attributes"]["SentTimestamp"]) / 1000,
                "bytes": len(one["Body"].encode()),
                "received": int(one["Attributes"]["ApproximateReceiveCount"]),
                "because": None,
            }
            for one in seen.values()
        ),
        key=lambda message: (message["sent"], message["id"]),
    )
    return {
        "queue": queue.name,
        "waiting": max(waiting, len(messages)),
        "oldest": messages[0]["sent"] if messages else None,
        "redrivable": queue.source is not None,
        "messages": messages,
    }


def _explain(clients: Clients, stack: Mapping[str, Any], found: Iterable[Json]) -> None:
    """Say of each message what its function logged of it the last time, where the log has it."""
    for one in found:
        function = stack["outputs"].get(LOGGED_BY.get(one["queue"], ""))
        if function and one["messages"]:
            reasons = _reasons(clients, function, one["oldest"])
            for message in one["messages"]:
                message["because"] = reasons.get(message["id"])


def _reasons(clients: Clients, function: str, since: float) -> dict[str, str]:
    """By the id of a message, the fault that it met: a type and a place, nothing personal."""
    reasons: dict[str, str] = {}
    pages = clients.logs.get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/lambda/{function}",
        startTime=int(since * 1000),
        filterPattern='"fault"',
        PaginationConfig={"MaxItems": MOST_LINES},
    )
    try:
        for page in pages:
            for event in page["events"]:
                line = _fault(event["message"])
                if line.get("queued"):
                    place = (line.get("places") or ["?"])[-1]
                    said = line.get("because") or f"at {place}"
                    reasons[str(line["queued"])] = f"{line.get('error', '?')} {said}"
    except ClientError as error:
        if "ResourceNotFoundException" not in str(error):
            raise
    return reasons


def _fault(message: str) -> Json:
    try:
        line = json.loads(message)
    except ValueError:
        return {}
    return line if isinstance(line, dict) and line.get("message") == "fault" else {}


def _move(
    clients: Clients, queue: DeadLetters, waiting: int, limit: int | None, progress: Progress
) -> int:
    """Move what waits now, or `limit` of it; returns how many. Safe to break off and to repeat."""
    if limit is None:
        try:
            return by_task(clients, queue, progress)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in NO_TASKS:
                raise
    return by_hand(clients, queue, waiting if limit is None else min(limit, waiting), progress)


def by_task(clients: Clients, queue: DeadLetters, progress: Progress) -> int:
    """As SQS does it by itself; a task that is broken off is cancelled."""
    sqs = clients.sqs
    source, target = (_arn(clients, url) for url in (queue.url, str(queue.source)))
    handle = sqs.start_message_move_task(SourceArn=source, DestinationArn=target)["TaskHandle"]
    moved = 0
    try:
        while True:
            (task, *_) = sqs.list_message_move_tasks(SourceArn=source, MaxResults=1)["Results"]
            moved = task.get("ApproximateNumberOfMessagesMoved", 0)
            if task["Status"] == "COMPLETED":
                return moved
            if task["Status"] != "RUNNING":
                raise Problem(
                    f"SQS ended the task as {task['Status']}, with {moved} messages moved: "
                    f"{task.get('FailureReason', 'no reason given')}.",
                    "The others wait where they were: redrive again.",
                )
            progress.tick(f"{moved} moved")
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        sqs.cancel_message_move_task(TaskHandle=handle)
        raise


def by_hand(clients: Clients, queue: DeadLetters, most: int, progress: Progress) -> int:
    """Sent before it is deleted: what breaks off between the two makes a duplicate, and no loss."""
    sqs, moved, fifo = clients.sqs, 0, queue.url.endswith(".fifo")
    while moved < most:
        taken = sqs.receive_message(
            QueueUrl=queue.url,
            MaxNumberOfMessages=min(AT_ONCE, most - moved),
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=ATTRIBUTES,  # type: ignore[arg-type]
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not taken:
            break
        left = [one["ReceiptHandle"] for one in taken]
        try:
            for one in taken:
                sqs.send_message(
                    QueueUrl=str(queue.source),
                    MessageBody=one["Body"],
                    MessageAttributes=one.get("MessageAttributes", {}),
                    **(_order(one) if fifo else {}),
                )
                sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=left[0])
                del left[0]
                moved += 1
                progress.tick(f"{moved} of {most}")
        finally:
            for handle in left:  # nobody waits for what was not moved
                with suppress(*AwsError):
                    sqs.change_message_visibility(
                        QueueUrl=queue.url, ReceiptHandle=handle, VisibilityTimeout=0
                    )
    return moved


def settled(clients: Clients, url: str, seconds: float, progress: Progress) -> int:
    """Wait until a queue is empty. Returns how many still wait when the time is up."""
    deadline, quiet = time.monotonic() + seconds, 0
    while True:
        waiting = depth(clients, url)
        quiet = 0 if waiting else quiet + 1
        if quiet == 2 or time.monotonic() > deadline:  # SQS's numbers lag a little
            return waiting
        progress.tick(f"{waiting} wait")
        time.sleep(POLL_SECONDS)


def _order(message: Mapping[str, Any]) -> Json:
    """For a FIFO queue. With its old deduplication id SQS would take it for sent already, and drop
    it; by its message id, one that breaks off and is repeated is sent once."""
    group = message["Attributes"]["MessageGroupId"]
    return {
        "MessageGroupId": group,
        "MessageDeduplicationId": f"redrive-{message['MessageId']}",
    }


def _arn(clients: Clients, url: str) -> str:
    found = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return found["Attributes"]["QueueArn"]
