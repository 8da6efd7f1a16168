"""Consent receipts: what they say, that they say nothing else, and that anybody can check them."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyld import jsonld

from candor import dpv, notice, receipts
from candor.errors import Forbidden, Refused
from candor.policy import Policy
from candor.ports import Key, Put
from candor.profiles import MOST_LISTED
from candor.signatures import fingerprint, pem
from cli import signature
from tests.lint_template import ROOT
from tests.worlds import CRM, NOW, SHIPPED, WEB, Json, Shop, policy, says, sent

ANN = "user_id:42"
OBJECTING = policy(lambda p: p["purposes"]["marketing"].update(basis="legitimate_interest"))
TERMS: Json = json.loads((ROOT / "tests/data/dpv_terms.json").read_text())
CHOOSABLE = ["analytics", "personalization", "marketing", "profiling", "sale_share"]
PERSONAL = {"name": "Ann Canary", "email": "ann-canary@example.com", "phone": "+491701234567"}


def ann(rules: Policy = SHIPPED) -> Shop:
    """A shop with Ann, who said nothing yet."""
    shop = Shop(rules)
    shop.send(CRM, sent("identify", "i", 9000, userId="42", anonymousId="d-can", traits=PERSONAL))
    return shop


def written(shop: Shop, *purposes: str, who: str = ANN, id_: str = "id") -> str:
    subject = shop.world.identifiers.pseudonym(shop.id(who).key)
    view = shop.view(who, "privacy_rights")
    return receipts.document(view, subject, id_, purposes or CHOOSABLE)


def record(shop: Shop, purpose: str) -> Json:
    (told,) = json.loads(written(shop, purpose))["dpv:hasRecordOfActivity"]
    assert told["dpv:hasPurpose"]["dct:identifier"] == purpose
    return dict(told)


def state(shop: Shop, purpose: str) -> str:
    status = record(shop, purpose)["dpv:hasStatus"]
    return str((status[0] if isinstance(status, list) else status)["@type"])


def history(shop: Shop, purpose: str) -> list[str]:
    return [one["@type"].removeprefix("dpv:Consent") for one in events(shop, purpose)]


def events(shop: Shop, purpose: str) -> list[Json]:
    return list(record(shop, purpose)["dpv:hasConsentStatus"])


def issued(shop: Shop, only: str | None = None) -> dict[str, str]:
    return receipts.issue(shop.view(ANN, "privacy_rights"), "subject", shop.signer, only)


# What it says.


def test_it_tells_of_every_choice_from_the_first_to_the_last() -> None:
    shop = ann()
    assert (state(shop, "marketing"), history(shop, "marketing")) == ("dpv:ConsentUnknown", [])
    shop.choose(ANN, {"marketing": False}, ago=300)
    assert (state(shop, "marketing"), history(shop, "marketing")) == (
        "dpv:ConsentRefused",
        ["Refused"],
    )
    shop.choose(ANN, {"marketing": True}, ago=200)
    assert state(shop, "marketing") == "dpv:ConsentGiven"
    shop.choose(ANN, {"marketing": False}, ago=100)
    assert state(shop, "marketing") == "dpv:ConsentWithdrawn"
    shop.choose(ANN, {"marketing": False}, ago=50)
    assert state(shop, "marketing") == "dpv:ConsentWithdrawn", "it was, whoever says it again"
    assert history(shop, "marketing") == ["Refused", "Given", "Withdrawn", "Withdrawn"]
    assert history(shop, "profiling") == []


def test_an_event_says_when_how_for_what_and_under_which_policy() -> None:
    shop = ann()
    shop.choose(ANN, {"marketing": True}, ago=200, evidence={"form": "canary"})
    (event,) = events(shop, "marketing")
    assert event["dpv:isIndicatedAtTime"] == "2026-09-21T14:10:00Z"
    assert event["dpv:hasIndicationMethod"] == "preference_center"
    assert event["dpv:hasScope"]["rdf:value"] == "everything about the person"
    assert event["dpv:hasNotice"] == [{"@type": "dpv:PrivacyNotice", "dcat:version": SHIPPED.hash}]
    assert event["dpv:hasDuration"]["@type"] == "dpv:UntilEventDuration"


def test_a_text_that_was_shown_is_told_by_its_language_and_version() -> None:
    shop = ann()
    shop.choose(ANN, {"marketing": True})
    (row,) = [row for row in shop.rows.held("graph") if row["sk"].startswith("CONSENT#")]
    key = Key("graph", row["pk"], row["sk"])
    fields = {name: row[name] for name in row if name not in ("pk", "sk")}
    shop.rows.commit(Put(key, fields | {"language": "de", "text_version": "2026-03"}))
    (event,) = events(shop, "marketing")
    shown = {"@type": "dpv:ConsentNotice", "dct:language": "de", "dcat:version": "2026-03"}
    assert shown in event["dpv:hasNotice"]


def test_what_a_guardian_granted_is_told_as_theirs() -> None:
    shop = ann()
    shop.choose(ANN, {"marketing": True}, guardian=True)

    (event,) = events(shop, "marketing")

    assert event["dpv:isIndicatedBy"] == {"@type": "dpv:GuardianOfDataSubject"}


def test_a_device_withdraws_what_it_granted_and_refuses_what_another_did() -> None:
    shop = ann()
    others = {"userId": "42", "anonymousId": "other"}
    shop.send(CRM, sent("identify", "j", 8000, **others))
    said = [("d-can", True), ("other", False), ("other", True), ("d-can", False)]
    for n, (device, granted) in enumerate(said):
        shop.clock.advance(150)
        context = says(analytics=granted)
        shop.send(WEB, sent("page", f"p{n}", -150 * n - 150, anonymousId=device, context=context))
    assert history(shop, "analytics") == ["Given", "Refused", "Given", "Withdrawn"]
    assert {one["dpv:hasScope"]["rdf:value"] for one in events(shop, "analytics")} == {
        "what this device sends"
    }


def test_a_choice_that_names_two_identifiers_is_told_once() -> None:
    shop = ann()
    for granted, ago in ((True, 300), (False, 200)):
        shop.choose((ANN, "anonymous_id:d-can"), {"marketing": granted}, ago=ago)
    rows = [row for row in shop.rows.held("graph") if row["sk"].startswith("CONSENT#")]
    assert len(rows) == 3, "the denial is on record at both"
    assert history(shop, "marketing") == ["Given", "Withdrawn"]


def test_a_denial_by_the_person_withdraws_what_a_device_granted() -> None:
    shop = ann()
    shop.send(WEB, sent("page", "p", 900, anonymousId="d-can", context=says(analytics=True)))
    shop.choose(ANN, {"analytics": False}, ago=300)
    assert history(shop, "analytics") == ["Given", "Withdrawn"]
    assert state(shop, "analytics") == "dpv:ConsentWithdrawn"


def test_an_objection_to_a_legitimate_interest_is_no_withdrawn_consent() -> None:
    shop = ann(OBJECTING)
    assert state(shop, "marketing") == "dpv:LegitimateInterestNotObjected"
    shop.choose(ANN, {"marketing": False}, ago=10, mechanism="objection")
    told = record(shop, "marketing")
    assert told["dpv:hasLegalBasis"] == "eu-gdpr:A6-1-f"
    assert "dpv:hasConsentStatus" not in told
    now, objection = told["dpv:hasStatus"]
    assert now["@type"] == objection["@type"] == "dpv:LegitimateInterestObjected"
    assert objection["dpv:hasIndicationMethod"] == "objection"


def test_it_names_what_is_kept_for_a_purpose_and_how_long() -> None:
    told = record(ann(), "marketing")
    kept = {
        one["dct:identifier"]: (process["dpv:hasStorageCondition"], one)
        for process in told["dpv:hasProcess"]
        for one in process["dpv:hasPersonalData"]
    }
    for section in ("identifiers", "traits", "events"):
        rules = SHIPPED.document[section]
        wanted = {f"{section}.{name}" for name in rules if "marketing" in rules[name]["purposes"]}
        assert {name for name in kept if name.startswith(f"{section}.")} == wanted
        for name in wanted:
            days = SHIPPED.retention[rules[name.partition(".")[2]]["retention"]]
            assert kept[name][0]["dpv:hasDuration"]["rdf:value"]["@value"] == f"P{days}D"
    assert kept["traits.birthday"][1]["skos:broader"] == "pd:BirthDate"
    assert "skos:broader" not in kept["traits.loyalty_tier"][1]
    assert kept["context.ip"][1]["skos:broader"] == "pd:IPAddress"


def test_what_the_policy_drops_or_calls_special_is_told_so() -> None:
    def change(compiled: Json) -> None:
        compiled["minimise"]["ip"] = "drop"
        compiled["traits"]["gender"]["sensitivity"] = "special"

    told = json.dumps(record(ann(policy(change)), "personalization"))
    assert "context.userAgent" in told
    assert "context.ip" not in told
    assert told.count("SpecialCategoryPersonalData") == 1


def test_it_names_the_controller_the_rights_and_the_way_back() -> None:
    told = json.loads(written(ann()))
    assert told["dpv:hasDataController"]["dpv:hasName"] == "Example Shop"
    assert told["dpv:hasConsentControl"]["dpv:isExercisedAt"] == "privacy@example.com"
    assert [one["dct:title"] for one in told["dpv:hasRight"]] == list(notice.RIGHTS)
    assert told["dpv:hasNotice"]["dcat:version"] == SHIPPED.hash
    assert dpv.RIGHTS.keys() == notice.RIGHTS.keys()
    for title, term in dpv.RIGHTS.items():
        number = term.removeprefix("eu-gdpr:A").partition("-")[0]
        assert f"Article {number}" in notice.RIGHTS[title]


def test_of_very_many_choices_the_newest_are_told_and_the_rest_counted() -> None:
    shop = ann()
    shop.choose(ANN, {"marketing": True}, ago=9000)
    (row,) = [row for row in shop.rows.held("graph") if row["sk"].startswith("CONSENT#")]
    fields = {name: row[name] for name in row if name not in ("pk", "sk")}
    for n in range(MOST_LISTED):
        at = int(NOW) - n
        told = fields | {"at": at, "granted": n % 2 == 0}
        shop.rows.commit(Put(Key("graph", row["pk"], f"CONSENT#{at:011d}#{n}"), told))
    told = record(shop, "marketing")
    assert len(told["dpv:hasConsentStatus"]) == MOST_LISTED
    assert told["dpv:hasConsentStatus"][-1]["dpv:isIndicatedAtTime"] == "2026-09-21T14:13:20Z"
    assert told["dct:extent"] == f"the newest {MOST_LISTED} of {MOST_LISTED + 1} choices"


# What it does not say.


def test_it_holds_no_identifier_and_no_value() -> None:
    shop = ann()
    shop.choose(ANN, {"marketing": True}, evidence={"form": "canary"})
    text = written(shop).lower()
    assert not [one for one in ("canary", "1701234567", "d-can", ANN, '"42"') if one in text]
    assert shop.view(ANN).profile.id.lower() not in text
    assert shop.id(ANN).key.lower() not in text


def test_it_is_the_same_text_for_the_same_facts_and_ascii() -> None:
    umlaut = policy(lambda compiled: compiled.update(organization="Käse & Brot"))
    shop = ann(umlaut)
    shop.choose(ANN, {"marketing": True}, ago=60)
    shop.choose(ANN, {"marketing": False, "analytics": True}, ago=60)
    text = written(shop)
    assert text == written(shop)
    assert text.isascii()
    assert json.loads(text)["dpv:hasDataController"]["dpv:hasName"] == "Käse & Brot"
    assert written(shop, who="email:ann-canary@example.com") != text, "named as it was asked for"


def test_it_is_given_out_only_to_who_sees_everything() -> None:
    shop = ann()
    with pytest.raises(Forbidden):
        receipts.issue(shop.view(ANN, "marketing"), "subject", shop.signer)


@pytest.mark.parametrize(("only", "code"), [("service", "not_a_choice"), ("x", "unknown_purpose")])
def test_there_is_none_of_what_nobody_chooses(only: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        issued(ann(), only)
    assert refused.value.code == code
    assert receipts.choosable(SHIPPED, None) == CHOOSABLE


# JSON-LD.


def shops() -> Iterator[Shop]:
    for rules in (SHIPPED, OBJECTING):
        shop = ann(rules)
        yield shop
        shop.choose(ANN, {"marketing": True, "analytics": True}, ago=300)
        shop.choose(ANN, {"marketing": False}, ago=200)
        shop.send(WEB, sent("page", "p", 90, anonymousId="d-can", context=says(analytics=False)))
        yield shop


@pytest.mark.parametrize("n", range(4))
def test_every_name_in_it_means_something_without_asking_anybody(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(written(list(shops())[n]))
    monkeypatch.setattr(jsonld, "load_document", refused_to_load)
    (expanded,) = jsonld.expand(document)
    assert sorted(names_in(document)) == sorted(names_in(expanded)), "nothing was dropped"
    spaces = {prefix: iri for prefix, iri in dpv.CONTEXT.items() if isinstance(iri, str)}
    known = {spaces[space] + term for space in spaces for term in TERMS.get(space, ())}
    xsd = {spaces["xsd"] + type_ for type_ in ("dateTime", "duration")}
    used = iris_in(expanded)
    assert used - known - xsd == set(), "a term that no vocabulary has"
    assert {one for one in used if one.startswith(spaces["pd"])}


def test_its_graph_says_whose_choice_of_whom_it_is() -> None:
    shop = ann()
    shop.choose(ANN, {"marketing": True})
    text = jsonld.normalize(
        json.loads(written(shop, "marketing", id_="9b2e")),
        {"algorithm": "URDNA2015", "format": "application/n-quads"},
    )
    triples = [line.removesuffix(" .").split(" ", 2) for line in text.splitlines()]

    def objects(subject: str, term: str) -> list[str]:
        return [o for s, p, o in triples if s == subject and p == f"<{term}>"]

    receipt, dpv_, dct = "<urn:uuid:9b2e>", dpv.CONTEXT["dpv"], dpv.CONTEXT["dct"]
    (controller,) = objects(receipt, f"{dpv_}hasDataController")
    assert objects(controller, f"{dpv_}hasName") == ['"Example Shop"']
    assert objects(receipt, f"{dct}publisher") == [controller]
    (told,) = objects(receipt, f"{dpv_}hasRecordOfActivity")
    (given_,) = objects(told, f"{dpv_}hasConsentStatus")
    assert objects(given_, f"{dpv_}isIndicatedBy") == objects(receipt, f"{dpv_}hasDataSubject")
    (at,) = objects(given_, f"{dpv_}isIndicatedAtTime")
    assert at == '"2026-09-21T14:13:20Z"^^<http://www.w3.org/2001/XMLSchema#dateTime>'
    assert objects(told, f"{dpv_}hasLegalBasis") == [f"<{dpv.CONTEXT['eu-gdpr']}A6-1-a>"]


def refused_to_load(*_: Any, **__: Any) -> None:
    raise AssertionError("it asks for a document")


def names_in(node: Any) -> Iterator[str]:
    """The local names of all properties that are no keywords."""
    if isinstance(node, list):
        for one in node:
            yield from names_in(one)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "@context":
                continue
            if not name.startswith("@"):
                yield name.replace("#", ":").replace("/", ":").rpartition(":")[2]
            yield from names_in(value)


def iris_in(node: Any) -> set[str]:
    """Of an expanded document: every property, type and value that is an IRI of a vocabulary."""
    if isinstance(node, list):
        return {iri for one in node for iri in iris_in(one)}
    if not isinstance(node, dict):
        return set()
    found = {name for name in node if not name.startswith("@")}
    types = node.get("@type", [])
    found |= {types} if isinstance(types, str) else set(types)
    id_ = node.get("@id", "_:")
    found |= set() if id_.startswith(("_:", "urn:uuid:")) else {id_}
    return found.union(*(iris_in(value) for value in node.values()))


# The signature.


def test_its_signature_fits_it_and_no_other_key() -> None:
    shop, other = ann(), Shop()
    signed = issued(shop)
    key = shop.signer.public_key()
    assert signature.verify(signed, key).finding == "valid"
    assert signature.verify(signed, other.signer.public_key()).finding == "other_key"
    lying = signed | {"key_sha256": fingerprint(other.signer.public_key())}
    assert signature.verify(lying, other.signer.public_key()).finding == "altered"
    assert signature.verify(lying, key).finding == "other_key"
    assert signature.public_key(pem(key).encode()) == key


def test_each_has_an_id_of_its_own() -> None:
    shop = ann()
    ids = {json.loads(issued(shop)["document"])["dct:identifier"] for _ in range(3)}
    assert len(ids) == 3


SHOP = ann()
SIGNED = issued(SHOP, "marketing")
KEY = SHOP.signer.public_key()


def test_every_character_of_its_document_counts() -> None:
    document = SIGNED["document"]
    for place, old in enumerate(document):
        new = chr(ord(old) ^ 1)
        changed = SIGNED | {"document": document[:place] + new + document[place + 1 :]}
        assert signature.verify(changed, KEY).finding == "altered", place
    for changed_ in (document[:-1], document + "\n", document.replace("\n", "\r\n"), ""):
        assert signature.verify(SIGNED | {"document": changed_}, KEY).finding == "altered"


def test_every_bit_of_its_signature_counts() -> None:
    text = SIGNED["signature"]
    made = base64.b64decode(text)
    for place in range(len(made) * 8):
        flipped = bytearray(made)
        flipped[place // 8] ^= 1 << place % 8
        changed = SIGNED | {"signature": base64.b64encode(flipped).decode()}
        assert signature.verify(changed, KEY).finding == "altered"
    for place, old in enumerate(text):
        for bit in range(7):
            new = text[:place] + chr(ord(old) ^ 1 << bit) + text[place + 1 :]
            assert not signature.verify(SIGNED | {"signature": new}, KEY).good, (place, bit)


def test_a_signature_is_written_in_one_way() -> None:
    signed = issued(SHOP, "marketing")
    while not signed["signature"].endswith("="):  # as two of three lengths do
        signed = issued(SHOP, "marketing")
    text = signed["signature"].rstrip("=")
    padding = signed["signature"].removeprefix(text)
    again = text[:-1] + chr(ord(text[-1]) + 1) + padding
    assert base64.b64decode(again, validate=True) == base64.b64decode(signed["signature"])
    assert signature.verify(signed, KEY).good
    assert signature.verify(signed | {"signature": again}, KEY).finding == "malformed"


FILE = json.dumps(SIGNED, indent=1).encode()


@given(place=st.integers(0, len(FILE) - 1), bit=st.integers(0, 7))
def test_a_file_with_a_flipped_bit_is_refused_or_says_the_same(place: int, bit: int) -> None:
    damaged = bytearray(FILE)
    damaged[place] ^= 1 << bit
    try:
        found = signature.read(bytes(damaged))
    except signature.Malformed:
        return
    if signature.verify(found, KEY).good:
        assert (found["document"], found["signature"]) == (SIGNED["document"], SIGNED["signature"])


@pytest.mark.parametrize(
    "change",
    [
        lambda signed: {},
        lambda signed: {"document": signed["document"]},
        lambda signed: signed | {"document": json.loads(signed["document"])},
        lambda signed: signed | {"document": "\ud800"},
        lambda signed: signed | {"signature": None},
        lambda signed: signed | {"signature": signed["signature"] + "\n"},
        lambda signed: signed | {"signature": "ü"},
    ],
)
def test_what_is_no_signed_document_is_malformed(change: Callable[[Json], Json]) -> None:
    assert signature.verify(change(dict(SIGNED)), KEY).finding == "malformed"


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"{", b"[" * 100_000, b'{"document": "a", "document": "b"}']
)
def test_what_is_no_json_object_is_malformed(data: bytes) -> None:
    with pytest.raises(signature.Malformed):
        signature.read(data)
