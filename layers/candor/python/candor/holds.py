"""Legal holds: what keeps a person's data from ending, while they last.

A hold is a row of its own, and its id stands on the profile, which merges and splits carry on. A
held profile is neither shredded nor swept, and its rows lose the time at which DynamoDB would
remove them; what is due is not shown all the same. When no hold is left the times are set again,
and what fell due meanwhile goes. (GDPR Articles 17(3)(e) and 18(2))
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from candor.errors import Clash, NotFound, Refused
from candor.identifiers import Identifier
from candor.identity import ERASING, SWEEP_SECONDS, TRIES, node_key, profile_key
from candor.policy import iso
from candor.ports import ABSENT, PRESENT, Conflict, Key, Put, Row, Rows, Unavailable, Update
from candor.requests import key_of, new_id
from candor.sealing import Vault, new_salt
from candor.world import World

Json = dict[str, Any]
LASTS = frozenset({"NODE", "TRAITS", "PROFILE"})
"""Rows that DynamoDB ends later than they are due."""


def place(world: World, one: Identifier, reason: str, until: int, by: str) -> Row:
    """Hold the data of an identifier's person until a time (epoch seconds), or a release.

    It is in force when this returns; the next sweep sees to its rows. Raises NotFound, Refused for
    a time that is past, and Clash where the person is being erased already.
    """
    now = world.clock()
    if until <= now:
        raise Refused("bad_time", "`until` is past.")
    id_, salt = new_id(now), new_salt()
    for _ in range(TRIES):
        profile, listed = _profile_of(world.rows, one.key)
        closed = _closed_by(world.rows, listed)
        if listed.get("state") == ERASING or (closed and "shredding" in closed):
            raise Clash("erasing", "This person is being erased already.")
        due = world.policy.due(world.policy.records["request"], until)
        row: Row = {
            "type": "hold",
            "created": int(now),
            "until": until,
            "principal": by,
            "salt": salt,
            "reason": world.vault.seal(salt, reason, f"requests/{id_}"),
            "members": sorted(listed["members"]),
            "due": due,
            "ttl": due,
        }
        held = {"hold": {**listed.get("hold", {}), id_: until}, "version": listed["version"] + 1}
        when = {"version": listed["version"], "state": listed.get("state", ABSENT)}
        before = {"pk": PRESENT, "shredding": ABSENT}
        told = [Update(key_of(closed["pk"]), add={"turns": 1}, when=before)] if closed else []
        with suppress(Conflict):
            world.rows.commit(
                Put(key_of(id_), row, when={"pk": ABSENT}),
                Update(profile_key(profile), set=held, when=when),
                *told,
            )
            return row | {"pk": id_}
    raise Unavailable("the profile changes faster than it can be held")


def release(rows: Rows, id_: str, now: float, by: str) -> list[str]:
    """End a hold; returns the requests that waited for it. Its rows end with the next sweep. Safe
    to repeat. Raises NotFound."""
    row = rows.get([key_of(id_)]).get(key_of(id_))
    if row is None or row["type"] != "hold":
        raise NotFound("not_found", "There is no hold with this id.")
    ended = {"released": int(now), "released_by": by}
    row = rows.update(Update(key_of(id_), once=ended, when={"pk": PRESENT}))
    left = _let_go(rows, row).values()
    return sorted({one["request"] for one in left if "request" in one})


def end(rows: Rows, row: Row, now: float, more: Callable[[], bool] = lambda: True) -> None:
    """Let what a hold that is over had kept end, as far as `more` says that there is time."""
    for profile, left in _let_go(rows, row).items():
        if not left.get("hold") and not _restore(rows, profile, left["members"], now, more):
            return
    rows.update(Update(key_of(row["pk"]), set={"ended": True}, when={"pk": PRESENT}))


def _let_go(rows: Rows, row: Row) -> dict[str, Row]:
    """The profiles that a hold was on, without it."""
    return {
        profile: _without(rows, profile, row["pk"]) for profile in _profiles(rows, row["members"])
    }


def lasts(row: Row, now: float) -> bool:
    """Whether a hold is in force."""
    return "released" not in row and row["until"] > now


def in_force(rows: Rows, listed: Row, now: float) -> bool:
    """Whether any hold of a profile's row still lasts."""
    found = rows.get([key_of(id_) for id_ in listed.get("hold", {})])
    return any(lasts(row, now) for row in found.values())


def keep(rows: Rows, row: Row, more: Callable[[], bool] = lambda: True) -> None:
    """Take the time at which DynamoDB ends them from all rows of who is held, and note who that
    is by now. Goes as far as `more` says that there is time. Safe to repeat; `sweep` does, for what
    is written meanwhile."""
    profiles = {
        id_: listed
        for id_, listed in _profiles(rows, row["members"]).items()
        if row["pk"] in listed.get("hold", {})
    }
    _note(rows, row, {idkey for one in profiles.values() for idkey in one["members"]})
    kept = [i for one in profiles.values() for i in one["members"]]
    for key, found in _rows_of(rows, profiles, kept):
        if not more():
            return
        if "ttl" in found:
            _change(rows, Update(key, remove=("ttl",), when={"due": PRESENT}))


def mend(rows: Rows, profile: str, listed: Row, now: float, more: Callable[[], bool]) -> None:
    """See to it that each hold of a profile's row knows of its members, and let go of what is over:
    who joins a held person and is split from them at once is held by what does not know them."""
    found = rows.get([key_of(id_) for id_ in listed["hold"]])
    by_id = {id_: found.get(key_of(id_), {"ended": True}) for id_ in listed["hold"]}
    over = [id_ for id_, row in by_id.items() if "ended" in row]
    if len(over) == len(by_id) and not _restore(rows, profile, listed["members"], now, more):
        return
    for id_ in over:
        _without(rows, profile, id_)
    for row in by_id.values():
        if "ended" not in row and lasts(row, now):
            _note(rows, row, listed["members"])


