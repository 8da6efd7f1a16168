"""What other tools say of consent: each form by its table, and none grants what it should not."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor.policy import Policy
from candor.preferences import (
    CONSENT_TYPES,
    OPT_OUTS,
    TCF_PURPOSES,
    Heard,
    Preferences,
    category_preferences,
    consent_mode,
)
from tests import consent_strings as strings
from tests.worlds import SHIPPED, Json, policy

ALL = {"analytics", "personalization", "marketing", "profiling", "sale_share"}
EVERY_TCF = [*TCF_PURPOSES]


def heard(rules: Policy = SHIPPED, /, explicit: bool = False, **said: Any) -> Heard:
    return Preferences(rules).read(said.items(), explicit=explicit)


def granted(found: Heard) -> set[str]:
    return {purpose for purpose, given in found.purposes.items() if given}


def denied(found: Heard) -> set[str]:
    return {purpose for purpose, given in found.purposes.items() if not given}


def codes(found: Heard) -> list[str]:
    return [note.code for note in found.notes]


def tcf(consent: Iterable[int], publisher: Iterable[int] | None = None, **more: Any) -> str:
    """A sound TC string with consent to these purposes, and what it says of the publisher."""
    rng = strings.chance(7)
    what = strings.tcf(
        rng, order=["disclosed"] if publisher is None else ["disclosed", "publisher"]
    )
    what |= {"consent": [*consent], "disclosed": [3, 4], "purpose_one": False}
    if publisher is not None:
        nothing: Json = {"interest": [], "custom": 0, "custom_consent": [], "custom_interest": []}
        what["publisher"] = nothing | {"consent": [*publisher]}
    return strings.write_tcf(what | more, rng)


def national(**answers: Any) -> str:
    """A US national section by which the person was told of everything and opted out of nothing."""
    told = {name: 1 if name.endswith("Notice") else 2 for name in strings.NATIONAL.values()}
    lists = {"SensitiveDataProcessing": [2] * 16, "KnownChildSensitiveDataConsents": [0] * 3}
    return strings.write_national(told | lists | {"Version": 2, "Gpc": False} | answers)


# Segment's categories and RudderStack's lists.

TWO = policy(
    lambda p: p.update(
        consent_categories={"ads": ["marketing"], "News": ["marketing"], "stats": ["analytics"]}
    )
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"ads": True}, {"marketing": True}),
        ({" ADS ": True, "news": True, "stats": True}, {"marketing": True, "analytics": True}),
        ({"ads": True, "news": False}, {"marketing": False}),
        ({"ads": False, "news": True}, {"marketing": False}),
        ({"stats": "true"}, {"analytics": False}),
        ({"stats": None}, {"analytics": False}),
        ({"statistics": True}, {}),
        ({}, {}),
    ],
)
def test_segments_categories(said: Json, expected: dict[str, bool]) -> None:
    found = heard(TWO, categoryPreferences=said)

    assert found.purposes == expected
    assert found.mechanisms == {}


@pytest.mark.parametrize("strategy", ["and", None, "xor", ["or"]])
@pytest.mark.parametrize(
    ("allowed", "refused", "expected"),
    [
        (["ads", "news"], [], {"marketing": True}),
        (["ads"], [], {}),
        (["ads"], ["news"], {"marketing": False}),
        (["ads", "news"], ["ads"], {"marketing": False}),
        ([], ["ads"], {"marketing": False}),
        ([], ["stats"], {"analytics": False}),
        (["stats"], ["ads", "news"], {"analytics": True, "marketing": False}),
        ([], [], {}),
    ],
)
def test_with_and_all_that_stand_for_a_purpose_must_be_allowed(
    strategy: Any, allowed: list[str], refused: list[str], expected: dict[str, bool]
) -> None:
    lists = {"allowedConsentIds": allowed, "deniedConsentIds": refused}
    found = heard(TWO, consentManagement={**lists, "resolutionStrategy": strategy})

    assert found.purposes == expected
    assert codes(found) == ([] if strategy in ("and", None) else ["bad_consent"])


@pytest.mark.parametrize(
    ("allowed", "refused", "expected"),
    [
        (["ads"], [], {"marketing": True}),
        (["ads"], ["news"], {"marketing": True}),
        (["ads"], ["ads"], {"marketing": False}),
        ([], ["ads"], {"marketing": False}),
        ([], ["ads", "news"], {"marketing": False}),
        (["Stats"], ["ads"], {"analytics": True, "marketing": False}),
        ([], [], {}),
    ],
)
def test_with_or_one_that_is_allowed_suffices(
    allowed: list[str], refused: list[str], expected: dict[str, bool]
) -> None:
    lists = {"allowedConsentIds": allowed, "deniedConsentIds": refused}
    found = heard(TWO, consentManagement={**lists, "resolutionStrategy": "or", "provider": "ketch"})

    assert found.purposes == expected


@pytest.mark.parametrize("strategy", ["and", "or"])
def test_a_list_of_what_was_denied_grants_nothing(strategy: str) -> None:
    """RudderStack's own server lets pass what nobody denied."""
    said = {"deniedConsentIds": ["analytics"], "resolutionStrategy": strategy}
    found = heard(consentManagement=said)

    assert found.purposes == {"analytics": False}


