"""Closing a person's data: hidden first, then destroyed.

Hiding closes the profiles and fences the keys of everyone a request names, and can be taken back;
nobody can read the person from then on, and what comes in is dropped. Shredding removes the keys'
salts, and cannot. Between the two lies what keeps data from being destroyed: a waiting period, a
second person's approval, a legal hold. Every step repeats safely.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain

from candor import destinations, holds, keyring
from candor.consent import denials
from candor.errors import Clash
from candor.identity import ERASING, EVERYBODY, HIDDEN, TRIES, node_key, profile_key
from candor.ports import ABSENT, Conflict, Row, Unavailable, Update
from candor.requests import ACTIVE, ENDED, Erasure, find, key_of


def hide(work: Erasure, id_: str) -> None:
    """Close the profiles of everyone the request names, and fence the keys of all their members.

    Names them all in the request first: after a crash it must still know which keys it fenced.
    Nobody, where the request has ended. Raises Clash where another request forbids it.
    """
    for _ in range(TRIES):
        row = find(work.rows, id_)
        if row["status"] in ENDED:
            return
        members: dict[str, str | None] = row["members"]
        asked = {row["subject"], *members, *_fenced_with(work, row)}
        nodes = work.rows.get([node_key(idkey) for idkey in asked], expired=True)
        profiles = profiles_of(work, {node["profile"] for node in nodes.values()})
        people = asked.union(*(one["members"] for one in profiles.values()))
        profiles |= _left_out(work, people, id_)
        for profile in profiles.values():  # all of them, before any is closed
            if profile.get("request", id_) != id_:
                raise Clash("erasing", "Another request is already erasing this person.")
        everyone = asked.union(*(profile["members"] for profile in profiles.values()))
        seen = keyring.states(work.rows, everyone)
        kids = keyring.key_ids(seen)
        named = {idkey: kids[idkey] or members.get(idkey) for idkey in everyone}
        try:
            told = destinations.gathered(work, row, everyone)
            if named != members or told or not profiles.keys() <= {*row["profiles"]}:
                _name(work, row, {"members": named, **told}, profiles)
            for id_of, profile in profiles.items():
                _close(work, id_of, profile, id_)
        except Conflict:
            continue
        if named.keys() == members.keys() and not told:
            break  # closed before we looked, so nobody has joined since
    else:
        raise Unavailable("the profile changes faster than it can be closed")
    giving_way = _completed(work, {state.request for state in seen.values() if state.mode})
    for idkey, state in seen.items():
        if not state.mode or state.request in giving_way:
            keyring.hide(work.rows, idkey, state, row["mode"], id_, row["created"])


def shred(work: Erasure, id_: str) -> bool:
    """Destroy the keys of everyone a running request has hidden. False, and nothing destroyed,
    where it runs no more, or a legal hold keeps one of them, for which it waits then.

    It counts in `turns` whatever could decide otherwise, and a hold that is placed is counted, too:
    so what was read of them still holds when the request is marked as `shredding`. Raises Clash
    where another request has hidden somebody.
    """
    for _ in range(TRIES):
        row = find(work.rows, id_)
        if row["status"] != "running":
            return False
        named = profiles_of(work, row["profiles"])  # which a restore may have made others' again
        closed = {one: found for one, found in named.items() if found.get("request") == id_}
        kept = any(holds.in_force(work.rows, one, work.clock()) for one in closed.values())
        goes_on = {"shredding": True, "objections": _objected(row, closed.values())}
        change = Update(
            key_of(id_),
            set={"status": "held"} if kept else goes_on,
            add={"turns": 1},
            when={"status": "running", "turns": row["turns"]},
        )
        with suppress(Conflict):
            row = work.rows.update(change)
            break
    else:
        raise Unavailable("the request changes faster than it can be carried out")
    if kept:
        return False
    objected = row["objections"]
    for id_of in closed:
        _turn(work, id_of, id_, HIDDEN, ERASING)
    try:
        for idkey in row["members"]:
            keyring.shred(work.rows, idkey, row["mode"], id_, row["created"], objected)
    except Conflict:
        raise Clash("erasing", "Another request has one of these people.") from None
    return True


def reopen(work: Erasure, id_: str) -> None:
    """Take back what a request has hidden."""
    row = find(work.rows, id_)
    for idkey in row["members"]:
        keyring.show(work.rows, idkey, id_)
    for id_of in row["profiles"]:
        _turn(work, id_of, id_, HIDDEN, None)


def profiles_of(work: Erasure, ids: Iterable[str]) -> dict[str, Row]:
    """Those that exist."""
    found = work.rows.get([profile_key(id_) for id_ in ids], expired=True)
    return {id_: row for id_ in ids if (row := found.get(profile_key(id_)))}


def _objected(row: Row, closed: Iterable[Row]) -> dict[str, int]:
    """What a request's people had denied, by all that is known of it."""
    objected: dict[str, int] = {**row.get("objections", {})}
    for profile in closed:
        for purpose, at in denials(profile["choices"]).items():
            objected[purpose] = max(at, objected.get(purpose, 0))
    return objected


