"""GPP strings: the header, the sections that are known, and that the others deny."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from candor.signals import (
    GppGrants,
    Grants,
    InvalidSignal,
    OptOuts,
    UsNational,
    decode_gpp,
    decode_tcf,
    decode_us_privacy,
    gpp_grants,
    tcf_grants,
    us_privacy_opt_outs,
)
from candor.signals.bits import LONGEST
from tests import consent_strings as strings
from tests.consent_strings import Json, encoded, header_bits, number

EUROPE = "CQm0wIAQm0wIAAKABBENBkFgAMAAAAAAAAYgAAAAAAAA.IABu"
OF_VERSION_1: Json = {
    "Version": 1,
    "SensitiveDataProcessing": [2] * 12,
    "KnownChildSensitiveDataConsents": [0] * 2,
}


def national(*blocks: int, **changes: Any) -> str:
    """A section of a person who was told of everything and opted out of nothing."""
    names = strings.NATIONAL.values()
    plain: Json = {name: 1 if "Notice" in name else 2 for name in names}
    plain |= {"SensitiveDataProcessing": [2] * 16, "KnownChildSensitiveDataConsents": [0] * 3}
    return strings.write_national(plain | {"Version": 2, "Gpc": False} | changes, *blocks)


def with_national(*blocks: int, **changes: Any) -> str:
    return "DBABLA~" + national(*blocks, **changes)


def out_of(**changes: Any) -> OptOuts:
    found = gpp_grants(with_national(**changes)).us_national
    assert found
    assert found.denied is None
    return found


def denial(text: str) -> str:
    with pytest.raises(InvalidSignal) as raised:
        decode_gpp(text)
    why = str(raised.value)
    out = OptOuts(denied=why)
    nothing = GppGrants(tcf_eu=Grants(denied=why), us_privacy=out, us_national=out, denied=why)
    assert gpp_grants(text) == gpp_grants(text, vendor=1) == nothing
    return why


# The header


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        # The specification's own: "Header Examples" and "GPP String Examples".
        ("DBABM", (2,)),
        ("DBABMA", (2,)),
        ("DBACNY", (2, 6)),
        ("DBACNYA", (2, 6)),
        ("DBABjw", (5, 6)),
        ("DBAA", ()),
    ],
)
def test_the_headers_of_the_specification_are_read(header: str, ids: tuple[int, ...]) -> None:
    sections = {2: EUROPE, 5: "of Canada", 6: "1YNN"}
    string = decode_gpp("~".join([header, *(sections[one] for one in ids)]))
    assert string.section_ids == ids
    assert string.unknown == tuple(one for one in ids if one == 5)
    assert string.tcf_eu == (decode_tcf(EUROPE) if 2 in ids else None)
    assert string.us_privacy == (decode_us_privacy("1YNN") if 6 in ids else None)


def test_fibonacci_codes_are_those_of_the_specification() -> None:
    codes = {1: "11", 2: "011", 3: "0011", 4: "1011", 5: "00011", 6: "10011", 7: "01011"}
    assert {value: strings.fibonacci(value) for value in codes} == codes
    listed = "000011" + "000001" + "000000000010" + "0" + "0011" + "1" + "011" + "0011"
    text = "~".join([encoded(listed), "x", "x", "1YNN", national(), "x"])
    assert decode_gpp(text).section_ids == (3, 5, 6, 7, 8)


def test_any_list_of_sections_is_read() -> None:
    chance = strings.chance(1)
    for _ in range(500):
        ids = sorted(chance.sample(range(1, 1_000), chance.randrange(30)))
        ids += range(2_000, 2_000 + chance.randrange(20))
        header = encoded(header_bits(ids), *chance.choice([(), (8,)]))
        others = {2: EUROPE, 6: "1YNN", 7: national()}
        text = "~".join([header, *(others.get(one, "x") for one in ids)])
        assert decode_gpp(text).section_ids == tuple(ids)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("~1YNN", "empty"),
        (EUROPE, "base64url"),
        (EUROPE.split(".", maxsplit=1)[0], "no GPP string"),
        ("1YNN", "no GPP string"),
        (encoded(header_bits([6], kind=2)) + "~1YNN", "no GPP string"),
        (encoded(header_bits([6], version=2)) + "~1YNN", "unknown version"),
        ("DB", "cut off"),
        ("DBAB", "cut off"),
        ("DBABT", "lists other sections"),
        ("DBABTA", "lists other sections"),
        ("DBABTA~", "section of the GPP string is empty"),
        ("DBABTA~1YNN~1YNN", "lists other sections"),
        ("DBAA~1YNN", "lists other sections"),
        ("DBABTAA~1YNN", "more than it announces"),
        ("DBABTB~1YNN", "more than it announces"),
        ("DBABTA.YA~1YNN", "base64url"),
        ("DBABTA=~1YNN", "base64url"),
        ("DBACNYA~1YNN~" + EUROPE, "not of version 2"),
        (encoded(header_bits([])[:-12] + number(1, 12) + "0" * 48) + "~x", "ends within a number"),
        # A range over more ids than anything can hold.
        (
            encoded(header_bits([])[:-12] + number(1, 12) + "111" + strings.fibonacci(40_000))
            + "~x~x",
            "lists other sections",
        ),
        ("DBABTA~1YNN" + "~" * LONGEST, "longer than"),
    ],
)
def test_what_is_no_valid_string_says_why(text: str, why: str) -> None:
    assert why in denial(text)


def test_a_hostile_header_costs_nothing() -> None:
    """It lists 46,000 ids a hundred times, and is given up at the first."""
    listed = ("1" + "11" + strings.fibonacci(46_000)) * 100
    text = encoded("000011" + "000001" + number(100, 12) + listed) + "~x"
    tracemalloc.start()
    try:
        assert "lists other sections" in denial(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# The sections


def test_it_tells_and_allows_what_its_sections_do() -> None:
    text = strings.write_gpp({2: EUROPE, 6: "1YNN", 7: national()})
    grants = gpp_grants(text)
    assert grants == GppGrants(
        tcf_eu=tcf_grants(EUROPE),
        us_privacy=us_privacy_opt_outs("1YNN"),
        us_national=OptOuts(
            sale=False,
            sharing=False,
            targeted_advertising=False,
            sensitive_refused=frozenset(),
            sensitive_allowed=frozenset(range(1, 17)),
            gpc=False,
        ),
    )
    assert grants.tcf_eu == Grants(consent=frozenset({1, 2}))
    assert gpp_grants(text, vendor=9).tcf_eu == tcf_grants(EUROPE, vendor=9)
    assert gpp_grants("DBAA") == GppGrants(tcf_eu=None, us_privacy=None, us_national=None)


@pytest.mark.parametrize("unknown", [1, 3, 5, 8, 9, 23, 100])
def test_a_section_that_is_not_known_denies_and_is_told(unknown: int) -> None:
    text = strings.write_gpp({2: EUROPE, 6: "1YNN", 7: national(), unknown: "BAAA"})
    assert decode_gpp(text).unknown == (unknown,)
    grants = gpp_grants(text)
    assert grants.unknown == (unknown,)
    assert grants.denied
    assert grants.tcf_eu == Grants(denied=grants.denied)
    assert grants.us_national == grants.us_privacy == OptOuts(denied=grants.denied)


def test_what_is_denied_is_out_of_everything() -> None:
    out = gpp_grants("").us_national
    assert out
    assert (out.sale, out.sharing, out.targeted_advertising) == (True, True, True)
    assert out.sensitive_refused == frozenset(range(1, 17))
    assert strings.allowed(out) == set()


def test_one_bad_section_denies_all() -> None:
    assert "disclosed" in denial(f"DBACNYA~{EUROPE.split('.', maxsplit=1)[0]}~1YNN")
    assert "four characters" in denial(f"DBACNYA~{EUROPE}~1YN")


@pytest.mark.parametrize("version", [1, 2])
def test_every_field_of_the_us_national_section_is_told(version: int) -> None:
    categories, groups = {1: (12, 2), 2: (16, 3)}[version]
    sensitive = tuple(at % 3 for at in range(categories))
    children = tuple((at + 1) % 3 for at in range(groups))
    said: Json = dict(zip(strings.NATIONAL.values(), [0, 1, 2] * 5, strict=True))
    said |= {
        "SensitiveDataProcessing": list(sensitive),
        "KnownChildSensitiveDataConsents": list(children),
        "MspaCoveredTransaction": 1,
    }
    text = with_national(**said, Version=version, Gpc=True)
    assert decode_gpp(text).us_national == UsNational(
        version=version,
        sharing_notice=0,
        sale_opt_out_notice=1,
        sharing_opt_out_notice=2,
        targeted_advertising_opt_out_notice=0,
        sensitive_data_processing_opt_out_notice=1,
        sensitive_data_limit_use_notice=2,
        sale_opt_out=0,
        sharing_opt_out=1,
        targeted_advertising_opt_out=2,
        sensitive_data_processing=sensitive,
        known_child_sensitive_data_consents=children,
        personal_data_consents=2,
        mspa_covered_transaction=1,
        mspa_opt_out_option_mode=1,
        mspa_service_provider_mode=2,
        gpc=True,
    )


@pytest.mark.parametrize("choice", ["sale", "sharing", "targeted_advertising"])
def test_an_opt_out_holds_and_its_absence_counts_with_notice_and_without_gpc(choice: str) -> None:
    name = "".join(part.title() for part in choice.split("_"))
    notice, opt_out = f"{name}OptOutNotice", f"{name}OptOut"
    said = {"Version": 2}
    expected = {(1, 2): False, (0, 0): None, (1, 0): None, (2, 2): None, (0, 2): None}
    expected |= {(told, 1): True for told in range(3)}
    for (told, chosen), held in expected.items():
        changes = said | {notice: told, opt_out: chosen}
        assert getattr(out_of(**changes), choice) is held
        assert getattr(out_of(**changes, Gpc=None), choice) is (held or None)
        assert getattr(out_of(**changes, Gpc=True), choice) is True


@pytest.mark.parametrize(("version", "groups"), [(1, 2), (2, 3)])
def test_a_known_child_without_consent_is_out(version: int, groups: int) -> None:
    categories = [2] * {1: 12, 2: 16}[version]
    for group in range(groups):
        for consent, held in ((0, False), (1, True), (2, False)):
            children = [0] * groups
            children[group] = consent
            out = out_of(
                Version=version,
                SensitiveDataProcessing=categories,
                KnownChildSensitiveDataConsents=children,
            )
            assert (out.sale, out.sharing, out.targeted_advertising) == (held,) * 3


def test_sensitive_data_is_told_by_category() -> None:
    out = out_of(SensitiveDataProcessing=[1, 2, 0, *[0] * 12, 1])
    assert out.sensitive_refused == {1, 16}
    assert out.sensitive_allowed == {2}


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ("", "empty"),
        (".YA", "empty"),
        ("BVVVVVVVVg.", "empty"),
        ("CVVVVVVVVV", "cut off"),
        (national(Version=0), "unknown version"),
        (national(Version=3), "unknown version"),
        (national(SaleOptOut=3), "does not know"),
        (national(SensitiveDataProcessing=[3] + [0] * 15), "does not know"),
        (national(MspaCoveredTransaction=0), "leaves out"),
        (national(Gpc=None) + ".gA", "does not tell"),
        (national(Gpc=None) + ".AA", "does not tell"),
        (national(Gpc=None) + ".w", "does not tell"),
        (national(Gpc=None) + ".YAA", "more than it announces"),
        (national(Gpc=None) + ".YB", "more than it announces"),
        (national() + ".YA", "more than 2 segments"),
        (national(24, **OF_VERSION_1, Gpc=None), "more than it announces"),
    ],
)
def test_us_national_sections_that_are_not_valid_say_why(section: str, why: str) -> None:
    assert why in denial(f"DBABLA~{section}")


# Cut off


def one_that_ends_firmly(chance: Any) -> str:
    """A string of which no truncation is valid: its last section has nothing that may be missing,
    and is filled up to characters alone."""
    sections = {2: strings.write_tcf(strings.tcf(chance, order=("disclosed",)), chance)}
    if chance.random() < 0.6:
        sections[6] = strings.us_privacy(chance)
    if chance.random() < 0.6:
        sections[7] = strings.write_national(strings.national(chance, gpc=False))
    if len(sections) > 1 and chance.random() < 0.5:
        del sections[2]
    return strings.write_gpp(sections)


def test_every_truncation_of_200_strings_denies() -> None:
    chance = strings.chance(2)
    for _ in range(200):
        text = one_that_ends_firmly(chance)
        decode_gpp(text)
        for end in range(len(text)):
            assert gpp_grants(text[:end]).denied, text[:end]


def test_every_truncation_of_any_section_denies() -> None:
    chance = strings.chance(3)
    for _ in range(100):
        text = one_that_ends_firmly(chance)
        for cut in with_a_section_cut(text):
            assert gpp_grants(cut).denied, cut


def with_a_section_cut(text: str) -> Iterator[str]:
    sections = text.split("~")
    for at, one in enumerate(sections):
        for end in range(len(one)):
            yield "~".join([*sections[:at], one[:end], *sections[at + 1 :]])


def test_what_is_cut_from_the_end_of_a_us_national_section_allows_no_more() -> None:
    """Whether Global Privacy Control was on may be missing, so that cut is not to be noticed."""
    chance = strings.chance(4)
    less = 0
    for _ in range(500):
        section = strings.write_national(strings.national(chance), *chance.choice([(), (8,)]))
        text = f"DBABLA~{section}"
        whole = strings.allowed(gpp_grants(text).us_national)
        for end in range(len(text)):
            cut = gpp_grants(text[:end])
            if cut.denied is None:
                assert strings.allowed(cut.us_national) <= whole
                less += 1
            else:
                assert cut.us_national == OptOuts(denied=cut.denied)
    assert less >= 500
