"""The rights that are answered at once: restriction, objection and rectification.

Each is a request of its own, written down before it is carried out, so that one which stopped
halfway shows as pending, and the sweep takes it up. (GDPR Articles 16, 18 and 21)
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from candor import consents, keyring, requests, traits
from candor.errors import Clash, NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import node_key
from candor.ports import PRESENT, Conflict, Row, Update
from candor.requests import Asking, Erasure
from candor.world import World

IN_FORCE = ("pending", "running")
"""Of a restriction."""


def restrict(work: Erasure, world: World, one: Identifier, asking: Asking) -> Row:
    """Keep a person's data and use it for nothing, until `lift`. Raises NotFound.

    A restriction of the identifier that is in force is joined.
    """
    for row in _restrictions(work):
        if row["subject"] == one.key:
            with suppress(Clash):  # somebody has lifted it meanwhile
                return _restricted(work, world, row)
    return _restricted(work, world, requests.open_(work, world.vault, "restriction", one, asking))


def lift(work: Erasure, world: World, row: Row, principal: str) -> Row:
    """Let a restricted person's data be used again, unless they asked for it by another identifier,
    too. Safe to repeat. Raises Clash.

    One that is over lifts nothing: there may be another by now.
    """
    lets_go = row["status"] in IN_FORCE and not _restricted_by_another(work, row)
    lifted = _let_go(world, row, principal) if lets_go else {}
    row = requests.move(work, row["pk"], "completed", IN_FORCE, **lifted)
    if lets_go or "lifted" in row or _restricted_by_another(work, row):
        return row
    # The other one was lifted at the same moment, and left it to this one.
    lifted = _let_go(world, row, principal) or {"lifted": 0}
    return work.rows.update(Update(requests.key_of(row["pk"]), set=lifted, when={"pk": PRESENT}))


def _let_go(world: World, row: Row, principal: str) -> Row:
    """What the request's row gets."""
    with suppress(NotFound):  # they ended, or were erased
        return {"lifted": consents.restrict(world, row["subject"], principal, on=False)}
    return {}


def _restrictions(work: Erasure) -> Iterator[Row]:
    """Those that are in force."""
    for row in work.rows.scan("requests"):
        if row["type"] == "restriction" and row["status"] in IN_FORCE:
            yield row


def _restricted_by_another(work: Erasure, row: Row) -> bool:
    """Whether another restriction of the same person is in force."""
    others = {one["subject"] for one in _restrictions(work) if one["pk"] != row["pk"]}
    nodes = work.rows.get([node_key(idkey) for idkey in {row["subject"], *others}])
    home = nodes.get(node_key(row["subject"]), {}).get("profile")
    return any(nodes.get(node_key(idkey), {}).get("profile", "-") == home for idkey in others)


def object_(
    work: Erasure, world: World, one: Identifier, purposes: Collection[str], asking: Asking
) -> Row:
    """Deny purposes for good; without any, all that rest on a legitimate interest. Raises Refused
    for a purpose that the policy does not name, of which nothing is written down."""
    policy = world.policy.purposes
    resting = [name for name, rule in policy.items() if rule.basis == "legitimate_interest"]
    chosen = sorted({*(purposes or resting)})
    if not chosen:
        raise Refused("nothing_chosen", "Nothing rests on a legitimate interest: name `purposes`.")
    consents.check(world.policy, chosen)
    row = requests.open_(work, world.vault, "objection", one, asking, purposes=chosen)
    denied = dict.fromkeys(chosen, False)
    at, by = row["created"], asking.principal
    choice = consents.Choice((one,), denied, at, "objection", {}, by, "server")

    def act() -> None:
        consents.choose(world, choice)
        if keyring.states(work.rows, [one.key])[one.key].mode:  # who comes again has objected
            again(world, row)

    _carry_out(work, row, act)
    return _done(work, row, len(chosen))


def rectify(
    work: Erasure, world: World, one: Identifier, said: Mapping[str, Any], asking: Asking
) -> Row:
    """Correct traits of a person. Raises NotFound, and Refused for a name that is not kept."""
    row = requests.open_(work, world.vault, "rectification", one, asking)
    _carry_out(work, row, lambda: traits.rectify(world, one, said, asking.principal))
    return _done(work, row, len(said))


def take_up(work: Erasure, world: World, row: Row) -> None:
    """Carry out a request that stopped halfway. What was to be corrected is not kept, so that a
    rectification has failed, and has to be asked for again. Raises NotFound."""
    if row["type"] == "restriction":
        _restricted(work, world, row)
    elif "purposes" in row:
        again(world, row)
        _done(work, row, len(row["purposes"]))
    else:
        requests.move(work, row["pk"], "failed", ("pending",))


def again(world: World, row: Row) -> None:
    """Say again what a request that was carried out has said, which a table that was restored may
    not know. Safe to repeat."""
    subject, by = row["subject"], row["principal"]
    state = keyring.states(world.rows, [subject])[subject]
    if state.mode and not state.salt:  # of the rest there may be any part
        denied = {purpose: int(row["created"]) for purpose in row.get("purposes", ())}
        keyring.remember(world.rows, subject, denied)
    elif "purposes" in row:
        consents.object_(world, subject, row["purposes"], row["created"], by)
    elif row["type"] == "restriction":
        for on, at in ((True, row.get("at", 0)), (False, row.get("lifted", 0))):
            if at > (state.lifted or 0):  # what was said before an erasure ended with it
                with suppress(NotFound):
                    consents.restrict(world, subject, by, on=on, at=at)


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
    at = max(int(work.clock()), state.since + 1)  # after the erasure, in the same second too
    try:
        keyring.lift(work.rows, one.key, state.since, at, state.mode)
    except Conflict:
        raise Clash("erasing", "Somebody else has changed this fence.") from None


def _restricted(work: Erasure, world: World, row: Row) -> Row:
    """Also where it was so already: tables may have been restored since."""

    def act() -> int:
        return consents.restrict(world, row["subject"], row["principal"], on=True)

    at = _carry_out(work, row, act)
    return requests.move(work, row["pk"], "running", IN_FORCE, at=at)


def _carry_out(work: Erasure, row: Row, act: Callable[[], Any]) -> Any:
    try:
        return act()
    except (NotFound, Refused):
        with suppress(Clash):  # it is a restriction that was in force
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