@pytest.mark.parametrize(
    "unreadable", ["analytics", {"analytics": 1}, [None], [["ads"]], [True], 1]
)
def test_lists_that_cannot_be_read_deny_or_grant_nothing(unreadable: Any) -> None:
    mapped = {one for purposes in SHIPPED.categories.values() for one in purposes}
    allowing = {"allowedConsentIds": ["analytics"], "deniedConsentIds": unreadable}
    found = heard(consentManagement=allowing)
    assert denied(found) == mapped
    assert codes(found) == ["bad_consent"]

    found = heard(consentManagement={"allowedConsentIds": unreadable})
    assert (found.purposes, codes(found)) == ({}, ["bad_consent"])


def test_ids_may_be_numbers_and_unknown_ones_are_told() -> None:
    rules = policy(lambda p: p.update(consent_categories={"4": ["marketing"]}))
    found = heard(rules, consentManagement={"allowedConsentIds": [4, "C0009"]})

    assert found.purposes == {"marketing": True}
    assert [(note.code, note.name) for note in found.notes] == [
        ("unknown_consent_category", "C0009")
    ]


# Google's Consent Mode.

NO_ADS = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "denied")
ALL_YES = dict.fromkeys(CONSENT_TYPES, "granted")


@pytest.mark.parametrize(
    ("said", "yes", "no"),
    [
        ({"analytics_storage": "granted"}, {"analytics"}, set()),
        ({"analytics_storage": "denied"}, set(), {"analytics"}),
        ({"ad_storage": "granted"}, set(), set()),
        ({"ad_storage": "granted", "ad_user_data": "granted"}, {"sale_share"}, set()),
        (ALL_YES, ALL | {"service"}, set()),
        (
            ALL_YES | NO_ADS,
            {"analytics", "personalization", "service"},
            {"marketing", "profiling", "sale_share"},
        ),
        (
            ALL_YES | {"ad_user_data": "denied"},
            ALL - {"sale_share"} | {"service"},
            {"sale_share"},
        ),
        ({"analytics_storage": "Granted"}, set(), {"analytics"}),
        ({"analytics_storage": True}, set(), {"analytics"}),
        ({"analytics_storage": ["granted"]}, set(), {"analytics"}),
        ({"analytics": "granted"}, set(), set()),
    ],
)
def test_consent_mode_needs_all_types_that_stand_for_a_purpose(
    said: Json, yes: set[str], no: set[str]
) -> None:
    found = heard(consentMode=said)

    assert (granted(found), denied(found)) == (yes, no)


