"""Normalisers: one spelling for one person, and never one for two."""

import unicodedata
from typing import get_args

import phonenumbers
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from candor.spelling import Normaliser, spell

NORMALISERS: tuple[Normaliser, ...] = get_args(Normaliser)
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
UNSEEN = "\u00ad\u034f\u200b\u200e\u200f\u202a\u202c\u2060\u2066\u2069\ufeff\ufe0f\u3164\U000e0001"
JOINERS = "\u200c\u200d"
BLANKS = " \t\n\r\u00a0\u2003\u2009\u202f\u3000" + UNSEEN + JOINERS

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=24)
letters = st.text(st.characters(categories=["L", "M", "N"]), min_size=1, max_size=8)
blanks = st.text(st.sampled_from(BLANKS), max_size=3)
emails = st.builds("{}@{}.{}".format, letters, letters, letters)
digits = st.text(st.sampled_from("0123456789"), min_size=4, max_size=14)
numbers = st.builds(
    "{}{}{}".format, st.sampled_from(["", "+", "00", "+49 (0)", "tel:+1-", "＋"]), digits, blanks
)
values = st.builds("{}{}{}".format, blanks, anything | emails | numbers, blanks)


@given(st.sampled_from(NORMALISERS), st.sampled_from(["DE", "US", "IT", "none"]), values)
@example("lower", "none", "T̈")
@example("lower", "none", "İ")
@example("email", "none", "ΟΔΟΣ@ΟΔΟΣ.gr")
@example("phone", "DE", "+49 00170 1234567")
@example("phone", "DE", "+98 00541894")
def test_a_spelling_is_its_own_spelling(normaliser: Normaliser, region: str, value: str) -> None:
    spelled = spell(value, normaliser, region)

    if spelled:
        assert spell(spelled, normaliser, region) == spelled
        assert unicodedata.normalize("NFC", spelled) == spelled


@given(st.sampled_from(NORMALISERS), values)
@example("email", "zoë@zoë.example")
@example("email", "Å@example.com")
def test_the_same_letters_are_one_spelling_in_every_form_of_unicode(
    normaliser: Normaliser, value: str
) -> None:
    composed, apart = (unicodedata.normalize(form, value) for form in ("NFC", "NFD"))

    assert spell(composed, normaliser, "DE") == spell(apart, normaliser, "DE")


@given(st.sampled_from(NORMALISERS), anything | emails | numbers, blanks, blanks)
def test_what_nobody_sees_at_the_ends_is_no_difference(
    normaliser: Normaliser, value: str, before: str, after: str
) -> None:
    assert spell(before + value + after, normaliser, "DE") == spell(value, normaliser, "DE")


@given(letters, letters)
def test_an_id_keeps_its_case_and_what_is_in_its_middle(one: str, other: str) -> None:
    composed = unicodedata.normalize("NFC", f"{one} \u200b{other}x")
    assume(composed[0] not in BLANKS)

    assert spell(composed, "trim") == composed


@pytest.mark.parametrize(
    ("normaliser", "one", "other"),
    [
        ("trim", "Ann", "ann"),
        ("trim", "a b", "ab"),
        ("trim", "4\u200d2", "42"),
        ("lower", "straße", "strasse"),
        ("lower", "ﬁn", "fin"),
        ("lower", "ı", "i"),
        ("email", "ann+shop@example.com", "ann@example.com"),
        ("email", "a.nn@example.com", "ann@example.com"),
        ("email", "strauß@example.com", "strauss@example.com"),
        ("email", "ann@straße.example", "ann@strasse.example"),
        ("email", "ann@نامه\u200cای.example", "ann@نامهای.example"),
        ("email", "ann@googlemail.com", "ann@gmail.com"),
        ("phone", "+49 170 1234567", "+43 170 1234567"),
    ],
)
def test_what_two_people_may_differ_by_stays_different(
    normaliser: Normaliser, one: str, other: str
) -> None:
    spelled = spell(one, normaliser, "DE"), spell(other, normaliser, "DE")

    assert all(spelled)
    assert spelled[0] != spelled[1]


