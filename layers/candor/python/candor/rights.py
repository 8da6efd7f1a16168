"""The rights that are answered at once: restriction, objection and rectification.

Each is a request of its own, written down before it is carried out, so that one which stopped
halfway shows as pending; asking again carries it out. (GDPR Articles 16, 18 and 21)
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from candor import consents, keyring, requests, traits
from candor.errors import Clash, NotFound, Refused
from candor.identifiers import Identifier
from candor.ports import Conflict, Row, Update
from candor.requests import Asking, Erasure
from candor.world import World


def restrict(work: Erasure, world: World, one: Identifier, asking: Asking) -> Row:
    """Keep a person's data and use it for nothing, until `lift`. Raises NotFound.

    A restriction that is in force for the identifier is joined.
    """
    wanted = {"type": "restriction", "status": "running", "subject": one.key}
    for row in work.rows.scan("requests"):
        if wanted.items() <= row.items():
            return row
    row = requests.open_(work, world.vault, "restriction", one, asking)
    _carry_out(work, row, lambda: consents.restrict(world, one.key, asking.principal, on=True))
    return requests.move(work, row["pk"], "running", ("pending",))


def lift(work: Erasure, world: World, row: Row, principal: str) -> Row:
    """Let a restricted person's data be used again. Safe to repeat. Raises Clash.

    One that is over lifts nothing: there may be another by now.
    """
    in_force = ("pending", "running")
    if row["status"] in in_force:
        with suppress(NotFound):  # they ended, or were erased
            consents.restrict(world, row["subject"], principal, on=False)
    return requests.move(work, row["pk"], "completed", in_force)


def object_(
    work: Erasure, world: World, one: Identifier, purposes: Collection[str], asking: Asking
) -> Row:
    """Deny purposes for good; without any, all that rest on a legitimate interest."""
    policy = world.policy.purposes
    resting = [name for name, rule in policy.items() if rule.basis == "legitimate_interest"]
    chosen = dict.fromkeys(purposes or resting, False)
    if not chosen:
        raise Refused("nothing_chosen", "Nothing rests on a legitimate interest: name `purposes`.")
    row = requests.open_(work, world.vault, "objection", one, asking)
    choice = consents.Choice(
        (one,), chosen, world.clock(), "objection", {}, asking.principal, "server"
    )
    _carry_out(work, row, lambda: consents.choose(world, choice))
    return _done(work, row, len(chosen))


def rectify(
    work: Erasure, world: World, one: Identifier, said: Mapping[str, Any], asking: Asking
) -> Row:
    """Correct traits of a person. Raises NotFound, and Refused for a name that is not kept."""
    row = requests.open_(work, world.vault, "rectification", one, asking)
    _carry_out(work, row, lambda: traits.rectify(world, one, said, asking.principal))
    return _done(work, row, len(said))


def lift_fence(work: Erasure, one: Identifier) -> None:
    """Accept an identifier's data from now on. Raises NotFound where nothing keeps it out, and
    Clash while its erasure is under way."""
    state = keyring.states(work.rows, [one.key])[one.key]
    if state.mode is None or state.since is None or state.request is None:
        raise NotFound("not_found", "There is no fence around this identifier.")
    key = requests.key_of(state.request)
    row = work.rows.get([key]).get(key)
    if row and row["status"] != "completed":
        raise Clash("erasing", "This person's erasure is not completed.")
    try:
        keyring.lift(work.rows, one.key, state.since, int(work.clock()), state.mode)
    except Conflict:
        raise Clash("erasing", "Somebody else has changed this fence.") from None


def _carry_out(work: Erasure, row: Row, act: Callable[[], object]) -> None:
    try:
        act()
    except (NotFound, Refused):
        requests.move(work, row["pk"], "refused", ("pending",), ground="not_possible")
        raise


def _done(work: Erasure, row: Row, changed: int) -> Row:
    done = {"completed": int(work.clock()), "found_graph": changed}
    ended = Update(
        requests.key_of(row["pk"]),
        set={"status": "completed", **done, **requests.ending(work)},
        remove=("salt",),
        when={"status": "pending"},
    )
    return work.rows.update(ended)
