"""The command `import`: a file's events and rows, batch by batch, to POST /v1/import."""

import argparse
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from candor import collection, imports
from candor.conversion import Conversion
from candor.imports import Broken, Chunk, Events, Layout, Rows
from candor.policy import Policy
from cli import policy, show
from cli.api import Answered, Api
from cli.input_file import Bookmark, Done, InputFile, RejectedLines
from cli.problem import Problem
from cli.screen import Screen
from cli.show import grid
from cli.target import LOCAL, ROOT, load_stack

SUFFIXES = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
ATTEMPTS = 8
LONGEST_WAIT = 60
"""Seconds, whatever the server says."""
RETRIED = {429, 500, 502, 503, 504}
TOLD = 20
"""Lines of a summary."""
MOST_ENTRIES = sys.maxsize
"""Of what a policy says here, of which nothing need be left out as of an answer's lists."""

Json = dict[str, Any]
Send = Callable[[list[Json]], Json]
"""Events to what the API answers of them."""


@dataclass(slots=True)
class Said:
    """The names that something was said of, MOST_TOLD at most, and how often."""

    names: dict[str, None] = field(default_factory=dict)
    times: int = 0

    def add(self, one: Json) -> None:
        self.times += len(one.get("indexes", [None]))
        room = max(0, collection.MOST_TOLD - len(self.names))
        self.names |= dict.fromkeys(show.names(one)[:room])


@dataclass(slots=True)
class Summary:
    """What became of a file's lines from `begin` on: an import that was stopped goes on there."""

    begin: int
    rejected: Counter[str] = field(default_factory=Counter)
    """Of all that is read, the lines before `begin` included."""
    events: int = 0
    said: dict[tuple[str, str], Said] = field(default_factory=dict)
    """Of stripped names and notes, by what became of them and what to do."""
    examples: list[Json] = field(default_factory=list)
    untold: int = 0
    """How often something was stripped or noted that the API did not say more of."""

    def add(self, chunk: Chunk, answer: Json) -> None:
        self.events += len(chunk.events) - len(answer.get("refused", []))
        self.rejected.update(one.code for one in chunk.rejected)
        self.examples += [one.told() for one in chunk.rejected][: TOLD - len(self.examples)]
        for one in [*answer.get("stripped", []), *answer.get("notes", [])]:
            self.said.setdefault((show.became(one), one.get("fix", "")), Said()).add(one)
        self.untold += sum(answer.get("untold", {}).values())

    def most_said(self) -> list[tuple[str, str, Said]]:
        said = [(what, fix, said) for (what, fix), said in self.said.items()]
        return sorted(said, key=lambda one: -one[2].times)[: collection.MOST_TOLD]

    def told(self) -> Json:
        return {
            "events": self.events,
            "rejected": dict(self.rejected),
            "from_line": self.begin,
            "untold": self.untold,
            "examples": self.examples,
            "said": [
                {"names": list(said.names), "what": what, "fix": fix, "times": said.times}
                for what, fix, said in self.most_said()
            ],
        }


def run(options: argparse.Namespace, screen: Screen) -> int:
    file = InputFile(Path(options.file))
    layout = layout_of(options, file)
    as_of = moment(options.as_of) if options.as_of else file.mtime
    try:
        reading = Rows(file.head(), layout) if layout else Events(file.head())
    except Broken as broken:
        raise Problem(f"{file.path}: {broken.message}", _columns_of(file, layout)) from None
    if options.dry_run:
        return _try(options, screen, file, reading, as_of)
    return _import(options, screen, file, reading, as_of)


