"""The commands `policy check`, `policy suggest` and `policy diff`."""

import argparse
import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.padding import Padding

from cli import changes, places, policy, proposals
from cli.api import Api
from cli.places import Mistake
from cli.problem import Problem
from cli.screen import Screen, text
from cli.target import ROOT, load_stack


def check(options: argparse.Namespace, screen: Screen) -> int:
    path = Path(options.file) if options.file else own()
    mistakes = policy.check(places.text_of(path))
    for one in mistakes:
        screen.line(explained(path, one))
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        screen.warn(f"{count}. Nothing is built or deployed with them.")
    else:
        screen.note(f"{path} has no mistakes.")
    screen.answer({"file": str(path), "mistakes": [asdict(one) for one in mistakes]})
    return 1 if mistakes else 0


def suggest(options: argparse.Namespace, screen: Screen) -> int:
    """Propose entries for what was seen and stripped."""
    path = own()
    api = Api(load_stack(options.endpoint_url, options.config_env))
    counted = api.staff("admin", "GET", "/outcomes").get("data", [])
    keys = api.staff("admin", "GET", "/keys").get("data", [])
    text_, compiled = places.text_of(path), policy.read(path)
    names = proposals.seen(counted, {str(one["id"]): str(one["name"]) for one in keys})
    new = proposals.unknown(compiled, names)
    made = proposals.propose(compiled, text_, new)
    left_out = sum(not proposals.can_be_named(one) for one in names)
    for line in [*DECIDE, *proposals.written(made)] if made else ():
        screen.line(line)
    for one in (one for one in new if one.where == "fields"):
        screen.warn(f"`{one.name}` stands beside an event's own fields, {one}. {AS_PROPERTY}")
    if left_out:
        screen.warn(f"{left_out} more cannot be names: too long, empty, or not safe to show.")
    if not new:
        screen.note(f"{path} names everything that came in the last days.")
    screen.answer(
        {
            "names": [asdict(one) for one in new],
            "left_out": left_out,
            "proposals": [asdict(one) for one in made],
            "yaml": "\n".join(proposals.written(made)),
        }
    )
    return 0


DECIDE = (
    "# Decide of each whether you need it, for which purpose and how long, before you paste it:",
    "# this is only the narrowest choice. What you do not paste stays stripped.",
    "",
)
AS_PROPERTY = "It can only be kept as a property or a trait: change what sends it."


def diff(options: argparse.Namespace, screen: Screen) -> int:
    """Say what the step from one policy to another means."""
    old, new = _policy(options.old, options), _policy(options.new or str(own()), options)
    found = changes.compare(old, new)
    for grade, heading in changes.GRADES.items():
        of_grade = [one for one in found if one.grade == grade]
        if of_grade:
            screen.show(text(f"{MARKS[grade]} {heading}", f"bold {COLOURS[grade]}"))
        for one in of_grade:
            screen.show(text(", ".join(one.paths), "bold"))
            screen.show(Padding(text(one.people), (0, 0, 0, 2)))
            if one.data:
                screen.show(Padding(text(f"Stored data: {one.data}", "dim"), (0, 0, 0, 2)))
    if not found:
        screen.note("Nothing that matters to people or to stored data is different.")
    screen.answer(
        {"old": old["hash"], "new": new["hash"], "changes": [asdict(one) for one in found]}
    )
    return 0


def _policy(which: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """The compiled policy of the running stack (None), a file or a commit. Raises Problem."""
    if which is None:
        return Api(load_stack(options.endpoint_url, options.config_env)).anyone("/policy")
    if Path(which).exists():
        return policy.read(Path(which))
    found = subprocess.run(
        ["git", "-C", ROOT, "show", "--end-of-options", f"{which}:policy.yaml"],
        capture_output=True,
        check=False,
    )
    if found.returncode:
        raise Problem(f"{which!r} is neither a file nor a commit that has a policy.yaml.")
    try:
        return policy.compile_earlier(found.stdout.decode(errors="replace"))
    except policy.Wrong as wrong:
        raise Problem(f"policy.yaml of {which} is none that this version reads: {wrong}.") from None


MARKS = {"widens": "▲", "breaks": "✗", "changes": "·", "narrows": "▽"}
COLOURS = {"widens": "yellow", "breaks": "red", "changes": "blue", "narrows": "green"}


def own() -> Path:
    """The working tree's policy, as a person here would call it."""
    return Path(os.path.relpath(ROOT / "policy.yaml"))


def explained(path: Path, mistake: Mistake) -> str:
    """A line that editors and terminals can jump from."""
    return str(text(f"{path}:{mistake.line}: {mistake}"))
