"""The commands `retention apply` and `retention status`."""

import argparse
import time
from typing import Any

from rich.console import Group, RenderableType

from cli import show
from cli.api import Api
from cli.screen import Screen, text
from cli.target import load_stack

PATH = "/retention"
LOOK_SECONDS = 2
GOES_ON = "It goes on without this command: candor retention status"


def apply(options: argparse.Namespace, screen: Screen) -> int:
    """Say what the deployed policy would change of what is stored, ask, and let it be done."""
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = _carried_out(api, options, screen, dry_run=True)
    screen.show(picture(found))
    if options.dry_run or not found["changes"]:
        screen.answer(found)
        return 0
    if not options.yes and not screen.confirmed(
        "Change what is stored?", "Look at it with --dry-run, and then give --yes."
    ):
        return 1
    found = _carried_out(api, options, screen, dry_run=False)
    screen.show(picture(found))
    screen.answer(found)
    return 0


def status(options: argparse.Namespace, screen: Screen) -> int:
    """How far the latest is."""
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff(options.role, "GET", PATH)
    screen.show(picture(found) if found["status"] else text("Nothing was begun yet.", "dim"))
    screen.answer(found)
    return 0


def _carried_out(
    api: Api, options: argparse.Namespace, screen: Screen, *, dry_run: bool
) -> dict[str, Any]:
    """The renewal, once it is done. It is the stack that does it, in slices."""
    doing = "Looking at everything that is stored" if dry_run else f"Changing it. {GOES_ON}"
    with screen.progress(doing) as progress:
        found = api.staff(options.role, "POST", PATH, {"dry_run": dry_run})
        while found["status"] == "running":
            progress.tick(f"{found['looked']:,} rows, {found['tables_left']} tables to go")
            time.sleep(LOOK_SECONDS)
            found = api.staff(options.role, "GET", PATH)
    return found


def picture(found: dict[str, Any]) -> RenderableType:
    """A renewal as people read it."""
    rows = show.grid("what", "of class", "ends sooner", "later", "has ended by it")
    for one in found["changes"]:
        rows.add_row(one["kind"], one["class"], one["sooner"], one["later"], one["at_once"])
    parts: list[RenderableType] = [rows if rows.row_count else text("Nothing ends otherwise.")]
    parts += [
        text(
            f"{one['rows']} of {one['kind']} are of {one['class']}, which the policy does not name "
            "any more: they keep their day.",
            "yellow",
        )
        for one in found["unknown"]
    ]
    done = "would change" if found["dry_run"] else "changed"
    state = f"{found['looked']:,} rows looked at"
    if found["status"] == "running":
        state += f", {found['tables_left']} tables to go"
    title = f"What policy {found['policy'][:12]} {done}: {state}"
    return show.panel(Group(*parts), title, "blue" if found["dry_run"] else "green")