def layout_of(options: argparse.Namespace, file: InputFile) -> Layout | None:
    """How the options say that rows are read; None for a file of events. Raises Problem."""
    suffixes = [suffix for suffix in file.path.suffixes if suffix != ".gz"]
    kind = options.format or SUFFIXES.get(suffixes[-1].lower() if suffixes else "")
    if kind is None:
        raise Problem(f"{file.path.name} may be anything.", "Say --format csv or --format ndjson.")
    given = [options.map, options.mapping, options.delimiter, options.encoding, options.event]
    if kind == "ndjson":
        if any(given):
            raise Problem("Events are imported as they are: a mapping is for CSV files.")
        return None
    spec: Json = {"type": "identify", "map": {}}
    if options.mapping:
        known = policy.read(ROOT / "policy.yaml")["imports"]
        if options.mapping not in known:
            names = ", ".join(known) or "none"
            raise Problem(f"policy.yaml has no mapping {options.mapping!r}; it has {names}.")
        spec = known[options.mapping]
    own = {name: getattr(options, name) for name in ("delimiter", "encoding", "event")}
    spec |= {name: value for name, value in own.items() if value}
    spec |= {"type": "track"} if options.event else {}
    spec["map"] = spec["map"] | dict(_pair(text) for text in options.map)
    if not spec["map"]:
        what = "Which column is what? Name a mapping of policy.yaml (--mapping), or say each."
        raise Problem(
            what, f"--map COLUMN=TARGET, like --map Email=traits.email. {_columns_of(file, None)}"
        )
    try:
        return Layout.of(spec)
    except ValueError as mistake:
        raise Problem(f"The mapping is wrong: {mistake}.") from None


