"""The vacuum on a deployed stack: its real machine, its distributed map, and the command."""

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest

from candor import archive, vacuum
from candor.stores.s3 import S3Objects
from cli import archive as archive_commands
from cli.api import Api
from cli.main import main
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation
from tests.emulator.test_dlq import buy, erase, orders
from tests.emulator.vacuuming import vacuumed

Json = dict[str, Any]


@pytest.fixture
def ours(stack: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands are about this test's stack."""
    monkeypatch.setattr(archive_commands, "load_stack", lambda *_: stack)


def archived(installation: Installation) -> Counter[str]:
    return Counter(row["pk"] for row in installation.archived())


def receipt(api: Api, id_: str) -> Json:
    shown = api.staff("dpo", "GET", f"/privacy/requests/{id_}")
    found: Json
    (found,) = (one for one in shown["receipts"] if one["store"] == "archive")
    return found


def bought(api: Api, installation: Installation, *users: str) -> None:
    """Each buys once, and all of it is archived."""
    for user in users:
        buy(api, user, f"{user}-order")
    for user in users:
        await_true("it is read", partial(orders, api, user))

    def all_archived() -> bool:
        stored = {(row["pk"], row["sk"]) for row in installation.rows("Events")}
        return stored <= {(row["pk"], row["sk"]) for row in installation.archived()}

    await_true("it is archived", all_archived)


def test_what_an_erasure_left_in_the_archive_is_dropped_by_the_next_run(
    api: Api, installation: Installation, ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(api, installation, "vacuum-ann", "vacuum-bob")
    before, left_alone = archived(installation), alone(installation)
    done = erase(api, "vacuum-ann")
    assert done["status"] == "completed"
    assert archived(installation) == before
    assert receipt(api, done["id"])["left"] is None

    capsys.readouterr()
    assert main(["archive", "vacuum", "--json"]) == 0
    counts: Json = json.loads(capsys.readouterr().out)

    after = archived(installation)
    assert sum((before - after).values()) == counts["records_dropped"] >= 1
    assert receipt(api, done["id"])["deleted"] == 1
    assert orders(api, "vacuum-bob") == ["vacuum-bob-order"]
    assert counts["groups"].endswith(f" of {counts['groups'].partition(' ')[0]}")
    for place in ("events/", "manifests/"):
        assert names(installation, place)
    assert alone(installation) == left_alone

    capsys.readouterr()
    assert main(["archive", "status", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {one["run"]: one for one in runs}[counts["run"]]["records_dropped"] >= 1
    assert main(["archive", "status"]) == 0
    assert counts["run"][:8] in capsys.readouterr().out
    assert vacuumed(installation)["records_dropped"] == 0


def alone(installation: Installation) -> set[str]:
    """Manifests without their object: a task that stopped in between leaves one, which ends on its
    day."""
    places = (names(installation, prefix) for prefix in ("events/", "manifests/"))
    stored, told = ({key.split("/", 1)[1].partition(".")[0] for key in keys} for keys in places)
    assert stored <= told, "it would never end"
    return told - stored


def names(installation: Installation, prefix: str) -> list[str]:
    pages = installation.client("s3").get_paginator("list_objects_v2")
    return [
        one["Key"]
        for page in pages.paginate(Bucket=installation.outputs["ArchiveBucket"], Prefix=prefix)
        for one in page.get("Contents", [])
    ]


def test_a_run_that_meets_an_object_it_cannot_read_fails_and_says_so(
    api: Api, installation: Installation, ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(api, installation, "vacuum-carl")
    done = erase(api, "vacuum-carl")
    objects = S3Objects(installation.client("s3"), installation.outputs["ArchiveBucket"])
    name = f"{next(archive.groups(objects))}/{'0' * 32}"
    objects.put(f"events/{name}.gz", b"no archive")
    try:
        assert main(["archive", "vacuum", "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["error"] == "VacuumIncomplete"
        assert list(objects.list(vacuum.RUNS))
        assert receipt(api, done["id"])["left"] is None
    finally:
        objects.delete([f"events/{name}.gz"])
    assert vacuumed(installation)["unreadable"] == 0
