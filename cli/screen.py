"""What the command prints: rich for people, one JSON document for programs."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

from cli.problem import Problem


class Screen:
    """Standard output is for the answer, standard error for progress and problems.

    `as_json` silences everything but the answer.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    def show(self, *things: RenderableType) -> None:
        """Prints for people."""
        if not self.as_json:
            for thing in things:
                self.out.print(thing)

    def line(self, text: str) -> None:
        """Prints one line as it is, never wrapped, so that it can be copied."""
        if not self.as_json:
            self.out.print(Text(text), soft_wrap=True)

    def answer(self, data: Mapping[str, Any]) -> None:
        """Prints for programs."""
        if self.as_json:
            print(json.dumps(data, indent=2, ensure_ascii=False, default=str))

    def note(self, text: str) -> None:
        """A step that is done."""
        if not self.as_json:
            self.err.print(f"[green]✓[/green] {text}", soft_wrap=True)

    def warn(self, text: str) -> None:
        if not self.as_json:
            self.err.print(f"[yellow]![/yellow] {text}", soft_wrap=True)

    @contextmanager
    def progress(self, doing: str) -> Iterator["Progress"]:
        """Shows that something runs. On a terminal a spinner with seconds, else one line."""
        if self.as_json:
            yield Progress(doing, None)
        elif self.err.is_terminal:
            with self.err.status(doing) as status:
                yield Progress(doing, status)
        else:
            self.err.print(f"… {doing}", soft_wrap=True)
            yield Progress(doing, None)

    def problem(self, problem: Problem) -> None:
        if self.as_json:
            error = {"message": problem.what, "fix": problem.fix}
            print(json.dumps({"success": False, "error": error}), file=sys.stdout)
            return
        self.err.print(Text.assemble(("✗ ", "bold red"), problem.what), soft_wrap=True)
        if problem.fix:
            self.err.print(Text("  " + problem.fix), soft_wrap=True)


class Progress:
    def __init__(self, doing: str, status: Status | None) -> None:
        self._doing = doing
        self._status = status
        self._started = time.monotonic()

    def tick(self, detail: str = "") -> None:
        if self._status:
            seconds = int(time.monotonic() - self._started)
            more = f" · {detail}" if detail else ""
            self._status.update(f"{self._doing} [dim]{seconds} s{more}[/dim]")