def _turn(work: Erasure, profile: str, id_: str, from_: str, to: str | None) -> None:
    change = Update(
        profile_key(profile),
        set={"state": to} if to else {},
        remove=() if to else ("state", "request"),
        add={"version": 1},
        when={"state": from_, "request": id_},
    )
    with suppress(Conflict):  # it is so already, or it is gone
        work.rows.update(change)


def _fenced_with(work: Erasure, mine: Row) -> set[str]:
    """Whom an earlier request fenced together with the subject, and who still is. Raises Clash
    where that is under way, and its end may let them in again, whose keys are there still."""
    subject = mine["subject"]
    earlier = keyring.states(work.rows, [subject])[subject]
    if not (earlier.mode and earlier.request):
        return set()
    key = key_of(earlier.request)
    row = work.rows.get([key]).get(key)
    if row and row["pk"] != mine["pk"] and row["status"] in (*ACTIVE, "partial"):
        if "shredding" in mine:
            return set()  # which that one sees to by itself
        raise Clash("erasing", "Another request is already erasing this person.")
    states = keyring.states(work.rows, list(row["members"])) if row else {}
    return {idkey for idkey, state in states.items() if state.mode}


def _completed(work: Erasure, ids: Iterable[str | None]) -> set[str]:
    """Those of these requests that nothing will change any more."""
    keys = {key_of(id_): id_ for id_ in ids if id_}
    found = work.rows.get(list(keys), expired=True)
    still = {key for key, row in found.items() if row["status"] != "completed"}
    return {id_ for key, id_ in keys.items() if key not in still}


def _left_out(work: Erasure, members: set[str], by: str) -> dict[str, Row]:
    """Profiles of devices that named one of these people and did not fit into the profile any more.

    They hold what the person did there, and belong to nobody else. Where another request erases
    one, because it named another person too, that is enough.
    """
    others = {
        link["sk"].removeprefix("LINK#")
        for idkey in members
        for link in work.rows.query("graph", f"I#{idkey}", "LINK#", expired=True)
        if link.get("refused", "").startswith("limit:")
    }
    nodes = work.rows.get([node_key(idkey) for idkey in others - members], expired=True)
    found = profiles_of(work, {node["profile"] for node in nodes.values()})
    rule = work.policy.identifier
    return {
        id_: profile
        for id_, profile in found.items()
        if profile.get("request", by) == by
        and not any(rule(type_).known for type_ in profile["members"].values())
        and EVERYBODY not in chain.from_iterable(profile.get("apart", {}).values())
    }


def _name(work: Erasure, row: Row, named: Row, profiles: dict[str, Row]) -> None:
    """Write down who and what the request covers, if nobody else did meanwhile."""
    change = {**named, "profiles": sorted({*row["profiles"], *profiles})}
    seen = {name: row.get(name, ABSENT) for name in ("members", "identities")}
    work.rows.update(Update(key_of(row["pk"]), set=change, when=seen))


def _close(work: Erasure, profile: str, listed: Row, id_: str) -> None:
    """From here no merge, consent or read finds the profile. Raises Conflict if it changed."""
    if listed.get("request") == id_:
        return
    work.rows.update(
        Update(
            profile_key(profile),
            set={"state": HIDDEN, "request": id_, "version": listed["version"] + 1},
            when={"version": listed["version"], "state": ABSENT},
        )
    )
