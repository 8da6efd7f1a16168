"""Identity proofs: a browser is believed of the user, and for the time, that its shop vouches."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import collection, credentials, proofs
from candor.credentials import Source
from candor.identifiers import normal_form
from tests.served import Served
from tests.worlds import CRM, NOW, SHIPPED, Json, Shop, order, sent

SECRET = "shared between the shop and Candor"
WEB = Source("web", "web shop", "website", "client", SECRET)
SOON = int(NOW) + 3600


def proof(user: str = "42", expires: int = SOON, secret: str = SECRET) -> str:
    return proofs.make(secret, user, expires)


def read(event: Json, source: Source = WEB) -> tuple[str | None, list[str]]:
    """The trust that the event got, and the codes of its notes about it."""
    collected = collection.collect(
        {"batch": [event]}, "batch", SHIPPED, NOW, keep_unnamed=False, sender=source
    )
    notes = [note["code"] for note in collected.notes if note["code"] != "no_consent"]
    return collected.events[0].get("trust"), notes


def page(proof: Any, user: str | None = "42") -> Json:
    return sent("page", "m", userId=user, anonymousId="a", context={"identityProof": proof})


def test_the_proof_is_what_the_readme_tells_shops_to_make() -> None:
    text = f"42\n{SOON}"
    signature = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()

    assert proof() == f"{SOON}.{signature}"


def test_a_proven_user_is_verified() -> None:
    assert read(page(proof())) == ("verified", [])


@pytest.mark.parametrize(
    "said",
    [
        proof("43"),
        proof(secret="another secret, of another source"),
        proof(expires=int(NOW)),
        proof(expires=int(NOW) + proofs.LONGEST_SECONDS + 1),
        f"{SOON + 1}.{proof().partition('.')[2]}",
        proof().upper().replace("A", "a", 1),
        proof()[:-1],
        proof() + "\ud800",
        f"{SOON}",
        f"{SOON}.",
        "",
        ".",
        f"-{proof()}",
        f"٣.{proof()}",
        "9" * 400 + "." + "0" * 64,
        7,
        [proof()],
        {"expires": SOON},
    ],
    ids=ascii,
)
def test_a_proof_that_proves_nothing_leaves_the_event_unproven_and_says_so(said: Any) -> None:
    assert read(page(said)) == (None, ["bad_identity_proof"])


def test_a_proof_is_for_the_user_that_the_event_names() -> None:
    assert read(page(proof(), user=None)) == (None, ["bad_identity_proof"])


def test_a_source_without_a_secret_can_prove_nothing() -> None:
    bare = Source("web", "web shop", "website", "client")

    assert read(page(proof()), bare) == (None, ["bad_identity_proof"])
    body = {"batch": [page(proof())]}
    told = collection.collect(body, "batch", SHIPPED, NOW, keep_unnamed=False, sender=bare)
    fixes = [note["fix"] for note in told.notes if note["code"] == "bad_identity_proof"]
    assert fixes == ["Give the source one: `candor keys secret web`."]


def test_no_proof_is_no_bad_one() -> None:
    assert read(page(None)) == (None, [])


@pytest.mark.parametrize("spelled", [" 42 ", "Rene\u0301", "René"], ids=ascii)
def test_a_shop_signs_its_own_spelling_of_an_id_or_the_normal_one(spelled: str) -> None:
    """The README's code takes the id as the shop has it, and so does the page."""
    normal = normal_form(SHIPPED, "user_id", spelled)
    assert normal

    assert read(page(proof(spelled), user=spelled)) == ("verified", [])
    assert read(page(proof(normal), user=spelled)) == ("verified", [])
    assert read(page(proof("43"), user=spelled)) == (None, ["bad_identity_proof"])


def test_a_server_needs_no_proof() -> None:
    assert read(page("rubbish"), CRM) == (None, [])


def test_half_a_character_is_no_crash() -> None:
    assert proofs.fault(proof(), SECRET, ["\ud800"], NOW) is not None


@given(st.text(max_size=80))
def test_no_text_proves_by_chance(text: str) -> None:
    assert proofs.fault(text, SECRET, ["42"], NOW) is not None


