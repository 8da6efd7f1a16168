"""Every call that telling a destination takes fails, as those of an erasure do in
tests/moto/test_erasure_faults.py, and the one to the destination itself: before it has the notice,
and after, with its answer lost.

Where its task is not told again, the machine's time is up, and it goes on unanswered. No request
completes before the destination has answered, and in the end it was told whom it is to erase.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from candor.policy import Policy
from candor.ports import Conflict, Unavailable
from candor.stores import https
from candor.stores.clients import errors_translated
from tests.moto.conftest import Cloud, Json
from tests.moto.town import ANN, LONG, TASKS, Failed, Town, answered, both_ways, everywhere, ways
from tests.worlds import policy

DESTINATIONS = {
    "mail": {
        "name": "a mailer",
        "url": "https://mail.example/erased",
        "knows": ["email"],
        "tell": ["erasure"],
        "answer_within_hours": 1,
    }
}


class Outside(Town):
    """A town whose policy names a destination, to which nothing really goes."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tasks: list[str] = []
        """How each task that told it has ended, or that it waits."""
        self.told: list[Json] = []
        self.answers, self.refuses = 0, False
        rules = policy(lambda compiled: compiled.update(destinations=DESTINATIONS))
        monkeypatch.setattr(Policy, "load", lambda: rules)
        monkeypatch.setattr(https, "post", self._post)
        super().__init__(cloud, monkeypatch)

    def _post(self, _url: str, body: bytes, **_: Any) -> None:
        with errors_translated():
            self.failing.tap("https.post", "before")
            if self.refuses:
                raise Unavailable("it answered 503")
            self.told.append(json.loads(json.loads(body)["document"]))
            self.failing.tap("https.post", "after")

    def kept(self) -> Any:
        return super().kept(), [*self.tasks], [*self.told], self.answers

    def again(self, kept: Any) -> None:
        of_town, tasks, told, self.answers = kept
        self.tasks, self.told = [*tasks], [*told]
        super().again(of_town)

    def machines(self, operation: str, asked: Json) -> Any:
        if not operation.startswith("SendTask"):
            return super().machines(operation, asked)
        self.tasks[int(asked["taskToken"])] = operation
        return answered(200, {})

    def does(self, act: str) -> None:
        own = {"tell": self._tell, "tell in vain": self._tell_in_vain, "answer": self._answer}
        own[act]() if act in own else super().does(act)

    def _tell(self, request: str = "") -> None:
        """A task of the machine, which waits until it is ended by its token. Raises Failed."""
        self.tasks.append("waits")
        event = {"step": "tell", "request": request or self.one(), "destination": "mail"}
        self.invoke("erase", event | {"token": str(len(self.tasks) - 1)})
        if self.tasks[-1] == "SendTaskFailure":
            raise Failed("tell")

    def _tell_in_vain(self) -> None:
        """It refuses the notice, and the task is to fail. Raises Failed."""
        self.refuses = True
        try:
            self._tell()
        except Failed:
            if self.tasks[-1] == "waits":
                raise
        else:
            raise AssertionError("the machine waits for who was not told")
        finally:
            self.refuses = False

    def _answer(self) -> None:
        """It asks again where it is told to. Raises Failed."""
        self.answers += 1
        path = self.told[-1]["callback"].removeprefix("/v1")
        status = self.cloud.call("POST", path, {"status": "erased"}).status
        if status == 503:
            raise Failed("answer")
        assert status == 200 or (status == 404 and self.answers > 1)
        assert self.tasks[-1] == "SendTaskSuccess", "the machine waits on"

    def goes_on(self, behind: str) -> None:
        if behind in ("destinations", "tell in vain"):
            self._tell()
        if behind in ("destinations", "tell in vain", "tell"):
            self._answer()
        super().goes_on("destinations" if self.tasks else behind)

    def done(self, request: str, step: str, told: Json) -> None:
        if told.get("names"):
            self._tell(request)
            self._answer()
        if step == "verify" and not told["clean"]:
            assert told["last"]
            raise Conflict

    def left(self) -> list[str]:
        return super().left() + ([] if self.answers else ["somebody who has not answered"])

    def wrong(self) -> list[str]:
        found = super().wrong()
        for row in self.found("erasure"):
            if row["status"] == "completed":
                found += self._wrongly_certified(json.loads(row["certificate"]["document"]))
        return found

    def _wrongly_certified(self, document: Json) -> list[str]:
        (confirmed,) = document["destinations"]
        right = (confirmed.get("status"), confirmed["identifiers"]) == ("erased", 1)
        whole = self.told and all(notice["identifiers"] == [ANN] for notice in self.told)
        return [] if right and whole else ["it was not told whom to erase, or did not confirm"]


def test_wherever_a_call_fails_no_erasure_completes_before_its_destination_has_answered(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    town = Outside(cloud, monkeypatch)
    points = everywhere(town, ("ask",), ways) if LONG else 0
    town.again(town.beginning)
    for act in ("ask", *TASKS[: TASKS.index("destinations")]):
        town.does(act)
    acts = ("destinations", "tell in vain", "tell", "answer", "tell")
    points += everywhere(town, acts, both_ways)
    record_property("points", points)
    assert points > 60
