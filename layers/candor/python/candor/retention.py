"""Sweeping: what DynamoDB's own expiry does not end, and what stopped halfway.

Bounded and resumable: each run goes on where the last one stopped, for as long as it is given.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from candor import archive, erasure, holds, requests, withdrawal
from candor.errors import Clash
from candor.identity import bury, node_key
from candor.ports import ABSENT, Check, Conflict, Delete, Key, Row, Update, Workflow, Write
from candor.requests import WAITING, Erasure
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
        if found in ("absent", "buried") and "mode" not in row:
            unused = Check(node_key(idkey), when={"pk": ABSENT})
            gone: Write = Delete(Key("keys", idkey), when={"mode": ABSENT})
            if "objections" in row:  # they hold for who comes again
                gone = Update(Key("keys", idkey), remove=("salt",), when={"mode": ABSENT})
            work.rows.commit(unused, gone)
            swept.keys += "salt" in row
    except Conflict:
        return  # it is in use


def _restart_requests(work: Erasure, workflow: Workflow, swept: Swept) -> None:
    found = [*work.rows.scan("requests")]
    for row in found:
        if row["type"] == "hold":  # before the requests that wait for it
            _see_to_hold(work, row)
    for row in found:
        try:
            if row["type"] == "erasure" and _take_up(work, workflow, row):
                swept.requests += 1
        except (Clash, Conflict):
            continue  # another request has the person, or somebody else took it up


def _see_to_hold(work: Erasure, row: Row) -> None:
    """Hold what was written since the last run, or let go on what a hold that is over had kept."""
    if holds.lasts(row, work.clock()):
        holds.keep(work.rows, row)
    elif "ended" not in row:
        holds.end(work.rows, row)


def _take_up(work: Erasure, workflow: Workflow, row: Row) -> bool:
    """Whether a request needed to be taken up. Raises Clash and Conflict."""
    status, stuck = row["status"], row["created"] + GRACE < work.clock()
    if status in ("cancelled", "refused") and "open" not in row:
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
