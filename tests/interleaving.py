"""Workers that run one at a time, each to a store call that a test chooses.

A worker is a thread that only runs while `Worker.run` lets it, so a schedule is exact and repeats.
The places where it can stop, be overtaken or die are just before each store call, and between the
rows of a call that is not atomic; the taps of `tests.fakes` lead here.
"""

from collections.abc import Callable
from threading import Semaphore, Thread
from typing import Any

ROW_BY_ROW = ("rows.get", "rows.put", "rows.delete", "objects.delete")
"""Calls of which each row is atomic, and the whole is not."""


class Killed(BaseException):
    """The process ended here. No `except Exception` sees it, as none would see the real thing."""


class Worker:
    """Something that calls stores, on a stage."""

    def __init__(self, stage: "Stage", work: Callable[[], Any]) -> None:
        self.started = False
        self.done = False
        """It ended, was killed, or raised (then `run` raised)."""
        self.killed = False
        self.result: Any = None
        self._stage = stage
        self._work = work
        self._left: int | None = 0
        self._rows_left = 0
        self._dies = False
        self._until: Callable[[], bool] = lambda: True
        self._error: BaseException | None = None
        self._go, self._back = Semaphore(0), Semaphore(0)

    @property
    def waits(self) -> bool:
        """Whether it waits for something that only another worker can bring about."""
        return not self.done and not self._until()

    def run(self, places: int | None = None, *, kill: bool = False) -> bool:
        """Let it pass so many more places (None: all there are); there it stops, or is killed.

        Returns whether it could have gone no further.
        """
        if not self.done and not self.waits and (self.started or places != 0 or kill):
            self._left, self._dies = places, kill
            before, self._stage.running = self._stage.running, self
            if not self.started:
                self.started = True
                Thread(target=self._live, daemon=True).start()
            self._go.release()
            self._back.acquire()
            self._stage.running = before
            if self._error is not None:
                raise self._error
        return self.done or self.waits

    def wait(self, until: Callable[[], bool]) -> None:
        """Called by the work: go on when this holds."""
        self._until = until
        while not until():
            self._rest()
        self._until = lambda: True

    def reach(self, phase: str, rows: int) -> bool:
        """Called by its stage, for each tap of its calls: whether this is a place."""
        if phase == "before":
            self._rows_left = rows
            return True
        self._rows_left -= phase == "row"  # behind the last row there is no place
        return phase == "row" and self._rows_left > 0

    def pass_place(self) -> None:
        while self._left == 0:
            if self._dies:
                raise Killed
            self._rest()
        if self._left is not None:
            self._left -= 1

    def _rest(self) -> None:
        self._back.release()
        self._go.acquire()

    def _live(self) -> None:
        self._go.acquire()
        try:
            self.result = self._work()
        except Killed:
            self.killed = True
        except BaseException as error:  # noqa: BLE001  it is raised again where the test is
            self._error = error
        self.done = True
        self._back.release()


class Stage:
    """Where workers run. `tap` belongs into every fake that they use."""

    def __init__(self) -> None:
        self.running: Worker | None = None
        self.watch: Callable[[str, Any], None] = lambda call, detail: None
        """Told of each tap, outside of any place."""
        self.matters: Callable[[str, Any], bool] = lambda call, detail: True
        """Whether another worker could notice what comes next; where not, there is no place."""

    def tap(self, call: str, detail: Any) -> None:
        worker = self.running
        if worker is not None:
            self.watch(call, detail)
            name, _, phase = call.partition(":")
            rows = len(detail) if name in ROW_BY_ROW and phase == "before" else 0
            if worker.reach(phase, rows) and self.matters(call, detail):
                worker.pass_place()
