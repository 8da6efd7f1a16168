"""The shipped catalogue holds what Segment's spec names, but for what a shop has no use for."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.worlds import SHIPPED, YAML

SPEC: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "segment_spec.json").read_text()
)
"""Names from the pages of Segment's spec that it lists under `pages`, with the date."""
LEFT_OUT = {
    "Application Crashed": "a defect of the app, and no fact about a person",
    "Application Uninstalled": "whoever has gone is not followed",
    "Invite Sent": "addresses of people who asked for nothing",
    "Trial Started": "a shop has no trials",
    "Trial Ended": "a shop has no trials",
}
TRAITS_INSTEAD = {"first_name", "last_name", "email", "phone", "username", "title"}
"""Properties of the b2b events that traits hold already: kept once, and not with each event."""
EVENTS = [
    (event, properties)
    for part in ("page", "ecommerce", "mobile", "b2b")
    for event, properties in SPEC[part].items()
    if event not in LEFT_OUT
]


@pytest.mark.parametrize(("event", "properties"), EVENTS, ids=[event for event, _ in EVENTS])
def test_an_event_of_the_spec_is_kept_with_all_its_properties(
    event: str, properties: list[str]
) -> None:
    kept = SHIPPED.events[event].properties
    assert kept is not None
    assert kept >= set(properties) - (TRAITS_INSTEAD if event in SPEC["b2b"] else set())


def test_every_event_of_ecommerce_is_there() -> None:
    assert len(SPEC["ecommerce"]) == 28
    assert not LEFT_OUT.keys() & SPEC["ecommerce"].keys()
    assert not LEFT_OUT.keys() & SHIPPED.events.keys()


def test_every_reserved_trait_is_kept() -> None:
    assert set(SPEC["traits"]) <= SHIPPED.traits.keys()


@pytest.mark.parametrize("trait", ["birthday", "age", "gender"])
def test_what_a_shop_does_not_need_takes_consent_for_one_purpose(trait: str) -> None:
    (purpose,) = SHIPPED.traits[trait].purposes
    assert SHIPPED.purposes[purpose].basis == "consent"


@pytest.mark.parametrize("event", ["Product Shared", "Cart Shared"])
def test_what_tells_about_others_is_kept_briefly_and_with_consent(event: str) -> None:
    attribute = SHIPPED.events[event]
    assert SHIPPED.retention[attribute.retention] <= 30
    assert {SHIPPED.purposes[purpose].basis for purpose in attribute.purposes} == {"consent"}


def test_the_file_says_where_its_names_come_from() -> None:
    text = YAML.read_text()
    assert SPEC["looked_up"] in text
    assert all(page in text for page in SPEC["pages"].values())


def test_the_address_and_the_browser_are_stored_only_as_the_policy_minimises_them() -> None:
    kept = yaml.safe_load(YAML.read_text())["context"]["keep"]
    assert {"ip", "userAgent"} <= set(kept)
    assert "keep" not in (SHIPPED.minimise_ip, SHIPPED.minimise_user_agent)
