"""Destinations: what is sealed for them before keys go, what they are told, what they answer."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from candor import destinations, erasure, keyring, requests, retention
from candor.errors import NotFound
from candor.policy import Policy
from candor.ports import Conflict, Row, Rows, Unavailable
from candor.wiring import Wiring
from tests.worlds import CRM, SHIPPED, Shop, crash_at, policy, sent

Json = dict[str, Any]
MAIL: Json = {
    "name": "Example Mail",
    "url": "https://mail.example.com/erasures",
    "knows": ["email"],
    "tell": ["erasure"],
    "answer_within_hours": 72,
}
ADS: Json = MAIL | {"url": "https://ads.example.com/", "knows": ["phone", "user_id"]}
ANN, PHONE = "ann@example.com", "+493012345670"


def rules(**there: Json) -> Policy:
    return policy(lambda compiled: compiled.update(destinations=there))


class Known(Shop):
    """A shop that knows Ann, and two destinations of it."""

    def __init__(self, named: Policy | None = None) -> None:
        super().__init__(named or rules(mail=MAIL, ads=ADS))
        self.posts: list[tuple[str, Json]] = []
        self.down: set[str] = set()
        traits = {"email": ANN, "phone": PHONE, "name": "Ann"}
        self.send(CRM, sent("identify", "m1", userId="42", anonymousId="a1", traits=traits))

    def opened(self, who: str) -> str:
        return str(self.ask(who)["pk"])

    def advance(self, id_: str) -> None:
        erasure.advance(self.erasure, self.workflow, id_)

    def post(self, url: str, body: bytes) -> None:
        if url in self.down:
            raise Unavailable("it answered 500")
        self.posts.append((url, json.loads(body)))

    def asked(self) -> Row:
        (row,) = (row for row in self.rows.held("requests"))
        return row

    def named(self) -> list[list[str]]:
        """Who the request will name to destinations."""
        row = self.asked()
        place = f"requests/{row['pk']}/destinations"
        held = self.world.vault.open(row["salt"], row["identities"], place)
        return sorted(held["people"].values())

    def pending(self) -> list[str]:
        return [one["name"] for one in destinations.pending(self.erasure, self.asked())]

    def tell(self, name: str, token: str = "t") -> Json:  # noqa: S107  no password
        """Returns the notice."""
        before = len(self.posts)
        work, row = self.erasure, self.asked()
        destinations.tell(work, self.signer, self.post, self.workflow, row, name, token)
        if len(self.posts) == before:
            return {}
        notice: Json = json.loads(self.posts[-1][1]["document"])
        return notice

    def answer(self, notice: Json, status: destinations.Status = "erased") -> None:
        id_ = notice["callback"].removeprefix("/v1/privacy/callbacks/")
        destinations.answer(self.erasure, self.workflow, id_, status)

    def delete(self) -> Json:
        for store in ("graph", "events", "queues"):
            erasure.erase(self.erasure, store, self.asked()["pk"])
        return erasure.verify(self.erasure, self.asked()["pk"])

    def receipts(self) -> dict[str, Json]:
        shown = requests.shown(self.asked())["receipts"]
        return {one["store"].partition(":")[2]: one for one in shown if ":" in one["store"]}


@pytest.fixture
def shop() -> Known:
    made = Known()
    made.acknowledge("user_id:42")
    return made


# What is kept of the person, and when


def test_what_destinations_know_a_person_by_is_kept_sealed_when_the_keys_are_gone(
    shop: Known,
) -> None:
    assert shop.named() == [["email", ANN], ["phone", PHONE], ["user_id", "42"]]
    states = keyring.states(shop.rows, list(shop.asked()["members"]))
    assert len(states) == 4
    assert not [state for state in states.values() if state.salt]
    assert ANN not in repr(shop.rows.held())


def test_nothing_is_kept_of_a_type_that_nobody_knows_people_by() -> None:
    shop = Known(rules(mail=MAIL))
    shop.acknowledge("anonymous_id:a1")
    assert shop.named() == [["email", ANN]]


def test_nothing_at_all_is_kept_where_the_policy_names_nobody() -> None:
    shop = Known(SHIPPED)
    shop.acknowledge("user_id:42")
    assert not {"identities", "destinations"} & shop.asked().keys()
    assert shop.pending() == []
    assert shop.delete()["clean"]


def test_somebody_whom_only_a_destination_knows_is_told_of() -> None:
    shop = Known()
    shop.acknowledge("email:eve@example.com")
    assert shop.named() == [["email", "eve@example.com"]]
    assert shop.pending() == ["mail"]


@pytest.mark.parametrize("subject", ["user_id:42", "email:ann@example.com", "anonymous_id:a1"])
def test_a_crash_at_any_call_loses_nobody_and_its_repetition_needs_no_key(subject: str) -> None:
    place, crashed = 0, True
    while crashed:
        shop = Known()
        opened = shop.opened(subject)
        crashed = crash_at(shop, place, partial(shop.advance, opened))
        gone = [one.salt for one in keyring.states(shop.rows, _idkeys(shop)).values()].count(None)
        if gone:
            assert len(shop.named()) == 3, f"a key was destroyed too early, at {place}"
        shop.advance(opened)
        assert shop.named() == [["email", ANN], ["phone", PHONE], ["user_id", "42"]], place
        erasure.plan(shop.erasure, opened)  # as the machine's plan does
        assert len(shop.named()) == 3
        place += 1
    assert place > 30


def _idkeys(shop: Shop) -> list[str]:
    ids = ("user_id:42", f"email:{ANN}", f"phone:{PHONE}", "anonymous_id:a1")
    return [shop.id(one).key for one in ids]


def test_two_that_fence_at_once_lose_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """One keeps whom it found and destroys a key while the other has only read the request."""
    shop = Known(rules(mail=MAIL))
    opened, phone = shop.opened("user_id:42"), shop.id(f"phone:{PHONE}").key
    requests.move(shop.erasure, opened, "running", ("pending",))
    shred = keyring.shred

    def slow(rows: Rows, idkey: str, *rest: Any) -> None:
        if idkey == phone:
            shred(rows, idkey, *rest)

    with monkeypatch.context() as stopped:
        stopped.setattr(keyring, "shred", lambda *_: None)
        erasure.plan(shop.erasure, opened)
    more = rules(mail=MAIL | {"knows": ["email", "phone", "user_id"]})
    shop.erasure = replace(shop.erasure, policy=more)

    began: list[str] = []

    def other(call: str, detail: Any) -> None:
        if not began and call == "rows.get:before" and detail[0].table == "keys":
            began.append(call)
            with monkeypatch.context() as slowly:
                slowly.setattr(keyring, "shred", slow)
                erasure.plan(shop.erasure, opened)

    shop.rows.tap = other
    erasure.plan(shop.erasure, opened)
    assert began
    assert shop.named() == [["email", ANN], ["phone", PHONE], ["user_id", "42"]]


# What they are told


def test_a_notice_names_whom_the_destination_knows_and_is_signed(shop: Known) -> None:
    assert destinations.pending(shop.erasure, shop.asked()) == [
        {"name": "ads", "seconds": 72 * 3600},
        {"name": "mail", "seconds": 72 * 3600},
    ]
    notice = shop.tell("mail")

    ((url, body),) = shop.posts
    assert url == MAIL["url"]
    key = load_der_public_key(shop.signer.public_key())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    digest = hashlib.sha256(body["document"].encode()).digest()
    key.verify(base64.b64decode(body["signature"]), digest, ec.ECDSA(hashes.SHA256()))
    assert notice == {
        "type": "candor/erasure-notice/1",
        "request": shop.asked()["pk"],
        "destination": "mail",
        "url": MAIL["url"],
        "time": datetime.fromtimestamp(shop.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "mode": "erase",
        "identifiers": [{"type": "email", "value": ANN}],
        "callback": notice["callback"],
    }
    assert [one["type"] for one in shop.tell("ads")["identifiers"]] == ["phone", "user_id"]


def test_the_machine_is_given_names_and_times_and_nothing_personal(shop: Known) -> None:
    told = json.dumps(destinations.pending(shop.erasure, shop.asked()))
    assert ANN not in told
    assert PHONE not in told


def test_a_destination_that_is_not_reached_is_told_again_by_the_machine(shop: Known) -> None:
    shop.pending()
    shop.down.add(MAIL["url"])
    assert shop.tell("mail", "t1") == {}
    assert shop.workflow.ended == {"t1": "Unreached"}
    assert shop.receipts()["mail"]["because"] == "it could not be told: it answered 500"
    shop.down.clear()
    shop.answer(shop.tell("mail", "t2"))
    assert shop.workflow.ended == {"t1": "Unreached", "t2": ""}


# What they answer


def test_only_what_all_confirm_completes(shop: Known) -> None:
    shop.pending()
    notices = {name: shop.tell(name, name) for name in ("mail", "ads")}
    assert shop.delete() == {"clean": False, "attempt": 1, "last": True}
    with pytest.raises(Conflict):
        erasure.certify(shop.erasure, shop.signer, shop.asked()["pk"])
    shop.answer(notices["mail"])
    assert not shop.delete()["clean"]
    shop.answer(notices["ads"], "unknown_person")
    assert shop.delete()["clean"]
    erasure.certify(shop.erasure, shop.signer, shop.asked()["pk"])

    document = json.loads(shop.asked()["certificate"]["document"])
    assert {one["destination"]: one["status"] for one in document["destinations"]} == {
        "ads": "unknown_person",
        "mail": "erased",
    }
    assert all(one["at"] for one in document["destinations"])
    stores = {
        one["store"]: (one["found"], one["deleted"], one["left"]) for one in document["stores"]
    }
    assert stores["destination:mail"] == (1, 1, 0)
    assert stores["destination:ads"] == (2, 0, 0)
    assert ANN not in json.dumps(document)
    with pytest.raises(NotFound):
        shop.answer(notices["mail"])
    erasure.plan(shop.erasure, shop.asked()["pk"])  # a machine that is late
    assert shop.pending() == []


def test_what_stores_have_left_is_deleted_again_and_what_destinations_have_is_not(
    shop: Known,
) -> None:
    shop.pending()
    id_ = shop.asked()["pk"]
    assert erasure.verify(shop.erasure, id_) == {"clean": False, "attempt": 1, "last": False}
    assert shop.delete() == {"clean": False, "attempt": 2, "last": True}


def test_a_destination_that_knows_people_by_nothing_of_theirs_is_not_told() -> None:
    shop = Known(rules(mail=MAIL, ads=ADS | {"knows": ["advertising_id"]}))
    shop.acknowledge("user_id:42")
    assert shop.pending() == ["mail"]
    shop.answer(shop.tell("mail"))
    assert shop.delete()["clean"]
    assert shop.receipts()["ads"]["because"] == "it knows people by none of their identifiers"


def test_who_failed_is_told_again_in_a_new_run_and_who_confirmed_is_not(shop: Known) -> None:
    shop.pending()
    shop.answer(shop.tell("mail", "t1"))
    failed = shop.tell("ads", "t2")
    shop.answer(failed, "failed")
    assert shop.workflow.ended == {"t1": "", "t2": ""}
    assert not shop.delete()["clean"]
    erasure.fail(shop.erasure, shop.asked()["pk"])
    assert shop.asked()["status"] == "partial"
    assert shop.receipts()["ads"]["left"] == 2
    assert shop.receipts()["ads"]["because"].startswith("it says that it failed, at ")

    retention.sweep(shop.erasure, shop.world, shop.workflow, lambda: True)
    assert shop.asked()["status"] == "running"
    assert shop.pending() == ["ads"]
    again = shop.tell("ads", "t3")
    assert again["callback"] != failed["callback"]
    with pytest.raises(NotFound):
        shop.answer(failed)  # which is of the run before
    shop.answer(again)
    assert shop.delete()["clean"]


def test_an_answer_that_comes_after_the_wait_counts_and_nobody_is_told_twice(shop: Known) -> None:
    shop.pending()
    shop.answer(shop.tell("mail"))
    late = shop.tell("ads")
    assert not shop.delete()["clean"]
    erasure.fail(shop.erasure, shop.asked()["pk"])
    assert "has not answered" in shop.receipts()["ads"]["because"]
    shop.answer(late)
    retention.sweep(shop.erasure, shop.world, shop.workflow, lambda: True)
    assert shop.pending() == []
    assert shop.delete()["clean"]


def test_an_answer_is_taken_once_and_the_first_one_counts(shop: Known) -> None:
    shop.pending()
    notice = shop.tell("mail")
    shop.answer(notice, "failed")
    with pytest.raises(NotFound):
        shop.answer(notice)
    assert shop.asked()["answer_mail"]["status"] == "failed"


@pytest.mark.parametrize("status", ["erased", "failed"])
def test_an_answer_that_crashes_anywhere_can_be_given_again(status: destinations.Status) -> None:
    place, crashed = 0, True
    while crashed:
        shop = Known()
        shop.acknowledge("user_id:42")
        shop.pending()
        notice = shop.tell("mail", "t")
        answer = partial(shop.answer, notice, status)
        crashed = crash_at(shop, place, answer)
        if crashed:
            try:
                answer()
            except NotFound:  # all was done, and only the reply was lost
                assert "token_mail" not in shop.asked()
        assert shop.asked()["answer_mail"]["status"] == status
        assert shop.workflow.ended == {"t": ""}
        place += 1
    assert place > 5


def test_an_answer_to_a_telling_that_looked_as_if_it_failed_ends_the_next_one(shop: Known) -> None:
    """The machine tries again with another token, and the answer had come for the first."""
    shop.pending()
    notice = shop.tell("mail", "t1")
    shop.answer(notice)
    assert shop.tell("mail", "t2") == {}
    assert shop.workflow.ended == {"t1": "", "t2": ""}


UNKNOWN: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "words": lambda _: "ann@example.com",
    "another secret": lambda id_: id_[:-1] + ("0" if id_[-1] != "0" else "1"),
    "no secret": lambda id_: id_.rpartition(".")[0] + ".",
    "another request": lambda id_: "0" * 28 + id_[28:],
    "another destination": lambda id_: id_.replace(".mail.", ".ads."),
    "an unknown destination": lambda id_: id_.replace(".mail.", ".nobody."),
    "more": lambda id_: f"{id_}0",
    "a line": lambda id_: f"{id_}\n",
    "capitals": str.upper,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_whatever_is_unknown_is_answered_alike_and_changes_nothing(shop: Known, name: str) -> None:
    shop.pending()
    id_ = shop.tell("mail")["callback"].removeprefix("/v1/privacy/callbacks/")
    shop.tell("ads")
    before = shop.rows.held()
    with pytest.raises(NotFound) as told:
        destinations.answer(shop.erasure, shop.workflow, UNKNOWN[name](id_), "erased")
    assert str(told.value) == "There is nothing with this id."
    assert shop.rows.held() == before
    assert shop.workflow.ended == {}


def test_who_reads_the_table_alone_can_answer_for_nobody(shop: Known) -> None:
    shop.pending()
    secret = shop.tell("mail")["callback"].rpartition(".")[2]
    assert secret not in repr(shop.rows.held())


def test_a_destination_that_the_policy_dropped_leaves_the_request_partial(shop: Known) -> None:
    shop.pending()
    shop.answer(shop.tell("mail"))
    shop.erasure = replace(shop.erasure, policy=rules(mail=MAIL))
    assert shop.pending() == []
    assert not shop.delete()["clean"]
    assert "does not name it any more" in shop.receipts()["ads"]["because"]


def test_a_dry_run_tells_whom_it_would_tell_and_tells_nobody() -> None:
    shop = Known()
    found = erasure.forecast(shop.erasure, shop.id("user_id:42"))
    counts = {one["store"]: one["found"] for one in found}
    assert counts["destination:mail"] == 1
    assert counts["destination:ads"] == 2
    assert shop.posts == []
    assert shop.rows.held("requests") == []


def test_a_step_that_fails_last_fails_its_execution_and_lets_a_redriven_one_go_on(
    shop: Known,
) -> None:
    id_ = shop.asked()["pk"]
    for name in ("another", id_):
        with pytest.raises(erasure.ErasureFailed):
            erasure.give_up(shop.erasure, id_, name)
        assert shop.asked()["status"] == ("partial" if name == id_ else "running")
    with pytest.raises(erasure.ErasureFailed):
        erasure.give_up(shop.erasure, id_, f"{id_}-1")
    with pytest.raises(erasure.ErasureFailed):
        erasure.give_up(shop.erasure, id_, id_, retries=1)
    assert shop.asked()["status"] == "partial"
    erasure.give_up(shop.erasure, id_, id_)
    assert (shop.asked()["status"], shop.asked()["attempts"]) == ("running", 0)


# Where they may be


@pytest.mark.parametrize("configuration", ["dev", "prod", ""])
def test_destinations_on_this_machine_exist_under_the_local_configuration_alone(
    monkeypatch: pytest.MonkeyPatch, configuration: str
) -> None:
    monkeypatch.setattr(Policy, "load", lambda: rules(mail=MAIL))
    here = MAIL | {"url": "http://127.0.0.1:1/"}
    given = {"LOCAL_DESTINATIONS": json.dumps({"here": here})}
    wiring = Wiring({"CONFIGURATION": configuration, **given})
    assert wiring.policy.destinations.keys() == {"mail"}
    with pytest.raises(Unavailable, match="may not be called"):
        wiring.send("http://127.0.0.1:1/", b"")
    local = Wiring({"CONFIGURATION": "local", **given})
    assert local.policy.destinations.keys() == {"here"}
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        local.send("http://127.0.0.1:1/", b"")
    with pytest.raises(Unavailable, match="may not be called"):
        Wiring({"CONFIGURATION": "local"}).send("http://127.0.0.1:1/", b"")