def test_what_consent_mode_does_not_have_is_told() -> None:
    found = heard(consentMode={"analytics": "granted", "ad_storage": 1})
    assert codes(found) == ["unknown_consent_type", "bad_consent"]


# Strings of IAB's.


def test_a_tc_string_says_yes_or_no_to_all_that_is_mapped() -> None:
    found = heard(tcf=tcf([1, 8, 9, 10]))

    assert granted(found) == {"analytics"}
    assert denied(found) == ALL - {"analytics"}
    assert found.mechanisms == dict.fromkeys(ALL, "tcf")
    assert granted(heard(tcf=tcf(EVERY_TCF))) == ALL
    assert granted(heard(tcf=tcf(EVERY_TCF[1:]))) == set(), "all need to store something"


def test_a_legitimate_interest_is_no_consent() -> None:
    assert granted(heard(tcf=tcf([1], interest=EVERY_TCF))) == set()


def test_what_the_publisher_itself_was_refused_is_not_granted() -> None:
    assert granted(heard(tcf=tcf(EVERY_TCF, publisher=[1, 8, 9, 10]))) == {"analytics"}
    assert granted(heard(tcf=tcf([1, 8, 9, 10], publisher=EVERY_TCF))) == {"analytics"}
    text = strings.write_gpp({2: tcf(EVERY_TCF, publisher=[1, 6, 5, 11])})
    assert granted(heard(gpp=text)) == {"personalization"}


@pytest.mark.parametrize(
    ("text", "no"),
    [
        ("1YNN", set()),
        ("1YYN", {"sale_share"}),
        ("1---", set()),
    ],
)
def test_a_us_privacy_string_only_ever_denies(text: str, no: set[str]) -> None:
    found = heard(us_privacy=text)
    assert (granted(found), denied(found)) == (set(), no)
    assert set(found.mechanisms.values()) <= {"gpp"}
    assert heard(gpp=strings.write_gpp({6: text})).purposes == found.purposes


@pytest.mark.parametrize(
    ("answers", "no"),
    [
        ({}, set()),
        ({"SaleOptOut": 1}, {"sale_share"}),
        ({"SharingOptOut": 1}, {"sale_share"}),
        ({"TargetedAdvertisingOptOut": 1}, {"marketing", "sale_share"}),
        ({"SensitiveDataProcessing": [2] * 15 + [1]}, {"profiling"}),
        ({"Gpc": True}, {"marketing", "sale_share"}),
    ],
)
def test_a_national_section_only_ever_denies(answers: Json, no: set[str]) -> None:
    found = heard(gpp=strings.write_gpp({7: national(**answers)}))
    assert (granted(found), denied(found)) == (set(), no)
    assert set(found.mechanisms.values()) <= {"gpp"}


def test_an_opt_out_outweighs_consent_in_the_same_string() -> None:
    sections = {2: tcf(EVERY_TCF), 7: national(SaleOptOut=1)}
    assert granted(heard(gpp=strings.write_gpp(sections))) == ALL - {"sale_share"}


TCF_MAPPED = ALL
US_MAPPED = {"sale_share", "marketing", "profiling"}


@pytest.mark.parametrize("text", ["", "x", "CO", "1YNN~", tcf(EVERY_TCF)[:-9], 7, True, [], {}])
@pytest.mark.parametrize(
    ("form", "mapped"),
    [("tcf", TCF_MAPPED), ("gpp", TCF_MAPPED | US_MAPPED), ("us_privacy", US_MAPPED)],
)
def test_what_cannot_be_relied_on_denies_all_that_it_stands_for(
    form: str, mapped: set[str], text: Any
) -> None:
    found = heard(**{form: text})

    assert (granted(found), denied(found)) == (set(), mapped)
    (note,) = found.notes
    assert (note.code, note.name) == ("bad_consent_string", form)
    assert not isinstance(text, str) or len(text) < 5 or text not in str(note)


