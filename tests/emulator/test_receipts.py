"""A receipt on every endpoint: asked for, saved and checked by commands, then by openssl."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli import receipt
from cli.api import Answered, Api
from cli.main import main
from cli.target import load_stack
from tests.emulator.conftest import await_true

Json = dict[str, Any]
CARA = "user_id:receipt-cara"


@pytest.fixture(autouse=True)
def here(stack: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    monkeypatch.setattr(load_stack, "__defaults__", (tmp_path,))
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cara(api: Api) -> str:
    """Somebody who agreed and took it back, and whose browser was asked too."""
    context = {"consent": {"categoryPreferences": {"analytics": True}}}
    page = {"anonymousId": "receipt-browser", "messageId": "receipt-page", "context": context}
    api.collect("client", "/page", page)
    both = {"userId": "receipt-cara", "anonymousId": "receipt-browser"}
    for granted, at in ((True, "2026-03-01T10:00:00Z"), (False, "2026-04-01T10:00:00Z")):
        body = {**both, "purposes": {"marketing": granted}, "timestamp": at}
        api.collect("server", "/consents", body)

    def heard() -> bool:
        found = api.staff("dpo", "GET", f"/profiles/{CARA}/consents")
        return bool(found["purposes"]["analytics"]["state"] == "granted")

    await_true("the browser's signal is on record", heard)
    return CARA


def test_a_receipt_is_downloaded_and_checked_by_its_holder(
    cara: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["receipt", "download", cara]) == 0
    (file,) = Path().glob("consent-receipt-*.json")
    assert "receipt-cara" not in file.name + file.read_text()
    capsys.readouterr()
    assert main(["receipt", "key"]) == 0
    Path("key.pem").write_text(capsys.readouterr().out)

    assert main(["receipt", "verify", str(file), "--key", "key.pem", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    records = {
        one["dpv:hasPurpose"]["dct:identifier"]: one
        for one in told["document"]["dpv:hasRecordOfActivity"]
    }
    said = [
        (one["@type"], one["dpv:isIndicatedAtTime"])
        for one in records["marketing"]["dpv:hasConsentStatus"]
    ]
    assert said == [
        ("dpv:ConsentGiven", "2026-03-01T10:00:00Z"),
        ("dpv:ConsentWithdrawn", "2026-04-01T10:00:00Z"),
    ]
    assert records["analytics"]["dpv:hasStatus"]["@type"] == "dpv:ConsentGiven"

    signed = json.loads(file.read_text())
    if shutil.which("openssl"):
        Path("digest").write_bytes(hashlib.sha256(signed["document"].encode()).digest())
        Path("signature").write_bytes(base64.b64decode(signed["signature"]))
        words = ["dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "digest"]
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
        assert done.stdout == "Verified OK\n"
    changed = signed | {"document": signed["document"].replace("Withdrawn", "Given")}
    Path("changed.json").write_text(json.dumps(changed))
    changed_code = main(["receipt", "verify", "changed.json", "--key", "key.pem"])
    assert changed_code == receipt.CODES["altered"]


def test_a_receipt_is_not_for_who_reads_for_marketing(api: Api, cara: str) -> None:
    path = f"/profiles/{cara}/consents/receipt"
    with pytest.raises(Answered) as refused:
        api.staff("marketer", "GET", path, purpose="marketing")
    assert (refused.value.status, refused.value.code) == (403, "needs_whole_view")
