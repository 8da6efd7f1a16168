"""What became of events, counted by source and day, and the names that the policy did not know.

Nothing is dropped silently: whatever is refused, stripped or dropped is counted here, once however
often its request was sent or its message came. The names are those that senders chose, so they may
hold anything: what does not look like a name is not kept, and none for long.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from candor.identity import insist
from candor.policy import DAY
from candor.ports import ABSENT, Conflict, Key, Put, Row, Rows, Update

KEPT_DAYS = 30
"""How long counts and names are kept."""
REPEAT_DAYS = 5
"""How long a count is known to be made: longer than a message can wait anywhere."""
MOST_NAMES = 200
"""Of a source and day."""
LONGEST_NAME = 64
_NAME = re.compile(r"[\w$][\w$ .:/-]*")
_LETTER = re.compile(r"[^\W\d_]")
_NUMBER = re.compile(r"\d{4}")

Json = dict[str, Any]
Where = tuple[str, str, str]
"""A name and where it stood: ("properties", event, name), ("events", "", name), ("traits", …),
("context", …) or ("fields", …)."""


def count(rows: Rows, source: str, now: float, counted: Mapping[str, int], once: str) -> None:
    """Add counts to a source's day. `once` names what is counted: the same one counts once.

    Keys of `counted` are `outcome` or `outcome:reason`, all of them our own words. A day's counts
    lie in as many rows as `once` has first letters, so that few counts meet at the same row.
    """
    if not counted:
        return
    until = int(now // DAY + REPEAT_DAYS) * DAY
    mark = Put(
        Key("counts", source, f"ONCE#{once}"), {"due": until, "ttl": until}, when={"sk": ABSENT}
    )
    added = adding(source, now, counted, once[0])

    def write() -> None:
        try:
            rows.commit(mark, added)
        except Conflict as conflict:
            if not conflict.failed:  # another count at the same row in the same moment
                raise

    insist(write, lambda: None)


def adding(source: str, now: float, counted: Mapping[str, int], part: str = "0") -> Update:
    """What adds counts to a source's day, for a transaction with what is counted."""
    day = _day(now)
    key = Key("counts", source, f"DAY#{day:05d}#{part}")
    return Update(key, set=_ends(day), add=dict(counted))


def count_stored(rows: Rows, records: Collection[Row], now: float) -> None:
    """Count the events of bundles that the stream told of. The same records count once."""
    _count_records(rows, records, now, lambda _: "stored", [])


def count_expired(rows: Rows, records: Collection[Row], now: float) -> None:
    """Count by class the events of bundles that DynamoDB removed in their time."""
    _count_records(rows, records, now, lambda record: f"expired:{record['class']}", ["expired"])


def _count_records(
    rows: Rows,
    records: Collection[Row],
    now: float,
    outcome: Callable[[Row], str],
    named: list[str],
) -> None:
    by_source: dict[str, list[Row]] = {}
    for record in records:
        by_source.setdefault(record["source"], []).append(record)
    for source, of_source in by_source.items():
        names = json.dumps([*named, *sorted([record["pk"], record["sk"]] for record in of_source)])
        once = hashlib.sha256(names.encode()).hexdigest()[:32]
        counts: Counter[str] = Counter()
        for record in of_source:
            counts[outcome(record)] += record["n"]
        count(rows, source, now, counts, once)


def note_names(rows: Rows, source: str, now: float, names: Collection[Where]) -> None:
    """Keep the names that a source sent and the policy did not know, as far as they are names."""
    clean = sorted({"\t".join(where) for where in names if _is_name(where)})
    if not clean:
        return
    day = _day(now)
    key = Key("counts", source, f"NAMES#{day:05d}")

    def write() -> None:
        row = rows.get([key]).get(key)
        known = set(row["names"]) if row else set()
        new = [name for name in clean if name not in known][: MOST_NAMES - len(known)]
        if new:
            when: Row = {"version": row["version"]} if row else {"sk": ABSENT}
            version = row["version"] + 1 if row else 1
            names = sorted(known.union(new))
            rows.update(
                Update(key, set={"names": names, "version": version, **_ends(day)}, when=when)
            )

    insist(write, lambda: None)


def listing(rows: Rows, days: int, now: float) -> list[Json]:
    """A source's counts and unknown names by UTC day, newest first, of the last `days` days."""
    oldest, found = _day(now) - days, dict[tuple[str, int], Json]()
    for row in rows.scan("counts"):
        kind, day = row["sk"].split("#")[:2]
        if kind == "ONCE" or int(day) <= oldest:
            continue
        empty: Json = {"source": row["pk"], "day": int(day), "outcomes": {}, "names": []}
        one = found.setdefault((row["pk"], int(day)), empty)
        if kind == "DAY":
            for name in sorted(row.keys() - {"pk", "sk", "due", "ttl"}):
                one["outcomes"][name] = one["outcomes"].get(name, 0) + row[name]
        else:
            parts = (name.split("\t") for name in row["names"])
            one["names"] = [
                dict(zip(("where", "event", "name"), part, strict=True)) for part in parts
            ]
    return sorted(found.values(), key=lambda one: (-one["day"], one["source"]))


def tally(outcomes: Collection[tuple[str, str]]) -> dict[str, int]:
    """Pairs of outcome and reason as `count` takes them."""
    return dict(Counter(f"{one}:{reason}" if reason else one for one, reason in outcomes))


def _is_name(where: Where) -> bool:
    """Whether it looks like a name that a developer gave, and not like somebody's data.

    In letters of any script, composed or not; with one at least, as phone numbers and dates have
    none.
    """
    _, event, name = where
    return all(
        len(part) <= LONGEST_NAME
        and _NAME.fullmatch(unicodedata.normalize("NFC", part))
        and _LETTER.search(part)
        and not _NUMBER.search(part)
        for part in (event or "none", name)
    )


def _day(now: float) -> int:
    return int(now // DAY)


def _ends(day: int) -> Row:
    due = (day + 1 + KEPT_DAYS) * DAY
    return {"due": due, "ttl": due}
