"""`candor privacy`, `hold`, `fence` and `certificate`, against the served API."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from candor import erasure
from candor.policy import ErasureRule
from candor.signatures import pem, signed
from cli import openapi, privacy
from cli.api import Api
from cli.main import main
from functions.privacy import privacy_function
from tests.described import Caller
from tests.served import Served
from tests.worlds import CRM, Shop, order, sent

MAIL = "email:ann@example.com"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Behind the command line."""
    served = Served(monkeypatch)
    call = Caller(served, json.loads(openapi.OUT.read_text()))
    tokens = {"dpo": served.token("dpo")}

    def staff(_: Api, role: str, method: str, path: str, body: Any = None, **__: Any) -> Any:
        return call(method, unquote(path), body, key=tokens[role], status=None)

    monkeypatch.setattr(Api, "staff", staff)
    monkeypatch.setattr(privacy, "load_stack", lambda *_: {"api_url": "http://x"})
    served.shop.send(
        CRM, sent("identify", "i", userId="42", traits={"email": "ann@example.com", "name": "Anm"})
    )
    served.shop.send(CRM, order("o", userId="42"))
    served.shop.clock.advance(1)
    return served.shop


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_trait_is_corrected(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "privacy", "rectify", MAIL, "name=Ann", "age:=7")
    assert told["status"] == "completed"
    traits = shop.view(MAIL, "privacy_rights").traits()
    assert (traits["name"], traits["age"]) == ("Ann", 7)
    for wrong in ("name", "=x", "age:=no"):
        assert main(["privacy", "rectify", MAIL, wrong]) == 1


def test_a_restriction_is_made_and_lifted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    id_ = said(capsys, "privacy", "restrict", MAIL)["id"]
    assert not shop.view(MAIL).may("service").allowed
    assert said(capsys, "privacy", "cancel", id_)["status"] == "completed"
    assert shop.view(MAIL).may("service").allowed


def test_a_hold_lets_an_erasure_wait(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--reason", "a court", "--until", "2100-01-01")
    hold = said(capsys, "hold", "place", MAIL, *words)
    asked = said(capsys, "privacy", "erase", MAIL)
    assert asked["status"] == "held"
    assert said(capsys, "hold", "list")["data"] == [hold]
    said(capsys, "hold", "release", hold["id"])
    assert said(capsys, "privacy", "status", asked["id"])["status"] == "running"


def test_an_objection_and_a_refusal(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "privacy", "object", MAIL, "marketing")["status"] == "completed"
    assert shop.state(MAIL, "marketing") == "denied"
    id_ = shop.ask(MAIL)["pk"]
    told = said(capsys, "privacy", "refuse", id_, "legal_claims")
    assert (told["status"], told["ground"]) == ("refused", "legal_claims")


def test_a_fence_is_lifted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.erase(MAIL, "erase_and_suppress")
    said(capsys, "fence", "lift", MAIL)
    shop.clock.advance(1)
    assert [one.outcome for one in shop.send(CRM, order("o2", userId="44"))] == ["stored"]


def test_a_certificate_is_checked_by_a_stranger(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    row = shop.request(shop.erase(MAIL))
    file, key = tmp_path / "it.json", tmp_path / "key.pem"
    file.write_text(json.dumps(row["certificate"]))
    key.write_text(pem(shop.signer.public_key()))
    words = ["certificate", "verify", str(file), "--key", str(key)]
    assert said(capsys, *words)["verdict"] == "valid"
    file.write_text(json.dumps(row["certificate"]).replace("erase", "erasE"))
    assert main(words) == 3
    file.write_text(json.dumps(signed("{}", shop.signer)))
    assert main(words) == 5


def test_a_file_of_many_is_erased(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "ids.csv"
    file.write_text('type,value\nemail,ann@example.com\n"user_id","null"\nuser_id:9\n')
    known = tmp_path / "known.csv"
    known.write_text("email:ann@example.com\nuser_id:9\n")
    told = said(capsys, "privacy", "erase", "--file", str(known), "--dry-run")
    assert (told["people"], told["found"]["events"]) == (2, 1)
    assert not shop.rows.held("requests")
    told = said(capsys, "privacy", "erase", "--file", str(file), "--no-wait")
    assert told["statuses"] == {"pending": 2}
    for wrong in ("", "user_id", "user_id,\n", '"'):
        file.write_text(wrong)
        assert main(["privacy", "erase", "--file", str(file)]) == 1
    assert main(["privacy", "erase"]) == 1


def test_a_file_of_many_who_wait_is_not_waited_for(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ids.csv"
    file.write_text("email:ann@example.com\n")
    slow = replace(shop.erasure, policy=replace(shop.policy, erasure=ErasureRule(7, False)))

    def take_up(seconds: float) -> None:
        for row in shop.rows.held("requests"):
            if row["type"] == "erasure":
                erasure.advance(slow, shop.workflow, row["pk"])

    monkeypatch.setattr(time, "sleep", take_up)
    said(capsys, "hold", "list")  # from here on the function has this shop
    privacy_function.wiring.__dict__["erasure"] = slow
    told = said(capsys, "privacy", "erase", "--file", str(file))
    assert told["statuses"] == {"pending": 1}


def test_whoever_has_a_token_of_their_own_acts_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []

    def answer(_: Api, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        sent.append(headers)
        return {}

    monkeypatch.setattr(Api, "_call", answer)
    api = Api({"api_url": "http://x", "tokens": {"dpo": "tk_first"}})
    api.staff("dpo", "GET", "/holds")
    monkeypatch.setenv("CANDOR_TOKEN", "tk_second")
    api.staff("dpo", "GET", "/holds")
    assert [one["Authorization"] for one in sent] == ["Bearer tk_first", "Bearer tk_second"]