def again(rows: Rows, row: Row, now: float) -> None:
    """Hold again, or let go again, whom a restored table has as before. Safe to repeat."""
    if not lasts(row, now):
        end(rows, row, now)
        return
    for profile in _profiles(rows, row["members"]):
        _with(rows, profile, row)
    keep(rows, row)


def held(rows: Rows, now: float) -> set[str]:
    """The keys of all identifiers that are under a hold."""
    found = set()
    for row in rows.scan("requests"):
        if row["type"] == "hold" and lasts(row, now):
            for listed in _profiles(rows, row["members"]).values():
                if row["pk"] in listed.get("hold", {}):
                    found.update(listed["members"])
    return found


def listing(world: World) -> list[Json]:
    """All holds, newest first."""
    found = [row for row in world.rows.scan("requests") if row["type"] == "hold"]
    return [shown(world.vault, row) for row in sorted(found, key=lambda row: row["pk"])][::-1]


def shown(vault: Vault, row: Row) -> Json:
    released = row.get("released")
    return {
        "id": row["pk"],
        "reason": vault.open(row["salt"], row["reason"], f"requests/{row['pk']}"),
        "until": iso(row["until"]),
        "created": iso(row["created"]),
        "placed_by": row["principal"],
        "released": iso(released) if released else None,
        "released_by": row.get("released_by"),
        "identifiers": len(row["members"]),
    }


def _profile_of(rows: Rows, idkey: str) -> tuple[str, Row]:
    """Raises NotFound."""
    node = rows.get([node_key(idkey)]).get(node_key(idkey))
    address = profile_key(node["profile"] if node else "-")
    listed = rows.get([address]).get(address)
    if node is None or listed is None or idkey not in listed["members"]:
        raise NotFound("not_found", "There is no profile with this identifier.")
    return node["profile"], listed


def _closed_by(rows: Rows, listed: Row) -> Row | None:
    """The request that has closed a profile."""
    key = key_of(listed.get("request", "-"))
    return rows.get([key]).get(key) if "request" in listed else None


def _profiles(rows: Rows, members: Collection[str]) -> dict[str, Row]:
    """The profiles that these identifiers are in by now."""
    nodes = rows.get([node_key(idkey) for idkey in members], expired=True)
    ids = {node["profile"] for node in nodes.values()}
    found = rows.get([profile_key(id_) for id_ in ids], expired=True)
    return {id_: row for id_ in sorted(ids) if (row := found.get(profile_key(id_)))}


def _with(rows: Rows, profile: str, row: Row) -> None:
    address = profile_key(profile)
    for _ in range(TRIES):
        listed = rows.get([address], expired=True).get(address)
        if listed is None or row["pk"] in listed.get("hold", {}):
            return
        hold = {**listed.get("hold", {}), row["pk"]: row["until"]}
        change = {"hold": hold, "version": listed["version"] + 1}
        with suppress(Conflict):
            rows.update(Update(address, set=change, when={"version": listed["version"]}))
            return
    raise Unavailable("the profile changes faster than it can be held")


def _without(rows: Rows, profile: str, hold: str) -> Row:
    """A profile's row once it is free of a hold."""
    address = profile_key(profile)
    for _ in range(TRIES):
        listed = rows.get([address], expired=True).get(address)
        if listed is None or hold not in listed.get("hold", {}):
            return listed or {"members": {}}
        left = {id_: until for id_, until in listed["hold"].items() if id_ != hold}
        change = Update(
            address,
            set={"version": listed["version"] + 1} | ({"hold": left} if left else {}),
            remove=() if left else ("hold",),
            when={"version": listed["version"]},
        )
        with suppress(Conflict):
            return rows.update(change)
    raise Unavailable("the profile changes faster than it can be released")


def _note(rows: Rows, row: Row, members: Collection[str]) -> None:
    """Write down who is held by now, if nobody else did meanwhile."""
    all_ = sorted({*row["members"], *members})
    if all_ != row["members"]:
        unchanged = {"members": row["members"]}
        _change(rows, Update(key_of(row["pk"]), set={"members": all_}, when=unchanged))


def _restore(
    rows: Rows, profile: str, members: Iterable[str], now: float, more: Callable[[], bool]
) -> bool:
    """Give rows that nobody holds any more the time again at which DynamoDB ends them; it does not
    act on one that is years past. Whether it came through."""
    for key, found in _rows_of(rows, [profile], members):
        if not more():
            return False
        if "due" in found:
            ttl = max(found["due"] + (SWEEP_SECONDS if key.sk in LASTS else 0), int(now))
            if "ttl" not in found or found["ttl"] > ttl:  # it was said again while it was held
                _change(rows, Update(key, set={"ttl": ttl}, when={"due": found["due"]}))
    return True


def _rows_of(
    rows: Rows, profiles: Iterable[str], members: Iterable[str]
) -> Iterable[tuple[Key, Row]]:
    found = rows.get([profile_key(one) for one in profiles], expired=True)
    yield from found.items()
    for idkey in members:
        for row in rows.query("graph", f"I#{idkey}", expired=True):
            yield Key("graph", row["pk"], row["sk"]), row
        for row in rows.query("events", idkey, expired=True):
            yield Key("events", row["pk"], row["sk"]), row


def _change(rows: Rows, change: Update) -> None:
    with suppress(Conflict):  # it went, or was written anew, which the next one sees
        rows.update(change)
