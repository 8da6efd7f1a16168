"""Identifiers: one spelling for each, none for what names nobody, and one key for all time."""

import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from candor.identifiers import LONGEST, Identifiers, normal_form
from tests.worlds import SHIPPED, Shop, policy

TYPES = sorted(SHIPPED.identifiers)
anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@given(st.sampled_from(TYPES), anything)
@example("email", "T̈@example.com")
@example("email", "J̌@example.com")
def test_a_normal_form_is_its_own_normal_form(type_: str, value: str) -> None:
    normal = normal_form(SHIPPED, type_, value)

    if normal is not None:
        assert normal_form(SHIPPED, type_, normal) == normal


@given(st.sampled_from(TYPES), anything)
def test_a_normal_form_is_short_trimmed_and_storable(type_: str, value: str) -> None:
    normal = normal_form(SHIPPED, type_, value)

    if normal is not None:
        assert 0 < len(normal) <= LONGEST
        assert normal == normal.strip() == unicodedata.normalize("NFC", normal)
        assert normal.encode()


@pytest.mark.parametrize(
    ("type_", "spellings"),
    [
        ("email", ["ann@example.com", " Ann@Example.COM\t", "ANN@EXAMPLE.COM"]),
        ("email", ["zoé@example.com", "zoe\u0301@example.com", "ZOÉ@example.com"]),
        ("phone", ["+49 170 1234567", "0170-1234567", " +49(170)1234567 "]),
        ("advertising_id", ["0B3F7A1C-5A51-4D4E", "0b3f7a1c-5a51-4d4e"]),
        ("user_id", ["42", " 42 ", 42]),
    ],
)
def test_spellings_of_one_identifier_have_one_key(type_: str, spellings: list[Any]) -> None:
    made = [Shop().world.identifiers.make(type_, spelling) for spelling in spellings]

    assert len({one.key for one in made if one}) == 1
    assert all(made)


def test_what_differs_for_a_person_differs_for_us() -> None:
    identifiers = Shop().world.identifiers
    made = [
        identifiers.make(type_, value)
        for type_, value in [
            ("user_id", "Ann"),
            ("user_id", "ann"),
            ("anonymous_id", "ann"),
            ("phone", "+49170123456"),
            ("phone", "+43170123456"),
        ]
    ]

    assert len({one.key for one in made if one}) == 5


NOBODY = ["", " ", "\t\n", "null", "NULL", " Undefined ", "none", "NaN", "true", "0", "0000-0000"]
NOBODY += ["-1", "[object Object]", "anonymous", "a\0b", "a\nb", "a\x85b", "a\u2028b"]
NOBODY += ["\ud800", "x" * (LONGEST + 1)]


@pytest.mark.parametrize("value", NOBODY, ids=ascii)
@pytest.mark.parametrize("type_", TYPES)
def test_what_names_nobody_is_no_identifier(type_: str, value: str) -> None:
    assert normal_form(SHIPPED, type_, value) is None


@pytest.mark.parametrize("value", [None, True, False, 1.5, [], ["42"], {}, {"id": "42"}, b"42"])
def test_only_text_and_whole_numbers_name_anybody(value: object) -> None:
    assert normal_form(SHIPPED, "user_id", value) is None


@pytest.mark.parametrize("value", ["ann", "test@example.com", "No-Reply@shop.example"])
def test_an_email_that_is_nobodys_is_no_identifier(value: str) -> None:
    assert normal_form(SHIPPED, "email", value) is None


@pytest.mark.parametrize(
    "value",
    [
        *("110", "phone", "12345", "+49 1234567", "000 000 0000", "+1 555 555 5555", "111111111"),
        *("0123456789", "1234567"),
    ],
)
def test_a_number_that_is_nobodys_is_no_phone(value: str) -> None:
    assert normal_form(SHIPPED, "phone", value) is None


def test_a_type_that_the_policy_does_not_name_is_no_identifier() -> None:
    assert Shop().world.identifiers.make("passport", "C01X00T47") is None


@given(st.integers(LONGEST + 1, 3000), st.sampled_from(["x", "\u0301", " y"]))
def test_a_text_that_is_too_long_names_nobody_rather_than_somebody_shorter(
    length: int, filling: str
) -> None:
    value = "a" + (filling * length)[:length] + "b"

    assert normal_form(SHIPPED, "user_id", value) is None


def test_a_long_blank_in_the_middle_does_not_make_somebody_else() -> None:
    assert normal_form(SHIPPED, "user_id", "a" + " " * 1100 + "b") is None


def test_keys_stay_what_they_were() -> None:
    """The secret is permanent, and so is the derivation: another one would lose everybody."""
    shop = Shop()

    assert shop.id("user_id:42").key == "TFprb8A8ZABg_PbbHw31lmZJ"
    assert shop.id("email:ann@example.com").key == "i3u2QnBC3Am6Tc_pl2t9EHH6"
    assert shop.id("phone:0170 1234567").key == "kgOn45w0ZspGuIuQykTixgCH"
    assert shop.world.identifiers.pseudonym(shop.id("user_id:42").key) == "vgiTRNlkyIdqHYyGinuGFTgq"


@given(st.text(min_size=1, max_size=10))
def test_a_key_depends_on_the_secret_and_tells_nothing(value: str) -> None:
    mine, theirs = Identifiers(SHIPPED, "h" * 64), Identifiers(SHIPPED, "i" * 64)
    one, other = mine.make("user_id", value), theirs.make("user_id", value)

    if one and other:
        assert one.key != other.key
        assert len(one.key) == 24
        assert mine.pseudonym(one.key) != one.key


def test_one_pattern_that_names_nobody_does_not_read_the_others_groups() -> None:
    """A backreference counts the groups of its own pattern."""
    grouped = policy(lambda compiled: compiled["never_identifiers"].insert(0, "(demo)-.*"))

    assert normal_form(grouped, "phone", "+1 555 555 5555") is None
    assert normal_form(grouped, "phone", "+1 555 555 5556")


def test_the_policy_decides_what_is_never_an_identifier() -> None:
    strict = policy(lambda compiled: compiled["never_identifiers"].append("demo-.*"))

    assert normal_form(strict, "anonymous_id", "DEMO-7") is None
    assert normal_form(SHIPPED, "anonymous_id", "DEMO-7") == "DEMO-7"
