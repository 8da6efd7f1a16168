"""Every place where a call of a store can fail: listed by recording a run, then failing one each.

A place is a step of a call as the taps of `tests.fakes` tell it: before it is made; after it, when
its answer is lost; and, where a call is not atomic, between its rows. `tests/moto` has the same of
the AWS clients.
"""

from collections.abc import Callable
from typing import Any


class Recorder:
    """Lists the places that a run passes. `fail` makes one of the next run raise."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self._fails: tuple[int, Callable[[str], BaseException]] | None = None

    def tap(self, call: str, detail: Any = None) -> None:
        self.places.append(call)
        if self._fails and len(self.places) - 1 == self._fails[0]:
            raise self._fails[1](call)

    def fail(self, place: int, error: Callable[[str], BaseException]) -> None:
        self.places, self._fails = [], (place, error)
