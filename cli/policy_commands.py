"""The commands `policy check`, `policy suggest` and `policy diff`."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from cli import places, policy
from cli.places import Mistake
from cli.screen import Screen, text
from cli.target import ROOT


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


def own() -> Path:
    """The working tree's policy, as a person here would call it."""
    return Path(os.path.relpath(ROOT / "policy.yaml"))


def explained(path: Path, mistake: Mistake) -> str:
    """A line that editors and terminals can jump from."""
    return str(text(f"{path}:{mistake.line}: {mistake}"))
