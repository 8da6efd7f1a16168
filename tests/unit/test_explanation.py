"""Why two identifiers are one person's, in the fewest steps and in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import explanation, separation
from candor.errors import Refused
from candor.identity import Graph
from tests.worlds import CRM, SHARED, WEB, Json, Shop, order, sent

PHONE = "+49301234567"


def chained() -> Shop:
    """42 — a1 — email — phone, and a detour of one more step."""
    shop = Shop()
    shop.send(WEB, sent("identify", "i1", userId="42", anonymousId="a1"))
    email = {"traits": {"email": "ann@example.com"}}
    shop.send(CRM, order("o1", anonymousId="a1", context=email))
    both = {"traits": {"email": "ann@example.com", "phone": "+49301234567"}}
    shop.send(CRM, order("o2", context=both))
    return shop


def why(shop: Shop, a: str, b: str, purpose: str = "privacy_rights") -> Json:
    return explanation.why(shop.view(a, purpose), shop.id(a), shop.id(b))


def steps(told: Json) -> list[tuple[str, str]]:
    return [(step["a"]["value"], step["b"]["value"]) for step in told["chain"]]


def test_the_chain_is_the_shortest_and_each_step_is_a_sentence() -> None:
    told = why(chained(), "user_id:42", "phone:+49301234567")

    assert told["together"]
    assert steps(told) == [("42", "a1"), ("a1", "ann@example.com"), ("ann@example.com", PHONE)]
    first = told["chain"][0]
    assert first["said"].startswith("An identify event named both, from web on 2026-")
    assert "unproven" in first["said"]
    assert "A track event named both" in told["chain"][1]["said"]


def test_values_that_the_purpose_may_not_know_are_withheld() -> None:
    shop = chained()

    told = why(shop, "user_id:42", "phone:+49301234567", "analytics")

    assert [step["b"]["value"] for step in told["chain"]][1:] == [None, None]
    assert told["b"]["value"] == PHONE, "the asker named it"


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("nothing", "No evidence links them."),
        ("a limit", "refused, because a profile may not hold more user_id than the policy's limit"),
        ("a person", "A person separated them on 2026-"),
        ("many", "shared by many"),
        ("nobody", "No evidence links them."),
    ],
)
def test_what_keeps_two_apart_is_told(case: str, said: str) -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="1", anonymousId="a1"))
    shop.send(CRM, order("o2", userId="2"))
    a, b = "anonymous_id:a1", "user_id:2"
    if case == "a limit":
        shop.send(CRM, order("o3", userId="2", anonymousId="a1"))
    elif case == "a person":
        separation.separate(shop.world, shop.id(a), shop.id(b), "staff", "their word")
    elif case == "many":
        for n in range(2, SHARED + 4):
            shop.send(CRM, order(f"k{n}", userId=f"{n}", anonymousId="a1"))
    elif case == "nobody":
        b = "user_id:77"

    told = why(shop, a, b)

    assert not told["together"]
    assert told["chain"] == []
    assert said in told["because"]


def test_only_members_are_asked_about() -> None:
    shop = chained()
    with pytest.raises(Refused):
        explanation.why(shop.view("user_id:42"), shop.id("user_id:7"), shop.id("user_id:42"))


def test_one_is_told_that_they_are_the_same() -> None:
    assert why(chained(), "user_id:42", "user_id:42")["because"] == "They are the same identifier."


LETTERS = st.sampled_from("abcdefg")


@given(st.sets(st.tuples(LETTERS, LETTERS), max_size=12), LETTERS, LETTERS)
def test_a_chain_is_made_of_links_and_none_is_shorter(
    links: set[tuple[str, str]], a: str, b: str
) -> None:
    found = explanation.chain(links, a, b)

    reached, distance = {a}, 0
    while b not in reached:
        more = {y for x, y in links | {(y, x) for x, y in links} if x in reached} | reached
        if more == reached:
            assert found is None
            return
        reached, distance = more, distance + 1
    assert found is not None
    assert len(found) == distance
    for one, other in found:
        assert (one, other) in links or (other, one) in links
    ends = [a, *(other for _, other in found)]
    assert [one for one, _ in found] == ends[:-1]
    assert ends[-1] == b


def test_the_parts_of_a_split_are_told_before_it_is_made() -> None:
    shop = chained()
    one, other = shop.id("user_id:42"), shop.id("email:ann@example.com")
    graph = Graph(shop.world)
    graph.load([one.key, other.key])
    split = separation.plan(graph, one, other)
    assert split

    told = explanation.parts(shop.view("user_id:42", "privacy_rights"), split)

    named = [{i["value"] for i in part["identifiers"]} for part in told]
    assert {"42", "a1"} in named
    assert {"ann@example.com", PHONE} in named
    assert sorted(part["events"] for part in told) == [0, 2]
    assert len(shop.profiles()) == 1, "nothing was changed"
