"""What a run of the vacuum asks of S3, against rewriting the whole archive, in memory.

Objects are like those of a shop with a hundred million events a day in requests of 20 for one
person: three hundred bundles each. A person's bundles lie scattered over them, as over 90 days.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from candor import archive, vacuum
from candor.ports import Objects, Part, Row
from candor.sealing import KEY_ID_BYTES, NONCE_BYTES, VERSION
from tests.bench import costs
from tests.fakes import FakeObjects

Json = dict[str, Any]
OBJECTS, BUNDLES, BUNDLE_BYTES = 300, 300, 700
"""So many objects, of so many bundles, of so many sealed bytes."""
OF_A_PERSON = 45
"""Bundles that somebody leaves in 90 days: a visit every other day."""
PEOPLE = OBJECTS * BUNDLES // OF_A_PERSON
ERASED = (1, 2, 20)
"""People erased since the last run: 0.05, 0.1 and 1 percent of all."""
A_LIST = 1000
"""Keys that S3 lists at once."""


@dataclass
class Counted:
    """An archive in memory, and what was asked of it. `Objects`, as the vacuum uses it."""

    inner: Objects
    gets: int = 0
    puts: int = 0
    lists: int = 0
    read: int = 0
    written: int = 0

    def get(self, key: str) -> bytes | None:
        return self._got(self.inner.get(key))

    def part(self, key: str, start: int, length: int, etag: str | None = None) -> Part | None:
        part = self.inner.part(key, start, length, etag)
        self._got(part.body if part else None)
        return part

    def put(self, key: str, body: bytes) -> None:
        self.puts += 1
        self.written += len(body)
        self.inner.put(key, body)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        for n, key in enumerate(self.inner.list(prefix, after)):
            self.lists += n % A_LIST == 0
            yield key

    def folders(self, prefix: str) -> Iterator[str]:
        self.lists += 1
        return self.inner.folders(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        self.inner.delete(keys)  # which S3 does for nothing

    def remove(self, key: str, etag: str) -> None:
        self.inner.remove(key, etag)

    def lifecycle(self) -> dict[str, int]:
        return self.inner.lifecycle()

    def set_lifecycle(self, days: Mapping[str, int]) -> None:
        self.inner.set_lifecycle(days)

    def _got(self, body: bytes | None) -> bytes | None:
        self.gets += 1
        self.read += len(body or b"")
        return body

    def told(self) -> Json:
        dollars = costs.price("s3_get", self.gets) + costs.price("s3_put", self.puts + self.lists)
        return {
            "gets": self.gets,
            "puts": self.puts,
            "lists": self.lists,
            "read_bytes": self.read,
            "written_bytes": self.written,
            "dollars": dollars,
        }


def measure() -> Json:
    """Of an archive, what erasing so many people costs; and what rewriting all of it would."""
    filled = FakeObjects()
    key_ids = _fill(filled)
    kept = dict(filled.objects)
    found: Json = {"objects": OBJECTS, "archive_bytes": sum(map(len, kept.values())), "erased": {}}
    for count in ERASED:
        filled.objects = dict(kept)
        found["erased"][str(count)] = _vacuumed(filled, set(key_ids[:count])).told()
    filled.objects = dict(kept)
    found["rewriting"] = _rewritten(filled).told()
    return found


def _vacuumed(filled: FakeObjects, dead: set[str]) -> Counted:
    objects = Counted(filled)
    groups = list(archive.groups(objects))
    request = {"kids": sorted(dead), "last": False}
    begun = {"at": 0, "requests": {"r": request}, "held": [], "groups": groups}
    objects.put("vacuum/run/begun.json", json.dumps(begun).encode())
    for group in groups:
        vacuum.sweep(objects, "run", group, "", lambda: True)
    for key in filled.list(archive.MANIFESTS):
        assert not dead & json.loads(filled.objects[key]).keys()
    return objects


def _rewritten(filled: FakeObjects) -> Counted:
    """Every object read, and written again with its manifest."""
    objects = Counted(filled)
    for key in list(objects.list(archive.EVENTS)):
        objects.put(key, objects.get(key) or b"")
    for key in filled.list(archive.MANIFESTS):
        objects.put(key, filled.objects[key])
    return objects


def _fill(objects: FakeObjects) -> list[str]:
    """Returns everybody's key ids."""
    chance = Random(1)  # noqa: S311
    salts = [chance.randbytes(KEY_ID_BYTES) for _ in range(PEOPLE)]
    visits = [person for person in range(PEOPLE) for _ in range(OF_A_PERSON)]
    chance.shuffle(visits)
    for n in range(OBJECTS):
        due = int(1.79e9) + n * 90 // OBJECTS * 86_400
        of_one = visits[n * BUNDLES : (n + 1) * BUNDLES]
        archive.store(objects, [_record(chance, salts[p], p, n, due) for p in of_one])
    return [salt.hex() for salt in salts]


def _record(chance: Random, kid: bytes, person: int, n: int, due: int) -> Row:
    """Sealed bytes are like random ones, to a compressor."""
    header = bytes((VERSION, 1)) + kid
    data = header + chance.randbytes(NONCE_BYTES + BUNDLE_BYTES)
    place = {"pk": f"{person:024}", "sk": f"20714#{chance.randbytes(16).hex()}"}
    return place | {"class": "behaviour", "source": "web", "due": due, "n": 20, "data": data}