def test_a_section_that_nobody_here_can_read_denies_everything() -> None:
    text = strings.write_gpp({2: tcf(EVERY_TCF), 8: "BAAAAAAAAAA"})
    found = heard(gpp=text)
    assert (granted(found), codes(found)) == (set(), ["bad_consent_string"])
    nobody = tcf(EVERY_TCF, disclosed=[])
    assert granted(heard(tcf=nobody)) == granted(heard(gpp=strings.write_gpp({2: nobody}))) == set()
    assert codes(heard(gpp=strings.write_gpp({2: nobody}))) == ["bad_consent_string"]


def test_a_string_that_comes_again_is_told_again_and_decoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Preferences(SHIPPED)
    first = reader.read([("tcf", "broken")])
    monkeypatch.setattr("candor.signals.tcf_grants", None)

    assert reader.read([("tcf", "broken")]) == first
    with pytest.raises(TypeError):
        reader.read([("tcf", "broken too")])


# What only an explicit choice has.


@pytest.mark.parametrize(
    ("words", "no"),
    [
        (["sale"], {"sale_share"}),
        (["sharing"], {"sale_share"}),
        (["limit_use"], {"profiling"}),
        (["targeted_advertising"], {"marketing", "sale_share"}),
        ([*OPT_OUTS], US_MAPPED),
    ],
)
def test_an_opt_out_denies_what_it_is_mapped_to(words: list[str], no: set[str]) -> None:
    found = heard(explicit=True, opt_out=words)
    assert found.purposes == dict.fromkeys(no, False)
    assert found.mechanisms == dict.fromkeys(no, "opt_out")


def test_an_objection_is_to_legitimate_interests_or_to_what_is_listed() -> None:
    interest = policy(lambda p: p["purposes"]["profiling"].update(basis="legitimate_interest"))
    found = heard(interest, explicit=True, objection=True)
    assert (found.purposes, found.mechanisms) == ({"profiling": False}, {"profiling": "objection"})
    assert heard(explicit=True, objection=["marketing"]).purposes == {"marketing": False}

    nothing = heard(explicit=True, objection=True)
    assert (nothing.purposes, codes(nothing)) == ({}, ["unmapped_consent"])


def test_an_event_neither_opts_out_nor_objects_and_is_told() -> None:
    found = heard(opt_out=["sale"], objection=True, marketing=True, tcf=None)
    assert found.purposes == {}
    assert codes(found) == ["unknown_consent_form"] * 3
    assert "opt_out" not in found.notes[0].fix


def test_what_the_policy_does_not_map_says_nothing_and_is_told() -> None:
    bare = policy(lambda p: p.update(consent_mode={}, tcf={}, us_opt_outs={}))
    forms: Json = {
        "consentMode": ALL_YES,
        "tcf": tcf(EVERY_TCF),
        "gpp": strings.write_gpp({6: "1YYN"}),
        "us_privacy": "1YYN",
        "opt_out": ["sale"],
    }
    for form, value in forms.items():
        found = heard(bare, explicit=True, **{form: value})
        assert found.purposes == {}
        assert set(codes(found)) == {"unmapped_consent"}


# Laws.


def test_of_forms_that_disagree_denial_wins_in_any_order() -> None:
    yes = {"analytics": True, "marketing": True}
    said: list[tuple[str, Any]] = [
        ("categoryPreferences", yes),
        ("consentMode", {"analytics_storage": "denied"}),
        ("tcf", tcf([])),
    ]
    for some in (said, said[::-1], [said[1], said[2], said[0]]):
        found = Preferences(SHIPPED).read(some)
        assert granted(found) == set()
        assert found.mechanisms["marketing"] == "tcf"
    assert heard(categoryPreferences=yes, tcf=tcf(EVERY_TCF)).mechanisms.keys() == ALL - {*yes}
    no = heard(tcf=tcf(EVERY_TCF), categoryPreferences={"marketing": False})
    assert no.mechanisms.keys() == ALL - {"marketing"}


