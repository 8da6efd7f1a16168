"""Named values become one event, or a reason why not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor.conversion import Conversion, Target, Unfit, dated

Json = dict[str, Any]
OPT_IN, OPT_OUT = "context.consent.categoryPreferences.marketing", ":opt_out"
AS_OF = 1_767_225_600.0
"""2026-01-01."""


def conversion(map_: Json, **more: Any) -> Conversion:
    return Conversion.of({"type": "identify", "map": map_} | more)


def built(map_: Json, values: Json, **more: Any) -> Json:
    return conversion(map_, **more).build(values)


def test_cells_go_where_the_mapping_says_and_empty_ones_nowhere() -> None:
    map_ = {
        "Mail": "traits.email",
        "Id": "userId",
        "City": "traits.address.city",
        "Zip": "traits.zip",
    }
    values = {"Mail": " a@example.com ", "Id": "0042", "City": "", "Zip": None, "Pet": "cat"}
    assert built(map_, values) == {
        "type": "identify",
        "traits": {"email": "a@example.com"},
        "userId": "0042",
    }


def test_traits_of_what_happened_ride_in_its_context() -> None:
    map_ = {"mail": "traits.email", "sum": "properties.total:number"}
    event = built(
        map_, {"mail": "a@example.com", "sum": "9"}, type="track", event="Order Completed"
    )
    assert event == {
        "type": "track",
        "event": "Order Completed",
        "context": {"traits": {"email": "a@example.com"}},
        "properties": {"total": 9},
    }


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("", "007", "007"),
        (":number", "007", 7),
        (":number", "-1.5e3", -1500.0),
        (":boolean", "YES", True),
        (":boolean", "0", False),
        (":date", "2026-01-02", "2026-01-02"),
        (":date", "2026-01-02 03:04", "2026-01-02T03:04:00+00:00"),
        (":date", "2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05+02:00"),
        (":date", "1767323045", "2026-01-02T03:04:05+00:00"),
        (":date", "1767323045500", "2026-01-02T03:04:05.500000+00:00"),
        (":date(%d.%m.%Y)", "02.01.2026", "2026-01-02"),
        (":date(%d.%m.%Y %H:%M)", "02.01.2026 03:04", "2026-01-02T03:04:00+00:00"),
    ],
)
def test_a_value_is_read_as_its_kind(kind: str, text: str, value: Any) -> None:
    read = built({"x": f"traits.x{kind}"}, {"x": text})["traits"]["x"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "code"),
    [
        (":number", "1,5", "bad_number"),
        (":number", "nan", "bad_number"),
        (":number", "1e999", "bad_number"),
        (":boolean", "perhaps", "bad_boolean"),
        (":date", "01/02/2026", "bad_date"),
        (":date", "2026-13-01", "bad_date"),
        (":date", "99999999999999999999", "bad_date"),
        (":date(%d.%m.%Y)", "2026-01-02", "bad_date"),
    ],
)
def test_what_cannot_be_read_spoils_its_row_and_is_not_repeated(
    kind: str, text: str, code: str
) -> None:
    with pytest.raises(Unfit) as unfit:
        built({"x": f"traits.x{kind}"}, {"x": text})
    assert unfit.value.code == code
    assert text not in unfit.value.message


def consent(values: Json) -> Any:
    map_ = {"in": OPT_IN, "out": OPT_IN + OPT_OUT, "id": "userId"}
    context = built(map_, {"id": "1"} | values).get("context")
    return context and context["consent"]["categoryPreferences"].get("marketing")


def test_who_did_not_opt_out_has_not_opted_in() -> None:
    assert consent({"out": "false"}) is None
    assert consent({"out": "1"}) is False
    assert consent({"in": ""}) is None
    assert consent({"in": "no"}) is False
    assert consent({"in": "true"}) is True


def test_of_two_columns_that_disagree_the_denial_counts() -> None:
    assert consent({"in": "yes", "out": "yes"}) is False
    assert consent({"in": "yes", "out": "no"}) is True
    map_ = {"out": OPT_IN + OPT_OUT, "in": OPT_IN}
    context = built(map_, {"in": "yes", "out": "yes"})["context"]
    assert context["consent"]["categoryPreferences"] == {"marketing": False}


@pytest.mark.parametrize(
    "text",
    [
        *("", "traits", "traits.", ".x", "traits..x", "name.x", "userId.x", "type", "traits.x:"),
        *("traits.x:integer", "traits.x:number(1)", "traits.x:date()", "traits.x:opt_out"),
        *(f"{OPT_IN}:number", f"{OPT_IN}.x", "context.consent.categoryPreferences"),
    ],
)
def test_a_target_that_is_none_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no target"):
        Target.of(text)


@pytest.mark.parametrize(
    "map_",
    [
        {"a": "traits.x", "b": "traits.x"},
        {"a": "traits.x", "b": "traits.x.y"},
        {"a": "traits.x.y:date", "b": "traits.x"},
    ],
)
def test_two_values_do_not_go_to_one_place(map_: Json) -> None:
    with pytest.raises(ValueError, match=r"another one goes|holds others"):
        conversion(map_)


def test_a_fact_without_a_time_holds_as_of_the_file() -> None:
    event = dated({"type": "identify", "userId": "1"}, AS_OF)
    assert event["timestamp"] == "2026-01-01T00:00:00.000+00:00"


def test_what_happened_says_when() -> None:
    for type_ in ("track", "page", None, ["identify"]):
        with pytest.raises(Unfit) as unfit:
            dated({"type": type_, "userId": "1"}, AS_OF)
        assert unfit.value.code == "no_timestamp"


def test_an_old_event_is_not_dated_by_when_it_was_once_sent() -> None:
    """Or collection would correct the clock that its first sender had, by years."""
    old = {"type": "track", "originalTimestamp": "2024-01-01T00:00:00Z"}
    event = dated(old | {"sentAt": "2024-01-01T00:00:01Z", "receivedAt": "2024-01-01"}, AS_OF)
    assert event.keys() == {"type", "timestamp", "messageId"}
    assert event["timestamp"] == "2024-01-01T00:00:00Z"


def test_its_own_id_is_kept() -> None:
    assert dated({"type": "alias", "messageId": "m-1"}, AS_OF)["messageId"] == "m-1"


values = st.dictionaries(st.sampled_from("abcd"), st.text(max_size=5), min_size=1)


@given(values, st.floats(0, 2e9), st.randoms())
def test_the_same_row_in_another_export_has_the_same_id(
    row: Json, as_of: float, random: Any
) -> None:
    """Whatever its file's time, the order of its columns and those that are not mapped."""
    columns = list(row)
    random.shuffle(columns)
    again = {name: row[name] for name in columns} | {"not mapped": "x"}
    map_ = {name: f"traits.{name}" for name in "abcd"}
    here, there = built(map_, row), built(map_, again)
    assert dated(here, AS_OF)["messageId"] == dated(there, as_of)["messageId"]


@given(values, values)
def test_rows_that_say_different_things_have_different_ids(one: Json, other: Json) -> None:
    map_ = {name: f"traits.{name}" for name in "abcd"}
    here, there = built(map_, one), built(map_, other)
    same = dated(here, AS_OF)["messageId"] == dated(there, AS_OF)["messageId"]
    assert same == (here == there)
