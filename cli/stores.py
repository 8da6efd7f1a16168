"""The stores of the template, and which step of erasure cleans each.

Run at build as `python -m cli.stores TEMPLATE MACHINE…`; it needs pydantic and PyYAML.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli import places
from cli.explanations import nearest
from cli.places import AnyTag, Mistake, Written
from cli.problem import Problem

STORES = {
    *("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable", "AWS::Serverless::SimpleTable"),
    *("AWS::S3::Bucket", "AWS::S3Express::DirectoryBucket", "AWS::SQS::Queue"),
}
CLEANING = {"graph", "events", "vacuum", "queues", "certify"}
"""Steps of the machines that clean a store; the others plan, verify and report."""
SHRED = "shred"
"""Done by the request itself, before the machine starts."""
ANNOTATION = "CandorErasure"
PERSONAL = f"If it holds personal data: `Metadata: {{{ANNOTATION}: {{step: …}}}}` with one of"
NONE = "If not: `none` and the reason in words."


def check(template: str, *machines: str) -> list[Mistake]:
    """What the stores of a template leave open, given the machines that erase, as written."""
    written = places.read(template, AnyTag)
    if not written.readable:
        return written.mistakes
    there = {SHRED}
    for machine in machines:
        substituted = re.sub(r"\$\{\w+}", "0", machine)  # some stand where a number has to
        there |= CLEANING & set(_steps(json.loads(substituted)))
    found = [*written.mistakes]
    resources = written.value.get("Resources") if isinstance(written.value, dict) else None
    for name, resource in (resources or {}).items():
        if isinstance(resource, dict) and resource.get("Type") in STORES:
            found += _store(written, name, resource, there)
    return found


def _store(
    written: Written, name: str, resource: dict[str, Any], there: set[str]
) -> Iterator[Mistake]:
    steps = ", ".join(sorted(there))
    metadata = resource.get("Metadata")
    said = metadata.get(ANNOTATION) if isinstance(metadata, dict) else None
    path: places.Path = ("Resources", name)
    if not isinstance(said, dict) or not said:
        message = "this store names no step of erasure, and no reason why none has to clean it"
        yield written.mistake(path, message, f"{PERSONAL} {steps}. {NONE}")
        return
    path = (*path, "Metadata", ANNOTATION)
    if said.keys() not in ({"step"}, {"none"}):
        yield written.mistake(path, "it says `step` or `none`, one of them", f"Steps: {steps}.")
    elif "step" in said and said["step"] not in there:
        message = f"no step of erasure cleans stores as {said['step']!r}"
        yield written.mistake((*path, "step"), message, nearest(said["step"], there))
    elif "none" in said and len(str(said["none"] or "").split()) < 2:
        yield written.mistake((*path, "none"), "this is no reason", "Say it in words.")


def _steps(machine: dict[str, Any]) -> Iterator[str]:
    """Of every task of a state machine, those in parallel branches and maps too."""
    for state in machine["States"].values():
        if state["Type"] == "Task":
            parameters = state["Parameters"]
            yield parameters.get("Payload", parameters)["step"]
        inner = [state["ItemProcessor"]] if "ItemProcessor" in state else []
        for branch in state.get("Branches", inner):
            yield from _steps(branch)


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        print("usage: python -m cli.stores TEMPLATE MACHINE…", file=sys.stderr)
        return 2
    template, *machines = map(Path, arguments)
    try:
        mistakes = check(places.text_of(template), *map(places.text_of, machines))
    except Problem as problem:
        print(problem.what, file=sys.stderr)
        return 1
    for one in mistakes:
        print(f"{template}:{one.line}: {one}", file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
