"""The commands `up`, `down` and `reset`."""

import argparse
import os

from cli import running
from cli.screen import Screen
from cli.show import facts
from cli.target import choose


def up(options: argparse.Namespace, screen: Screen) -> int:
    target = choose(options.endpoint_url, options.config_env)
    done = running.up(target, screen)
    screen.note(f"Up in {done.seconds:.0f} s")
    rows = facts()
    rows.add_row("API", f"{done.stack['api_url']}/v1")
    rows.add_row("write key, browser", done.stack["write_keys"]["client"])
    rows.add_row("write key, server", done.stack["write_keys"]["server"])
    rows.add_row("all keys, outputs", os.path.relpath(target.local / "stack.json"))
    rows.add_row("next", "make demo · candor tail · candor status · make down")
    screen.show(rows)
    screen.answer({"success": True, "state_lost": done.lost, **done.stack})
    return 0


def down(options: argparse.Namespace, screen: Screen) -> int:
    found = running.down(choose(options.endpoint_url, options.config_env), screen)
    match found:
        case "running":
            screen.note("Stopped; its state is kept in .local/ministack")
        case "killed":
            screen.warn("It was killed before; what came in since its last clean start is lost.")
        case _:
            screen.note("Nothing runs.")
    screen.answer({"success": True, "found": found})
    return 0


def reset(options: argparse.Namespace, screen: Screen) -> int:
    running.reset(choose(options.endpoint_url, options.config_env), screen)
    screen.note("Stopped, and its state is gone.")
    screen.answer({"success": True})
    return 0
