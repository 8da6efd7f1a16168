"""Files of events and rows, read in chunks, from anywhere."""

import codecs
import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import collection, imports
from candor.conversion import Conversion
from candor.imports import Broken, Chunk, Events, Layout, Place, Rows, chunks
from cli.target import ROOT
from tests.worlds import NOW, SHIPPED

Json = dict[str, Any]
MAP = {"id": "userId", "name": "traits.name"}


def layout(map_: Json = MAP, **more: Any) -> Layout:
    return Layout(Conversion.of({"type": "identify", "map": map_}), **more)


def blocks(data: bytes, size: int = 7) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, form: Layout | None, place: Place | None = None) -> list[Chunk]:
    head = data[: imports.HEAD_BYTES]
    file = Rows(head, form) if form else Events(head)
    begin = place or file.start
    return list(chunks(file, blocks(data[begin.offset :]), begin, NOW))


def events(found: list[Chunk]) -> list[Json]:
    return [event for chunk in found for event in chunk.events]


def rejected(found: list[Chunk]) -> list[tuple[int, str]]:
    return [(one.line, one.code) for chunk in found for one in chunk.rejected]


def names(data: bytes, form: Layout | None = None) -> list[str]:
    return [event["traits"]["name"] for event in events(read(data, form or layout()))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(delimiter: str) -> None:
    data = f"id{delimiter}name\r\n1{delimiter}Ann, or; so\r\n".encode()
    data = data.replace(b"Ann, or; so", b'"Ann, or; so"')
    assert names(data) == ["Ann, or; so"]


def test_a_mark_of_utf_8_is_no_part_of_the_first_column() -> None:
    assert names(codecs.BOM_UTF8 + "id,name\n1,Zoë\n".encode()) == ["Zoë"]
    line = codecs.BOM_UTF8 + b'{"type": "identify", "userId": "1"}\n'
    assert [event["userId"] for event in events(read(line, None))] == ["1"]


def test_quoted_cells_hold_newlines_quotes_and_delimiters() -> None:
    found = read(b'id,name\n1,"A\nnn ""x"", y"\n2,5" pipe\nz\n', layout())
    assert [event["traits"]["name"] for event in events(found)] == ['A\nnn "x", y', '5" pipe']
    assert rejected(found) == [(5, "ragged_row")]


def test_another_encoding_is_read_and_a_wrong_one_said() -> None:
    data = "id,name\n1,Zoë\n2,Ann\n".encode("cp1252")
    assert names(data, layout(encoding="cp1252")) == ["Zoë", "Ann"]
    found = read(data, layout())
    assert rejected(found) == [(2, "bad_encoding")]
    assert [event["userId"] for event in events(found)] == ["2"]
    with pytest.raises(Broken, match="Save it as UTF-8"):
        read("id,name\n1,Zoë\n".encode("utf-16"), layout())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le", "no-such-thing"])
def test_an_encoding_whose_lines_cannot_be_told_is_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match="no encoding"):
        Layout.of({"type": "identify", "map": MAP, "encoding": encoding})


def test_a_quote_that_is_never_closed_costs_no_more_than_what_it_holds() -> None:
    rows = "".join(f"{n},name {n}\n" for n in range(3, 40_000))
    found = read(b'id,name\n1,Ann\n2,"Bo\n' + rows.encode(), layout())
    (first, *others) = [one for chunk in found for one in chunk.rejected]
    assert (first.line, first.code) == (3, "bad_csv")
    assert len(first.raw) < 200_000
    assert not others
    taken = events(found)
    assert taken[0]["userId"] == "1"
    assert taken[-1]["userId"] == "39999"
    lost = first.raw.count(b"\n")
    assert len(taken) + lost == 39_999


def test_the_last_quote_that_is_never_closed_is_no_cell() -> None:
    assert rejected(read(b'id,name\n1,"Ann\n2,Bo\n', layout())) == [(2, "bad_csv")]


