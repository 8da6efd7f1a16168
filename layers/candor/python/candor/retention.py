"""Sweeping: what DynamoDB's own expiry does not end, and what stopped halfway.

Bounded and resumable: each run goes on where the last one stopped, for as long as it is given.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from candor import archive, erasure, withdrawal
from candor.erasure import Erasure
from candor.errors import Clash
from candor.identity import bury, node_key
from candor.ports import ABSENT, Check, Conflict, Delete, Key, Row, Update, Workflow
from candor.world import World

PLACE = Key("keys", "S#sweep")
RUNS = 3
"""How often a request that ended partial is begun again without anybody asking."""
WITHDRAWING = 120
"""Seconds of a run that what was withdrawn may take: it is hidden already, and keys end in time."""
GRACE = 3600
"""Seconds a request may be pending before it counts as stuck."""


@dataclass(slots=True)
class Swept:
    """How much of what was done."""

    identifiers: int = 0
    keys: int = 0
    objects: int = 0
    requests: int = 0
    withdrawn_events: int = 0
    withdrawn_traits: int = 0

    def counts(self) -> dict[str, int]:
        return asdict(self)


def sweep(work: Erasure, world: World, workflow: Workflow, more: Callable[[], bool]) -> Swept:
    """One run. `more` says whether there is time left; it is asked before each item."""
    swept = Swept()
    _restart_requests(work, workflow, swept)
    swept.objects = archive.expire(work.objects, work.clock())
    began = work.clock()
    gone = withdrawal.carry_out(world, lambda: more() and work.clock() < began + WITHDRAWING)
    swept.withdrawn_events, swept.withdrawn_traits = gone.events, gone.traits
    rows = work.rows
    place = rows.get([PLACE]).get(PLACE)
    after = Key("keys", place["after"]) if place else None
    for row in rows.scan("keys", after=after, expired=True):
        if not more():
            if after:
                rows.update(Update(PLACE, set={"after": after.pk}))
            return swept
        after = Key("keys", row["pk"])
        if "#" not in row["pk"]:
            _sweep_identifier(work, row, swept)
        elif row.get("due", work.clock()) < work.clock():
            rows.delete([Key("keys", row["pk"])])
            swept.keys += 1
    rows.delete([PLACE])
    return swept


def _sweep_identifier(work: Erasure, row: Row, swept: Swept) -> None:
    """Remove an identifier that has ended, and the key of one that has no node."""
    idkey = row["pk"]
    try:
        found = bury(work.rows, idkey, work.clock())
        swept.identifiers += found == "buried"
        if found != "alive" and "mode" not in row:
            unused = Check(node_key(idkey), when={"pk": ABSENT})
            work.rows.commit(unused, Delete(Key("keys", idkey), when={"mode": ABSENT}))
            swept.keys += 1
    except Conflict:
        return  # it is in use


def _restart_requests(work: Erasure, workflow: Workflow, swept: Swept) -> None:
    for row in work.rows.scan("requests"):
        stuck = row["created"] + GRACE < work.clock()
        try:
            partial = row["status"] == "partial" and row.get("runs", 0) < RUNS
            if partial or (row["status"] == "pending" and stuck):
                erasure.resume(work, workflow, row)
            elif row["status"] == "running" and _ended(workflow, row, stuck):
                erasure.fail(work, row["pk"])
            else:
                continue
        except (Clash, Conflict):
            continue  # another request has the person, or somebody else took it up
        swept.requests += 1


def _ended(workflow: Workflow, row: Row, stuck: bool) -> bool:
    """Whether nothing works on a running request: its execution failed, or there is none."""
    state = workflow.state(erasure.execution(row))
    return state == "failed" or (state == "absent" and stuck)
