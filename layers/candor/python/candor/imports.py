"""Imports: files of events (NDJSON) or of rows (CSV) become events, a chunk at a time.

The command `candor import` and the drop bucket read files alike. Both can stop at the end of any
chunk and go on from there: a chunk is cut only by what is in it, so that a repetition makes the
same requests, which overwrite themselves. No file is too large, because none is held as a whole.
"""

import csv
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, Self

from candor.collection import MOST_EVENT_BYTES
from candor.conversion import Conversion, Unfit, dated
from candor.errors import Refused
from candor.strict_json import read_json

HEAD_BYTES = 65_536
"""How much of a file tells what it is; a header is within it."""
MOST_LINE_BYTES = 1_000_000
CHUNK_LINES = 200
"""As many refusals as an answer of collection lists."""
CHUNK_BYTES = 400_000
"""Of a chunk's events as JSON; a request's body may have 500,000."""
DELIMITERS = ",;\t|"
NDJSON = "ndjson"
"""Stands where a mapping's name does, for files that hold events and need none."""
_UTF8_BOM, _UTF16_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_GZIP = 16 + zlib.MAX_WBITS
_INFLATED = 1 << 20

Json = dict[str, Any]


class Broken(Unfit):
    """The file as a whole cannot be read, or not from here on."""


class Place(NamedTuple):
    """Between two lines: the bytes before it, decompressed, and the number of the line after."""

    offset: int = 0
    line: int = 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that nothing came of. `raw` is the line, for whoever has the file anyway."""

    line: int
    code: str
    message: str
    raw: bytes

    def told(self) -> Json:
        return {"line": self.line, "code": self.code, "message": self.message}


@dataclass(slots=True)
class Chunk:
    """What goes into one request: events, each with its line, and lines that nothing came of."""

    begin: Place
    end: Place
    events: list[Json] = field(default_factory=list)
    lines: list[tuple[int, bytes]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def refuse(self, refused: Iterable[Json]) -> None:
        """Note what collection said of the events, as it lists it."""
        for one in refused:
            line, raw = self.lines[one["index"]]
            self.rejected.append(Rejected(line, one["code"], one["message"], raw))
        self.rejected.sort(key=lambda one: one.line)


class Lines:
    """The lines of blocks, one by one, and the place after the last one that was taken."""

    def __init__(self, blocks: Iterable[bytes], place: Place) -> None:
        self.place = place
        self._lines = _split(blocks)
        self._first, self._taken = place.line, list[bytes]()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = next(self._lines)
        if len(line) > MOST_LINE_BYTES:
            text = f"Line {self.place.line} has more than {MOST_LINE_BYTES} bytes."
            raise Broken("line_too_long", text)
        self.place = Place(self.place.offset + len(line), self.place.line + 1)
        self._taken.append(line)
        return line

    def record(self) -> tuple[int, bytes]:
        """What was taken since the last call: the number of the first line, and all of them."""
        record = self._first, b"".join(self._taken)
        self._first, self._taken = self.place.line, []
        return record


class Events:
    """A file with an event on each line. `head` are its first bytes, decompressed.

    Raises Broken where it is no such file.
    """

    def __init__(self, head: bytes) -> None:
        self.start = Place(_bom(head))

    def read(self, lines: Lines) -> Iterator[Json | Unfit | None]:
        """Each line's event, or why it has none; None where there is nothing."""
        for line in lines:
            try:
                event = read_json(line) if line.strip() else None
            except Refused:
                yield Unfit("bad_json", "The line is not valid JSON in UTF-8.")
                continue
            fits = event is None or isinstance(event, dict)
            yield event if fits else Unfit("not_an_object", "An event is a JSON object.")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file of rows is read. Without a delimiter the file's first line tells it."""

    conversion: Conversion
    delimiter: str | None = None
    encoding: str = "utf-8"

    @classmethod
    def of(cls, compiled: Json) -> Self:
        """From an entry of `imports` in the policy. Raises ValueError."""
        encoding = compiled.get("encoding") or "utf-8"
        try:
            lines = "\n".encode(encoding) == b"\n"
        except LookupError:
            lines = False
        if not lines:
            raise ValueError(f"{encoding!r} is no encoding whose lines can be told")
        return cls(Conversion.of(compiled), compiled.get("delimiter"), encoding)


