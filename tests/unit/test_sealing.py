"""Sealing: what is stored opens under its own key, at its own place, unaltered, or not at all."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import keyring
from candor.keyring import KeyState
from candor.ports import Key, Put
from candor.sealing import Damaged, Vault, key_id, key_id_of, new_salt
from candor.transit import HOUR, LIFE_SECONDS, Transit
from tests.worlds import NOW, Shop

VAULT = Vault({1: "m" * 64})
SALT = b"s" * 32
PLACE = "I#someone"

text = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def opened(envelope: bytes, salt: bytes | None = SALT, place: str = PLACE) -> Any:
    return VAULT.open(salt, envelope, place)


@given(values)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    assert opened(VAULT.seal(SALT, value, PLACE)) == value


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_another_key_opens_nothing(one: bytes, other: bytes) -> None:
    envelope = VAULT.seal(one, "Ann", PLACE)

    assert (opened(envelope, other) == "Ann") == (one == other)


def test_a_shredded_record_is_absent_and_no_error() -> None:
    envelope = VAULT.seal(SALT, "Ann", PLACE)

    assert opened(envelope, None) is None
    assert opened(envelope, new_salt()) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_an_altered_record_never_opens(position: int, change: int) -> None:
    envelope = bytearray(VAULT.seal(SALT, "Ann", PLACE))
    position %= len(envelope)
    envelope[position] ^= change

    if 2 <= position < 10:  # the key id: it is another person's now, or nobody's
        assert opened(bytes(envelope)) is None
    else:
        with pytest.raises(Damaged):
            opened(bytes(envelope))


@given(st.integers(1, 80))
def test_a_cut_record_is_damaged(missing: int) -> None:
    envelope = VAULT.seal(SALT, "Ann", PLACE)

    with pytest.raises(Damaged):
        opened(envelope[: max(len(envelope) - missing, 0)])


@given(st.binary(max_size=80))
def test_no_bytes_make_a_reader_fail_otherwise(garbage: bytes) -> None:
    with contextlib.suppress(Damaged):
        assert opened(garbage) is None


def test_a_record_moved_to_another_row_of_the_same_person_is_damaged() -> None:
    envelope = VAULT.seal(SALT, {"traits": {"plan": "gold"}}, PLACE)

    with pytest.raises(Damaged):
        opened(envelope, place="I#elsewhere")


def test_equal_values_do_not_look_equal() -> None:
    assert VAULT.seal(SALT, "Ann", PLACE)[10:] != VAULT.seal(SALT, "Ann", PLACE)[10:]


def test_an_envelope_tells_its_key_id_and_not_its_key() -> None:
    envelope = VAULT.seal(SALT, "Ann", PLACE)

    assert key_id_of(envelope) == key_id(SALT)
    assert SALT[:8] not in envelope


def test_master_secrets_are_additive() -> None:
    old = VAULT.seal(SALT, "before", PLACE)
    rotated = Vault({1: "m" * 64, 2: "n" * 64})
    new = rotated.seal(SALT, "after", PLACE)

    assert rotated.open(SALT, old, PLACE) == "before"
    assert rotated.open(SALT, new, PLACE) == "after"
    with pytest.raises(Damaged):
        VAULT.open(SALT, new, PLACE)  # its master is not here, which is not a shred


def test_a_master_alone_or_a_salt_alone_opens_nothing() -> None:
    envelope = VAULT.seal(SALT, "Ann", PLACE)

    with pytest.raises(Damaged):
        Vault({1: "another master"}).open(SALT, envelope, PLACE)
    assert VAULT.open(b"t" * 32, envelope, PLACE) is None


def test_what_was_sealed_by_an_earlier_release_still_opens() -> None:
    """A change here makes everything that was ever stored unreadable."""
    text = "AQHbsYqnVjwyMiST4Nwe6gMwyGdlQu1ptK55SdtA077xUt9O5X5UalTRgPTZ7imiHJcG7OV0uzXywvz2"

    assert opened(base64.b64decode(text)) == {"name": "Ann"}


# Keys.


def test_racing_makers_of_a_salt_get_the_same_one() -> None:
    shop = Shop()
    others = [lambda: made.append(keyring.salt(shop.rows, "somebody"))]
    made: list[bytes] = []

    def tap(call: str, detail: Any) -> None:
        if call == "rows.update:before" and others:
            others.pop()()

    shop.rows.tap = tap
    made.append(keyring.salt(shop.rows, "somebody"))
    made.append(keyring.salt(shop.rows, "somebody"))

    assert len(made) == 3
    assert len(set(made)) == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_fence_lets_no_salt_be_made(known: bool) -> None:
    shop = Shop()
    if known:
        keyring.salt(shop.rows, "somebody")
    keyring.hide(shop.rows, "somebody", KeyState(), "erase", "request", NOW)
    with pytest.raises(keyring.Fenced):
        keyring.salt(shop.rows, "somebody")
    keyring.shred(shop.rows, "somebody", "erase", "request", NOW)

    with pytest.raises(keyring.Fenced):
        keyring.salt(shop.rows, "somebody")
    (row,) = shop.rows.held("keys")
    assert "salt" not in row


# Transit: messages in the queue.


def transit(shop: Shop) -> Transit:
    return Transit(shop.rows, shop.world.vault, shop.clock)


@given(values)
def test_a_message_comes_out_of_the_queue_as_it_went_in(value: Any) -> None:
    shop = Shop()
    body = transit(shop).seal(value)

    assert transit(shop).open(body) == value
    assert body.isascii()


def test_all_collectors_of_an_hour_share_one_key() -> None:
    shop = Shop()
    for _ in range(3):
        transit(shop).seal("x")

    assert len(shop.rows.held("keys")) == 1
    shop.clock.advance(HOUR)
    transit(shop).seal("x")
    assert len(shop.rows.held("keys")) == 2


def test_a_collector_asks_for_the_hours_key_once() -> None:
    shop = Shop()
    collector = transit(shop)
    collector.seal("x")
    calls: list[str] = []
    shop.rows.tap = lambda call, _: calls.append(call)
    collector.seal("y")

    assert calls == []


def test_what_goes_on_by_itself_lives_no_longer_than_the_message_it_was_part_of() -> None:
    shop = Shop()
    body = transit(shop).seal(["Ann", "Bob"])
    shop.clock.advance(5 * HOUR)
    worker = transit(shop)
    part = worker.seal(worker.open(body)[1:], part_of=body)

    assert transit(shop).open(part) == ["Bob"]
    assert len(shop.rows.held("keys")) == 1
    shop.clock.now = NOW // HOUR * HOUR + LIFE_SECONDS
    assert transit(shop).open(part) is None


def test_messages_are_unreadable_once_their_key_has_ended() -> None:
    shop = Shop()
    body = transit(shop).seal("Ann")
    start = NOW // HOUR * HOUR

    shop.clock.now = start + LIFE_SECONDS - 1
    assert transit(shop).open(body) == "Ann"
    shop.clock.now = start + LIFE_SECONDS
    assert transit(shop).open(body) is None
    assert LIFE_SECONDS >= 4 * 86_400 + HOUR, "the dead-letter queue keeps a message four days"


def test_a_message_of_one_hour_does_not_pass_for_anothers() -> None:
    shop = Shop()
    _, _, sealed = transit(shop).seal("Ann").partition(".")
    row = shop.rows.held("keys")[0]
    hour = int(row["pk"].removeprefix("T#"))
    again = {name: value for name, value in row.items() if name != "pk"}
    shop.rows.put([Put(Key("keys", f"T#{hour + HOUR}"), again)])

    with pytest.raises(Damaged):
        transit(shop).open(f"{hour + HOUR}.{sealed}")


@given(st.text(max_size=60) | st.from_regex(r"[0-9]{1,12}\.[A-Za-z0-9+/=]{0,80}", fullmatch=True))
def test_any_other_body_is_damaged_or_nothing(body: str) -> None:
    with contextlib.suppress(Damaged):
        assert transit(Shop()).open(body) is None


def test_an_endless_hour_is_damaged_too() -> None:
    with pytest.raises(Damaged):
        transit(Shop()).open("9" * 5000 + ".AAAA")


def test_a_body_shows_nothing_of_its_message() -> None:
    body = transit(Shop()).seal({"email": "ann@example.com"})
    plain = base64.b64decode(body.partition(".")[2])

    assert b"ann" not in plain
    assert json.dumps("ann@example.com").encode() not in plain
