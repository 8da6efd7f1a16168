"""What every implementation of `Objects` does."""

from candor.ports import Objects


def test_an_object_is_read_back_and_an_absent_one_is_none(objects: Objects) -> None:
    objects.put("a/b.bin", b"\x00\xff" * 10)
    objects.put("a/empty", b"")

    assert objects.get("a/b.bin") == b"\x00\xff" * 10
    assert objects.get("a/empty") == b""
    assert objects.get("a/other") is None


def test_the_last_put_counts(objects: Objects) -> None:
    objects.put("k", b"1")
    objects.put("k", b"2")

    assert objects.get("k") == b"2"
    assert list(objects.list("")) == ["k"]


def test_a_list_has_the_keys_with_the_prefix_in_byte_order(objects: Objects) -> None:
    for key in ("p/b", "p/a", "p/Z", "p/é", "q/a", "p/a b+c=d&e%2F"):
        objects.put(key, b"")

    assert list(objects.list("p/")) == ["p/Z", "p/a", "p/a b+c=d&e%2F", "p/b", "p/é"]
    assert list(objects.list("none")) == []


def test_deleting_removes_what_is_there_and_minds_nothing_else(objects: Objects) -> None:
    objects.put("a", b"")
    objects.put("b", b"")

    objects.delete(["a", "never"])
    objects.delete([])

    assert list(objects.list("")) == ["b"]


def test_lists_and_deletes_go_beyond_one_page(objects: Objects) -> None:
    keys = [f"k{n:04}" for n in range(1005)]
    for key in keys:
        objects.put(key, b"")

    assert list(objects.list("k")) == keys
    objects.delete(objects.list("k"))
    assert list(objects.list("")) == []
