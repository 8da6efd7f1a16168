"""What a million events cost at list prices, from what was counted, and how the rest is assumed.

Assumed is what no emulator can tell, and each assumption is a name here:

- Lambda gives one vCPU to 1,769 MB, so the CPU time that was measured here takes so much longer on
  the memory of the template. Calls to other services are waited for with the CPU idle, one after
  another where the code made them one after another. A vCPU there counts as a core here.
- The queue's mapping has five pollers (Lambda Developer Guide, "Configuring scaling behavior for
  SQS event source mappings"). Each takes what has come since it last looked, a turn ago: at least
  one message, at most its batch.
- The stream's mapping waits until its batch is full or its window over, for each of `SHARDS`.
"""

import json
import re
import tomllib
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from tests import lint_template
from tests.bench.meter import Counts
from tests.bench.units import sqs_requests

Json = dict[str, Any]
PRICES: Json = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
TEMPLATE = lint_template.template()
MILLION = 1_000_000

MB_A_CPU = 1769
WAIT_MS = {"dynamodb": 5.0, "sqs": 10.0, "s3": 30.0, "kms": 20.0}
"""For an answer within a region; medians that AWS's own examples and users report."""
OVERHEAD_MS = 1.0
"""Of the runtime, each invocation."""
POLLERS, TURN_SECONDS = 5, 0.05
SHARDS = 4
"""Of the events table's stream: one for each partition, and a new on-demand table has four."""
MOST_EVENT_BYTES = 6 * 1024 * 1024
"""Of what Lambda is invoked with (Lambda Developer Guide, "Lambda quotas")."""
KEPT_DAYS = 90
"""By the shipped policy, of events that are no purchases."""
ROW_BYTES = 100
"""That DynamoDB adds to each row where it bills storage (Developer Guide, "Item sizes")."""
EVENTS_A_DAY = 100 * MILLION
"""The traffic that `dollars_per_million` is told for; of others it differs by the archive."""
TRAFFIC = (MILLION, 10 * MILLION, EVENTS_A_DAY)
LINE_BYTES = 26
"""That CloudWatch adds to each line."""
PLATFORM_LINES = (
    "START RequestId: 01234567-89ab-cdef-0123-456789abcdef Version: $LATEST\n",
    "END RequestId: 01234567-89ab-cdef-0123-456789abcdef\n",
    "REPORT RequestId: 01234567-89ab-cdef-0123-456789abcdef\tDuration: 12.34 ms\t",
    "Billed Duration: 13 ms\tMemory Size: 512 MB\tMax Memory Used: 98 MB\t\n",
)
GATEWAY_HEADER_BYTES = 300
"""What API Gateway adds to an answer: its status line, date, length, ids and trace."""


@dataclass(frozen=True, slots=True)
class Work:
    """Of one function for so many invocations; CPU in seconds, bytes as printed."""

    invocations: float
    cpu: float
    counts: Counts
    printed: int = 0
    lines: int = 0

    def billed_ms(self, memory: int) -> float:
        """Of one invocation."""
        waits = sum(WAIT_MS[service] * n for service, n in self.counts.steps.items())
        busy = 1000 * self.cpu * max(1.0, MB_A_CPU / memory)
        return ceil(OVERHEAD_MS + (busy + waits) / self.invocations)


def price(name: str, units: float) -> float:
    return float(PRICES[name]["price"]) * units / float(PRICES[name]["per"])


def memory_of(function: str) -> int:
    """MB, by the template."""
    own = TEMPLATE["Resources"][f"{function.capitalize()}Function"]["Properties"]
    shared = TEMPLATE["Globals"]["Function"]
    return int(own.get("MemorySize", shared["MemorySize"]))


def platform_log(function: str) -> tuple[int, int]:
    """Bytes and lines that Lambda itself logs for an invocation, by the template."""
    own = TEMPLATE["Resources"][f"{function.capitalize()}Function"]["Properties"]
    shared = TEMPLATE["Globals"]["Function"].get("LoggingConfig", {})
    config = {**shared, **own.get("LoggingConfig", {})}
    if config.get("LogFormat") == "JSON" and config.get("SystemLogLevel") == "WARN":
        return 0, 0
    lines = sum(line.endswith("\n") for line in PLATFORM_LINES)
    as_json = 2 if config.get("LogFormat") == "JSON" else 1  # names and braces double them
    return as_json * sum(map(len, PLATFORM_LINES)), lines


def access_log_bytes() -> int:
    """Of the line that the gateway logs for a request, by the template's format."""
    setting = TEMPLATE["Resources"]["Api"]["Properties"].get("AccessLogSetting")
    if not setting:
        return 0
    examples = {
        "requestId": "01234567-89ab-cdef-0123-456789abcdef",
        "httpMethod": "POST",
        "resourcePath": "/batch",
        "status": "200",
        "responseLatency": "42",
    }
    line = re.sub(
        r"\$context\.(\w+)", lambda match: examples.get(match[1], "x" * 16), setting["Format"]
    )
    return len(line) + LINE_BYTES


