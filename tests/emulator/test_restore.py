"""Tables that were restored to an earlier time, on a deployed stack: the replay may do all that it
has to."""

import json
from functools import partial
from typing import Any

import pytest

from cli import restore
from cli.api import Api, profile_path
from cli.main import main
from tests.emulator.conftest import await_true
from tests.emulator.installation import Installation
from tests.emulator.people import idkey
from tests.emulator.reading import await_unified, left, profile, readable
from tests.emulator.test_dlq import buy, erase, orders

Json = dict[str, Any]
TABLES = ("Keys", "Graph", "Events")
ANN, BOB = ("user_id", "restored-ann"), ("user_id", "restored-bob")


def theirs(installation: Installation, idkeys: set[str]) -> dict[tuple[str, str, str], Json]:
    """The items of these people as DynamoDB writes them, by table and key."""
    found = {}
    for table in TABLES:
        pages = installation.client("dynamodb").get_paginator("scan")
        name = installation.outputs[f"{table}Table"]
        for page in pages.paginate(TableName=name, ConsistentRead=True):
            for item in page["Items"]:
                pk, members = item["pk"]["S"], item.get("members", {}).get("M", {})
                if pk.removeprefix("I#") in idkeys or idkeys & members.keys():
                    found[name, pk, item.get("sk", {}).get("S", "")] = item
    return found


def restored(installation: Installation, idkeys: set[str], saved: dict[Any, Json]) -> None:
    rows = installation.client("dynamodb")
    for name, pk, sk in theirs(installation, idkeys).keys() - saved.keys():
        key = {"pk": {"S": pk}} | ({"sk": {"S": sk}} if sk else {})
        rows.delete_item(TableName=name, Key=key)
    for (name, _, _), item in saved.items():
        rows.put_item(TableName=name, Item=item)


def asks(api: Api, type_: str, **more: Any) -> Json:
    subject = dict(zip(("type", "value"), BOB, strict=True))
    body = {"type": type_, "subject": subject, "verified_by": "a test", **more}
    found: Json = api.staff("dpo", "POST", "/privacy/requests", body)
    return found


def test_a_replay_erases_and_restricts_again_who_came_back_with_a_backup(
    api: Api,
    installation: Installation,
    stack: Json,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(restore, "load_stack", lambda *_: stack)
    for _, user in (ANN, BOB):
        buy(api, user, f"{user}-order")
        await_true("it is read", partial(orders, api, user))
    await_unified(installation)
    idkeys = {who: idkey(installation.hmac_secret, *who) for who in (ANN, BOB)}
    saved = theirs(installation, {*idkeys.values()})
    assert erase(api, ANN[1])["status"] == "completed"
    assert asks(api, "objection", purposes=["marketing"])["status"] == "completed"
    assert asks(api, "restriction")["status"] == "running"

    restored(installation, {*idkeys.values()}, saved)
    assert readable(api, ANN)
    assert orders(api, BOB[1])

    capsys.readouterr()
    for came_back in (1, 0):
        assert main(["restore", "replay", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["again"] == came_back
        assert profile(api, ANN) is None
        assert left(installation, [idkeys[ANN]]) == []
        assert not orders(api, BOB[1])
        assert readable(api, BOB)
        path = f"{profile_path(':'.join(BOB))}/consents"
        told = api.staff("dpo", "GET", path, purpose="privacy_rights")
        assert told["purposes"]["marketing"]["state"] == "denied"
