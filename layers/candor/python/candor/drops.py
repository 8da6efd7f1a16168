"""Drops: a file that is put into the drop bucket becomes events, and is deleted.

    drop/<source id>/<mapping>/<file>              <mapping> is an entry of `imports` in the policy,
                                                   or `ndjson`
    rejected/<source id>/<mapping>/<file>.ndjson   lines that nothing came of: number and reason

May run twice, late, or beside itself: the same part of a file makes the same messages, and whatever
stops it, the same message comes again. A file that takes longer than one invocation goes on by a
message that says from where. One that is addressed to nobody is left to expire.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from candor import imports
from candor.credentials import Credentials, Source
from candor.errors import Unauthenticated
from candor.imports import Broken, Events, Layout, Place, Rejected, Rows
from candor.policy import Policy
from candor.ports import Objects, Part, Queue

DROP, REJECTED = "drop/", "rejected/"
BLOCK = 4 << 20
"""Bytes of one read."""
MOST_INFLATED = 500_000_000
"""Of a gzipped file, which can only be read from its beginning."""
MOST_REPORTED = 1_000
"""Lines of a report."""
UNREPEATED = {"not_in_policy": "The policy does not name its event."}
"""Reasons that name what was sent. A report, which stays when its file is gone, does not."""

Json = dict[str, Any]
Take = Callable[[Json, Source, list[Json]], list[Json]]
"""Hands a batch on, and counts besides what was refused before; answers what it refuses."""


@dataclass(frozen=True, slots=True)
class Drops:
    objects: Objects
    queue: Queue
    """Where a file waits for what is left of it."""
    credentials: Credentials
    policy: Policy
    take: Take


class Drop(NamedTuple):
    """A file, and from where on it is to be read: from its beginning where that is None."""

    key: str
    etag: str
    place: Place | None = None


class _Misaddressed(Exception):
    """A file that no source sends, or that nothing says how to read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.told = {"line": 0, "code": code, "message": message}


def read(body: str, drops: Drops, more: Callable[[], bool]) -> int:
    """Read what a message of the drop queue names; how many lines were read.

    `more` says whether there is time for another part of a file.
    """
    return sum(_File(drop, drops).read(more) for drop in named(json.loads(body)))


def named(message: Json) -> Iterator[Drop]:
    """The files that S3 tells of, or that we left off at. Nothing else, such as folders, is one."""
    if "drop" in message:
        key, etag, *place = message["drop"]
        yield Drop(key, etag, Place(*place))
    for record in message.get("Records", ()):
        told = record["s3"]["object"]
        key = unquote_plus(told["key"])
        if key.startswith(DROP) and not key.endswith("/"):
            yield Drop(key, told["eTag"].strip('"'))


class _Gone(Exception):
    """The file was deleted or overwritten while it was read."""


class _File:
    def __init__(self, drop: Drop, drops: Drops) -> None:
        self.drop, self.drops = drop, drops
        self.report = f"{REJECTED}{drop.key.removeprefix(DROP)}.ndjson"

    def read(self, more: Callable[[], bool]) -> int:
        """Read on until it ends or there is no time; how many lines that were."""
        first = self._part(0)
        if first is None:  # read already, or overwritten, of which S3 tells as well
            return 0
        try:
            source, layout = self._addressed()
        except _Misaddressed as misaddressed:
            self._write([misaddressed.told])
            return 0
        try:
            file = self._opened(first, layout)
            return self._read(file, source, first, more)
        except Broken as broken:
            self._end([{"line": 1, "code": broken.code, "message": broken.message}])
        except _Gone:
            pass
        return 0

    def _read(
        self, file: Events | Rows, source: Source, first: Part, more: Callable[[], bool]
    ) -> int:
        begin = end = self.drop.place or file.start
        lines: list[Json] = []
        chunks = imports.chunks(file, self._content(first, begin.offset), begin, first.modified)
        try:
            for chunk in chunks:
                before = [one.told() for one in chunk.rejected]
                batch = {"batch": chunk.events, "from": [self.drop.key, *chunk.begin]}
                chunk.refuse(self.drops.take(batch, source, before))
                lines += [_reason(one) for one in chunk.rejected if len(lines) <= MOST_REPORTED]
                end = chunk.end
                if not more():
                    self._tell(lines)
                    again = [self.drop.key, self.drop.etag, *end]
                    self.drops.queue.send(json.dumps({"drop": again}))
                    return end.line - begin.line
        except Broken as broken:
            lines.append({"line": end.line, "code": broken.code, "message": broken.message})
        self._end(lines)
        return end.line - begin.line

    def _addressed(self) -> tuple[Source, Layout | None]:
        """Who sends the file, and how it is read. Raises _Misaddressed."""
        _, source, mapping, *name = [*self.drop.key.split("/"), "", ""]
        if not any(name):
            raise _Misaddressed("bad_path", "A file lies under drop/<source id>/<mapping>/.")
        try:
            sender = self.drops.credentials.trusted(source)
        except Unauthenticated as refused:
            raise _Misaddressed(refused.code, refused.message) from None
        if mapping == imports.NDJSON:
            return sender, None
        compiled = self.drops.policy.imports.get(mapping)
        if compiled is None:
            raise _Misaddressed("unknown_mapping", "The policy has no mapping of this name.")
        return sender, Layout.of(compiled)

    def _opened(self, first: Part, layout: Layout | None) -> Events | Rows:
        head, _ = imports.headed(self._content(first, 0))
        return Rows(head, layout) if layout else Events(head)

    def _content(self, first: Part, offset: int) -> Iterator[bytes]:
        """What the file holds from there on. Raises Broken where that is too much, and _Gone."""
        if imports.is_gzip(first.body):
            plain = _bounded(imports.inflated(self._blocks(first, 0)))
            return imports.skipped(plain, offset)
        return self._blocks(first, offset)

    def _blocks(self, first: Part, start: int) -> Iterator[bytes]:
        while True:
            part = self._part(start) if start >= len(first.body) else first
            if part is None:
                raise _Gone
            body = part.body[start:] if part is first else part.body
            if not body:
                return
            yield body
            start += len(body)

    def _part(self, start: int) -> Part | None:
        return self.drops.objects.part(self.drop.key, start, BLOCK, self.drop.etag)

    def _end(self, lines: list[Json]) -> None:
        self._tell(lines)
        self.drops.objects.remove(self.drop.key, self.drop.etag)

    def _tell(self, lines: list[Json]) -> None:
        """Add to what was told of the lines before, or begin anew."""
        before = self.drops.objects.get(self.report) if self.drop.place else None
        told = [json.loads(line) for line in (before or b"").splitlines()]
        first = self.drop.place.line if self.drop.place else 0
        self._write([one for one in told if one["line"] < first] + lines)

    def _write(self, lines: list[Json]) -> None:
        if len(lines) > MOST_REPORTED:
            untold = "Of the lines from here on it is only counted what became of them."
            last = {"line": lines[MOST_REPORTED]["line"], "code": "more", "message": untold}
            lines = [*lines[:MOST_REPORTED], last]
        if lines:
            body = "".join(json.dumps(line) + "\n" for line in lines)
            self.drops.objects.put(self.report, body.encode())
        else:
            self.drops.objects.delete([self.report])


def _reason(rejected: Rejected) -> Json:
    told = rejected.told()
    return told | {"message": UNREPEATED.get(rejected.code, rejected.message)}


def _bounded(blocks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > MOST_INFLATED:
            text = f"A gzipped file may hold {MOST_INFLATED} bytes. Split it, or leave it plain."
            raise Broken("too_large", text)
        yield block
