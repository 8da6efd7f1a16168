"""policy.yaml: mistakes fail the build, and functions read what it says."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from candor.bodies import Source
from candor.policy import DAY, UNNAMED, Policy
from cli.places import Written
from cli.policy import KINDS, Wrong, check, compile_policy, examine, main
from tests.worlds import SHIPPED, YAML

TEXT = YAML.read_text()
Yaml = dict[str, Any]
ATTRIBUTES = [
    (kind, name)
    for kind in ("identifiers", "traits", "events")
    for name in yaml.safe_load(TEXT)[kind]
]
NEEDED = {
    "identifiers": ("priority", "limit", "known"),
    "traits": (),
    "events": ("properties",),
}
"""Beside what every attribute says."""


@cache
def yaml_of_the_shop() -> Yaml:
    loaded: Yaml = yaml.safe_load(TEXT)
    return loaded


def edited(change: Callable[[Yaml], object]) -> str:
    written = yaml.safe_load(TEXT)
    change(written)
    return written_out(written)


def written_out(written: Yaml) -> str:
    """As YAML, without the file's anchors."""
    text: str = yaml.safe_dump(json.loads(json.dumps(written, default=str)))
    return text


ANNOTATIONS = [
    (kind, name, field)
    for kind, name in ATTRIBUTES
    for field in ("purposes", "retention", "erasure", "sensitivity", *NEEDED[kind])
]


@pytest.mark.parametrize(("kind", "name", "field"), ANNOTATIONS)
def test_an_attribute_that_leaves_out_one_annotation_is_found(
    kind: str, name: str, field: str
) -> None:
    written = json.loads(json.dumps(yaml_of_the_shop(), default=str))
    del written[kind][name][field]

    _, mistakes = examine(Written(written))

    told = [one.path for one in mistakes if one.message == f"`{field}` is missing"]
    assert told == [f"{kind}.{name}.{field}"]


