"""What has become of somebody's events: read through the API, and found in the stores."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from cli.api import Answered, Api, profile_path
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation
from tests.emulator.people import idkey

Json = dict[str, Any]
Who = tuple[str, str]
"""An identifier: its type and its value."""


def profile(api: Api, who: Who) -> Json | None:
    """Somebody's profile; None while there is none."""
    named = {"identifier": {"type": who[0], "value": who[1]}}
    try:
        return api.staff("dpo", "POST", "/profiles/query", named, purpose="privacy_rights")
    except Answered as answer:
        if answer.status == 404:
            return None
        raise


def events_of(api: Api, who: Who) -> list[Json]:
    """All of a profile's events, page by page; none while there is no profile."""
    found: list[Json] = []
    query = {"limit": "100"}
    path = f"{profile_path(':'.join(who))}/events"
    while True:
        try:
            page = api.staff("dpo", "GET", path, purpose="privacy_rights", query=query)
        except Answered as answer:
            if answer.status == 404:
                return []
            raise
        found += page["data"]
        if not page["next"]:
            return found
        query = query | {"cursor": page["next"]}


def readable(api: Api, who: Who) -> list[str]:
    """The messageIds of a profile's events."""
    return sorted(event["messageId"] for event in events_of(api, who))


def counted(api: Api, source_id: str) -> Counter[str]:
    """What became of a source's events, over all its days."""
    days = api.staff("admin", "GET", "/outcomes")["data"]
    own = (Counter(day["outcomes"]) for day in days if day["source"] == source_id)
    return sum(own, Counter[str]())


def kept(installation: Installation, who: Who) -> dict[str, int]:
    """How many events lie under an identifier in each store, repetitions included."""
    home = idkey(installation.hmac_secret, *who)
    stores = {"table": installation.rows("Events"), "archive": installation.archived()}
    return {
        name: sum(row["n"] for row in rows if row["pk"] == home) for name, rows in stores.items()
    }


def shown(api: Api, id_: str) -> Json:
    """A privacy request."""
    return api.staff("dpo", "GET", f"/privacy/requests/{id_}")


def ended(api: Api, id_: str) -> Json:
    """An erasure that goes on no further by itself."""

    def over() -> Json | None:
        found = shown(api, id_)
        return found if found["status"] not in ("pending", "running") else None

    found: Json = await_true("the erasure ends", over, 120)
    return found


def under(installation: Installation, idkeys: Collection[str]) -> list[str]:
    """What the stores hold under these idkeys, but for the archive."""
    found = []
    for one in idkeys:
        for table, pk in (("Graph", f"I#{one}"), ("Events", one)):
            found += [f"{table}: {row['pk']}" for row in installation.partition(table, pk)]
        keys = installation.partition("Keys", one)
        found += [f"Keys: {one}" for key in keys if "salt" in key or "mode" not in key]
    return found


def left(installation: Installation, idkeys: Collection[str]) -> list[str]:
    """The same, and what names them elsewhere."""
    wanted = set(idkeys)
    named = [
        f"{row['pk']} {row['sk']}"
        for row in installation.rows("Graph")
        if wanted & {*row.get("members", {})} or row["sk"].removeprefix("LINK#") in wanted
    ]
    return under(installation, idkeys) + named


def idle(installation: Installation) -> bool:
    """Whether nothing waits in a queue, and what the events table holds is archived."""
    if any(installation.depth(queue) for queue in ("EventsQueue", "AuditQueue")):
        return False
    stored = {(row["pk"], row["sk"]) for row in installation.rows("Events")}
    return stored <= {(row["pk"], row["sk"]) for row in installation.archived()}


def await_unified(installation: Installation) -> None:
    await_true("the queue is empty", lambda: not installation.depth("EventsQueue"))


def assert_once(
    api: Api, installation: Installation, source_id: str, who: Who, events: list[str]
) -> None:
    """These events, and no others of this source and person, are read, stored, archived and
    counted, each once."""
    count = len(events)
    await_true("all is readable", lambda: set(readable(api, who)) >= set(events))
    await_unified(installation)
    assert readable(api, who) == events
    await_true("all is archived", lambda: kept(installation, who)["archive"] >= count)
    assert kept(installation, who) == {"table": count, "archive": count}
    await_true("all is counted", lambda: counted(api, source_id)["stored"] >= count)
    assert counted(api, source_id)["stored"] == count