ids = st.lists(st.sampled_from([*SHIPPED.categories, "other"]), max_size=4)
choices = st.sampled_from(["granted", "denied"])
tcf_purposes = st.sets(st.sampled_from(EVERY_TCF))
NOISE: list[Any] = [None, True, False, 0, 1.5, "", "granted", "x", [], ["x"], {}, {"x": {}}]
noise = st.sampled_from(NOISE) | st.text(max_size=5)
sound = st.fixed_dictionaries(
    {},
    optional={
        "categoryPreferences": st.dictionaries(
            st.sampled_from([*SHIPPED.categories]), st.booleans()
        ),
        "consentManagement": st.fixed_dictionaries(
            {"allowedConsentIds": ids, "deniedConsentIds": ids},
            optional={"resolutionStrategy": st.sampled_from(["and", "or"])},
        ),
        "consentMode": st.dictionaries(st.sampled_from(CONSENT_TYPES), choices),
        "tcf": tcf_purposes.map(tcf),
        "us_privacy": st.sampled_from(["1YNN", "1YYN", "1---"]),
        "opt_out": st.lists(st.sampled_from([*OPT_OUTS])),
        "objection": st.lists(st.sampled_from([*SHIPPED.purposes])),
    },
)


def no_more(said: Json, rng: random.Random) -> Json:
    """The same with one denial more, or one grant less."""
    more = dict(said)
    form = rng.choice(
        ["categoryPreferences", "consentMode", "denied", "allowed", "tcf", "opt_out", "objection"]
    )
    match form:
        case "categoryPreferences":
            more[form] = more.get(form, {}) | {rng.choice([*SHIPPED.categories]): False}
        case "consentMode":
            more[form] = more.get(form, {}) | {rng.choice(CONSENT_TYPES): "denied"}
        case "denied" | "allowed":
            lists = dict(more.get("consentManagement", {}))
            if form == "denied":
                one = rng.choice([*SHIPPED.categories])
                lists["deniedConsentIds"] = [*lists.get("deniedConsentIds", []), one]
            else:
                lists["allowedConsentIds"] = lists.get("allowedConsentIds", [])[1:]
            more["consentManagement"] = lists
        case "tcf":
            more["tcf"] = rng.choice(["broken", 7, tcf([])])
        case "opt_out":
            more[form] = [*more.get(form, []), rng.choice([*OPT_OUTS])]
        case _:
            more[form] = [*more.get(form, []), rng.choice([*SHIPPED.purposes])]
    return more


@given(sound, st.randoms(use_true_random=False))
def test_adding_a_denial_never_adds_a_permission(said: Json, rng: random.Random) -> None:
    before, after = (heard(explicit=True, **one) for one in (said, no_more(said, rng)))
    assert granted(after) <= granted(before)


@given(st.permutations(["categoryPreferences", "consentMode", "consentManagement", "tcf"]), sound)
def test_the_order_of_forms_changes_no_choice(order: list[str], said: Json) -> None:
    turned = [(form, said[form]) for form in order if form in said]
    rest = [(form, value) for form, value in said.items() if form not in order]
    some = Preferences(SHIPPED).read([*turned, *rest], explicit=True)
    assert some.purposes == heard(explicit=True, **said).purposes


FORMS = ("categoryPreferences", "consentManagement", "consentMode", "tcf", "gpp", "us_privacy", "x")
words = st.sampled_from([*SHIPPED.categories, *CONSENT_TYPES, "allowedConsentIds"]) | st.text()
hostile = st.dictionaries(
    st.sampled_from(FORMS) | st.text(max_size=5),
    noise | st.dictionaries(words, noise | st.lists(noise, max_size=3), max_size=4),
)


@given(hostile)
def test_no_json_makes_reading_fail_and_what_is_odd_is_told(said: Json) -> None:
    found = Preferences(SHIPPED).read(said.items())
    assert set(found.purposes) <= SHIPPED.purposes.keys()
    odd = [form for form, value in said.items() if value is not None and form not in FORMS[:-1]]
    assert codes(found).count("unknown_consent_form") == len(odd)


