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


def test_a_list_may_begin_behind_a_key(objects: Objects) -> None:
    for key in ("p/b", "p/a", "p/Z", "q/a", "p/a b"):
        objects.put(key, b"")

    assert list(objects.list("p/", "p/a")) == ["p/a b", "p/b"]
    assert list(objects.list("p/", "p/a~")) == ["p/b"]
    assert list(objects.list("p/", "p/~")) == []


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


def test_a_part_is_what_lies_there_and_no_more(objects: Objects) -> None:
    objects.put("a/b", b"0123456789")
    objects.put("a/empty", b"")

    def read(key: str, start: int, length: int) -> bytes | None:
        part = objects.part(key, start, length)
        return part.body if part else None

    assert read("a/b", 0, 4) == b"0123"
    assert read("a/b", 8, 4) == b"89"
    assert read("a/b", 10, 4) == b""
    assert read("a/b", 99, 4) == b""
    assert read("a/empty", 0, 4) == b""
    assert read("a/other", 0, 4) is None


def test_a_part_of_what_was_overwritten_is_none(objects: Objects) -> None:
    objects.put("k", b"1")
    part = objects.part("k", 0, 1)
    assert part is not None
    assert '"' not in part.etag
    assert objects.part("k", 0, 1, part.etag) == part
    assert objects.part("k", 5, 1, part.etag) == part._replace(body=b"")

    objects.put("k", b"2")

    assert objects.part("k", 0, 1, part.etag) is None
    assert objects.part("k", 5, 1, part.etag) is None
    assert objects.part("k", 0, 1) is not None


def test_removing_leaves_what_came_meanwhile(objects: Objects) -> None:
    objects.put("k", b"1")
    part = objects.part("k", 0, 1)
    assert part is not None
    objects.put("k", b"2")

    objects.remove("k", part.etag)
    assert objects.get("k") == b"2"

    now = objects.part("k", 0, 1)
    assert now is not None
    objects.remove("k", now.etag)
    objects.remove("k", now.etag)
    assert objects.get("k") is None


def test_folders_are_what_comes_up_to_the_next_slash(objects: Objects) -> None:
    for key in (
        "p/b/1",
        "p/b/2",
        "p/a/c/3",
        "p/file",
        "q/a/1",
        *(f"m/{n:04}/x" for n in range(1005)),
    ):
        objects.put(key, b"")

    assert list(objects.folders("p/")) == ["p/a/", "p/b/"]
    assert list(objects.folders("p/a/")) == ["p/a/c/"]
    assert list(objects.folders("p/b/")) == []
    assert len(list(objects.folders("m/"))) == 1005


def test_objects_end_by_their_age_by_prefix_as_it_was_set_last(objects: Objects) -> None:
    assert objects.lifecycle() == {}

    objects.set_lifecycle({"events/a/": 92, "manifests/a/": 93})
    objects.set_lifecycle({"events/a/": 32, "events/b/": 7})

    assert objects.lifecycle() == {"events/a/": 32, "events/b/": 7}
