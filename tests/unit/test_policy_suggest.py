"""`candor policy suggest` proposes entries for what was stripped: narrow, and safe to paste."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli import policy, proposals
from cli.api import Api
from cli.main import main
from cli.proposals import Proposal, Seen
from cli.target import load_stack
from tests.unit.test_cli_hostile import EVIL, OBEYED
from tests.worlds import YAML

Json = dict[str, Any]
TEXT = YAML.read_text()
SHIPPED = policy.compile_policy(TEXT)


def counted(*names: tuple[str, str, str], source: str = "web", day: int = 20_000) -> Json:
    """A source's day as `GET /v1/outcomes` tells it."""
    told = [{"where": where, "event": event, "name": name} for where, event, name in names]
    return {"source": source, "day": day, "outcomes": {}, "names": told}


def proposed(*names: tuple[str, str, str]) -> list[Proposal]:
    new = proposals.unknown(SHIPPED, proposals.seen([counted(*names)]))
    return proposals.propose(SHIPPED, TEXT, new)


def pasted(made: list[Proposal]) -> str:
    """What a person makes of the file who does as the instructions say."""
    text = TEXT
    for one in made:
        lines = "\n".join(one.lines)
        if one.place in ("traits", "events"):
            assert one.instruction == f"Below the line `{one.place}:`"
            text = text.replace(f"\n{one.place}:\n", f"\n{one.place}:\n{lines}\n")
            continue
        assert "instead of" in one.instruction
        new = one.lines[-1].partition(":")[2].strip()
        *above, field = one.place.split(".") if one.place == "context.drop" else (
            "events", one.place[len("events.") : -len(".properties")], "properties",
        )  # fmt: skip
        start = text.index(f"\n{above[0]}:\n")
        for name in above[1:]:
            start = text.index(f"\n  {name}:", start)
        begin = text.index(f"{field}: ", start) + len(f"{field}: ")
        end = text.index("}", begin) if text[begin] == "*" else text.index("]", begin) + 1
        text = text[:begin] + new + text[end:]
    return text


@pytest.mark.parametrize("name", ["größe", "ключ", "2fa_enabled", "1e3", "3D Secure"])
def test_a_name_of_any_script_can_be_pasted(name: str) -> None:
    made = proposed(("traits", "", name), ("events", "", name), ("properties", "Signed Up", name))

    text = pasted(made)
    compiled = policy.compile_policy(text)

    assert name in compiled["traits"]
    assert name in compiled["events"]
    assert name in compiled["events"]["Signed Up"]["properties"]


def test_a_trait_gets_the_narrowest_purpose_and_the_shortest_class() -> None:
    (made,) = proposed(("traits", "", "shoe_size"))

    entry = yaml.safe_load("\n".join(made.lines))["shoe_size"]
    (purpose,) = entry["purposes"]
    assert SHIPPED["purposes"][purpose]["basis"] == "consent"
    named = {name: days for name, days in SHIPPED["retention"].items() if name != "unnamed"}
    assert named[entry["retention"]] == min(named.values())
    assert entry.keys() == {"purposes", "sensitivity", "retention", "erasure"}


def test_it_says_from_whom_and_on_how_many_days() -> None:
    days = [
        counted(("traits", "", "a"), ("traits", "", "b"), source="id1", day=1),
        counted(("traits", "", "b"), source="id2", day=1),
        counted(("traits", "", "b"), source="id2", day=2),
    ]

    found = proposals.seen(days, {"id1": "web shop"})

    assert [str(one) for one in found] == [
        "seen on 2 days, from id2, web shop",
        "seen on 1 day, from web shop",
    ]
    (made,) = proposals.propose(SHIPPED, TEXT, found)
    assert "  # seen on 2 days, from id2, web shop" in made.lines


def test_an_unknown_event_brings_its_properties_with_it() -> None:
    (made,) = proposed(
        ("events", "", "Wishlist Shared"),
        ("properties", "Wishlist Shared", "channel"),
        ("properties", "Wishlist Sorted", "order"),
    )

    entries = yaml.safe_load("\n".join(made.lines))
    assert entries["Wishlist Shared"]["properties"] == ["channel"]
    assert entries["Wishlist Sorted"]["properties"] == ["order"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ("Products Searched", "  properties: [query, shop area]"),
        ("Product Clicked", "  properties: [*product, shop area]"),
        ("Product Viewed", "  properties: [*product, currency, value, shop area]"),
        ("Signed Out", "  properties: [shop area]"),
        ("Order Completed", "  properties: [checkout_id, *order_fields, subtotal, shop area]"),
    ],
)
def test_a_property_is_added_in_the_words_of_the_file(event: str, line: str) -> None:
    (made,) = proposed(("properties", event, "shop area"))

    assert made.place == f"events.{event}.properties"
    assert made.lines[-1] == line
    compiled = policy.compile_policy(pasted([made]))
    assert compiled["events"][event]["properties"] == [
        *SHIPPED["events"][event]["properties"],
        "shop area",
    ]


