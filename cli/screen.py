"""What the command prints: rich for people, one JSON document for programs."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.status import Status
from rich.text import Text

from cli.problem import Problem

# What a terminal obeys (C0, C1), what ends a line or turns its order round, and halves of
# characters, which cannot be printed at all.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def text(value: object, style: str = "") -> Text:
    """Anything as it is, on one line. Whatever somebody else wrote is printed through this.

    Not as rich's markup, and with a mark in the place of each character that is not safe to print.
    """
    if isinstance(value, Text):
        return value
    return Text(UNSAFE.sub(lambda one: " " if one[0].isspace() else "�", str(value)), style)


def document(data: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON that is safe to print: ASCII alone."""
    return json.dumps(data, indent=indent, default=str).replace("\x7f", "\\u007f")


class Screen:
    """Standard output is for the answer, standard error for progress and problems.

    `as_json` silences everything but the answer.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(highlight=False, markup=False, emoji=False, stderr=True)

    def show(self, *things: RenderableType) -> None:
        """Prints for people."""
        if not self.as_json:
            for thing in things:
                self.out.print(text(thing) if isinstance(thing, str) else thing)

    def line(self, words: str | Text) -> None:
        """Prints one line as it is, never wrapped, so that it can be copied."""
        if not self.as_json:
            self.out.print(text(words), soft_wrap=True)

    def answer(self, data: Mapping[str, Any]) -> None:
        """Prints for programs."""
        if self.as_json:
            print(document(data, indent=2))

    def note(self, *words: str | Text) -> None:
        """A step that is done."""
        self._tell(text("✓ ", "green"), *words)

    def warn(self, words: str) -> None:
        self._tell(text("! ", "yellow"), words)

    def confirmed(self, question: str, fix: str) -> bool:
        """Whether a person says yes. Raises Problem, with `fix`, where nobody can be asked."""
        if self.as_json or not (sys.stdin.isatty() and self.err.is_terminal):
            raise Problem("Nobody can be asked here, so nothing was changed.", fix)
        self.err.print(Text.assemble(text(question), " [y/N] "), end="", soft_wrap=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    @contextmanager
    def progress(self, doing: str) -> Iterator["Progress"]:
        """Shows that something runs. On a terminal a spinner with seconds, else one line."""
        if self.as_json:
            yield Progress(doing, None)
        elif self.err.is_terminal:
            with self.err.status(text(doing)) as status:
                yield Progress(doing, status)
        else:
            self._tell("… ", doing)
            yield Progress(doing, None)

    @contextmanager
    def bar(self, doing: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """Shows how much of a total is done; what it yields is told of it, with a detail.

        On a terminal a bar with the time that is left, else one line.
        """
        if self.as_json or not self.err.is_terminal:
            self._tell("… ", doing)
            yield lambda _, __: None
            return
        percent = TextColumn("{task.percentage:>3.0f} %", markup=False)
        columns = (BarColumn(), percent, TimeRemainingColumn())
        detail = TextColumn("{task.fields[detail]}", style="dim", markup=False)
        named = TextColumn("{task.description}", markup=False)
        with RichProgress(named, *columns, detail, console=self.err) as progress:
            task = progress.add_task(text(doing).plain, total=total, detail="")
            yield lambda done, said: progress.update(task, completed=done, detail=said)

    def problem(self, problem: Problem) -> None:
        if self.as_json:
            error = {"message": problem.what, "fix": problem.fix}
            print(document({"success": False, "error": error}))
            return
        self._tell(text("✗ ", "bold red"), problem.what)
        if problem.fix:
            self._tell("  ", problem.fix)

    def _tell(self, *words: str | Text) -> None:
        if not self.as_json:
            self.err.print(Text.assemble(*map(text, words)), soft_wrap=True)


class Progress:
    def __init__(self, doing: str, status: Status | None) -> None:
        self._doing = text(doing)
        self._status = status
        self._started = time.monotonic()

    def tick(self, detail: str = "") -> None:
        if self._status:
            seconds = int(time.monotonic() - self._started)
            more = f" · {detail}" if detail else ""
            self._status.update(Text.assemble(self._doing, " ", text(f"{seconds} s{more}", "dim")))
