"""What a new environment of each function takes before its first event, against boto3's own start.

CPU time of fresh processes: one imports the handler from the built layer and makes the clients of
the services that its variables name, the other imports boto3 and makes one client.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from tests import lint_template
from tests.bench.costs import Json
from tests.bench.stack import Stack

FUNCTIONS = ("collect", "unify", "api", "privacy", "erase", "archive", "audit", "sweep")
ROUNDS = 9
SERVICES = {
    r".*_TABLE": "dynamodb",
    r".*_QUEUE_URL|.*_DLQ_URL": "sqs",
    r".*_BUCKET": "s3",
    r".*_SECRET_ARN": "secretsmanager",
    r".*_MACHINE_ARN": "stepfunctions",
    r"SIGNING_KEY_ARN": "kms",
}
BOTO3 = "import boto3; boto3.client('dynamodb')"
END = "; import time; print(time.process_time())"


def measure(stack: Stack, tick: Callable[[str], None], rounds: int = ROUNDS) -> Json:
    """Milliseconds of CPU by function and of boto3 alone, and their ratios; medians."""
    took: dict[str, list[float]] = {name: [] for name in ("boto3", *FUNCTIONS)}
    variables = {name: stack.variables(name) for name in FUNCTIONS}
    for n in range(rounds + 1):
        tick(f"cold start, round {n + 1} of {rounds + 1}")
        for name, times in took.items():
            own = variables.get(name, {})
            seconds = _start(BOTO3 if name == "boto3" else _first(name, own), name, own, stack)
            if n:  # the first reads everything from disk
                times.append(seconds)
    milliseconds = {name: 1000 * median(times) for name, times in took.items()}
    alone = milliseconds["boto3"]
    return {
        "milliseconds": milliseconds,
        "ratio": {name: milliseconds[name] / alone for name in FUNCTIONS},
    }


def _first(name: str, variables: dict[str, str]) -> str:
    used = {
        service: None
        for variable in variables
        for pattern, service in SERVICES.items()
        if re.fullmatch(pattern, variable)
    }
    clients = "; ".join(f"client('{service}')" for service in used)
    return f"import {name}_function; from candor.stores.clients import client; {clients}"


def _start(code: str, name: str, variables: dict[str, str], stack: Stack) -> float:
    """CPU seconds of a process, from its very start."""
    function = lint_template.ROOT / "functions" / name
    path = os.pathsep.join([str(function), str(stack.layer)])
    done = subprocess.run(
        [sys.executable, "-c", code + END],
        env=dict(os.environ) | variables | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])
