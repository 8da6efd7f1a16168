"""Keys and fences: one item per identifier says under what it is sealed, or that it is kept out.

Only `shred` removes a salt and only sweep deletes an item. A salt is made by an update that a fence
refuses, so no worker that read "not fenced" can write readable data after the shred.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from candor.ports import ABSENT, Conflict, Key, Row, Rows, Update
from candor.sealing import key_id, new_salt

Mode = Literal["erase", "erase_and_suppress"]


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


def key_of(idkey: str) -> Key:
    return Key("keys", idkey)


def state_of(row: Row | None) -> KeyState:
    if row is None:
        return KeyState()
    return KeyState(*(row.get(name) for name in ("salt", "mode", "since", "request", "lifted")))


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


def shred(rows: Rows, idkey: str, mode: Mode, request: str, now: float) -> None:
    """Destroy the salt and set the fence, in one update. Safe to repeat."""
    rows.update(
        Update(
            key_of(idkey),
            set={"mode": mode, "since": int(now), "request": request},
            remove=("salt",),
        )
    )


def lift(rows: Rows, idkey: str, since: int, at: int) -> None:
    """A new registration of time `at`: accept the identifier again, if the fence still is `since`.

    Raises Conflict.
    """
    lifted = Update(
        key_of(idkey),
        set={"lifted": at},
        remove=("mode",),
        when={"mode": "erase", "since": since},
    )
    rows.update(lifted)


def key_ids(found: dict[str, KeyState]) -> dict[str, str | None]:
    """The key id in hex of each, None where there is no salt."""
    return {i: key_id(state.salt).hex() if state.salt else None for i, state in found.items()}