def test_a_file_that_is_written_otherwise_gets_the_whole_list() -> None:
    text = yaml.safe_dump(yaml.safe_load(TEXT))
    new = proposals.seen([counted(("properties", "Products Searched", "area"))])

    (made,) = proposals.propose(SHIPPED, text, new)

    assert made.lines[-1] == "  properties: [query, area]"


def test_of_the_context_nothing_is_kept_unless_a_person_says_so() -> None:
    (made,) = proposed(("context", "", "battery"))

    compiled = policy.compile_policy(pasted([made]))
    assert "battery" in compiled["context"]["drop"]
    assert compiled["context"]["keep"] == SHIPPED["context"]["keep"]


def test_what_the_policy_names_meanwhile_is_not_proposed() -> None:
    assert not proposed(
        ("traits", "", "email"),
        ("events", "", "Order Completed"),
        ("properties", "Order Completed", "total"),
        ("context", "", "library"),
        ("context", "", "locale"),
    )


@pytest.mark.parametrize("name", ["null", "yes", "~", "1", "1.5", "2026-01-01", "- a", "a: b", "#"])
def test_names_that_yaml_takes_for_something_else_are_quoted(name: str) -> None:
    made = proposed(("traits", "", name), ("events", "", name), ("properties", "page", name))

    compiled = policy.compile_policy(pasted(made))
    assert name in compiled["traits"]
    assert name in compiled["events"]
    assert name in compiled["events"]["page"]["properties"]


anything = st.text(max_size=70) | st.sampled_from(
    [
        "]",
        "}",
        "a]",
        "{a: b}",
        "'",
        '"',
        "a\nb: c",
        "*x",
        "&x",
        "!x",
        "<<",
        "%",
        "@",
        "`",
        ", b",
        EVIL,
    ]
)
where = st.sampled_from(["traits", "events", "properties", "context", "fields"])
events = anything | st.sampled_from(sorted(SHIPPED["events"]))


@given(st.lists(st.tuples(where, events, anything), max_size=8))
def test_whatever_strangers_sent_the_pasted_policy_passes_and_says_it(
    names: list[tuple[str, str, str]],
) -> None:
    made = proposed(*[(w, e if w == "properties" else "", n) for w, e, n in names])

    text = pasted(made)
    assert policy.check(text) == []
    compiled = policy.compile_policy(text)
    for one in (one for proposal in made for one in proposal.names):
        assert not proposals.unknown(compiled, [one])
    assert not OBEYED.search("".join(proposals.written(made)))
    untouched = {name: value for name, value in SHIPPED.items() if name in ("purposes", "records")}
    assert untouched.items() <= compiled.items()


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\x1b[31m", "a\u202eb", "\ud800", "a\nb"])
def test_what_cannot_be_a_name_is_left_out(name: str) -> None:
    assert proposed(("traits", "", name)) == []
    assert not proposals.can_be_named(Seen("traits", "", name, (), 1))


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Json]:
    """Answers of a stack's API by path."""
    stack = {"api_url": "http://127.0.0.1:1", "tokens": {"admin": "tk"}, "outputs": {}}
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    monkeypatch.setattr(load_stack, "__defaults__", (tmp_path,))
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    answers: dict[str, Json] = {"/keys": {"data": [{"id": "web", "name": "web shop"}]}}
    monkeypatch.setattr(Api, "_call", lambda self, method, path, *_: answers[path])
    return answers


def test_the_command_prints_what_can_be_pasted(
    answering: dict[str, Json], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [("traits", "", "shoe_size"), ("fields", "", "colour"), ("traits", "", EVIL)]
    answering["/outcomes"] = {"data": [counted(*names)]}

    assert main(["policy", "suggest"]) == 0
    said = capsys.readouterr()
    assert main(["policy", "suggest", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)

    assert "  shoe_size: {purposes: [analytics], sensitivity: personal" in said.out
    assert "seen on 1 day, from web shop" in said.out
    assert "Decide of each" in said.out
    assert "`colour` stands beside an event's own fields" in said.err
    assert "1 more cannot be names" in said.err
    assert not OBEYED.search(said.out + said.err)
    assert [one["name"] for one in document["names"]] == ["colour", "shoe_size"]
    assert document["left_out"] == 1
    assert yaml.safe_load(document["yaml"]).keys() == {"shoe_size"}


def test_nothing_new_is_said_too(
    answering: dict[str, Json], capsys: pytest.CaptureFixture[str]
) -> None:
    answering["/outcomes"] = {"data": [counted(("traits", "", "email"))]}

    assert main(["policy", "suggest"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "names everything" in said.err
