"""IAB Tech Lab's own implementations as an oracle: @iabtcf/core for TCF, @iabgpp/cmpapi for GPP.

They write random strings that are decoded here, and read random strings that a writer of ours made;
all must tell the same of every field. In places they are laxer than the specifications: `LAXER`
names these, and a test shows of each that it is still so. Node runs once for all of it.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from candor.signals import (
    GppString,
    InvalidSignal,
    UsPrivacy,
    decode_gpp,
    decode_tcf,
    gpp_grants,
    tcf_grants,
    us_privacy_opt_outs,
)
from tests import consent_strings as strings
from tests import javascript
from tests.consent_strings import Json, encoded, entries, number

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
STRINGS = 10_000 if LONG else 500
DAMAGED = 30_000 if LONG else 10_000
SEED = secrets.randbits(32) if LONG else 20260228

FIELDS = {  # of a TCF section in the words of @iabgpp/cmpapi: in ours
    "CmpId": "cmp_id",
    "CmpVersion": "cmp_version",
    "ConsentScreen": "screen",
    "ConsentLanguage": "language",
    "VendorListVersion": "list_version",
    "PolicyVersion": "policy_version",
    "UseNonStandardStacks": "non_standard",
    "SpecialFeatureOptins": "special_features",
    "PurposeConsents": "consent",
    "PurposeLegitimateInterests": "interest",
    "PurposeOneTreatment": "purpose_one",
    "PublisherCountryCode": "country",
    "VendorConsents": "vendor_consent",
    "VendorLegitimateInterests": "vendor_interest",
    "VendorsDisclosed": "disclosed",
    "VendorsAllowed": "allowed",
    "PublisherRestrictions": "restrictions",
    "LastUpdated": "updated",
    "Created": "created",  # the last: setting another makes it the present
}
PUBLISHER = {
    "PublisherConsents": "consent",
    "PublisherLegitimateInterests": "interest",
    "NumCustomPurposes": "custom",
    "PublisherCustomConsents": "custom_consent",
    "PublisherCustomLegitimateInterests": "custom_interest",
}
NO_PUBLISHER: Json = {name: [] for name in PUBLISHER.values()} | {"custom": 0}
LENGTHS = {"special_features": 12, "consent": 24, "interest": 24}
ANSWERS = {True: "Y", False: "N", None: "-"}


# What is asked


def words_for_gpp(rng: Random) -> Json:
    """What @iabgpp/cmpapi is to write, of any of the three sections: in our words."""
    said: Json = {
        "tcf": strings.tcf(rng, order=("disclosed", "publisher")),
        "usp": strings.us_privacy(rng),
        "national": strings.national(rng, gpc=rng.random() < 0.8),
    }
    said["tcf"]["updated"] = said["tcf"]["created"]  # it writes no others
    return {name: said[name] for name in rng.sample(sorted(said), rng.randrange(1, 4))}


def in_its_words(said: Json) -> Json:
    made: dict[str, Json] = {}
    if "tcf" in said:
        tcf = said["tcf"]
        own = {name: in_bits(one, tcf["publisher"]) for name, one in PUBLISHER.items()}
        made["tcfeuv2"] = own | {name: in_bits(one, tcf) for name, one in FIELDS.items()}
        del made["tcfeuv2"]["VendorsAllowed"]
    if "usp" in said:
        version, *answers = said["usp"]
        names = ("Notice", "OptOutSale", "LspaCovered")
        made["uspv1"] = {"Version": int(version)} | dict(zip(names, answers, strict=True))
    if "national" in said:
        section: Json = {name: one for name, one in said["national"].items() if one is not None}
        for name, length in (
            ("SensitiveDataProcessing", 16),
            ("KnownChildSensitiveDataConsents", 3),
        ):
            section[name] = section[name] + [0] * (length - len(section[name]))
        made["usnat"] = section | {"GpcSegmentIncluded": "Gpc" in section}
    return made


def in_bits(name: str, said: Json) -> Any:
    """Sets of purposes as a list of booleans; anything else as it is."""
    length = said["custom"] if name.startswith("custom_") else LENGTHS.get(name)
    return said[name] if length is None else [one in said[name] for one in range(1, length + 1)]


def gpp(rng: Random) -> str:
    """A GPP string of our own writer."""
    blocks = rng.choice(((), (8,)))
    made = {
        2: tcf(rng),
        6: strings.us_privacy(rng),
        7: strings.write_national(strings.national(rng, gpc=rng.random() < 0.8), *blocks),
    }
    chosen = rng.sample(sorted(made), rng.randrange(1, 4))
    return strings.write_gpp({one: made[one] for one in chosen}, *blocks)


def tcf(rng: Random) -> str:
    return strings.write_tcf(strings.tcf(rng), rng, *rng.choice(((), (8,), (24,))))


def damaged(rng: Random) -> Iterator[tuple[str, str]]:
    sound = [(kind, make(rng)) for kind, make in (("tcf", tcf), ("gpp", gpp)) for _ in range(200)]
    for _ in range(DAMAGED):
        kind, text = rng.choice(sound)
        yield kind, strings.damaged(text, rng)


def accepted(kind: str, text: str) -> bool:
    """Whether all of it is decoded. Any error but InvalidSignal fails the test."""
    try:
        return bool(decode_tcf(text)) if kind == "tcf" else not decode_gpp(text).unknown
    except InvalidSignal:
        return False


def laxer() -> dict[str, tuple[str, str, str]]:
    """What a reference takes and the specifications do not: kind, string, and why not."""
    rng = strings.chance(1)
    said = strings.tcf(rng, order=("disclosed",)) | {"disclosed": [1, 2, 3], "restrictions": []}
    said |= {"created": strings.LAST_WITHOUT, "updated": strings.LAST_WITHOUT}
    core = strings.core_bits(said, rng)
    no_list, is_range = "001" + number(5, 16), "1"
    national = strings.national(rng)
    answers = strings.write_national(national).split(".")[0]
    three = national | {"SaleOptOut": 3}
    return {
        "more bits than announced": ("tcf", encoded(core) + "AAAA", "more than"),
        "a one among the zeros at the end": (
            "tcf",
            encoded(core + "0" * (-len(core) % 24 or 24))[:-1] + "B",
            "more than",
        ),
        "a segment twice": ("tcf", f"{encoded(core)}.IAAA.IAAA", "was there before"),
        "a range that ends before it starts": (
            "tcf",
            f"{encoded(core)}.{encoded(no_list + is_range + entries([(4, 2)]))}",
            "ends before",
        ),
        "a vendor beyond the greatest": (
            "tcf",
            f"{encoded(core)}.{encoded(no_list + is_range + entries([(6, 6)]))}",
            "beyond",
        ),
        "a restriction of purpose 63": (
            "tcf",
            encoded(core[:-12] + number(1, 12) + number(63, 6) + "00" + entries([(1, 1)])),
            "no purpose",
        ),
        "a language of no letters": (
            "tcf",
            encoded(core[:108] + number(30, 6) * 2 + core[120:]),
            "no letters",
        ),
        "global scope": ("tcf", encoded(strings.core_bits(said, rng, service=False)), "global"),
        "an old policy": (
            "tcf",
            encoded(strings.core_bits(said | {"policy_version": 2}, rng)),
            "policy",
        ),
        "no disclosed vendors after 28 February 2026": (
            "tcf",
            encoded(strings.core_bits(said | {"updated": strings.LAST_WITHOUT + strings.DAY}, rng)),
            "TCF 2.3",
        ),
        "an empty segment": ("gpp", f"DBABMA~{encoded(core)}.", "empty"),
        "an answer of US Privacy that is none": ("gpp", "DBABTA~1YXN", "other than"),
        "US Privacy without its main answer": ("gpp", "DBABTA~1Y-N", "leaves out"),
        "version 2 of US Privacy": ("gpp", "DBABTA~2YNN", "version 1"),
        "an answer of US national that is none": (
            "gpp",
            f"DBABLA~{strings.write_national(three)}",
            "does not know",
        ),
        "a US national section of version 9": (
            "gpp",
            f"DBABLA~{strings.write_national(national | {'Version': 9})}",
            "unknown version",
        ),
        "a US national section without agreement": (
            "gpp",
            f"DBABLA~{strings.write_national(national | {'MspaCoveredTransaction': 0})}",
            "leaves out",
        ),
        "a US national segment of another type": ("gpp", f"DBABLA~{answers}.gA", "does not tell"),
        "a third US national segment": ("gpp", f"DBABLA~{answers}.YA.YA", "more than 2"),
        "a longer GPP header": ("gpp", "DBABTAAA~1YNN", "more than"),
    }


LAXER = laxer()


@dataclass
class Asked:
    """What was asked of the references, with their answers."""

    tcf: list[tuple[Json, str, Json]]
    """What @iabtcf/core was to write, wrote, and read in that."""
    gpp: list[tuple[Json, str, Json]]
    read: dict[str, list[tuple[str, Json]]]
    """By kind: strings of our writer, and what was read in them."""
    survivors: dict[str, list[tuple[str, Json]]]
    """The same of damaged strings that are taken all the same."""
    laxer: dict[str, Json]


@pytest.fixture(scope="module")
def asked() -> Asked:
    rng = strings.chance(SEED)
    for_core = [strings.tcf(rng) for _ in range(STRINGS)]
    for_gpp = [words_for_gpp(rng) for _ in range(STRINGS)]
    texts = [tcf(rng) for _ in range(STRINGS)]
    ours = {"tcf": texts, "gpp-tcf": texts, "gpp": [gpp(rng) for _ in range(STRINGS)]}
    survivors = [one for one in damaged(rng) if accepted(*one)]
    read = [(kind, text) for kind, all_ in ours.items() for text in all_] + survivors
    read += [(kind, text) for kind, text, _ in LAXER.values()]
    answers = javascript.run(
        "iab.cjs",
        {
            "write": [("tcf", one) for one in for_core]
            + [("gpp", in_its_words(one)) for one in for_gpp],
            "read": read,
        },
    )
    written = list(zip([*for_core, *for_gpp], answers["written"], answers["again"], strict=True))
    told = iter(answers["read"])
    by_kind = {kind: [(text, next(told)) for text in all_] for kind, all_ in ours.items()}
    survived: dict[str, list[tuple[str, Json]]] = {"tcf": [], "gpp": []}
    for kind, text in survivors:
        survived[kind].append((text, next(told)))
    rest = dict(zip(LAXER, told, strict=True))
    return Asked(written[:STRINGS], written[STRINGS:], by_kind, survived, rest)


# What is told, in the same words


def ours_of_tcf(text: str) -> Json:
    """What a TC string says; with an empty segment for none, as references show it."""
    said = strings.told(decode_tcf(text))
    for name in ("disclosed", "allowed"):
        said[name] = said[name] or []
    said["publisher"] = said["publisher"] or NO_PUBLISHER
    return said


def ours_of_gpp(text: str) -> Json:
    string: GppString = decode_gpp(text)
    said: Json = {}
    if string.tcf_eu:
        said["tcf"] = ours_of_tcf(text.split("~")[1])
    if string.us_privacy:
        said["usp"] = usp(string.us_privacy)
    if string.us_national:
        said["national"] = strings.told_national(string.us_national)
    return said


def usp(string: UsPrivacy) -> str:
    answers = string.notice, string.opt_out_sale, string.limited_service_provider
    return f"{string.version}" + "".join(ANSWERS[one] for one in answers)


def theirs_of_core(told: Json) -> Json:
    assert "refused" not in told, told
    assert (told["version"], told["service_specific"]) == (2, True)
    return {name: one for name, one in told.items() if name not in {"version", "service_specific"}}


def theirs_of_section(told: Json) -> Json:
    assert "refused" not in told, told
    assert (told["Version"], told["IsServiceSpecific"]) == (2, True)
    said = {ours: as_set(told[name]) for name, ours in FIELDS.items()}
    said["publisher"] = {ours: as_set(told[name]) for name, ours in PUBLISHER.items()}
    said["restrictions"] = strings.joined(said["restrictions"])
    return said


def as_set(value: Any) -> Any:
    """Booleans as the places of the true ones, and ids in order; anything else as it is."""
    if not isinstance(value, list) or not value or isinstance(value[0], list):
        return value
    if isinstance(value[0], bool):
        return [at for at, one in enumerate(value, 1) if one]
    return sorted(set(value))


def theirs_of_gpp(told: Json, *, gpc: bool) -> Json:
    """`gpc`: whether the section says; the reference tells of one that does not as of a no."""
    assert "refused" not in told, told
    said: Json = {}
    if "tcfeuv2" in told:
        said["tcf"] = theirs_of_section(told["tcfeuv2"])
    if "uspv1" in told:
        said["usp"] = "".join(str(one) for one in told["uspv1"].values()).upper()
    if "usnat" in told:
        section = told["usnat"]
        said["national"] = {name: section[name] for name in ("Version", *strings.NATIONAL.values())}
        said["national"]["Gpc"] = section["Gpc"] if gpc else None
    return said


def says_gpc(text: str) -> bool:
    return "." in text.rsplit("~", maxsplit=1)[-1]


# The tests


def test_what_the_tcf_reference_writes_is_read_as_it_was_meant(asked: Asked) -> None:
    assert len(asked.tcf) == STRINGS
    for what, text, again in asked.tcf:
        said = strings.told(decode_tcf(text))
        assert said == {name: one for name, one in what.items() if name != "order"}, SEED
        assert ours_of_tcf(text) == theirs_of_core(again), SEED


def test_what_the_gpp_reference_writes_is_read_as_it_was_meant(asked: Asked) -> None:
    assert len(asked.gpp) == STRINGS
    for what, text, again in asked.gpp:
        if "tcf" in what:
            # It has no allowed vendors, and no legitimate interest where there may be none.
            interest = [one for one in what["tcf"]["interest"] if one not in {1, 3, 4, 5, 6}]
            what["tcf"] |= {"interest": interest, "allowed": []}
            del what["tcf"]["order"]
        assert ours_of_gpp(text) == what, SEED
        assert what == theirs_of_gpp(again, gpc=says_gpc(text)), SEED


@pytest.mark.parametrize("kind", ["tcf", "gpp-tcf", "gpp"])
def test_what_our_writer_writes_everybody_reads_alike(asked: Asked, kind: str) -> None:
    assert len(asked.read[kind]) == STRINGS
    for text, told in asked.read[kind]:
        assert_alike(kind, text, told)


@pytest.mark.parametrize("kind", ["tcf", "gpp"])
def test_no_damaged_string_is_taken_that_the_reference_refuses_or_reads_otherwise(
    asked: Asked, kind: str
) -> None:
    taken = asked.survivors[kind]
    assert DAMAGED / 100 < len(taken) < DAMAGED / 2  # or it would show little
    for text, told in taken:
        assert_alike(kind, text, told)


def assert_alike(kind: str, text: str, told: Json) -> None:
    if kind == "gpp":
        assert ours_of_gpp(text) == theirs_of_gpp(told, gpc=says_gpc(text)), SEED
    elif kind == "gpp-tcf":
        assert ours_of_tcf(text) == theirs_of_section(told), SEED
    else:
        assert ours_of_tcf(text) == theirs_of_core(told), SEED


def test_damage_raises_nothing_else_and_leaves_no_permission_where_it_denies() -> None:
    for _, text in damaged(strings.chance(SEED)):
        for grants in (tcf_grants(text), tcf_grants(text, vendor=7)):
            allowed = grants.consent | grants.legitimate_interest | grants.special_features
            assert grants.denied is None or not allowed
        answer = gpp_grants(text, vendor=7)
        for out in (answer.us_privacy, answer.us_national, us_privacy_opt_outs(text)):
            assert out is None or out.denied is None or not strings.allowed(out)
        if answer.denied:
            assert answer.tcf_eu
            assert answer.us_national
            assert answer.us_privacy
            assert answer.tcf_eu.denied == answer.us_national.denied == answer.us_privacy.denied


@pytest.mark.parametrize("name", LAXER)
def test_where_a_reference_is_laxer_the_string_is_refused(asked: Asked, name: str) -> None:
    assert "refused" not in asked.laxer[name], "no longer laxer: tell it in LAXER"
    kind, text, why = LAXER[name]
    with pytest.raises(InvalidSignal, match=why):
        decode_tcf(text) if kind == "tcf" else decode_gpp(text)
