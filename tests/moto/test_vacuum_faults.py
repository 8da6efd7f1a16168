"""Every call of AWS that a night's vacuum makes fails, as those of an erasure do in
tests/moto/test_erasure_faults.py: the step is tried again, or the run ends and another one begins.

At no time does anybody who lives lose a record, nor is a request told more than was dropped, or
that all is done before it is. In the end nothing dead is left, who is held has a copy, and each
request was told exactly what was dropped for it.
"""

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import boto3
import pytest
from moto.s3.models import s3_backends

from candor import archive, bundles, keyring, vacuum
from candor.ports import Row
from candor.stores.s3 import S3Objects
from tests.moto.conftest import Cloud, Json
from tests.moto.test_erasure import ASKED
from tests.moto.test_journey import CANARY
from tests.moto.town import TASKS, Town, both_ways, everywhere
from tests.worlds import order

STEPS = ("begin", "vacuum", "end")
PEOPLE = {"ann": f"{CANARY}-42", "bob": "bob", "carol": "carol", "dora": "dora"}
LIVING = ("bob", "carol")
FORGOTTEN = {"at": 0, "requests": {}, "held": [], "groups": []}


class Night(Town):
    """Ann was erased long ago and Dora has just been; Bob is held, and Carol is no more. They have
    one object of the archive together and Ann another one; and of Carol a copy is left."""

    run = "first"

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        name = cloud.functions["archive"].variables["ARCHIVE_BUCKET"]
        self._bucket = s3_backends["123456789012"]["aws"].buckets[name]
        self._objects = S3Objects(boto3.client("s3"), name)
        super().__init__(cloud, monkeypatch)
        self._objects.delete(list(self._bucket.keys))
        self._order(*PEOPLE)
        self._order("ann")
        wiring = cloud.functions["privacy"].module.wiring
        make, self._vault = wiring.identifiers.make, wiring.vault
        self.who = {make("user_id", id_).key: who for who, id_ in PEOPLE.items()}
        self.whole = Counter(self._whose("events/"))
        assert self.whole == {"ann": 2, "bob": 1, "carol": 1, "dora": 1}
        held = {"subject": _user("bob"), "reason": "a court", "until": "2099-01-01T00:00:00Z"}
        self.call("POST", "/holds", held)
        states = keyring.states(wiring.rows, self.who)
        kids = {self.who[idkey]: str(kid) for idkey, kid in keyring.key_ids(states).items()}
        (group,) = archive.groups(self._objects)
        for one in archive.names(self._objects, group):
            archive.hold(self._objects, one, [kids["carol"]])
        self._objects.put("vacuum/forgotten/begun.json", json.dumps(FORGOTTEN).encode())
        self.requests = {"ann": self._erased("ann")}
        cloud.later += vacuum.LATE
        self.requests["dora"] = self._erased("dora")

    def _order(self, *people: str) -> None:
        batch = [order(f"{who} of {len(people)}", userId=PEOPLE[who]) for who in people]
        key = self.cloud.write_keys["server"]
        assert self.cloud.call("POST", "/batch", {"batch": batch}, key=key).status == 200
        self.cloud.pump()

    def _erased(self, who: str) -> str:
        id_: str = self.call("POST", "/privacy/requests", ASKED | {"subject": _user(who)})["id"]
        assert self.machine(id_, TASKS) == "SUCCEEDED"
        return id_

    def _whose(self, within: str) -> Iterator[str]:
        """Whose each record is, of the living if it can be read."""
        salts = {row["pk"]: row.get("salt") for row in self.all("keys")}
        for key, found in self._bucket.keys.items():
            for line in gzip.decompress(found.value).splitlines() if key.startswith(within) else ():
                row = json.loads(line)
                home, data = row["pk"], base64.b64decode(row["data"])
                read = bundles.opened(self._vault, salts[home], home, row | {"data": data})
                if read or self.who[home] not in LIVING:
                    yield self.who[home]

    def kept(self) -> Any:
        return super().kept(), deepcopy(self._bucket.keys), self.run

    def again(self, kept: Any) -> None:
        of_town, keys, self.run = kept
        self._bucket.keys = deepcopy(keys)
        super().again(of_town)

    def does(self, act: str) -> None:
        """A step of statemachines/vacuum.asl.json."""
        event = {"step": act, "run": self.run}
        if act != "vacuum":
            self.invoke("erase", event)
            return
        for part in json.loads(self._objects.get(f"vacuum/{self.run}/groups.json") or b""):
            assert not self.invoke("erase", event | part)["more"]

    def goes_on(self, behind: str) -> None:
        """The rest of the run, or another one."""
        self.run = self.run if behind else "another"
        for step in STEPS[STEPS.index(behind) + 1 if behind else 0 :]:
            self.does(step)

    def false(self) -> list[str]:
        there = Counter(self._whose("events/"))
        found = [f"{who} lost a record" for who in LIVING if there[who] < self.whole[who]]
        manifests = [
            f"manifests/{key[len('events/') : -len('.gz')]}.json"
            for key in self._bucket.keys
            if key.startswith("events/")
        ]
        ends = self._bucket.keys.keys() >= {*manifests}
        found += [] if ends else ["something would never end"]
        for who, row in self._asked():
            told, gone = sum(row.get("vacuumed", {}).values()), self.whole[who] - there[who]
            found += [f"{who} was told of {told}, of {gone}"] if told > gone else []
            all_ = who == "ann" and told == self.whole[who]
            found += [f"{who} was told that is all"] if "vacuumed_at" in row and not all_ else []
        return found

    def wrong(self) -> list[str]:
        living = {who: self.whole[who] for who in LIVING}
        found = self.false()
        found += ["more or less is left"] if Counter(self._whose("events/")) != living else []
        found += ["more or less is held"] if {*self._whose("holds/")} != {"bob"} else []
        forgotten = [key for key in self._bucket.keys if "/forgotten/" in key]
        found += ["an old run is left"] if forgotten else []
        told = {who: vacuum.receipt(row) for who, row in self._asked()}
        counts = {who: (one["found"], one["deleted"], one["left"]) for who, one in told.items()}
        right = counts == {"ann": (2, 2, 0), "dora": (1, 1, None)}
        return found if right else [*found, f"told {counts}"]

    def _asked(self) -> Iterator[tuple[str, Row]]:
        rows = {row["pk"]: row for row in self.found("erasure")}
        return ((who, rows[id_]) for who, id_ in self.requests.items())


def _user(who: str) -> Json:
    return {"type": "user_id", "value": PEOPLE[who]}


def test_wherever_a_call_of_aws_fails_the_vacuum_drops_the_dead_alone_and_tells_it_once(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    points = everywhere(Night(cloud, monkeypatch), STEPS, both_ways)
    record_property("points", points)
    assert points > 100
