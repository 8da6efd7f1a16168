"""The audit log: a chain that shows every change and gap, and holds each entry once."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from candor import audit
from candor.audit import LOG
from candor.policy import DAY
from candor.ports import Conflict, Delete, Key, Put, Row, Update
from tests.fakes import FakeQueue
from tests.worlds import NOW, SHIPPED, Json, Shop, crash_at


def entry(number: int, *about: str) -> Json:
    return {
        "id": f"e{number}",
        "at": int(NOW),
        "actor": "ann",
        "action": "profile.read.all",
        "purpose": "service",
        "about": list(about),
        "request": None,
    }


def append(shop: Shop, *entries: Json) -> int:
    return audit.append(shop.rows, SHIPPED, entries, shop.clock())


def blocks(shop: Shop) -> list[Row]:
    return list(shop.rows.query("audit", LOG))


def told(shop: Shop) -> list[str]:
    return [one["id"] for block in blocks(shop) for one in block["entries"]]


def index(shop: Shop) -> set[tuple[str, str]]:
    rows = shop.rows.held("audit")
    return {(row["pk"][2:], row["sk"]) for row in rows if row["pk"].startswith("A#")}


def chain(length: int) -> Shop:
    shop = Shop()
    for number in range(length):
        append(shop, entry(2 * number, "ann"), entry(2 * number + 1, "bob"))
    return shop


def test_a_sound_chain_is_found_sound() -> None:
    for length in range(4):
        assert audit.broken(chain(length).rows) is None


CHANGES: list[Json] = [
    {"entries": [entry(2, "somebody else"), entry(3, "bob")]},
    {"entries": [entry(2, "ann")]},
    {"entries": []},
    {"previous": "0" * 64},
    {"hash": "0" * 64},
    {"policy": "another"},
    {"written": 0},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_a_change_to_a_block_shows(change: Json) -> None:
    shop = chain(3)
    shop.rows.update(Update(Key("audit", LOG, "000000000001"), set=change))

    assert audit.broken(shop.rows) == 1


def test_a_change_that_mends_its_own_hash_shows_in_the_next_block() -> None:
    shop = chain(3)
    block = {**blocks(shop)[1], "entries": [entry(9)]}
    hidden = {"entries": block["entries"], "hash": audit.block_hash(1, block)}
    shop.rows.update(Update(Key("audit", LOG, "000000000001"), set=hidden))

    assert audit.broken(shop.rows) == 2


def test_a_gap_shows() -> None:
    shop = chain(4)
    shop.rows.commit(Delete(Key("audit", LOG, "000000000002")))

    assert audit.broken(shop.rows) == 2


def test_two_blocks_that_changed_places_show() -> None:
    shop = chain(3)
    first, second = blocks(shop)[:2]
    content = [{n: v for n, v in row.items() if n not in ("pk", "sk")} for row in (first, second)]
    shop.rows.put(
        [
            Put(Key("audit", LOG, first["sk"]), content[1]),
            Put(Key("audit", LOG, second["sk"]), content[0]),
        ]
    )

    assert audit.broken(shop.rows) == 0


def test_blocks_that_ended_by_the_policy_do_not_break_the_chain() -> None:
    shop = chain(2)
    shop.clock.advance(600 * DAY)
    append(shop, entry(50, "ann"))
    shop.clock.advance(600 * DAY)

    assert audit.broken(shop.rows) is None
    shop.expire()
    assert audit.broken(shop.rows) is None
    append(shop, entry(51, "ann"))
    assert [row["sk"] for row in blocks(shop)] == ["000000000002", "000000000003"]
    assert audit.broken(shop.rows) is None


# Redelivery.


def test_a_batch_that_comes_again_is_not_doubled() -> None:
    shop = Shop()

    assert append(shop, entry(1), entry(2), entry(2)) == 2
    assert append(shop, entry(1), entry(2)) == 0
    assert told(shop) == ["e1", "e2"]


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=12))
def test_however_a_fifo_queue_delivers_each_entry_is_told_once_and_in_order(
    deliveries: list[tuple[int, bool]],
) -> None:
    """A batch that is not acknowledged comes again, perhaps with more behind it."""
    shop, acknowledged, seen = Shop(), 0, 0
    for size, acknowledge in deliveries:
        batch = [entry(n, f"p{n}") for n in range(acknowledged, acknowledged + size)]
        append(shop, *batch)
        seen = max(seen, acknowledged + size)
        acknowledged += size * acknowledge

    assert told(shop) == [f"e{number}" for number in range(seen)]
    assert {pseudonym for pseudonym, _ in index(shop)} == {f"p{number}" for number in range(seen)}
    assert audit.broken(shop.rows) is None


@given(st.integers(0, 3))
def test_a_crash_anywhere_leaves_a_log_that_the_next_delivery_completes(more: int) -> None:
    batch = [entry(20, "ann"), entry(21, "bob")]
    later = [entry(30 + n, "cem") for n in range(more)]
    crashed, place = True, -1
    while crashed:
        place += 1
        shop = chain(1)
        crashed = crash_at(shop, place, lambda shop=shop: append(shop, *batch))  # type: ignore[misc]
        append(shop, *batch, *later)
        assert told(shop)[2:] == [one["id"] for one in (*batch, *later)]
        assert audit.broken(shop.rows) is None
        where = {one["id"]: row["sk"] for row in blocks(shop) for one in row["entries"]}
        assert {("ann", where["e20"]), ("bob", where["e21"])} <= index(shop)
    assert place > 4


def test_of_two_writers_at_once_one_is_told_and_nothing_is_lost() -> None:
    shop = chain(1)
    other: list[Json] = [entry(7)]

    def tap(call: str, detail: Any) -> None:
        if call == "rows.commit:before" and other:
            append(shop, other.pop())

    shop.rows.tap = tap
    with pytest.raises(Conflict):
        append(shop, entry(8))

    assert told(shop) == ["e0", "e1", "e7"]
    assert audit.broken(shop.rows) is None


# Telling, and the index of who saw whom.


def test_what_is_told_reaches_the_writer_as_it_was_said() -> None:
    queue = FakeQueue(fifo=True)
    audit.tell(queue, at=NOW, actor="ann", action="x", purpose="service", about=["p"], request="r")
    audit.tell(queue, at=NOW, actor="ann", action="x")
    shop = Shop()

    assert append(shop, *(json.loads(body) for body in queue.bodies)) == 2

    first, second = blocks(shop)[0]["entries"]
    assert (first["actor"], first["about"], first["request"]) == ("ann", ["p"], "r")
    assert first["id"] != second["id"]


def test_each_person_finds_the_blocks_that_tell_of_them() -> None:
    shop = chain(2)

    assert index(shop) == {(who, f"{seq:012d}") for who in ("ann", "bob") for seq in (0, 1)}


def test_the_log_does_not_name_people_by_what_the_tables_name_them() -> None:
    shop = Shop()
    idkey = shop.id("user_id:42").key

    assert shop.world.identifiers.pseudonym(idkey) != idkey


# Checkpoints.


def test_a_checkpoint_is_signed_and_says_how_far_the_chain_had_come() -> None:
    shop = chain(2)

    name = audit.checkpoint(shop.rows, shop.objects, shop.signer, NOW)

    assert name == "checkpoints/000000000001.json"
    signed = json.loads(shop.objects.objects[name])
    document = json.loads(signed["document"])
    assert (document["seq"], document["hash"]) == (1, blocks(shop)[1]["hash"])
    public = serialization.load_der_public_key(shop.signer.public_key())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    digest = hashlib.sha256(signed["document"].encode()).digest()
    signature = base64.b64decode(signed["signature"])
    public.verify(signature, digest, ec.ECDSA(hashes.SHA256()))


def test_an_empty_log_has_no_checkpoint() -> None:
    shop = Shop()

    assert audit.checkpoint(shop.rows, shop.objects, shop.signer, NOW) is None
    assert shop.objects.objects == {}
