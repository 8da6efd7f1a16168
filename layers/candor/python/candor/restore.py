"""After tables were restored to an earlier time: what requests and holds did is done again."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from candor import erasure, fencing, holds, keyring, requests, rights
from candor.errors import Clash
from candor.identity import node_key, profile_key
from candor.keyring import KeyState
from candor.ports import Conflict, Delete, Row, Update
from candor.requests import TAKEN_BACK, Erasure, Store
from candor.world import World

Json = dict[str, Any]


def replay(work: Erasure, world: World, after: str, more: Callable[[], bool]) -> Json:
    """Do again what requests and holds did, after tables were restored to a time before some of
    them: erase and hide again, show again whom nobody erases any more, hold, restrict and object.

    Goes through the requests behind the one with the id `after`, as long as `more` says that there
    is time; answers where to go on, whether to, how many it went through, and for how many people
    keys had come back. Who registered anew is left alone. Safe to repeat. It relies on the requests
    themselves: their table must not be restored to an earlier time than the others.
    """
    place = requests.key_of(after) if after else None
    told: Json = {"after": after, "more": False, "requests": 0, "again": 0}
    for row in work.rows.scan("requests", after=place):
        if not more():
            return told | {"more": True}
        if row["type"] == "erasure":
            told["again"] += _again(work, row)
            told["requests"] += 1
        elif row["type"] == "hold":
            holds.again(work.rows, row, work.clock())
        elif row.get("status") in ("running", "completed"):
            rights.again(world, row)
        told["after"] = row["pk"]
    return told


def _again(work: Erasure, row: Row) -> bool:
    """Whether anybody's fence had to be set again."""
    if "shredding" in row:
        return _erased_again(work, row)
    if row["status"] in TAKEN_BACK:
        fencing.reopen(work, row["pk"])
    elif row["members"]:  # else nobody is hidden by it yet
        for other in _of_fences(work, keyring.states(work.rows, list(row["members"]))):
            if other["status"] in TAKEN_BACK:  # and has them again, until its turn comes
                fencing.reopen(work, other["pk"])
        with suppress(Clash):  # another request has the person
            fencing.hide(work, row["pk"])
    return False


def _of_fences(work: Erasure, states: Mapping[str, KeyState]) -> list[Row]:
    """The requests that these identifiers are kept out by."""
    fences = {requests.key_of(state.request) for state in states.values() if state.request}
    return [*work.rows.get(list(fences)).values()]


def _erased_again(work: Erasure, row: Row) -> bool:
    states = keyring.states(work.rows, list(row["members"]))
    new = {idkey for idkey, state in states.items() if (state.lifted or 0) > row["created"]}
    kept_out = {idkey: kid for idkey, kid in row["members"].items() if idkey not in new}
    others = _of_fences(work, states)
    is_open = {one["pk"] for one in others if one["status"] not in requests.ENDED}
    back = [idkey for idkey in kept_out if _is_back(states[idkey], row, is_open)]
    waits = {one["pk"] for one in others if "shredding" not in one}
    for idkey in kept_out:
        _fence_again(work, row, idkey, states[idkey], is_back=idkey in back, waits=waits)
    if objections := row.get("objections"):
        for idkey in row["members"]:  # a later request may have set the fence again, without them
            keyring.remember(work.rows, idkey, objections)
    nodes = work.rows.get([node_key(idkey) for idkey in kept_out], expired=True)
    named = {*row["profiles"], *(node["profile"] for node in nodes.values())}
    profiles = fencing.profiles_of(work, named)  # before the nodes, by which they are found
    for id_, listed in profiles.items():
        rest = {idkey: type_ for idkey, type_ in listed["members"].items() if idkey not in kept_out}
        same = {"version": listed["version"]}
        key, left = profile_key(id_), {"members": rest, "version": listed["version"] + 1}
        if rest != listed["members"]:
            with suppress(Conflict):  # it is not a table that was restored
                change = Update(key, set=left, when=same) if rest else Delete(key, when=same)
                work.rows.commit(change)
    stores: tuple[Store, ...] = ("graph", "events")
    for store in stores:
        erasure.delete(work, store, row | {"members": kept_out, "profiles": []})
    for other in others if back else ():
        if other["pk"] in waits:  # its fence gave way to the one that was missing
            _again(work, other)
    return bool(back)


def _fence_again(
    work: Erasure, row: Row, idkey: str, state: KeyState, *, is_back: bool, waits: Collection[str]
) -> None:
    """Tables come back whole, and requests in any order: another one's fence may be there. Of one
    that destroyed something the stronger mode stays; those in `waits` have not."""
    mode = keyring.stronger(row["mode"], state.mode if state.request not in waits else None)
    if is_back:
        keyring.show(work.rows, idkey, state.request or "")
        keyring.hide(work.rows, idkey, KeyState(), mode, row["pk"], row["created"])
        keyring.shred(work.rows, idkey, mode, row["pk"], row["created"])
    elif mode != state.mode and state.request and state.request not in waits:
        keyring.shred(work.rows, idkey, mode, state.request, state.since or 0)


def _is_back(state: KeyState, row: Row, is_open: Collection[str]) -> bool:
    """Whether a key can be read under again, or its fence is of an earlier request only; or of one
    that is completed, while this one is not: nobody registers anew before it is."""
    fence = state.request in is_open, state.since or 0, state.request or ""
    ours = row["status"] not in requests.ENDED, row["created"], row["pk"]
    return bool(state.salt) or not state.mode or fence < ours
