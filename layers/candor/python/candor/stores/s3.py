"""A bucket, in S3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from candor.ports import Part, Unavailable
from candor.stores.clients import THROTTLED, StoreError, code_of, errors_translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import LifecycleRuleTypeDef

DELETE_CHUNK = 1000
OURS = "candor "
"""How the lifecycle rules begin that are Candor's."""
OLDER: LifecycleRuleTypeDef = {
    "ID": f"{OURS}older versions",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    "Expiration": {"ExpiredObjectDeleteMarker": True},
}
"""Where somebody switched versions on, what was deleted or replaced is gone a day later all the
same."""


class S3Objects:
    """`candor.ports.Objects`. Telling an absent object from a forbidden one needs s3:ListBucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, body: bytes) -> None:
        with errors_translated():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        with errors_translated():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            return answer["Body"].read()

    def part(self, key: str, start: int, length: int, etag: str | None = None) -> Part | None:
        range_ = f"bytes={start}-{start + length - 1}"
        with errors_translated():
            try:
                answer: Any = self._client.get_object(Bucket=self._bucket, Key=key, Range=range_)
                body = answer["Body"].read()
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                if code_of(error) != "InvalidRange":
                    raise
                answer, body = self._about(key), b""
        if answer is None or etag not in (None, answer["ETag"].strip('"')):
            return None
        return Part(body, answer["ETag"].strip('"'), answer["LastModified"].timestamp())

    def _about(self, key: str) -> Any:
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404"):  # a HEAD has no body to say it in
                return None
            raise

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        for page in self._pages(Prefix=prefix, **({"StartAfter": after} if after else {})):
            for entry in page.get("Contents", []):
                yield entry["Key"]

    def folders(self, prefix: str) -> Iterator[str]:
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", []):
                yield entry["Prefix"]

    def _pages(self, **wanted: Any) -> Iterator[Any]:
        more: dict[str, Any] = wanted
        while True:
            with errors_translated():
                page = self._client.list_objects_v2(Bucket=self._bucket, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more = wanted | {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, keys: Iterable[str]) -> None:
        rest = iter(keys)
        while chunk := list(islice(rest, DELETE_CHUNK)):
            with errors_translated():
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": [{"Key": key} for key in chunk], "Quiet": True},
                )
            # The call succeeds although objects in it may have failed.
            codes = {error.get("Code", "unknown") for error in answer.get("Errors", [])}
            if defects := codes - THROTTLED - {"InternalError"}:
                raise StoreError("DeleteObjects", min(defects))
            if codes:
                raise Unavailable(f"DeleteObjects: {min(codes)}")

    def lifecycle(self) -> dict[str, int]:
        ours = {rule["ID"]: rule for rule in self._rules() if rule.get("ID", "").startswith(OURS)}
        if ours.pop(OLDER["ID"], None) is None:
            return {}  # not as it would be set now
        return {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in ours.values()}

    def set_lifecycle(self, days: Mapping[str, int]) -> None:
        rules = [rule for rule in self._rules() if not rule.get("ID", "").startswith(OURS)]
        rules += [OLDER]
        rules += [
            {
                "ID": f"{OURS}{prefix}",
                "Status": "Enabled",
                "Filter": {"Prefix": prefix},
                "Expiration": {"Days": count},
            }
            for prefix, count in sorted(days.items())
        ]
        with errors_translated():
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket, LifecycleConfiguration={"Rules": rules}
            )

    def _rules(self) -> Any:
        with errors_translated():
            try:
                answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
            except ClientError as error:
                if code_of(error) == "NoSuchLifecycleConfiguration":
                    return []
                raise
        return answer["Rules"]

    def remove(self, key: str, etag: str) -> None:
        with errors_translated():
            try:
                self._client.delete_object(Bucket=self._bucket, Key=key, IfMatch=f'"{etag}"')
            except ClientError as error:
                if (
                    code_of(error) == "NotImplemented"
                ):  # LocalStack, which then has a gap in between
                    found = self._about(key)
                    if found and found["ETag"].strip('"') == etag:
                        self._client.delete_object(Bucket=self._bucket, Key=key)
                elif code_of(error) not in ("PreconditionFailed", "NoSuchKey"):
                    raise