@pytest.mark.parametrize("field", ["purposes", "retention", "erasure", "sensitivity"])
@pytest.mark.parametrize(("kind", "name"), [ATTRIBUTES[0], ATTRIBUTES[9], ATTRIBUTES[-1]])
def test_the_build_fails_for_an_annotation_that_is_left_out(
    kind: str, name: str, field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "policy.yaml", tmp_path / "policy.json"
    source.write_text(edited(lambda w: w[kind][name].pop(field)))

    assert main(["compile", str(source), str(out)]) == 1

    assert f"{kind}.{name}.{field}: `{field}` is missing." in capsys.readouterr().err
    assert not out.exists()


MISTAKES: dict[str, Callable[[Yaml], object]] = {
    "a purpose that is not defined": lambda w: w["traits"]["plan"].update(purposes=["fun"]),
    "no purpose": lambda w: w["traits"]["plan"].update(purposes=[]),
    "a class that is not defined": lambda w: w["events"]["page"].update(retention="ages"),
    "a consent category for nothing": lambda w: w["consent_categories"].update(x=["fun"]),
    "no purpose `service`": lambda w: w["purposes"].pop("service"),
    "no class `unnamed`": lambda w: w["retention"].pop("unnamed"),
    "no time": lambda w: w["retention"].update(behaviour=0),
    "half a day": lambda w: w["retention"].update(behaviour=0.5),
    "identifiers that end before their events": lambda w: w["records"].update(identifier=90),
    "two types of one rank": lambda w: w["identifiers"]["email"].update(priority=1),
    "no user_id": lambda w: w["identifiers"].pop("user_id"),
    "no anonymous_id": lambda w: w["identifiers"].pop("anonymous_id"),
    "more than a merge can hold": lambda w: w["identifiers"]["email"].update(limit=91),
    "a field nobody knows": lambda w: w["traits"]["plan"].update(colour="red"),
    "a purpose without a basis": lambda w: w["purposes"]["analytics"].pop("basis"),
    "a basis that law does not know": lambda w: w["purposes"]["analytics"].update(basis="because"),
    "a purpose that says nothing": lambda w: w["purposes"]["analytics"].update(description="x"),
    "an event without its properties": lambda w: w["events"]["page"].pop("properties"),
    "a pattern that is none": lambda w: w["never_identifiers"].append("[^@"),
    "a version of later": lambda w: w.update(version=2),
    "no context": lambda w: w.pop("context"),
    "a kind of source without a rank": lambda w: w["sources"]["priority"].remove("crm"),
    "a kind of source with two ranks": lambda w: w["sources"]["priority"].append("crm"),
    "a kind of source that is none": lambda w: w["sources"]["priority"].append("fax"),
    "an address made smaller in no way": lambda w: w["minimise"].update(ip="blur"),
    "a browser made smaller in no way": lambda w: w["minimise"].update(user_agent="blur"),
    "stale from the first day": lambda w: w["traits"]["email"].update(verify_within=0),
    "an event that is stale": lambda w: w["events"]["page"].update(verify_within=9),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_fails_the_build(mistake: str) -> None:
    with pytest.raises(Wrong):
        compile_policy(edited(MISTAKES[mistake]))


@pytest.mark.parametrize("text", ["", "[]", "42", "version: 1"])
def test_something_else_is_no_policy(text: str) -> None:
    with pytest.raises(Wrong):
        compile_policy(text)


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "policy.yaml", tmp_path / "policy.json"

    for wrong in ("retention: {behaviour: [", edited(MISTAKES["a pattern that is none"])):
        source.write_text(wrong)
        assert main(["compile", str(source), str(out)]) == 1
        assert str(source) in capsys.readouterr().err
    assert main(["build"]) == 2
    assert not out.exists()


def test_the_shipped_policy_compiles_to_what_functions_read(tmp_path: Path) -> None:
    out = tmp_path / "policy.json"

    assert main(["compile", str(YAML), str(out)]) == 0
    compiled = Policy.of(json.loads(out.read_bytes()))
    assert compiled == SHIPPED
    assert set(compiled.events) == set(yaml.safe_load(TEXT)["events"])


def test_the_hash_names_the_content_and_not_its_spelling() -> None:
    shipped = compile_policy(TEXT)["hash"]

    assert compile_policy(edited(lambda _: None))["hash"] == shipped  # no comments, other order
    assert compile_policy(TEXT.replace("behaviour: 90", "behaviour: 91"))["hash"] != shipped


def test_functions_read_ranks_minimising_and_when_a_trait_is_stale() -> None:
    written = edited(lambda w: w["sources"].update(priority=list(reversed(KINDS))))

    assert list(Policy.of(compile_policy(written)).source_priority) == list(reversed(KINDS))
    assert SHIPPED.source_priority == {kind: rank for rank, kind in enumerate(KINDS)}
    assert (SHIPPED.minimise_ip, SHIPPED.minimise_user_agent) == ("truncate", "family")
    assert SHIPPED.traits["email"].verify_within == 365
    assert SHIPPED.traits["name"].verify_within is None


def test_a_key_can_be_of_each_kind_that_has_a_rank_and_of_no_other() -> None:
    assert set(KINDS) == set(get_args(Source.model_fields["source"].annotation))


def test_what_was_written_before_these_fields_existed_means_their_defaults() -> None:
    def before(written: Yaml) -> None:
        del written["sources"], written["minimise"], written["kinds"]

    assert Policy.of(compile_policy(edited(before))) == SHIPPED


def test_what_entries_share_is_not_a_thing_that_is_kept() -> None:
    more = edited(lambda w: w["kinds"].append({"purposes": ["fun"]}))

    assert check(more) == []
    assert compile_policy(more)["hash"] == SHIPPED.hash


def test_categories_match_in_any_case_as_sdks_send_them() -> None:
    written = edited(lambda w: w["consent_categories"].update(ADs=["marketing"]))

    assert Policy.of(compile_policy(written)).categories["ads"] == ("marketing",)
    wanted = {"analytics", "personalization", "marketing", "advertising", "functional"}
    assert wanted <= set(SHIPPED.categories), "Segment's and RudderStack's examples use these"


@given(st.integers(1, 36_500), st.floats(0, 4e9))
def test_something_ends_with_its_utc_day_so_many_days_later(days: int, since: float) -> None:
    due = SHIPPED.due(days, since)

    assert due % DAY == 0
    assert days * DAY < due - since <= (days + 1) * DAY


def test_what_the_catalogue_does_not_name_is_served_for_a_day_at_most() -> None:
    unnamed = SHIPPED.event("Wishlist Shared", unnamed=True)

    assert unnamed is not None
    assert unnamed.purposes == {"service"}
    assert SHIPPED.retention[unnamed.retention] == SHIPPED.retention[UNNAMED] == 1


def test_identifiers_outlive_every_event_that_is_stored_under_them() -> None:
    assert SHIPPED.records["identifier"] >= max(SHIPPED.retention.values())
