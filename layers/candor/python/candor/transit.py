"""How messages lie in the queue: compressed, and sealed under an hourly transit key.

A body is `<hour>.<base64 of the envelope>`. The hour's key is destroyed when the last message that
was sealed under it must have left the dead-letter queue.
"""

import base64
from typing import Any

from candor.errors import Refused
from candor.ports import Clock, Key, Rows, Update
from candor.sealing import Damaged, Vault, new_salt

HOUR = 3600
MOST_BYTES = 1_048_576
"""Of an SQS message."""
LIFE_SECONDS = 4 * 86_400 + 2 * HOUR
"""From the start of the hour: the DLQ's four days, the hour itself, and one to spare."""
DUE_HOURS = 72
"""How long a key whose time is over is looked for."""


class Transit:
    """Seals and opens bodies. Keeps this hour's key; it belongs to no person."""

    def __init__(self, rows: Rows, vault: Vault, clock: Clock) -> None:
        self._rows, self._vault, self._clock = rows, vault, clock
        self._keys: dict[str, bytes] = {}

    def seal(self, message: Any, part_of: str | None = None) -> str:
        """A queue's body. Raises Refused where it would be too long for one.

        What is a part of another message (`part_of` is its body, just opened here) lies under the
        same key, or it would outlive what certificates say of queued messages.
        """
        hour = int(part_of.partition(".")[0]) if part_of else int(self._clock() // HOUR) * HOUR
        salt = self._keys.get(str(hour))
        if salt is None:
            due = hour + LIFE_SECONDS
            once = {"salt": new_salt(), "due": due, "ttl": due}
            salt = self._rows.update(Update(_key(hour), once=once))["salt"]
            self._keys = {str(hour): salt}
        envelope = self._vault.seal(salt, message, f"transit/{hour}")
        body = f"{hour}.{base64.b64encode(envelope).decode()}"
        if len(body) > MOST_BYTES:
            raise Refused("body_too_large", "This does not fit one message: send fewer events.")
        return body

    def open(self, body: str) -> Any:
        """The message, or None once its key is destroyed. Raises Damaged for anything else."""
        hour, _, text = body.partition(".")
        if not hour.isascii() or not hour.isdigit() or len(hour) > 12:
            raise Damaged
        try:
            envelope = base64.b64decode(text, validate=True)
        except ValueError:
            raise Damaged from None
        salt = self._keys.get(hour)
        if salt is None:
            row = self._rows.get([_key(int(hour))]).get(_key(int(hour)))
            if row is None:
                return None
            salt = self._keys[hour] = row["salt"]
        return self._vault.open(salt, envelope, f"transit/{hour}")


def destroy(rows: Rows, now: float) -> int:
    """Destroy the keys whose time is over; how many. Of hours before DUE_HOURS DynamoDB has."""
    last = int((now - LIFE_SECONDS) // HOUR) * HOUR
    ended = rows.get([_key(last - n * HOUR) for n in range(DUE_HOURS)], expired=True)
    for key in ended:
        rows.delete([key])
    return len(ended)


def _key(hour: int) -> Key:
    return Key("keys", f"T#{hour}")