def compute(function: str, work: Work) -> Json:
    """Dollars of a function's own work and of what it asked for."""
    memory, counts = memory_of(function), work.counts
    platform, lines = platform_log(function)
    logged = (
        work.printed + LINE_BYTES * work.lines + work.invocations * (platform + LINE_BYTES * lines)
    )
    gb_seconds = work.invocations * work.billed_ms(memory) / 1000 * memory / 1024
    return {
        "lambda requests": price("lambda_request", work.invocations),
        "lambda time": price("lambda_gb_second", gb_seconds),
        "sqs": price("sqs_request", sum(counts.sqs.values())),
        "dynamodb reads": price("dynamodb_read", counts.read_units),
        "dynamodb writes": price("dynamodb_write", counts.write_units),
        "s3": price("s3_put", counts.objects),
        "logs": price("log_byte", logged),
    }


def gateway(requests: int, answered: int) -> Json:
    """Dollars of requests, with the bytes of all answers' own headers and bodies."""
    return {
        "gateway": price("gateway_request", requests),
        "transfer out": price("transfer_out", answered + requests * GATEWAY_HEADER_BYTES),
        "logs": price("log_byte", requests * access_log_bytes()),
    }


def queue(body_bytes: list[int], messages: int) -> Json:
    """Dollars of what the mapping does with messages: it receives and deletes batches of them."""
    batches = [body_bytes[n : n + messages] for n in range(0, len(body_bytes), messages)]
    requests = sum(sqs_requests(sum(batch)) + 1 for batch in batches)
    return {"sqs": price("sqs_request", requests)}


def messages_a_batch(requests_a_second: float) -> int:
    """How many messages unify gets at once, by the template's mapping."""
    most = TEMPLATE["Resources"]["EventsToUnify"]["Properties"]["BatchSize"]
    return min(int(most), max(1, int(requests_a_second * TURN_SECONDS / POLLERS)))


def records_a_batch(records_a_second: float, record_bytes: float) -> float:
    """How many records of the stream the archive gets at once, by the template's mapping."""
    mapping = TEMPLATE["Resources"]["EventsToArchive"]["Properties"]
    window = TEMPLATE["Mappings"]["Times"]["prod"]["ArchiveWindow"]
    most = min(mapping["BatchSize"], MOST_EVENT_BYTES // record_bytes)
    return float(min(most, max(1.0, records_a_second * window / SHARDS)))


def summed(*parts: Json) -> Json:
    names = {name: None for part in parts for name in part}
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def scaled(part: Json, factor: float) -> Json:
    return {name: value * factor for name, value in part.items()}


def storage(stored: float, rows: float, archived: float) -> Json:
    """Dollars for so many bytes in table, backup and archive until they end, as most events do."""
    months = KEPT_DAYS / 30.4
    in_table = months * (stored + ROW_BYTES * rows)
    return {
        "table": price("dynamodb_gb_month", in_table),
        "recovery": price("dynamodb_backup_gb_month", in_table),
        "archive": price("s3_gb_month", months * archived),
    }


def at_rest() -> Json:
    """Dollars a month of a stack that nobody uses, by the template."""
    types = [one["Type"] for one in TEMPLATE["Resources"].values()]
    return {
        "secrets": price("secret_month", types.count("AWS::SecretsManager::Secret")),
        "key": price("key_month", types.count("AWS::KMS::Key")),
        "alarms": price("alarm_month", types.count("AWS::CloudWatch::Alarm")),
    }


def segment(events_a_user: float, users: int) -> float:
    """Dollars for a million events by Segment's list, for so many people a month."""
    listed = PRICES["others"]["segment"]
    month, from_ = listed["month"], listed["users"]
    for until, each in listed["more_users"]:
        month += max(0, min(users, until) - from_) * each
        from_ = max(from_, until)
    return float(month / (users * events_a_user) * MILLION)


def rudderstack() -> float:
    listed = PRICES["others"]["rudderstack"]
    return float(listed["month"] / listed["events"] * MILLION)


def emitted(said: str) -> set[str]:
    """The custom metrics in what was printed (CloudWatch's embedded metric format)."""
    found = set()
    for line in said.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        for directive in entry.get("_aws", {}).get("CloudWatchMetrics", ()):
            for names in directive["Dimensions"]:
                values = [f"{name}={entry[name]}" for name in names]
                found |= {f"{one['Name']} {' '.join(values)}" for one in directive["Metrics"]}
    return found
