"""The `candor` command: what it understands, and how it fails."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper

from cli.problem import Problem
from cli.screen import Screen

Command = Callable[[argparse.Namespace, Screen], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Answers its exit code: 0, 1 for a problem, 2 for a wrong call."""
    # Imported here so that a broken part does not keep the others from running.
    from cli import commands

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # for terminals that cannot show every character
    options = commands.parser().parse_args(arguments)
    screen = Screen(as_json=getattr(options, "json", False))
    try:
        code = _run(options, screen)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(options: argparse.Namespace, screen: Screen) -> int:
    run: Command = options.run
    try:
        return run(options, screen)
    except Problem as problem:
        screen.problem(problem)
        return 1


if __name__ == "__main__":
    sys.exit(main())