def moment(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(
            f"{text!r} is no time.", "Write it like 2026-01-31 or 2026-01-31T12:00Z."
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _pair(text: str) -> tuple[str, str]:
    column, _, target = text.rpartition("=")
    if not column or not target:
        raise Problem(f"{text!r} maps nothing.", "Write it like --map Email=traits.email.")
    return column, target


def _columns_of(file: InputFile, layout: Layout | None) -> str:
    """The columns that a file has, for whoever has to name them."""
    none = Conversion("identify", None, {})
    how = Layout(none, layout.delimiter, layout.encoding) if layout else Layout(none)
    try:
        return f"It has the columns: {', '.join(Rows(file.head(), how).columns)}."
    except Broken:
        return ""


# Trying


def _try(
    options: argparse.Namespace,
    screen: Screen,
    file: InputFile,
    reading: Events | Rows,
    as_of: float,
) -> int:
    """Say what would become of it, by the policy as it is here. Sends nothing."""
    rules, keep = Policy.of(policy.read(ROOT / "policy.yaml")), options.config_env == "local"
    summary = Summary(reading.start.line)
    with screen.bar(f"Trying {file.path.name}", file.size) as bar:
        for chunk in imports.chunks(
            reading, file.blocks(reading.start.offset), reading.start, as_of
        ):
            body, now = {"batch": chunk.events}, time.time()
            found = collection.collect(body, "batch", rules, now, keep_unnamed=keep)
            chunk.refuse(found.refused)
            summary.add(chunk, found.answer(most=MOST_ENTRIES))
            bar(file.taken, f"line {chunk.end.line}")
    screen.note(
        f"{summary.events} would be sent, {summary.rejected.total()} rejected. Nothing was."
    )
    _show(screen, summary)
    screen.answer({"success": True, "dry_run": True} | summary.told())
    return 0


# Sending


def _import(
    options: argparse.Namespace,
    screen: Screen,
    file: InputFile,
    reading: Events | Rows,
    as_of: float,
) -> int:
    stack = load_stack(options.endpoint_url, options.config_env)
    if options.write_key:
        stack = stack | {"write_keys": {"crm": options.write_key}}
    api, layout = Api(stack), layout_of(options, file)
    key = hashlib.sha256(str(stack["write_keys"].get("crm")).encode()).hexdigest()
    bookmark = Bookmark(LOCAL, file.identity, stack["api_url"], key, repr(layout), as_of)
    done = (None if options.restart else bookmark.read()) or Done(*reading.start)
    if done.place != reading.start:
        screen.note(f"Going on from line {done.line}.")
    rejected = RejectedLines(file.path, done.rejected_bytes, layout.encoding if layout else "utf-8")
    summary = Summary(done.line, Counter(done.codes))
    try:
        with screen.bar(f"Importing {file.path.name}", file.size) as bar:
            blocks = file.blocks(done.offset)
            for chunk in imports.chunks(reading, blocks, done.place, as_of):
                answer = send(api, chunk.events)
                chunk.refuse(answer["refused"])
                summary.add(chunk, answer)
                done = Done(
                    *chunk.end,
                    done.events + len(chunk.events) - len(answer["refused"]),
                    done.rejected + len(chunk.rejected),
                    rejected.add(chunk.rejected),
                    dict(summary.rejected),
                )
                bookmark.write(done)
                bar(file.taken, f"line {done.line}, {done.rejected} rejected")
    except Broken as broken:
        raise Problem(f"{file.path}: {broken.message}", _stopped(done)) from None
    except Problem as problem:
        raise Problem(problem.what, f"{problem.fix} {_stopped(done)}".strip()) from None
    except KeyboardInterrupt:
        screen.warn(_stopped(done))
        raise
    finally:
        rejected.close()
    bookmark.remove()
    screen.note(f"{done.events} sent, {done.rejected} rejected.")
    if (summary.said or summary.rejected) and summary.begin != reading.start.line:
        screen.note(f"What follows was said of the lines from {summary.begin} on.")
    _show(screen, summary)
    where = str(rejected.path) if done.rejected else None
    if where:
        screen.show(f"The rejected lines and why: {where}")
    counts = {"events": done.events, "rejected_lines": done.rejected, "rejected_file": where}
    screen.answer({"success": True, "dry_run": False} | summary.told() | counts)
    return 0


def _stopped(done: Done) -> str:
    return f"Everything before line {done.line} is sent; the same command goes on from there."


def send(api: Api, events: list[Json], sleep: Callable[[float], None] = time.sleep) -> Json:
    """Send events as one batch; what the API says of them. Raises Problem where it will not go.

    A batch that is refused as a whole is sent in halves, so that one event is found out.
    """
    told: Json = {"refused": [], "stripped": [], "notes": [], "untold": {}}
    if not events:
        return told
    try:
        answer = _insist(api, events, sleep)
    except Answered as refusal:
        if refusal.status not in (400, 413):
            raise
        if len(events) == 1:
            only = {"index": 0, "code": refusal.code, "message": refusal.message}
            return told | {"refused": [only]}
        half = len(events) // 2
        for begin, part in ((0, events[:half]), (half, events[half:])):
            said = send(api, part, sleep)
            for name in ("refused", "stripped", "notes"):
                told[name] += [_moved(one, begin) for one in said[name]]
            told["untold"] = dict(Counter(told["untold"]) + Counter(said["untold"]))
        return told
    return told | answer


def _moved(said: Json, by: int) -> Json:
    """What was said of events of a part, of the same as they are placed in the whole."""
    if "indexes" in said:
        return said | {"indexes": [index + by for index in said["indexes"]]}
    return said | {"index": said["index"] + by}


def _insist(api: Api, events: list[Json], sleep: Callable[[float], None]) -> Json:
    """Once more, and again, while it is busy or out of reach."""
    for attempt in range(ATTEMPTS):
        wait = 2**attempt / 2
        try:
            return api.collect("crm", "/import", {"batch": events})
        except Answered as refusal:
            if refusal.status not in RETRIED or attempt == ATTEMPTS - 1:
                raise
            wait = refusal.retry_after if refusal.retry_after is not None else wait
        except Problem:
            if attempt == ATTEMPTS - 1:
                raise
        sleep(min(wait, LONGEST_WAIT))
    raise AssertionError  # the last attempt returned or raised


def _show(screen: Screen, summary: Summary) -> None:
    if summary.said:
        table = grid("sent", "times", "what became of it", "what to do")
        table.columns[0].style = "yellow"
        for what, fix, said in summary.most_said()[:TOLD]:
            names = list(said.names)
            rest = [f"and {len(names) - TOLD} more"] if len(names) > TOLD else []
            table.add_row(", ".join(names[:TOLD] + rest), said.times, what, fix)
        screen.show(Text(), table)
        if summary.untold:
            screen.show(f"… and {summary.untold} times or more that the answers say no more of.")
    if summary.examples:
        table = grid("line", "rejected", "because")
        for one in summary.examples:
            table.add_row(one["line"], one["code"], one["message"])
        screen.show(Text(), table)
        more = summary.rejected.total() - len(summary.examples)
        if more > 0:
            screen.show(f"… and {more} more")
