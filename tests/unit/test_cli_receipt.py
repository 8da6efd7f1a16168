"""`candor receipt`: saved for the person alone, and checked by anybody without asking anyone."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from candor import receipts
from candor.signatures import pem, signed
from cli.api import Api
from cli.main import main
from cli.target import ROOT, load_stack
from tests.unit.test_cli_hostile import EVIL, OBEYED
from tests.worlds import CRM, Shop, order

Json = dict[str, Any]
ANN = "user_id:canary-42"
PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture(scope="module")
def shop() -> Shop:
    made = Shop()
    made.send(CRM, order("o", userId="canary-42"))
    made.choose(ANN, {"marketing": True})
    return made


@pytest.fixture(scope="module")
def issued(shop: Shop) -> Json:
    view = shop.view(ANN, "privacy_rights")
    subject = shop.world.identifiers.pseudonym(shop.id(ANN).key)
    return {**receipts.issue(view, subject, shop.signer, "marketing")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop: Shop, issued: Json) -> Path:
    """A folder with a receipt and the key for it, and a stack to ask."""
    (tmp_path / "receipt.json").write_text(json.dumps(issued))
    (tmp_path / "key.pem").write_text(pem(shop.signer.public_key()))
    stack = {"api_url": "http://127.0.0.1:1", "tokens": {"dpo": "tk"}, "outputs": {}}
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    monkeypatch.setattr(load_stack, "__defaults__", (tmp_path,))
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, issued: Json) -> list[Any]:
    """The calls of the API, which answers with the receipt."""
    made: list[Any] = []

    def answer(_: Api, *call: Any) -> tuple[int, bytes, str]:
        made.append(call)
        return 200, json.dumps(issued).encode(), ""

    monkeypatch.setattr(Api, "_ask", answer)
    return made


def check(file: str = "receipt.json", key: str = "key.pem") -> int:
    return main(["receipt", "verify", file, "--key", key])


# Checking.


def test_a_receipt_is_checked_with_two_files_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "stack.json").unlink()
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("it asks somebody"))
    assert check() == 0
    said = capsys.readouterr().out
    assert "valid: " in said
    assert re.search(r"marketing +consent given +granted by the person on 2026-09-21", said)
    assert "Example Shop" in said


def test_checking_loads_nothing_that_could_ask(folder: Path) -> None:
    program = (
        "import sys; from cli.main import main; code = main(sys.argv[1:]); "
        "print(sorted({'boto3', 'urllib3', 'cli.api'} & sys.modules.keys())); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "receipt", "verify", "receipt.json", "--key", "key.pem"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("change", "code", "verdict"),
    [
        (lambda one: {"document": one["document"].replace("granted", "refused", 1)}, 3, "altered"),
        (lambda one: {"document": one["document"].replace("Given", "Refused")}, 3, "altered"),
        (lambda one: {"key_sha256": "0" * 64}, 4, "other key"),
        (lambda one: {"signature": "?"}, 5, "malformed"),
        (lambda one: {"document": 1}, 5, "malformed"),
        (lambda one: {"key_id": "another name for it"}, 0, "valid"),
    ],
)
def test_each_verdict_has_its_exit_code(
    change: Any, code: int, verdict: str, issued: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("changed.json").write_text(json.dumps(issued | change(issued)))
    assert main(["receipt", "verify", "changed.json", "--key", "key.pem", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"].replace("_", " ") == verdict
    assert bool(told["document"]) == (code == 0), "what is not valid is not told as if it were"
    assert check("changed.json") == code
    assert f"{verdict}: " in capsys.readouterr().out


def test_another_key_is_told_from_a_changed_text() -> None:
    Path("other.pem").write_text(pem(Shop().signer.public_key()))
    assert check(key="other.pem") == 4


def test_what_the_key_signed_besides_is_no_receipt(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = signed('{"type": "candor/erasure-certificate/1"}', shop.signer)
    Path("certificate.json").write_text(json.dumps(certificate))
    assert check("certificate.json") == 5
    assert "no consent receipt" in capsys.readouterr().out


def test_a_file_that_is_none_is_malformed() -> None:
    Path("cut.json").write_bytes(Path("receipt.json").read_bytes()[:-1])
    assert check("cut.json") == 5


def test_what_is_no_such_key_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    keys: dict[str, Any] = {
        "rsa.pem": rsa.generate_private_key(65537, 2048).public_key(),
        "p384.pem": ec.generate_private_key(ec.SECP384R1()).public_key(),
    }
    for name, key in keys.items():
        Path(name).write_bytes(key.public_bytes(serialization.Encoding.PEM, PUBLIC))
    for name in (*keys, "receipt.json", "absent.pem"):
        assert check(key=name) == 1
        assert capsys.readouterr().err.startswith(f"✗ {name} cannot be ")


def test_a_hostile_receipt_is_shown_as_it_is(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": {"dct:identifier": receipts.SCHEMA},
        "dct:created": EVIL,
        "dpv:hasDataController": {"dpv:hasName": EVIL},
        "dpv:hasRecordOfActivity": [
            {"dpv:hasStatus": {"@type": EVIL, "dct:description": EVIL}, "dpv:hasPurpose": EVIL},
            {"dpv:hasStatus": [EVIL, {}], "dpv:hasPurpose": {"dct:identifier": EVIL}},
            EVIL,
        ],
    }
    Path("evil.json").write_text(json.dumps(signed(json.dumps(told), shop.signer)))
    assert check("evil.json") == 0
    said = "".join(capsys.readouterr())
    assert "[/x][bold red]b[link=https://evil.example]c :smile:" in said
    assert not OBEYED.search(said)


# With what everybody has.


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl here")
def test_openssl_checks_it_as_the_documentation_says(issued: Json, folder: Path) -> None:
    text = (ROOT / "docs" / "consent-receipts.md").read_text()
    (script,) = re.findall(r"```sh\n(python3 .*?)```", text, re.DOTALL)

    def run() -> str:
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert run().endswith("Verified OK\n")
    changed = issued | {"document": issued["document"].replace("Given", "Refused")}
    Path("receipt.json").write_text(json.dumps(changed))
    assert "Verification failure" in run()


# Saving.


def test_it_is_saved_for_its_owner_under_a_name_that_names_nobody(
    folder: Path, calls: list[Any], issued: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["receipt", "download", ANN]) == 0
    ((method, path, headers, body),) = calls
    assert (method, body) == ("GET", None)
    assert path == "/profiles/user_id:canary-42/consents/receipt"
    assert headers["X-Purpose"] == "privacy_rights"
    (saved,) = folder.glob("consent-receipt-*.json")
    assert "canary" not in saved.name
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert json.loads(saved.read_text()) == issued
    assert "canary" not in saved.read_text()
    assert check(saved.name) == 0


def test_one_purpose_can_be_asked_for(calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["receipt", "download", ANN, "--only", "marketing", "--out", "it.json", "--json"]
    assert main(words) == 0
    assert calls[0][1].endswith("/consents/receipt?purpose=marketing")
    assert json.loads(capsys.readouterr().out)["file"] == "it.json"


def test_nothing_is_overwritten(
    calls: list[Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["receipt", "download", ANN, "--out", "it.json"]
    assert main(words) == 0
    assert main(words) == 0, "the same again is the same"
    Path("it.json").write_text("mine")
    assert main(words) == 1
    assert Path("it.json").read_text() == "mine"
    Path("it.json").unlink()
    Path("it.json").symlink_to(folder / "elsewhere")
    assert main(words) == 1
    assert not Path("elsewhere").exists()
    assert main(["receipt", "download", ANN, "--out", "no/such/folder.json"]) == 1
    assert "canary" not in "".join(capsys.readouterr().err)


@pytest.mark.parametrize("id_", ["../../etc/passwd", "", EVIL, "-" * 37])
def test_an_id_never_becomes_another_file(
    id_: str, folder: Path, monkeypatch: pytest.MonkeyPatch, issued: Json
) -> None:
    document = json.loads(issued["document"]) | {"dct:identifier": id_}
    answer = json.dumps(issued | {"document": json.dumps(document)}).encode()
    monkeypatch.setattr(Api, "_ask", lambda *_: (200, answer, ""))
    assert main(["receipt", "download", ANN]) == 0
    assert (folder / "consent-receipt-without-id.json").exists()


# The key.


def test_the_key_is_told_as_openssl_reads_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Path("key.pem").read_text()
    monkeypatch.setattr(Api, "_ask", lambda *_: (200, key.encode(), ""))
    assert main(["receipt", "key"]) == 0
    assert capsys.readouterr().out == key
    assert main(["receipt", "key", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"public_key": key}


@pytest.mark.parametrize("answer", [(200, b"<html>Log in</html>"), (503, b"{}"), (404, b"")])
def test_what_is_no_key_is_not_told_as_one(
    answer: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Api, "_ask", lambda *_: (*answer, ""))
    assert main(["receipt", "key"]) == 1
    assert capsys.readouterr().out == ""
