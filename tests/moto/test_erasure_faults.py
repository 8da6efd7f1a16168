"""Every call of AWS that an erasure makes, from the request to the certificate, fails: before it is
sent, and after it was answered, with the answer lost.

A recorder lists the places act by act (`SCENES`), so that a new call is covered by itself. At each
place either the caller asks again, as an API's client and the state machine do, or the act is given
up and the hourly sweep finds what it left; of the machine's tasks the call also fails until all
tries are used up, and the machine ends. Then what is left over goes on without any failure.
`completed` is never said while anything readable or any row is left, all converges, and nobody
else is touched. `candor restore replay` is held to the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from candor.policy import Policy
from tests.moto.conftest import Cloud, Json
from tests.moto.failing import Failing
from tests.moto.test_erasure import ask, shown
from tests.moto.test_journey import CANARY, visit
from tests.moto.town import TASKS, Town, everywhere, ways
from tests.worlds import policy


@dataclass(frozen=True, slots=True)
class Scene:
    """Acts that do not fail, and then acts of which each fails at each place."""

    acts: tuple[str, ...]
    before: tuple[str, ...] = ()
    waits: int = 0
    second: bool = False


SCENES = {
    "from the request to the certificate": Scene(("ask", *TASKS)),
    "a machine that gives up, and the sweep": Scene(("fail", "sweep"), ("ask", "plan")),
    "a second person": Scene(("approve",), ("ask",), second=True),
    "a wait": Scene(("sweep",), ("ask", "time passes"), waits=7),
    "taken back": Scene(("cancel",), ("ask",), waits=7),
    "refused": Scene(("refuse",), ("ask",), second=True),
    "held": Scene(("hold", "ask")),
    "released": Scene(("release",), ("hold", "ask")),
    "many": Scene(("ask for many", "list", "take up")),
    "restored after it": Scene(("replay",), ("ask", *TASKS, "restore")),
    "restored while held": Scene(("replay",), ("hold", "ask", "restore")),
    "restored after a no": Scene(("replay",), ("ask", "back up", "cancel", "restore"), waits=7),
}


@pytest.mark.parametrize("name", SCENES)
def test_wherever_a_call_of_aws_fails_an_erasure_says_nothing_false_and_ends(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    name: str,
) -> None:
    scene, town = SCENES[name], Town(cloud, monkeypatch)
    rules = policy(
        lambda compiled: compiled["erasure"].update(
            waiting_days=scene.waits, second_person=scene.second
        )
    )
    monkeypatch.setattr(Policy, "load", lambda: rules)
    town.again(town.beginning)
    for act in scene.before:
        town.does(act)
    points = everywhere(town, scene.acts, ways)
    record_property("points", points)
    assert points > 3


@pytest.mark.parametrize("task", ["plan", "graph", "events", "verify", "certify"])
def test_the_real_machine_gives_up_too_and_the_sweep_begins_it_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    visit(cloud)
    failing, erase = Failing(monkeypatch), cloud.functions["erase"]
    erase.restart()
    handler = erase.module.handler

    def unanswered(event: Json, context: object) -> object:
        failing.down = "dynamodb.UpdateItem:after" if event["step"] == task else ""
        return handler(event, context)

    with monkeypatch.context() as broken:
        broken.setattr(erase.module, "handler", unanswered)
        id_ = ask(cloud).body["id"]
        ended = cloud.settled(id_)
    failing.heal()
    row = shown(cloud, id_)
    if task == "certify":  # which had been written, and only its answer was lost
        assert (ended, row["status"]) == ("SUCCEEDED", "completed")
    else:
        assert (ended, row["status"], row["certificate"]) == ("FAILED", "partial", None)
        cloud.functions["sweep"]({})
        assert cloud.settled(id_, "-1") == "SUCCEEDED"
    assert shown(cloud, id_)["status"] == "completed"
    assert CANARY not in cloud.held()