SPELLINGS: dict[tuple[Normaliser, str], list[str]] = {
    ("trim", "Ann Lee"): ["Ann Lee ", "\ufeffAnn Lee", "\u202aAnn Lee\u202c", "\u00a0Ann Lee"],
    ("lower", "zoë"): ["ZOË", "Zoe\u0308", "zoë\u3000"],
    ("lower", "38400000-8cf0-11bd-b23e-10b96e40000d"): ["38400000-8CF0-11BD-B23E-10B96E40000D"],
    ("email", "ann@example.com"): [
        *("Ann@Example.COM", "ann@example.com.", "\u200bann@exam\u00adple.com"),
        *("ann@ｅｘａｍｐｌｅ.com", "ann@example。com", "ann@\u2060example.com\u200f"),
    ],
    ("email", "zoë@xn--mller-kva.example"): [
        *("Zoë@Müller.example", "ZOE\u0308@MU\u0308LLER.EXAMPLE.", "zoë@XN--MLLER-KVA.example"),
    ],
    ("phone", "+491701234567"): [
        *("0170 1234567", "+49 170 1234567", "+49 (0)170 / 123 45-67", "0049.170.1234567"),
        *("tel:+49-170-1234567", "٠١٧٠١٢٣٤٥٦٧", "＋４９１７０１２３４５６７", "०१७०१२३४५६७"),
        *("\u202a+49\u00a0170\u20131234567\u202c", "+49\u200b170\u200d1234567", "170 1234567"),
    ],
    ("phone", "+390612345678"): ["+39 06 1234 5678"],
    ("phone", "+5491123456789"): ["+54 9 11 2345-6789", "+54 011 15 2345-6789"],
}  # fmt: skip


@pytest.mark.parametrize(("spelling", "value"), [(k, v) for k, vs in SPELLINGS.items() for v in vs])
def test_spellings_of_one_value_are_one(spelling: tuple[Normaliser, str], value: str) -> None:
    """These are in keys, and may never change: nobody would be found by another one."""
    normaliser, spelled = spelling

    assert spell(value, normaliser, "DE") == spell(spelled, normaliser, "DE") == spelled


@pytest.mark.parametrize(
    "value",
    [
        *("ann", "@example.com", "ann@", "ann@@example.com", "a@b@example.com", "ann example.com"),
        *("an n@example.com", "ann@exam ple.com", "Ann <ann@example.com>"),
        *("mailto:ann@example.com", "ann@example..com", "ann@.example.com", "ann@example.com.."),
        *("ann@[192.0.2.1]", "ann@exam\u00a0ple.com", "ann＠example.com"),
        *('"a b"@example.com', "ann@-ü-.example", "ann@\u0301.com", "ann@ⓔ\u2024.com"),
        *("a@example.com,b@example.com", "a@example.com;b"),
    ],
)  # fmt: skip
def test_what_is_no_address_names_nobody(value: str) -> None:
    assert not spell(value, "email")


@pytest.mark.parametrize(
    "value",
    [
        *("", "+", "110", "phone", "+999 123456789", "0000-0000", "+49 00170 1234567"),
        *("1-800-FLOWERS", "+49 170 1234567 ext. 5", "+49 170 1234567;ext=5", "0170 1234567 x5"),
        *("+49 170 1234567#5", "0170 1234567 / 0171 7654321", "+49 170 1234567 (home)"),
        *("ann@1701234567", "*31# 0170 1234567", "9" * 40, "+49" * 30),
    ],
)  # fmt: skip
def test_what_is_no_one_telephones_number_names_nobody(value: str) -> None:
    assert spell(value, "phone", "DE") is None


def test_without_a_region_only_international_numbers_name_anybody() -> None:
    assert spell("+49 170 1234567", "phone", "none") == "+491701234567"
    assert spell("0170 1234567", "phone", "none") is None
    assert spell("0049 170 1234567", "phone", "none") is None


@given(st.sampled_from(REGIONS), st.integers(0, 10))
def test_a_number_is_one_however_its_country_writes_it(region: str, kind: int) -> None:
    number = phonenumbers.example_number_for_type(region, kind)
    if number is None or phonenumbers.is_possible_number_with_reason(number):
        return
    forms = phonenumbers.PhoneNumberFormat
    national, international, e164 = (
        phonenumbers.format_number(number, form)
        for form in (forms.NATIONAL, forms.INTERNATIONAL, forms.E164)
    )

    assert spell(national, "phone", region) == e164
    assert spell(international, "phone", region) == spell(e164, "phone", "none") == e164