def test_empty_rows_are_nothing_and_ragged_ones_rejected() -> None:
    found = read(b"id,name\n\n1,Ann\n,\n2\n3,Cy,x\n4,Dee", layout())
    assert [event["userId"] for event in events(found)] == ["1", "4"]
    assert rejected(found) == [(5, "ragged_row"), (6, "ragged_row")]


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"", "no_header"),
        (b"\n1,2\n", "no_header"),
        (b'"id,name\n1,2\n', "no_header"),
        (b"id," * 40_000 + b"name\n", "no_header"),
        (b"id,Name,NAME\n", "bad_columns"),
        (b"id\n1\n", "bad_columns"),
        (b"id,na\0me\n", "bad_encoding"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(head: bytes, code: str) -> None:
    with pytest.raises(Broken) as broken:
        Rows(head[: imports.HEAD_BYTES], layout())
    assert broken.value.code == code


def test_a_file_without_a_header_is_not_quoted() -> None:
    """Its first row is somebody's."""
    with pytest.raises(Broken) as broken:
        Rows(b"42,ann@example.com\n", layout())
    assert "example" not in str(broken.value)


def test_lines_of_events_that_are_none_are_rejected_one_by_one() -> None:
    good = b'{"type": "identify", "userId": "1"}\n'
    deep = b'{"type": "identify", "x": ' + b"[" * 900 + b"]" * 900 + b"}\n"
    deeper = b'{"type": "identify", "x": ' + b"[" * 90_000 + b"]" * 90_000 + b"}\n"
    large = b'{"type": "identify", "x": "' + b"x" * 40_000 + b'"}\n'
    bad = [b"{\n", b"[1]\n", b'{"a": NaN}\n', b'{"a": "\xff"}\n', b'{"type": "track"}\n', large]
    found = read(good + b"\n" + b"".join(bad) + deeper + deep + good, None)
    assert [code for _, code in rejected(found)][:7] == [
        *("bad_json", "not_an_object", "bad_json", "bad_json", "no_timestamp"),
        *("event_too_large", "bad_json"),
    ]
    assert len([one for one in events(found) if "x" not in one]) == 2


def test_a_line_without_an_end_is_no_line() -> None:
    data = b'{"type": "identify"}\n' + b"x" * 2_000_000
    found = chunks(Events(b""), blocks(data, 65_537), Place(), NOW)
    assert len(next(found).events) == 1  # what came before it is not lost
    with pytest.raises(Broken) as broken:
        next(found)
    assert broken.value.code == "line_too_long"
    assert "Line 2 " in broken.value.message


cells = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(cells, cells), max_size=12), st.sampled_from(",;\t"), st.data())
def test_reading_goes_on_from_the_end_of_any_chunk(
    rows: list[tuple[str, str]], delimiter: str, data: st.DataObject
) -> None:
    """With whatever in the cells; and cut like that it is the same events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "CHUNK_LINES", 3)
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter).writerows([("id", "name"), *rows])
        whole = text.getvalue().encode()
        once = read(whole, layout(delimiter=delimiter))
        said = [cell.strip() for row in rows for cell in row]
        told = (
            [e.get("userId", "") for e in events(once)],
            [e.get("traits", {}).get("name", "") for e in events(once)],
        )
        wanted = [(a.strip(), b.strip()) for a, b in rows if a.strip() or b.strip()]
        assert list(zip(*told, strict=True)) == wanted, said
        if once:
            stop = data.draw(st.integers(0, len(once) - 1))
            rest = read(whole, layout(delimiter=delimiter), once[stop].end)
            assert events(once[: stop + 1]) + events(rest) == events(once)
            assert [c.events for c in rest if c.events] == [
                c.events for c in once[stop + 1 :] if c.events
            ]


def test_chunks_fit_into_a_request() -> None:
    line = json.dumps({"type": "identify", "userId": "1", "traits": {"x": "y" * 30_000}}) + "\n"
    found = read(line.encode() * 30, None)
    assert len(found) > 1
    for chunk in found:
        body = json.dumps({"batch": chunk.events}).encode()
        assert len(body) <= collection.MOST_BYTES
    assert len(events(found)) == 30
    small = read(b'{"type": "identify", "userId": "1"}\n' * 450, None)
    assert [len(chunk.events) for chunk in small] == [200, 200, 50]


def test_gzip_is_inflated_in_parts_and_a_cut_one_is_said() -> None:
    plain = b"a" * 5_000_000
    packed = gzip.compress(plain) + gzip.compress(b"b")
    parts = list(imports.inflated(blocks(packed, 100)))
    assert b"".join(parts) == plain + b"b"
    assert max(map(len, parts)) <= 1 << 20
    for damaged in (packed[:-4], b"\x1f\x8bno", packed + b"tail"):
        with pytest.raises(Broken) as broken:
            list(imports.inflated(blocks(damaged)))
        assert broken.value.code == "bad_gzip"


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    def peak(count: int) -> int:
        row = b"42,a name of somebody\n"
        endless = (row * 100 for _ in range(count))
        file = Rows(b"id,name\n", layout())
        tracemalloc.start()
        for _ in chunks(file, endless, file.start, NOW):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(400) < 1.5 * peak(40)


def test_the_sample_of_a_crm_becomes_people_and_their_choices() -> None:
    data = (ROOT / "events/imports/hubspot-contacts.csv").read_bytes()
    found = read(data, Layout.of(SHIPPED.imports["hubspot_contacts"]))
    assert rejected(found) == [(6, "ragged_row"), (7, "bad_boolean")]
    ann, bo, cy = events(found)
    assert ann["userId"] == "9001"
    assert ann["timestamp"] == "2026-01-10T09:30:00+00:00"
    assert ann["traits"]["company"] == {"name": "Example, Ltd."}
    assert ann["context"] == {"consent": {"categoryPreferences": {"marketing": True}}}
    assert bo["context"] == {"consent": {"categoryPreferences": {"marketing": False}}}
    assert cy["traits"]["company"] == {"name": "Two\nlines"}
    assert "teal" not in json.dumps(ann)
    collected = collection.collect(
        {"batch": [ann, bo, cy]}, "batch", SHIPPED, NOW, keep_unnamed=False
    )
    assert not collected.refused
    assert not collected.stripped


def test_the_sample_of_events_is_taken_but_for_what_is_wrong_in_it() -> None:
    found = read((ROOT / "events/imports/orders.ndjson").read_bytes(), None)
    assert rejected(found) == [(3, "no_timestamp"), (4, "bad_json")]
    (chunk,) = found
    collected = collection.collect(
        {"batch": chunk.events}, "batch", SHIPPED, NOW, keep_unnamed=False
    )
    chunk.refuse(collected.refused)
    assert rejected(found)[2:] == [(5, "no_identifier")]
    assert [one["name"] for one in collected.stripped] == ["properties.gift_note"]
