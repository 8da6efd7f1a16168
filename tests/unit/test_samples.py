"""Every sample in events/ does what its function is for, once it holds real keys."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from candor import credentials
from tests.lint_template import ROOT
from tests.served import Served
from tests.worlds import CRM, NOW, order

Json = dict[str, Any]
SAMPLES = {path.stem: path for path in (ROOT / "events").glob("*.json")}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    return Served(monkeypatch)


def sample(name: str, **words: str) -> Json:
    """A sample, with these words replaced."""
    text = SAMPLES[name].read_text()
    for word, value in words.items():
        assert word in text
        text = text.replace(word, value)
    event: Json = json.loads(text)
    return event


def answer(served: Served, function: str, event: Json) -> tuple[int, Json]:
    given = served.invoke(function, event)
    return given["statusCode"], json.loads(given["body"])


def test_each_sample_is_tried_here() -> None:
    tried = Path(__file__).read_text()
    assert [name for name in SAMPLES if f'sample("{name}"' not in tried] == []


def test_a_batch_is_taken_and_told_what_was_stripped(served: Served) -> None:
    event = sample("collect-batch", WRITE_KEY=served.write_key())
    status, body = answer(served, "collect", event)
    assert status == 200
    assert [one["name"] for one in body["stripped"]] == ["properties.gift_note"]
    assert "refused" not in body
    served.unify()
    assert served.shop.read("user_id:42")["traits"]["name"]["value"] == "Ann"
    assert served.shop.event_ids("user_id:42") == ["sample-2"]


def test_a_batch_may_come_as_base64(served: Served) -> None:
    """As API Gateway sends it, to which every media type is binary."""
    event = sample("collect-batch", WRITE_KEY=served.write_key())
    event |= {"body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}
    assert answer(served, "collect", event)[0] == 200
    assert len(served.shop.queue.bodies) == 1


def test_preferences_in_the_words_of_other_tools_are_heard(served: Served) -> None:
    event = sample("collect-preferences", WRITE_KEY=served.write_key("client"))
    status, body = answer(served, "collect", event)
    assert (status, "refused" in body, "stripped" in body) == (200, False, False)
    served.unify()
    assert served.shop.event_ids("anonymous_id:ann-browser", "analytics") == ["sample-3"]
    assert served.shop.state("anonymous_id:bob-browser", "analytics") == "denied"
    assert served.shop.rows.held("events")[0]["n"] == 1
    assert served.shop.state("user_id:42", "marketing") == "denied"


def test_a_choice_by_signals_is_recorded(served: Served) -> None:
    event = sample("api-signals", WRITE_KEY=served.write_key())
    assert answer(served, "api", event) == (200, {"success": True})
    told = served.shop.view("user_id:42", "privacy_rights").consent_records()
    assert {one["purpose"]: (one["granted"], one["mechanism"]) for one in told} == {
        "analytics": (True, "preference_center"),
        "sale_share": (False, "opt_out"),
        "profiling": (False, "opt_out"),
        "marketing": (False, "objection"),
    }


def test_a_dropped_file_is_read(served: Served) -> None:
    spec = {"kind": "source", "name": "CRM", "source": "crm", "trust": "server"}
    source, _ = credentials.issue(served.shop.rows, spec, NOW)
    body = (ROOT / "events/imports/hubspot-contacts.csv").read_bytes()
    key = f"drop/{source}/hubspot_contacts/contacts of may.csv"
    served.drop_bucket.put(key, body)
    part = served.drop_bucket.part(key, 0, 1)
    assert part is not None
    event = sample("drop-created", SOURCE_ID=source, ETAG=part.etag)
    assert served.invoke("collect", event) == {"batchItemFailures": []}
    assert served.drop_bucket.get(key) is None
    served.unify()
    assert served.shop.read("user_id:9001")["traits"]["firstName"]["value"] == "Ann"


def test_a_profile_is_read(served: Served) -> None:
    served.shop.send(CRM, order("o-1", userId="42"))
    status, body = answer(served, "api", sample("api-profile", TOKEN=served.token("analyst")))
    assert status == 200
    assert [event["messageId"] for event in body["events"]["data"]] == ["o-1"]
    (told,) = [json.loads(entry) for entry in served.audit_queue.bodies]
    assert (told["action"], told["purpose"]) == ("profile.read.all", "service")


def test_an_erasure_is_tried_and_changes_nothing(served: Served) -> None:
    served.shop.send(CRM, order("o-1", userId="42"))
    before = served.shop.read("user_id:42")
    status, body = answer(served, "privacy", sample("privacy-dry-run", TOKEN=served.token("dpo")))
    assert status == 200
    assert {one["store"]: one["found"] for one in body["receipts"]}["events"] == 1
    assert served.shop.read("user_id:42") == before


def test_an_entry_of_the_audit_log_is_written_once(served: Served) -> None:
    event = sample("audit-entry")
    for _ in range(2):
        assert served.invoke("audit", event) == {"batchItemFailures": []}
    (entry,) = [
        entry
        for row in served.shop.rows.held("audit")
        if row["pk"] == "main"
        for entry in row["entries"]
    ]
    assert entry == json.loads(event["Records"][0]["body"])


def test_an_inserted_bundle_is_archived(served: Served) -> None:
    assert served.invoke("archive", sample("archive-insert")) is None
    (name,) = [name for name in served.shop.objects.list("") if name.endswith(".gz")]
    assert name.startswith("events/transaction/")


def test_what_has_ended_is_swept(served: Served) -> None:
    served.shop.send(CRM, order("o-1", userId="42"))
    assert served.invoke("sweep", sample("sweep-hourly"))["identifiers"] == 0
    served.shop.clock.advance(NOW)
    assert served.invoke("sweep", sample("sweep-hourly"))["identifiers"] == 1
