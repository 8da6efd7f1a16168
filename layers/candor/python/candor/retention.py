"""Sweeping: what DynamoDB's own expiry does not end, and what stopped halfway.

Bounded and resumable: each run goes on where the last one stopped, for as long as it is given.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from candor import archive, erasure, holds, renewal, requests, rights, rounds, transit, withdrawal
from candor.errors import Clash, NotFound
from candor.ports import Conflict, Row, Workflow
from candor.requests import TAKEN_BACK, WAITING, Erasure
from candor.world import World

RUNS = 3
"""How often a request that ended partial is begun again without anybody asking."""
A_WHILE = 60
"""Seconds of a run that each may have of holds, what was withdrawn and what is renewed, so that the
round has its time."""
GRACE = 3600
"""Seconds a request may be pending before it counts as stuck."""


@dataclass(slots=True)
class Swept:
    """How much of what was done."""

    identifiers: int = 0
    traits: int = 0
    keys: int = 0
    objects: int = 0
    requests: int = 0
    withdrawn_events: int = 0
    withdrawn_traits: int = 0
    renewed: int = 0

    def counts(self) -> dict[str, int]:
        return asdict(self)


def sweep(work: Erasure, world: World, workflow: Workflow, more: Callable[[], bool]) -> Swept:
    """One run. `more` says whether there is time left; it is asked before each item."""
    swept = Swept()
    _restart_requests(work, world, workflow, swept, _for_a_while(work, more))
    swept.objects = archive.expire(work.objects, work.clock())
    archive.end_by_age(work.objects, work.policy.retention)
    gone = withdrawal.carry_out(world, _for_a_while(work, more))
    swept.withdrawn_events, swept.withdrawn_traits = gone.events, gone.traits
    swept.renewed = renewal.go_on(world, _for_a_while(work, more))
    swept.keys = transit.destroy(work.rows, work.clock())
    ended = rounds.go_on(world, more)
    swept.identifiers, swept.traits = ended.identifiers, ended.traits
    swept.keys += ended.keys
    return swept


def _for_a_while(work: Erasure, more: Callable[[], bool]) -> Callable[[], bool]:
    until = work.clock() + A_WHILE
    return lambda: more() and work.clock() < until


def _restart_requests(
    work: Erasure, world: World, workflow: Workflow, swept: Swept, more: Callable[[], bool]
) -> None:
    found = [*work.rows.scan("requests")]
    for row in found:
        if row["type"] == "hold":  # before the requests that wait for it
            _see_to_hold(work, row, more)
    for row in (one for one in found if one["type"] in requests.TYPES):
        try:
            if row["type"] == "erasure":
                swept.requests += _take_up(work, workflow, row)
            elif row["status"] == "pending" and _waits_long(work, row):
                rights.take_up(work, world, row)
                swept.requests += 1
        except (Clash, Conflict, NotFound):
            continue  # another request has the person, or somebody else took it up


def _see_to_hold(work: Erasure, row: Row, more: Callable[[], bool]) -> None:
    """Hold what was written since the last run, or let go on what a hold that is over had kept."""
    if holds.lasts(row, work.clock()):
        holds.keep(work.rows, row, more)
    elif "ended" not in row:
        holds.end(work.rows, row, work.clock(), more)


def _waits_long(work: Erasure, row: Row) -> bool:
    return bool(row["created"] + GRACE < work.clock())


def _take_up(work: Erasure, workflow: Workflow, row: Row) -> bool:
    """Whether a request needed to be taken up. Raises Clash and Conflict."""
    status, stuck = row["status"], _waits_long(work, row)
    if status in TAKEN_BACK and "open" not in row:
        erasure.reopen(work, row)
    elif status == "partial" and row.get("runs", 0) < RUNS:
        erasure.resume(work, workflow, row)
    elif status in WAITING and stuck:
        return bool(erasure.resume(work, workflow, row)["status"] != status)
    elif status == "running":
        state = workflow.state(requests.execution(row))
        if state == "failed":
            erasure.fail(work, row["pk"])
        elif state == "absent" and stuck:  # it stopped before it began the machine
            erasure.resume(work, workflow, row)
        else:
            return False
    else:
        return False
    return True
