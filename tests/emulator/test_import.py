"""`candor import` against the deployed stack, twice."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from cli import importing
from cli.api import Api
from cli.main import main
from cli.target import ROOT
from tests.emulator.conftest import await_true
from tests.emulator.reading import profile

Json = dict[str, Any]
SAMPLES = ROOT / "events" / "imports"


def test_a_file_is_imported_once_however_often(
    api: Api,
    stack: Json,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importing, "load_stack", lambda *_: stack)
    monkeypatch.setattr(importing, "LOCAL", tmp_path)
    begin = f"i{uuid.uuid4().hex[:10]}-"
    text = (SAMPLES / "orders.ndjson").read_text().replace('"900', f'"{begin}900')
    text = text.replace("ann@", f"{begin}@").replace("2026-01-1", "2026-10-1")
    path = tmp_path / "orders.ndjson"
    marker = {"type": "track", "event": "Signed In", "userId": f"{begin}9001"}
    for name in ("first", "second"):
        happened = marker | {"messageId": begin + name, "timestamp": "2026-10-12T10:00:00Z"}
        path.write_text(text + json.dumps(happened) + "\n")
        assert main(["import", str(path), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["events"], told["rejected_lines"]) == (3, 3)

        def arrived(id_: str = begin + name) -> Json | None:
            found = profile(api, ("user_id", f"{begin}9001"))
            ids = [one["messageId"] for one in found["events"]["data"]] if found else []
            return found if id_ in ids else None

        found = await_true(f"the {name} import is unified", arrived)
        orders = [one for one in found["events"]["data"] if one["event"] == "Order Completed"]
        assert [one["properties"]["order_id"] for one in orders] == ["1001"]
        assert found["traits"]["plan"] == "gold"