def test_a_verified_event_says_of_its_user_what_the_shops_server_could() -> None:
    shop = Shop()
    traits = {"email": "ann@example.com", "plan": "pro"}
    shop.send(CRM, sent("identify", "m0", userId="42", traits={"plan": "free"}, ago=60))

    shop.send(
        WEB,
        sent(
            *("identify", "m1"),
            userId="42",
            anonymousId="a",
            traits=traits,
            context={"identityProof": proof()},
        ),
    )

    assert shop.view("user_id:42").traits()["plan"] == "pro"
    assert shop.people(["user_id:42", "email:ann@example.com", "anonymous_id:a"]) == shop.profiles()


def test_without_proof_the_same_event_joins_nobody_and_outranks_nothing() -> None:
    shop = Shop()
    traits = {"email": "ann@example.com", "plan": "pro"}
    shop.send(CRM, sent("identify", "m0", userId="42", traits={"plan": "free"}, ago=60))

    shop.send(WEB, sent("identify", "m1", userId="42", anonymousId="a", traits=traits))

    assert shop.view("user_id:42").traits()["plan"] == "free"
    assert shop.people(["user_id:42", "anonymous_id:a"]) == shop.profiles()


def test_a_verified_browser_is_home_where_the_server_is() -> None:
    """So what is bought on a shared tablet by a proven user is that user's."""
    shop = Shop()
    shop.send(WEB, order("o1", userId="41", anonymousId="tablet"))

    shop.send(
        WEB,
        order("o2", userId="42", anonymousId="tablet", context={"identityProof": proof("42")}),
    )

    assert shop.event_ids("user_id:42") == ["o2"]
    assert shop.event_ids("user_id:41") == ["o1"]


class Banner:
    """A browser's public key at POST /v1/consents, of a source that shares a secret."""

    def __init__(self, served: Served) -> None:
        self.served, self.shop = served, served.shop
        spec = {"kind": "source", "name": "web shop", "source": "website", "trust": "client"}
        id_, self.key = credentials.issue(self.shop.rows, spec, NOW)
        credentials.share_secret(self.shop.rows, self.shop.world.vault, id_, SECRET)

    def choose(self, key: str = "", **more: Any) -> Json:
        body = {"userId": "42", "purposes": {"marketing": True}, "writeKey": self.key} | more
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        event = {"resource": "/consents", "httpMethod": "POST", "headers": headers}
        answer = self.served.invoke("api", event | {"body": json.dumps(body)})
        told: Json = json.loads(answer["body"])
        return told

    def state(self) -> str:
        said: str = self.shop.view("user_id:42").consents()["marketing"]["state"]
        return said


@pytest.fixture
def banner(monkeypatch: pytest.MonkeyPatch) -> Banner:
    return Banner(Served(monkeypatch))


@pytest.mark.parametrize("in_header", [True, False])
def test_a_proven_user_takes_a_denial_back_in_the_browser(banner: Banner, in_header: bool) -> None:
    banner.shop.choose("user_id:42", {"marketing": False}, ago=60)

    key = banner.key if in_header else ""
    assert banner.choose(key, identityProof=proof(), anonymousId="a") == {"success": True}

    assert banner.state() == "granted"
    (record, *_) = banner.shop.view("user_id:42").consent_records()
    assert record["trust"] == "verified"


def test_without_a_proof_that_holds_a_browser_grants_nothing_for_a_person(banner: Banner) -> None:
    banner.shop.choose("user_id:42", {"marketing": False}, ago=60)

    assert banner.choose(anonymousId="a") == {"success": True}
    (note,) = banner.choose(identityProof=proof("43"), anonymousId="a")["notes"]
    assert (note["code"], note["purposes"]) == ("bad_identity_proof", ["marketing"])
    refused = banner.choose(identityProof=proof("43"))
    assert refused["code"] == "device_required"

    assert banner.state() == "denied"


def test_a_proof_is_for_the_user_that_the_choice_names(banner: Banner) -> None:
    told = banner.choose(userId=None, anonymousId="42", identityProof=proof())
    assert [note["code"] for note in told["notes"]] == ["bad_identity_proof"]


def test_a_servers_choice_needs_no_proof(banner: Banner) -> None:
    key = banner.served.write_key("server")
    assert banner.choose(key, identityProof="rubbish") == {"success": True}
    assert banner.state() == "granted"
