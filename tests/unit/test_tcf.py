"""TC strings: what they say, what they allow, and how every damage denies."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from candor.signals import (
    Core,
    Grants,
    InvalidSignal,
    PublisherTC,
    Restriction,
    TcString,
    Vendors,
    decode_tcf,
    tcf_grants,
)
from candor.signals.bits import LONGEST
from candor.signals.tcf import NOT_ALLOWED, REQUIRE_CONSENT, REQUIRE_LEGITIMATE_INTEREST
from tests import consent_strings as strings
from tests.consent_strings import Json, encoded, entries, number

NOBODY = Vendors(0, ())
MIDNIGHT = datetime(2026, 4, 1, tzinfo=UTC)
WRITTEN = "CQh-8AAQh-8AAAKABBENBkFoAMAAAQIAAAYgFeQAwAAgAFAV4AAAAEJACgAGAAoDhAAA.IABu.cAAAAAAAAaIA"
"""By @iabtcf/core 1.5.6."""
REFUSED = "CQm0wIAQm0wIAAKABBENBkFgAAAAAAAAAAYgAAAAAAAA.IABu"
"""The person refused everything, on 4 July 2026; vendors 1 to 3 were disclosed."""
OF_A_CMP = (
    "CP188cAQKFpAAAHABBENBSFsAP_gAEPgAAiQKqNX_H__bW9r8X73aft0eY1P9_j77uQxBhfJE-4FzLvW_JwXx2ExNA36"
    "tqIKmRIEu3bBIQNlHJHUTVigaogVryHMak2cpTNKJ6BkiFMRM2dYCF5vm4tj-QKY5_r993dx2D-t_dv83dzyz81Hn3f5"
    "_2e0eLCdQ5-tDfv9bROb-9IPd_78v4v8_l_rk2_eT1n_tevr7D_-ft8__XW_9_fff_9Pn_-uB_-_3_vf_EFUwCTDQqIA"
    "-wJCQg0DCKBACoKwgIoFAQAAJA0QEAJgwKdgYALrCRACAFAAMEAIAAQZAAgAAAgAQiACQAoEAAEAgUAAYAEAwEABAwAA"
    "gAsBAIAAQHQMUwIIFAsIEjMioUwIQoEggJbKhBICgQVwhCLPAIgERMFAAgAAAVgACAsFgcSSAlQkECXUG0AABAAgFEIF"
    "Qgk9MAAwJmy1B4MG0ZWmAYPmCRDTAMgCIIyEAAAA.f_wACHwAAAAA"
)
"""As platform 7 wrote it in 2024: a published test string of the Perl module GDPR::IAB::TCFv2."""


def words(**changes: Any) -> Json:
    """A string of which everything is allowed, from after TCF 2.3 became due."""
    everybody = {"vendor_consent": [1, 2, 3], "vendor_interest": [1, 2, 3], "disclosed": [1, 2, 3]}
    plain: Json = {
        "created": strings.LAST_WITHOUT + strings.DAY,
        "updated": strings.LAST_WITHOUT + strings.DAY,
        "cmp_id": 10,
        "cmp_version": 1,
        "screen": 1,
        "language": "EN",
        "list_version": 100,
        "policy_version": 5,
        "non_standard": False,
        "special_features": [1, 2],
        "consent": list(range(1, 25)),
        "interest": list(range(1, 25)),
        "purpose_one": False,
        "country": "DE",
        "restrictions": [],
        "allowed": None,
        "publisher": None,
        "order": ["disclosed"],
    }
    return plain | everybody | changes


def write(**changes: Any) -> str:
    return strings.write_tcf(words(**changes), strings.chance(1))


def core_with(bits: str, at: int, **changes: Any) -> str:
    """A valid string whose core has other bits there."""
    core = strings.core_bits(words(**changes), strings.chance(1))
    return f"{encoded(core[:at] + bits + core[at + len(bits) :])}.IABu"


def denial(text: str) -> str:
    with pytest.raises(InvalidSignal) as raised:
        decode_tcf(text)
    assert tcf_grants(text) == tcf_grants(text, vendor=1) == Grants(denied=str(raised.value))
    return str(raised.value)


# What it says


def test_every_field_is_told() -> None:
    assert decode_tcf(WRITTEN) == TcString(
        core=Core(
            version=2,
            created=MIDNIGHT,
            last_updated=MIDNIGHT,
            cmp_id=10,
            cmp_version=1,
            consent_screen=1,
            consent_language="EN",
            vendor_list_version=100,
            policy_version=5,
            is_service_specific=True,
            use_non_standard_texts=False,
            special_feature_opt_ins=frozenset({1}),
            purposes_consent=frozenset({1, 2, 24}),
            purposes_legitimate_interest=frozenset({7}),
            purpose_one_treatment=False,
            publisher_country="DE",
            vendor_consent=Vendors(700, ((1, 1), (5, 5), (700, 700))),
            vendor_legitimate_interest=NOBODY,
            publisher_restrictions=(
                Restriction(2, REQUIRE_CONSENT, Vendors(900, ((3, 5), (900, 900)))),
            ),
        ),
        disclosed_vendors=Vendors(3, ((1, 3),)),
        publisher=PublisherTC(
            purposes_consent=frozenset({1}),
            purposes_legitimate_interest=frozenset(),
            custom_purposes=3,
            custom_consent=frozenset({2}),
            custom_legitimate_interest=frozenset({3}),
        ),
    )


def test_a_string_of_a_real_platform_is_read() -> None:
    string = decode_tcf(OF_A_CMP)
    assert (string.core.cmp_id, string.core.policy_version) == (7, 5)
    assert len(string.core.vendor_consent) == 836
    assert len(string.core.vendor_legitimate_interest) == 314
    assert tcf_grants(OF_A_CMP) == Grants(
        frozenset(range(1, 12)), frozenset({2, 7, 8, 9, 10, 11}), frozenset({1, 2})
    )


def test_times_are_tenths_of_a_second() -> None:
    assert decode_tcf(write(created=100, order=["disclosed"])).core.created == datetime(
        1970, 1, 1, 0, 0, 0, 100_000, tzinfo=UTC
    )
    latest = decode_tcf(core_with("1" * 36, 6)).core.created
    assert latest == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=100 * (2**36 - 1))


def test_ranges_may_come_in_any_order_and_overlap() -> None:
    listed = number(20, 16) + "1" + entries([(9, 12), (3, 3), (4, 5), (11, 20), (3, 3)])
    text = write(order=[]) + "." + encoded("001" + listed)
    disclosed = decode_tcf(text).disclosed_vendors
    assert disclosed == Vendors(20, ((3, 5), (9, 20)))
    assert list(disclosed) == [3, 4, 5, *range(9, 21)]
    assert len(disclosed) == 15
    assert [one for one in range(25) if one in disclosed] == list(disclosed)
    assert "3" not in disclosed


def test_optional_segments_may_come_in_any_order() -> None:
    there = {"allowed": [2], "publisher": {"consent": [1], "interest": [2], "custom": 0}}
    there["publisher"] |= {"custom_consent": [], "custom_interest": []}  # type: ignore[operator]
    one = decode_tcf(write(**there, order=["disclosed", "allowed", "publisher"]))
    other = decode_tcf(write(**there, order=["publisher", "allowed", "disclosed"]))
    assert one.core.purposes_consent == other.core.purposes_consent
    assert one.publisher == other.publisher != None  # noqa: E711
    assert list(one.allowed_vendors or ()) == list(other.allowed_vendors or ()) == [2]


@pytest.mark.parametrize("blocks", [(), (8,), (24,)])
def test_every_way_in_which_encoders_fill_up_is_read(blocks: tuple[int, ...]) -> None:
    said = words()
    told = strings.told(decode_tcf(strings.write_tcf(said, strings.chance(1), *blocks)))
    assert told == {name: one for name, one in said.items() if name != "order"}


def test_a_hostile_list_costs_nothing() -> None:
    """65,535 vendors, hundreds of times: kept as one range each."""
    everybody = entries([(1, 65_535)])
    core = strings.core_bits(words(), strings.chance(1))[:-12]
    core += number(1_200, 12) + ("000001" + "00" + everybody) * 1_200
    restrictions = decode_tcf(f"{encoded(core)}.IABu").core.publisher_restrictions
    assert len(restrictions) == 1_200
    assert {one.vendors for one in restrictions} == {Vendors(65_535, ((1, 65_535),))}
    assert tcf_grants(f"{encoded(core)}.IABu", vendor=1).consent == frozenset(range(2, 12))


# What denies


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (".", "empty"),
        (f"{REFUSED}.", "empty"),
        (f".{REFUSED}", "empty"),
        (f" {REFUSED}", "base64url"),
        (f"{REFUSED}\n", "base64url"),
        (REFUSED.replace("AA", "+/", 1), "base64url"),
        (f"{REFUSED}=", "base64url"),
        (REFUSED.replace("C", "Ｃ", 1), "base64url"),  # full width
        ("BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA", "version 2"),  # TCF 1.1
        ("D" + REFUSED[1:], "version 2"),
        (f"{REFUSED}.AAAA", "unknown type"),
        (f"{REFUSED}.{REFUSED.split('.', maxsplit=1)[0]}", "unknown type"),
        (f"{REFUSED}.gAAA", "unknown type"),
        (f"{REFUSED}.IABu", "was there before"),
        (f"{REFUSED}.QAAA.YAAAAAAAAAA.YAAAAAAAAAA", "more than 4 segments"),
        (REFUSED.split(".", maxsplit=1)[0], "disclosed vendors is missing"),
        (f"{REFUSED.split('.', maxsplit=1)[0]}.QABu", "disclosed vendors is missing"),
        (f"{REFUSED}AAAA", "more than it announces"),
        (f"{REFUSED[:-1]}v", "more than it announces"),
        (REFUSED + "A" * LONGEST, "longer than"),
    ],
)
def test_what_is_no_valid_string_says_why(text: str, why: str) -> None:
    assert why in denial(text)


@pytest.mark.parametrize("policy", [0, 1, 2, 3, 6, 63])
def test_an_unknown_policy_version_denies(policy: int) -> None:
    assert "policy version" in denial(write(policy_version=policy))


def test_policy_versions_of_tcf_2_2_and_2_3_count() -> None:
    assert tcf_grants(write(policy_version=4)) == tcf_grants(write(policy_version=5))


def test_global_scope_denies() -> None:
    core = strings.core_bits(words(), strings.chance(1), service=False)
    assert "global scope" in denial(f"{encoded(core)}.IABu")


@pytest.mark.parametrize("cmp", [0, 1])
def test_a_string_of_no_platform_denies(cmp: int) -> None:
    assert "platform" in denial(write(cmp_id=cmp))


@pytest.mark.parametrize("at", [108, 114, 201, 207])
def test_languages_and_countries_are_letters(at: int) -> None:
    decode_tcf(core_with(number(25, 6), at))
    assert "no letters" in denial(core_with(number(26, 6), at))


@pytest.mark.parametrize(
    "ranges",
    [[(0, 0)], [(0, 3)], [(4, 3)], [(5, 6)], [(6, 6)], [(1, 2), (3, 65_535)], [(65_535, 1)]],
)
@pytest.mark.parametrize("kind", ["001", "010"])
def test_ranges_that_say_the_impossible_deny(ranges: list[tuple[int, int]], kind: str) -> None:
    listed = encoded(kind + number(5, 16) + "1" + entries(ranges))
    text = write(order=["disclosed"] if kind == "010" else [])
    assert "list of vendors" in denial(f"{text}.{listed}")


@pytest.mark.parametrize(
    ("purpose", "kind", "ranges", "why"),
    [
        (0, 0, [(1, 1)], "no purpose"),
        (25, 0, [(1, 1)], "no purpose"),
        (1, 3, [(1, 1)], "unknown type"),
        (1, 0, [(2, 1)], "list of vendors"),
        (1, 0, [(0, 1)], "list of vendors"),
    ],
)
def test_restrictions_that_say_the_impossible_deny(
    purpose: int, kind: int, ranges: list[tuple[int, int]], why: str
) -> None:
    core = strings.core_bits(words(), strings.chance(1))[:-12] + number(1, 12)
    core += number(purpose, 6) + number(kind, 2) + entries(ranges)
    assert why in denial(f"{encoded(core)}.IABu")


@pytest.mark.parametrize("field", ["created", "updated"])
def test_disclosed_vendors_are_required_from_1_march_2026(field: str) -> None:
    before = {"created": strings.LAST_WITHOUT, "updated": strings.LAST_WITHOUT}
    last_moment = strings.LAST_WITHOUT + strings.DAY - 100
    assert tcf_grants(write(**before | {field: last_moment}, order=[])).consent
    assert "TCF 2.3" in denial(write(**before | {field: last_moment + 100}, order=[]))
    assert tcf_grants(write(**before | {field: last_moment + 100})).consent


# What it allows


def test_it_allows_the_purposes_that_there_are() -> None:
    every = frozenset(range(1, 12))
    assert tcf_grants(write()) == Grants(every, every - {1, 3, 4, 5, 6}, frozenset({1, 2}))
    assert tcf_grants(write(consent=[2], interest=[8, 9], special_features=[2, 3])) == Grants(
        frozenset({2}), frozenset({8, 9}), frozenset({2})
    )
    assert tcf_grants(REFUSED) == Grants()


def test_purpose_1_counts_only_where_it_was_disclosed() -> None:
    assert tcf_grants(write(purpose_one=True)).consent == frozenset(range(2, 12))


def test_where_nobody_was_disclosed_nothing_is_allowed() -> None:
    for vendor in (None, 1):
        grants = tcf_grants(write(disclosed=[]), vendor=vendor)
        assert grants == Grants(denied="No vendor was disclosed.")


def test_a_vendor_needs_disclosure_and_its_own_bit() -> None:
    said = {"vendor_consent": [1, 2], "vendor_interest": [2, 3], "disclosed": [2, 3, 4]}
    text = write(**said, consent=[1, 2], interest=[2, 7])
    assert tcf_grants(text, vendor=1) == Grants(denied="The vendor was not disclosed.")
    assert tcf_grants(text, vendor=2).consent == {1, 2}
    assert tcf_grants(text, vendor=2).legitimate_interest == {2, 7}
    assert tcf_grants(text, vendor=3) == Grants(
        legitimate_interest=frozenset({2, 7}), special_features=frozenset({1, 2})
    )
    assert tcf_grants(text, vendor=4) == Grants()


def test_an_older_string_without_disclosure_goes_by_the_vendors_bits() -> None:
    old = {"created": strings.LAST_WITHOUT, "updated": strings.LAST_WITHOUT, "order": []}
    assert tcf_grants(write(**old, vendor_consent=[1]), vendor=1).consent
    assert not tcf_grants(write(**old, vendor_consent=[1]), vendor=2).consent


def test_the_publisher_takes_away_what_it_restricts() -> None:
    restrictions = [
        [2, NOT_ALLOWED, [1]],
        [7, REQUIRE_CONSENT, [1, 2]],
        [8, REQUIRE_LEGITIMATE_INTEREST, [1]],
    ]
    text = write(consent=[2, 7, 8], interest=[2, 7, 8], restrictions=restrictions)
    assert tcf_grants(text, vendor=1) == Grants(frozenset({7}), frozenset({8}), frozenset({1, 2}))
    assert tcf_grants(text, vendor=2) == Grants(
        frozenset({2, 7, 8}), frozenset({2, 8}), frozenset({1, 2})
    )
    assert tcf_grants(text).consent == {2, 7, 8}


# Cut off


ENDS = (("disclosed",), ("publisher", "disclosed"), ("allowed", "publisher", "disclosed"))
"""Where the segment that must be there is the last, no cut leaves a valid string."""


def test_every_truncation_of_200_strings_denies() -> None:
    chance = strings.chance(2)
    for _ in range(200):
        text = strings.write_tcf(strings.tcf(chance, order=chance.choice(ENDS)), chance)
        decode_tcf(text)
        for end in range(len(text)):
            assert tcf_grants(text[:end]).denied, text[:end]


def test_every_truncation_of_any_segment_denies() -> None:
    chance = strings.chance(3)
    for _ in range(200):
        text = strings.write_tcf(strings.tcf(chance), chance)
        decode_tcf(text)
        for cut in with_a_segment_cut(text):
            assert tcf_grants(cut).denied, cut


def with_a_segment_cut(text: str) -> Iterator[str]:
    segments = text.split(".")
    for at, one in enumerate(segments):
        for end in range(len(one)):
            yield ".".join([*segments[:at], one[:end], *segments[at + 1 :]])


def test_where_a_truncation_leaves_a_valid_string_it_says_no_more() -> None:
    """Two are not to be noticed. Zeros that only fill up may be gone: the same is said. And whole
    segments from the end, which may all be missing in a string from before March 2026: the rest of
    it says the same. Without disclosed vendors it goes by the vendors' own bits."""
    chance = strings.chance(4)
    seen = {"less filling": 0, "less segments": 0}
    for _ in range(200):
        text = strings.write_tcf(strings.tcf(chance), chance, 24)
        whole = decode_tcf(text)
        for end in range(len(text)):
            if tcf_grants(text[:end]).denied:
                continue
            rest = decode_tcf(text[:end])
            lost = text.count(".") - text[:end].count(".")
            seen["less segments" if lost else "less filling"] += 1
            kept = {name: one for name, one in strings.told(rest).items() if one is not None}
            assert kept.items() <= strings.told(whole).items()
            if lost:
                assert rest.core.created < MIDNIGHT or rest.disclosed_vendors
            assert_no_more(tcf_grants(text[:end]), tcf_grants(text))
            for vendor in {1, 2, 3, *list(whole.core.vendor_consent)[:3]}:
                grants = tcf_grants(text[:end], vendor=vendor)
                if rest.disclosed_vendors == whole.disclosed_vendors:
                    assert_no_more(grants, tcf_grants(text, vendor=vendor))
                assert not grants.consent or vendor in whole.core.vendor_consent
    assert min(seen.values()) > 50