# There and back.

purposes = st.sampled_from([*SHIPPED.purposes])
Meaning = Mapping[str, list[str]]


def mapped(names: Iterable[str]) -> st.SearchStrategy[dict[str, list[str]]]:
    some = st.lists(purposes, min_size=1, unique=True)
    return st.dictionaries(st.sampled_from([*names]), some, min_size=1)


def apart(names: Iterable[str]) -> st.SearchStrategy[dict[str, list[str]]]:
    """Each purpose under one name at most."""
    under = st.dictionaries(purposes, st.sampled_from([*names]), min_size=1)
    return under.map(lambda one: {n: [p for p in one if one[p] == n] for n in {*one.values()}})


CATEGORIES = ["functional", "ads", "stats", "news"]


def back(rules: Policy, way: str, usable: set[str]) -> tuple[Any, set[str]]:
    """What is said of the usable purposes, and what that grants whoever hears it."""
    if way == "consentMode":
        told: Any = consent_mode(rules, usable)
    else:
        told = category_preferences(rules, usable)
    return told, granted(heard(rules, **{way: told}))


def meaning(way: str, sections: Meaning) -> Policy:
    section = {"consentMode": "consent_mode", "categoryPreferences": "consent_categories"}[way]
    return policy(lambda p: p.update({section: sections}))


@pytest.mark.parametrize(
    ("way", "names"), [("consentMode", CONSENT_TYPES), ("categoryPreferences", CATEGORIES)]
)
@given(data=st.data(), usable=st.sets(purposes))
def test_there_and_back_never_grants_more(
    way: str, names: list[str], data: st.DataObject, usable: set[str]
) -> None:
    rules = meaning(way, data.draw(mapped(names)))
    _, again = back(rules, way, usable)
    assert again <= usable


@pytest.mark.parametrize(
    ("way", "names"), [("consentMode", CONSENT_TYPES), ("categoryPreferences", CATEGORIES)]
)
@given(data=st.data(), usable=st.sets(purposes))
def test_there_and_back_is_exact_for_names_whose_purposes_go_together(
    way: str, names: list[str], data: st.DataObject, usable: set[str]
) -> None:
    sections = data.draw(apart(names))
    rules = meaning(way, sections)
    told, again = back(rules, way, usable)
    whole = {p for listed in sections.values() if usable >= {*listed} for p in listed}
    assert again == whole
    assert back(rules, way, again)[0] == told


@pytest.mark.parametrize("ads", ["granted", "denied"])
@pytest.mark.parametrize("analytics", ["granted", "denied"])
@pytest.mark.parametrize("personalization", ["granted", "denied"])
def test_what_a_banner_says_by_consent_mode_comes_back_as_it_was(
    ads: str, analytics: str, personalization: str
) -> None:
    said = ALL_YES | dict.fromkeys(NO_ADS, ads)
    said |= {"analytics_storage": analytics, "personalization_storage": personalization}
    assert consent_mode(SHIPPED, granted(heard(consentMode=said))) == said


@pytest.mark.parametrize("ads", [True, False])
@pytest.mark.parametrize("analytics", [True, False])
def test_what_a_banner_says_by_categories_comes_back_as_it_was(ads: bool, analytics: bool) -> None:
    said = {"functional": True, "personalization": False, "analytics": analytics}
    said |= {"marketing": ads, "advertising": ads}
    assert category_preferences(SHIPPED, granted(heard(categoryPreferences=said))) == said


def test_a_type_that_the_policy_does_not_map_is_denied() -> None:
    rules = policy(lambda p: p.update(consent_mode={"ad_storage": ["marketing"]}))
    told = consent_mode(rules, {*rules.purposes})
    assert told == dict.fromkeys(CONSENT_TYPES, "denied") | {"ad_storage": "granted"}
