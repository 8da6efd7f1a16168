"""Keys and fences: one item per identifier says under what it is sealed, or that it is kept out.

Only `shred` removes a salt and only sweep deletes an item. A salt is made by an update that a fence
refuses, so no worker that read "not fenced" can write readable data after the shred.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from candor.ports import ABSENT, Conflict, Key, Row, Rows, Update
from candor.sealing import key_id, new_salt

Mode = Literal["erase", "erase_and_suppress"]
FENCE = ("mode", "since", "request")


class Fenced(Exception):
    """This identifier is kept out."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """What is known of an identifier's key. Times are epoch seconds.

    `since` is when it was fenced; `lifted` when its person registered anew: what happened before
    then stays out, however late it arrives.
    """

    salt: bytes | None = None
    mode: Mode | None = None
    since: int | None = None
    request: str | None = None
    lifted: int | None = None
    objections: Mapping[str, int] = field(default_factory=dict)
    """What its person had denied before an erasure: purposes, with when. It holds on."""
    before: Mapping[str, Any] | None = None
    """The fence of an earlier erasure, which comes back if `request` is taken back."""


def key_of(idkey: str) -> Key:
    return Key("keys", idkey)


def state_of(row: Row | None) -> KeyState:
    if row is None:
        return KeyState()
    names = ("salt", "mode", "since", "request", "lifted", "objections", "before")
    return KeyState(**{name: row[name] for name in names if name in row})


def states(rows: Rows, idkeys: Collection[str]) -> dict[str, KeyState]:
    """The state of every idkey asked for."""
    found = rows.get([key_of(idkey) for idkey in idkeys])
    return {idkey: state_of(found.get(key_of(idkey))) for idkey in idkeys}


def salt(rows: Rows, idkey: str) -> bytes:
    """The identifier's salt, made if there is none; of racing makers one wins. Raises Fenced."""
    change = Update(key_of(idkey), once={"salt": new_salt()}, when={"mode": ABSENT})
    try:
        made: bytes = rows.update(change)["salt"]
    except Conflict:
        raise Fenced from None
    return made


def hide(rows: Rows, idkey: str, seen: KeyState, mode: Mode, request: str, now: float) -> None:
    """Keep an identifier out without destroying its salt.

    `seen` is its state as read. The fence of an earlier erasure, which must be completed, gives
    way and is remembered, but for a stronger one: else its person could register anew while
    `request` waits.
    """
    fence: Row = {"mode": mode, "since": int(now), "request": request}
    when: Row = {"mode": seen.mode or ABSENT}
    if seen.mode:
        if seen.salt or stronger(seen.mode, mode) != mode:
            return
        fence["before"] = {name: getattr(seen, name) for name in FENCE}
        when |= {"request": seen.request, "salt": ABSENT}
    with suppress(Conflict):
        rows.update(Update(key_of(idkey), set=fence, when=when))


def show(rows: Rows, idkey: str, request: str) -> None:
    """Take back what `request` has hidden, of which nothing was destroyed. Safe to repeat."""
    before = {**(states(rows, [idkey])[idkey].before or {})}
    gone = ("before",) if before else FENCE
    back = Update(key_of(idkey), set=before, remove=gone, when={"request": request})
    with suppress(Conflict):
        rows.update(back)


def shred(
    rows: Rows,
    idkey: str,
    mode: Mode,
    request: str,
    now: float,
    objections: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Destroy the salt and set the fence, in one update; what was objected to outlives the rest.

    Only of what `request` has hidden, or what has no salt any more. Safe to repeat. Raises
    Conflict.
    """
    seen = states(rows, [idkey])[idkey]
    kept = _latest(seen.objections, objections)
    change: Row = {"since": int(now), "request": request}
    change |= {"mode": stronger(mode, seen.mode)}
    change |= {"objections": kept} if kept else {}
    gone = ("salt", "before")
    try:
        rows.update(Update(key_of(idkey), set=change, remove=gone, when={"request": request}))
    except Conflict:
        same = {"salt": ABSENT, "mode": seen.mode or ABSENT}
        rows.update(Update(key_of(idkey), set=change, remove=gone, when=same))


def remember(rows: Rows, idkey: str, objections: Mapping[str, int]) -> None:
    """Keep what a person who is not here has denied, for when they come. Safe to repeat."""
    while True:
        seen = states(rows, [idkey])[idkey].objections
        kept = _latest(seen, objections)
        if kept == seen:
            return
        with suppress(Conflict):
            same = {"objections": {**seen} or ABSENT}
            rows.update(Update(key_of(idkey), set={"objections": kept}, when=same))


def lift(rows: Rows, idkey: str, since: int, at: int, mode: Mode = "erase") -> None:
    """Accept an identifier again from the time `at` on, if the fence still is `since`: for a new
    registration, or where a person decides that it need not be kept out. Raises Conflict.
    """
    lifted = Update(
        key_of(idkey),
        set={"lifted": at},
        remove=("mode", "before"),
        when={"mode": mode, "since": since},
    )
    rows.update(lifted)


def stronger(one: Mode, other: Mode | None) -> Mode:
    return "erase_and_suppress" if "erase_and_suppress" in (one, other) else one


def _latest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {
        purpose: max(one.get(purpose, 0), other.get(purpose, 0)) for purpose in {**one, **other}
    }


def key_ids(found: dict[str, KeyState]) -> dict[str, str | None]:
    """The key id in hex of each, None where there is no salt."""
    return {i: key_id(state.salt).hex() if state.salt else None for i, state in found.items()}