def assert_no_more(cut: Grants, whole: Grants) -> None:
    if whole.denied is None:
        assert cut.consent <= whole.consent
        assert cut.legitimate_interest <= whole.legitimate_interest
        assert cut.special_features <= whole.special_features


def test_what_is_cut_is_never_read_as_consent() -> None:
    """As the decoder on PyPI reads it: iab-tcf 0.2.2, and iab-tcf-bitarray 0.2.3, which is the same
    but for its dependency. Of this string without its second segment, in which the person refused
    everything, `decode_v2` tells of the first 0, 2, 3, 4, 6, … 26 characters that all 24 purposes
    are consented to, and of the first 27 that 16 are: it takes for a flag whether all of the bits
    that it found are ones, which is true of no bits."""
    assert decode_tcf(REFUSED).core.purposes_consent == frozenset()
    for end in range(len(REFUSED)):
        grants = tcf_grants(REFUSED[:end])
        assert grants.denied
        assert (
            grants.consent == grants.legitimate_interest == grants.special_features == frozenset()
        )


def test_a_message_never_quotes_the_string() -> None:
    chance = strings.chance(5)
    for _ in range(2_000):
        text = strings.damaged(OF_A_CMP, chance)
        why = tcf_grants(text).denied or ""
        quoted = [text[at : at + 12] for at in range(len(text) - 12)]
        assert not any(one in why for one in quoted)