class Rows:
    """A file with a row on each line, or on several where a cell in quotes has some (RFC 4180).

    `head` are its first bytes, decompressed; the first row names the columns. Raises Broken where
    it is no such file, or lacks a column that the layout reads. `columns` are their names.
    """

    def __init__(self, head: bytes, layout: Layout) -> None:
        self._layout, skip = layout, _bom(head)
        lines = Lines([head[skip:]], Place(skip))
        self._delimiter = layout.delimiter or _sniffed(head[skip:], layout.encoding)
        try:
            names = next(self._csv(lines), [])
        except (csv.Error, UnicodeDecodeError, Broken):
            names = []
        if not names or (lines.place.offset == len(head) == HEAD_BYTES):
            text = f"The file does not begin with a row of column names in {layout.encoding}."
            raise Broken("no_header", text)
        self.columns = [name.strip() for name in names]
        self._names = self._known()
        self.start = lines.place

    def read(self, lines: Lines) -> Iterator[Json | Unfit | None]:
        """Each row's event, or why it has none; None where the row is empty."""
        rows = self._csv(lines)
        while True:
            try:
                cells = next(rows, None)
            except csv.Error:
                yield Unfit("bad_csv", "The quotes of this row do not match.")
            except UnicodeDecodeError:
                yield Unfit("bad_encoding", f"The row is not in {self._layout.encoding}.")
                rows = self._csv(lines)
            else:
                if cells is None:
                    return
                yield self._event(cells) if any(map(str.strip, cells)) else None

    def _event(self, cells: list[str]) -> Json | Unfit:
        if len(cells) != len(self.columns):
            text = f"The row has {len(cells)} cells, the header {len(self.columns)}."
            return Unfit("ragged_row", text)
        values = dict(zip(self._names, cells, strict=True))
        try:
            return self._layout.conversion.build(values)
        except Unfit as unfit:
            return unfit

    def _csv(self, lines: Lines) -> Iterator[list[str]]:
        # Strict, or a quote that is never closed would make one cell of all that follows.
        decoded = (line.decode(self._layout.encoding) for line in lines)
        return csv.reader(decoded, delimiter=self._delimiter, strict=True)

    def _known(self) -> list[str]:
        """The columns by the names that the layout has for them, in any case; others unnamed."""
        wanted = {name.strip().casefold(): name for name in self._layout.conversion.targets}
        found = [name.casefold() for name in self.columns]
        for folded, name in wanted.items():
            if found.count(folded) != 1:
                what = "two columns" if folded in found else "no column"
                raise Broken(
                    "bad_columns", f"The file has {what} {name!r}, which the mapping reads."
                )
        return [wanted.get(folded, "") for folded in found]


def chunks(
    file: Events | Rows, blocks: Iterable[bytes], place: Place, as_of: float
) -> Iterator[Chunk]:
    """What follows from `place`, where `blocks` begin: `file.start`, or the end of a chunk.

    `as_of` (epoch seconds) dates facts that have no time. Raises Broken where it cannot go on.
    """
    lines, chunk, size = Lines(blocks, place), Chunk(place, place), 0
    records = file.read(lines)
    while True:
        try:
            found = next(records)
        except StopIteration:
            break
        except Broken:
            if chunk.end != chunk.begin:
                yield chunk
            raise
        line, raw = lines.record()
        made, length = _event(found, as_of)
        if size + length > CHUNK_BYTES:
            yield chunk
            chunk, size = Chunk(chunk.end, chunk.end), 0
        if isinstance(made, Unfit):
            chunk.rejected.append(Rejected(line, made.code, made.message, raw))
        elif made is not None:
            chunk.events.append(made)
            chunk.lines.append((line, raw))
            size += length
        chunk.end = lines.place
        if len(chunk.events) + len(chunk.rejected) == CHUNK_LINES:
            yield chunk
            chunk, size = Chunk(chunk.end, chunk.end), 0
    if chunk.end != chunk.begin:
        yield chunk


def _event(found: Json | Unfit | None, as_of: float) -> tuple[Json | Unfit | None, int]:
    """What is sent of a record, and its bytes."""
    if found is None or isinstance(found, Unfit):
        return found, 0
    try:
        made = dated(found, as_of)
        length = len(json.dumps(made, separators=(",", ":")))
    except Unfit as unfit:
        return unfit, 0
    except RecursionError:
        return Unfit("too_deep", "The event is nested too deeply."), 0
    if length > MOST_EVENT_BYTES:  # by itself, or with its neighbours it would be too much
        return Unfit("event_too_large", f"An event may have {MOST_EVENT_BYTES} bytes."), 0
    return made, length


def is_gzip(head: bytes) -> bool:
    return head[:2] == b"\x1f\x8b"


def inflated(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of gzipped blocks, in parts of at most a MiB. Raises Broken."""
    inflate = zlib.decompressobj(_GZIP)
    try:
        for block in blocks:
            rest = block
            while rest:
                if inflate.eof:  # gzip files may follow each other in one
                    inflate = zlib.decompressobj(_GZIP)
                yield inflate.decompress(rest, _INFLATED)
                rest = inflate.unconsumed_tail or inflate.unused_data
        while not inflate.eof and (more := inflate.decompress(b"", _INFLATED)):
            yield more
    except zlib.error:
        raise Broken("bad_gzip", "The file is not valid gzip from here on.") from None
    if not inflate.eof:
        raise Broken("bad_gzip", "The gzipped file is cut short.")


def skipped(blocks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Blocks without their first `count` bytes."""
    for block in blocks:
        if count < len(block):
            yield block[count:]
        count = max(0, count - len(block))


def headed(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first HEAD_BYTES, or all where there are fewer; and the blocks as they were."""
    taken: list[bytes] = []
    while sum(map(len, taken)) < HEAD_BYTES and (block := next(blocks, None)) is not None:
        taken.append(block)
    return b"".join(taken)[:HEAD_BYTES], chain(taken, blocks)


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for block in blocks:
        *lines, held = (held + block).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(held) > MOST_LINE_BYTES:
            break
    if held:
        yield held


def _bom(head: bytes) -> int:
    """The length of UTF-8's mark at the beginning. Raises Broken where the file is UTF-16."""
    if head.startswith(_UTF16_BOMS) or b"\0" in head:
        raise Broken("bad_encoding", "The file is UTF-16, or no text. Save it as UTF-8.")
    return len(_UTF8_BOM) if head.startswith(_UTF8_BOM) else 0


def _sniffed(head: bytes, encoding: str) -> str:
    """The delimiter that makes the most columns of the first line."""
    line = head.partition(b"\n")[0].decode(encoding, "replace")

    def columns(delimiter: str) -> int:
        try:
            return len(next(csv.reader([line], delimiter=delimiter), []))
        except csv.Error:
            return 0

    return max(DELIMITERS, key=columns)
