"""As tests/unit/test_crashes.py, with the real clients, in all the ways of tests/moto/failing.py.

Every call in every way takes minutes: that is the long run, and else it is each sixth.
"""

import gzip
import json
import os
from contextlib import suppress
from copy import deepcopy
from functools import partial
from typing import Any

import boto3
import pytest
from moto.dynamodb.models import dynamodb_backends

from candor import outcomes
from candor.ports import Unavailable
from tests.emulators import REGION
from tests.moto.conftest import Cloud, Json, sqs_record
from tests.moto.failing import HOWS, Failing, How
from tests.stories import story
from tests.worlds import order

PURPOSES = ("service", "marketing")
READ = ("user_id:42", "user_id:43", "user_id:erased")
FUNCTIONS = ("collect", "unify", "archive")
TRIES = 4
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


class Told:
    """A story that is told to the deployed functions, again and again from the same beginning."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        erased = {"type": "user_id", "value": "erased"}
        asked = {"type": "erasure", "subject": erased, "mode": "erase", "verified_by": "a test"}
        self._send("server", {"batch": [order("o0", userId="erased")]})
        cloud.pump()
        answer = cloud.call("POST", "/privacy/requests", asked, key=cloud.tokens["dpo"])
        assert cloud.settled(answer.body["id"]) == "SUCCEEDED"
        cloud.pump()
        self._dynamodb = dynamodb_backends["123456789012"][REGION]
        self._tables = deepcopy(self._dynamodb.tables)
        self._handed_before = len(cloud.inserted())
        self.failing = Failing(monkeypatch)

    def tell(self, how: How = "before", place: int = -1) -> Json:
        """Returns all that can be seen afterwards; `places` has what was called."""
        self._dynamodb.tables = deepcopy(self._tables)
        self._bucket().objects.delete()
        self._handed = self._handed_before
        for name in FUNCTIONS:
            self.cloud.functions[name].restart()
        self.failing.fail(how, place)
        for together in story():
            for trust, body in together:
                self._send(trust, body)
            self._deliver()
        self.places = self.failing.heal()
        return self._seen()

    def _send(self, trust: str, body: Json) -> None:
        for _ in range(TRIES):
            answer = self.cloud.call("POST", "/batch", body, key=self.cloud.write_keys[trust])
            if answer.status == 200:
                return
            assert answer.status == 503
        raise AssertionError("it was never taken")

    def _deliver(self) -> None:
        """Until nothing waits. What fails comes again, and at once, as if its time were over."""
        sqs, url = boto3.client("sqs"), self.cloud.outputs["EventsQueueUrl"]
        receive = partial(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=10)
        for _ in range(TRIES):
            taken = receive(MessageSystemAttributeNames=["All"]).get("Messages", [])
            failed = self._unified(taken) if taken else set()
            for one in taken:
                handle = one["ReceiptHandle"]
                if one["MessageId"] in failed:
                    sqs.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0
                    )
                else:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
            self._stream()
            if not failed and not taken:
                return
        raise AssertionError("a message fails for ever")

    def _unified(self, taken: list[Any]) -> set[str]:
        """The ids of those that failed."""
        records = [
            sqs_record(one["Body"], one["MessageId"]) | {"attributes": one["Attributes"]}
            for one in taken
        ]
        answer = self.cloud.functions["unify"]({"Records": records})
        return {one["itemIdentifier"] for one in answer["batchItemFailures"]}

    def _stream(self) -> None:
        fresh = self.cloud.inserted()[self._handed :]
        for _ in range(TRIES if fresh else 0):
            with suppress(Unavailable):
                self.cloud.functions["archive"]({"Records": fresh})
                self._handed += len(fresh)
                return
        assert not fresh, "a batch of the stream fails for ever"

    def _bucket(self) -> Any:
        name = self.cloud.functions["archive"].variables["ARCHIVE_BUCKET"]
        return boto3.resource("s3").Bucket(name)

    def _seen(self) -> Json:
        rows = self.cloud.functions["api"].module.wiring.rows
        of_graph = [_name(row["pk"], row["sk"]) for row in rows.scan("graph")]
        bundles = [f"{row['pk']} {row['sk']} {row['n']}" for row in rows.scan("events")]
        lines = [
            json.loads(line)
            for entry in self._bucket().objects.filter(Prefix="events/")
            for line in gzip.decompress(entry.get()["Body"].read()).splitlines()
        ]
        return {
            "read": [self._read(who, purpose) for who in READ for purpose in PURPOSES],
            "graph": sorted(of_graph),
            "bundles": sorted(bundles),
            "archived": sorted(f"{row['pk']} {row['sk']} {row['n']}" for row in lines),
            "counts": outcomes.listing(rows, 7, self.cloud.clock()),
        }

    def _read(self, who: str, purpose: str) -> Any:
        dpo = self.cloud.tokens["dpo"]
        answer = self.cloud.call("GET", f"/profiles/{who}", key=dpo, **{"X-Purpose": purpose})
        return {name: told for name, told in answer.body.items() if name != "profile"}


def _name(partition: str, sort: str) -> str:
    """Without what is random: the ids of profiles, and what tells consent records apart."""
    if sort.startswith("CONSENT#"):
        sort = sort.rpartition("#")[0]
    return f"{'P#' if partition.startswith('P#') else partition} {sort}"


@pytest.mark.parametrize("how", HOWS)
def test_wherever_a_call_of_aws_fails_nothing_is_lost_and_nothing_doubled(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, how: How
) -> None:
    told = Told(cloud, monkeypatch)
    expected = told.tell()
    places = told.places
    assert len(places) > 100
    assert {"dynamodb", "sqs", "s3"} <= {place.partition(".")[0] for place in places}

    phase = "after" if how == "after" else "before"
    numbers = [n for n, place in enumerate(places) if place.endswith(f":{phase}")]
    for number in numbers if LONG else numbers[HOWS.index(how) :: 2 * len(HOWS)]:
        assert told.tell(how, number) == expected, f"{places[number]}, {number} of {len(places)}"
