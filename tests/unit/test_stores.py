"""What no emulator shows of the other stores: partial failures, and how clients are made."""

from typing import Any, cast

import pytest

from candor.ports import Unavailable
from candor.stores.clients import StoreError, client
from candor.stores.s3 import S3Objects


class HalfDeleting:
    """An S3 client whose every deletion succeeds as a call and fails for one object."""

    def __init__(self, code: str) -> None:
        self.sizes: list[int] = []
        self._code = code

    def delete_objects(self, **request: Any) -> dict[str, Any]:
        self.sizes.append(len(request["Delete"]["Objects"]))
        return {"Errors": [{"Key": "ann@example.com", "Code": self._code}] if self._code else []}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("InternalError", Unavailable),
        ("SlowDown", Unavailable),
        ("AccessDenied", StoreError),
    ],
)
def test_an_object_that_was_not_deleted_is_an_error(code: str, expected: type[Exception]) -> None:
    with pytest.raises(expected) as error:
        S3Objects(cast(Any, HalfDeleting(code)), "bucket").delete(["ann@example.com"])

    assert str(error.value) == f"DeleteObjects: {code}"


def test_objects_are_deleted_a_thousand_a_call() -> None:
    deleting = HalfDeleting("")

    S3Objects(cast(Any, deleting), "bucket").delete(str(n) for n in range(2001))

    assert deleting.sizes == [1000, 1000, 1]


def test_a_client_gives_up_within_a_functions_time() -> None:
    config = client("dynamodb").meta.config

    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 4


@pytest.mark.parametrize(("url", "style"), [("http://localhost:4566", "path"), (None, "auto")])
def test_an_emulators_buckets_are_addressed_by_path(
    monkeypatch: pytest.MonkeyPatch, url: str | None, style: str
) -> None:
    if url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)

    s3 = client("s3").meta.config.s3 or {}

    assert s3.get("addressing_style", "auto") == style
