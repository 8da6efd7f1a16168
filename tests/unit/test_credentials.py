"""Credentials: who sent a request, from a key that is stored nowhere."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor.credentials import (
    CACHED_SECONDS,
    MAY,
    Credentials,
    Principal,
    Source,
    check,
    issue,
    listing,
    revoke,
)
from candor.errors import Forbidden, NotFound, Refused, Unauthenticated
from tests.worlds import NOW, SHIPPED, Shop, recorded

SOURCE = {"kind": "source", "name": "web shop", "source": "website", "trust": "client"}
TOKEN = {"kind": "token", "name": "Ann", "role": "analyst", "purposes": ["analytics", "service"]}


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_write_key_is_taken_where_sdks_put_it() -> None:
    shop = Shop()
    id_, key = issue(shop.rows, SOURCE, NOW)
    who = Credentials(shop.rows, shop.clock, lambda: shop.world.vault)
    expected = Source(id_, "web shop", "website", "client")

    assert who.source(basic(key)) == expected
    assert who.source(bearer(key)) == expected
    assert who.source({}, key) == expected
    assert who.source({"authorization": f"bearer  {key}"}) == expected


def test_a_token_names_its_principal() -> None:
    shop = Shop()
    id_, key = issue(shop.rows, TOKEN, NOW)

    principal = Credentials(shop.rows, shop.clock, lambda: shop.world.vault).principal(bearer(key))

    assert principal == Principal(id_, "Ann", "analyst", ("analytics", "service"))


def test_a_key_is_shown_once_and_stored_nowhere() -> None:
    shop = Shop()
    keys = [issue(shop.rows, spec, NOW)[1] for spec in (SOURCE, TOKEN)]

    assert [key[:3] for key in keys] == ["wk_", "tk_"]
    assert all(len(key) >= 46 for key in keys)
    for key in keys:
        assert key not in repr(shop.rows.held())
        assert key not in json.dumps(listing(shop.rows))


def test_the_listing_is_oldest_first() -> None:
    shop = Shop()
    ids = [issue(shop.rows, SOURCE, NOW + n)[0] for n in (2, 0, 1)]

    assert [row["id"] for row in listing(shop.rows)] == [ids[1], ids[2], ids[0]]


@pytest.mark.parametrize("spec", [SOURCE, TOKEN], ids=lambda spec: spec["kind"])
def test_a_key_of_one_kind_does_not_pass_for_the_other(spec: dict[str, Any]) -> None:
    shop = Shop()
    _, key = issue(shop.rows, spec, NOW)
    who = Credentials(shop.rows, shop.clock, lambda: shop.world.vault)

    with pytest.raises(Unauthenticated):
        (who.principal if spec is SOURCE else who.source)(bearer(key))


def test_a_revoked_key_is_refused_within_a_minute_and_stays_listed() -> None:
    shop = Shop()
    id_, key = issue(shop.rows, SOURCE, NOW)
    who = Credentials(shop.rows, shop.clock, lambda: shop.world.vault)
    who.source(bearer(key))

    revoke(shop.rows, id_, NOW)
    shop.clock.advance(CACHED_SECONDS)

    with pytest.raises(Unauthenticated):
        who.source(bearer(key))
    assert CACHED_SECONDS <= 60
    revoke(shop.rows, id_, NOW + 9)
    assert [row["revoked"] for row in listing(shop.rows)] == [NOW], "when it was first revoked"


def test_revoking_a_key_that_is_not_there_says_so() -> None:
    shop = Shop()

    with pytest.raises(NotFound):
        revoke(shop.rows, "nothing", NOW)
    assert shop.rows.held() == []


def test_the_table_is_asked_once_a_minute_for_known_and_unknown_keys() -> None:
    shop = Shop()
    _, key = issue(shop.rows, SOURCE, NOW)
    who = Credentials(shop.rows, shop.clock, lambda: shop.world.vault)

    def a_minute() -> None:
        for _ in range(5):
            who.source(bearer(key))
            with pytest.raises(Unauthenticated):
                who.source(bearer("wk_unknown"))

    assert len(recorded(shop, a_minute).before("rows.get")) == 2
    shop.clock.advance(CACHED_SECONDS)
    assert len(recorded(shop, a_minute).before("rows.get")) == 2


def test_guesses_do_not_fill_the_memory() -> None:
    shop = Shop()
    who = Credentials(shop.rows, shop.clock, lambda: shop.world.vault)
    for number in range(2500):
        with pytest.raises(Unauthenticated):
            who.source(bearer(f"wk_{number}"))

    assert len(who._cache) <= 1001


@given(
    st.dictionaries(st.sampled_from(["authorization", "x"]), st.text(max_size=30)),
    st.none() | st.text(max_size=300) | st.integers() | st.lists(st.text()),
)
def test_any_header_is_somebody_or_unauthenticated(headers: dict[str, str], body: object) -> None:
    shop = Shop()
    who = Credentials(shop.rows, shop.clock, lambda: shop.world.vault)

    with pytest.raises(Unauthenticated):
        who.source(headers, body)
    with pytest.raises(Unauthenticated):
        who.principal(headers)


@pytest.mark.parametrize(
    "header", ["Basic é", "Basic !!", "Basic /w==", "Bearer", "", "Basic Og=="]
)
def test_a_header_that_says_nothing_is_unauthenticated(header: str) -> None:
    with pytest.raises(Unauthenticated):
        Credentials(Shop().rows, Shop().clock, lambda: Shop().world.vault).source(
            {"authorization": header}
        )


RIGHTS = {
    "admin": {"keys", "outcomes"},
    "dpo": {"read", "consent", "privacy", "outcomes", "identity"},
    "steward": {"read", "outcomes", "identity"},
    "analyst": {"read"},
    "marketer": {"read"},
}


@pytest.mark.parametrize("role", sorted(MAY))
@pytest.mark.parametrize("right", ["read", "consent", "privacy", "keys", "identity", "anything"])
def test_a_role_may_do_what_it_is_for_and_nothing_else(role: Any, right: str) -> None:
    principal = Principal("id", "Ann", role, ())

    if right in RIGHTS[role]:
        principal.needs(right)
    else:
        with pytest.raises(Forbidden):
            principal.needs(right)


def test_a_read_is_for_a_purpose_of_the_token() -> None:
    ann = Principal("id", "Ann", "analyst", ("analytics", "service"))

    assert ann.purpose(None) == "analytics"
    assert ann.purpose("service") == "service"
    for other in ("marketing", ""):
        with pytest.raises(Forbidden, match="analytics, service"):
            ann.purpose(other)
    with pytest.raises(Forbidden):
        Principal("id", "Bob", "admin", ()).purpose(None)


@pytest.mark.parametrize("purposes", [[], ["analytics", "tpyo"]])
def test_a_token_that_could_read_nothing_is_refused(purposes: list[str]) -> None:
    spec = {"kind": "token", "name": "Kim", "role": "analyst", "purposes": purposes}

    with pytest.raises(Refused) as refused:
        check(spec, SHIPPED)

    assert refused.value.code == "unknown_purpose"
