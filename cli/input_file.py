"""A file to import, how far it is imported, and what was rejected of it."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from candor.imports import HEAD_BYTES, Place, Rejected, inflated, is_gzip, skipped
from cli.problem import Problem
from cli.target import read_json, write_private

BLOCK = 1 << 16


class InputFile:
    """Plain or gzipped. `taken` counts the bytes that were read of it as it lies there."""

    def __init__(self, path: Path) -> None:
        """Raises Problem where it cannot be read."""
        self.path = path
        self.taken = 0
        try:
            with path.open("rb") as file:
                raw, about = file.read(HEAD_BYTES), os.fstat(file.fileno())
        except OSError as error:
            raise Problem(f"{path} cannot be read: {error.strerror}.") from None
        self.size, self.mtime = about.st_size, about.st_mtime
        self.identity = [self.size, about.st_mtime_ns, hashlib.sha256(raw).hexdigest()]
        self._gzipped = is_gzip(raw)

    def head(self) -> bytes:
        found = b""
        for block in self.blocks(0):
            found += block
            if len(found) >= HEAD_BYTES:
                break
        return found[:HEAD_BYTES]

    def blocks(self, offset: int) -> Iterator[bytes]:
        """The content from there on."""
        if self._gzipped:
            return skipped(inflated(self._raw(0)), offset)
        return self._raw(offset)

    def _raw(self, offset: int) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(offset)
            self.taken = offset
            while block := file.read(BLOCK):
                self.taken += len(block)
                yield block


@dataclass(slots=True)
class Done:
    """What is acknowledged: everything before `line`, `offset` bytes of content."""

    offset: int
    line: int
    events: int = 0
    rejected: int = 0
    rejected_bytes: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    """How many were rejected for each reason."""

    @property
    def place(self) -> Place:
        return Place(self.offset, self.line)


class Bookmark:
    """Keeps `Done` of one file, sent in one way to one stack, on this machine."""

    def __init__(self, folder: Path, *what: Any) -> None:
        name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
        self._path = folder / "imports" / f"{name}.json"

    def read(self) -> Done | None:
        try:
            return Done(**(read_json(self._path) or {}))
        except TypeError:  # nothing there, or another version's
            return None

    def write(self, done: Done) -> None:
        write_private(self._path, json.dumps(asdict(done)))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


class RejectedLines:
    """`FILE.rejected.ndjson`, which its owner alone may read: it repeats the lines."""

    def __init__(self, path: Path, size: int, encoding: str) -> None:
        """`size` is how long it was when the import stopped; what came later comes again."""
        self.path = path.with_name(f"{path.name}.rejected.ndjson")
        self._encoding = encoding
        try:
            place = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            what = f"{self.path} cannot be written: {error.strerror}."
            raise Problem(what, "Copy the file to a folder of your own.") from None
        os.fchmod(place, 0o600)
        self._file = os.fdopen(place, "r+b")
        self._file.truncate(min(size, self._file.seek(0, os.SEEK_END)))
        self._file.seek(0, os.SEEK_END)

    def add(self, rejected: Iterable[Rejected]) -> int:
        """Writes them down; returns how long the file is then."""
        for one in rejected:
            text = one.raw.decode(self._encoding, "backslashreplace").rstrip("\r\n")
            self._file.write(json.dumps(one.told() | {"text": text}).encode() + b"\n")
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """An empty one is no file."""
        if self._file.tell() == 0:
            self.path.unlink(missing_ok=True)
        self._file.close()
