"""Two people who became one at a shared tablet are told apart again, by commands alone."""

import json
import stat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cli import identity
from cli.api import Answered, Api
from cli.main import main
from tests.emulator.conftest import await_true

Json = dict[str, Any]
ANN, BOB, TABLET = "user_id:shared-ann", "email:shared-bob@example.com", "anonymous_id:shared-tab"
BY_BOB = {"context": {"traits": {"email": BOB.partition(":")[2]}}}


def candor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Json]:
    """A command's exit code and answer."""
    capsys.readouterr()
    code = main(["identity", *words, "--json"])
    answer: Json = json.loads(capsys.readouterr().out)
    return code, answer


def buy(api: Api, order: str, **who: Any) -> None:
    properties = {"order_id": order, "total": 9}
    sent = {"event": "Order Completed", "properties": properties, "messageId": f"{order}-message"}
    api.collect("server", "/track", sent | who)


def known(api: Api, who: str) -> set[str]:
    """All the identifiers of a person's profile."""
    try:
        found = api.staff("dpo", "GET", f"/profiles/{who}/identifiers")
    except Answered as refused:
        if refused.status != 404:
            raise
        return set()
    return {f"{one['type']}:{one['value']}" for one in found["data"]}


def orders(api: Api, who: str) -> set[str]:
    found = api.staff("dpo", "GET", f"/profiles/{who}/events")
    return {event["properties"].get("order_id") for event in found["data"]}


def refused(capsys: pytest.CaptureFixture[str], rule: str) -> set[str]:
    """The sources whose links a rule refused."""
    _, told = candor(capsys, "stats")
    sources = {one["rule"]: one["sources"] for one in told["refused"]}
    return {one["name"] for one in sources.get(rule, ())}


def test_two_people_at_one_tablet_are_separated_and_stay_so_until_it_is_lifted(
    api: Api,
    stack: Json,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(identity, "load_stack", lambda *_: stack)
    ann, tablet = ANN.partition(":")[2], TABLET.partition(":")[2]
    api.collect("client", "/identify", {"userId": ann, "anonymousId": tablet, "messageId": "sa-1"})
    await_true("Ann is at the tablet", lambda: known(api, ANN) == {ANN, TABLET})
    buy(api, "shared-1", anonymousId=tablet, **BY_BOB)
    await_true("Bob is taken for Ann", lambda: known(api, ANN) == {ANN, TABLET, BOB})

    code, told = candor(capsys, "why", ANN, BOB)
    assert (code, told["together"]) == (0, True)
    assert [step["b"]["value"] for step in told["chain"]] == [tablet, BOB.partition(":")[2]]
    file = tmp_path / "graph.svg"
    assert candor(capsys, "picture", ANN, "--svg", str(file))[0] == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ET.parse(file).getroot().attrib["role"] == "img"  # noqa: S314

    split = ("split", ANN, BOB, "--reason", "two people at one till")
    code, told = candor(capsys, *split)
    assert code == 1, "nobody was there to be asked"
    code, told = candor(capsys, *split, "--dry-run")
    parts = {frozenset(one["value"] for one in part["identifiers"]) for part in told["parts"]}
    assert (code, parts) == (0, {frozenset({ann, tablet}), frozenset({BOB.partition(":")[2]})})
    assert known(api, ANN) == {ANN, TABLET, BOB}, "nothing was changed"

    assert candor(capsys, *split, "--yes")[0] == 0
    assert (known(api, ANN), known(api, BOB)) == ({ANN, TABLET}, {BOB})
    _, told = candor(capsys, "why", ANN, BOB)
    assert told["together"] is False
    assert "A person separated them on" in told["because"]

    buy(api, "shared-2", userId=ann, **BY_BOB)
    await_true("what they bought together is stored", lambda: "shared-2" in orders(api, ANN))
    assert (known(api, ANN), known(api, BOB)) == ({ANN, TABLET}, {BOB})
    await_true("the refusal is counted", lambda: "shop server" in refused(capsys, "separated"))

    assert candor(capsys, "split", ANN, BOB, "--lift")[0] == 0
    assert known(api, BOB) == {BOB}, "it is for evidence to join them"
    buy(api, "shared-3", userId=ann, **BY_BOB)
    await_true("they are one again", lambda: known(api, BOB) == {ANN, TABLET, BOB})
