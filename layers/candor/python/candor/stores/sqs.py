"""A queue, in SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from candor.stores.clients import errors_translated
from candor.stores.rules import check_message

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsQueue:
    """`candor.ports.Queue`."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, body: str, *, group: str | None = None, once: str | None = None) -> None:
        check_message(body, group, once, fifo=self._url.endswith(".fifo"))
        order: dict[str, Any] = {}
        if group is not None and once is not None:
            order = {"MessageGroupId": group, "MessageDeduplicationId": once}
        with errors_translated():
            self._client.send_message(QueueUrl=self._url, MessageBody=body, **order)

    def depth(self) -> int:
        with errors_translated():
            answer = self._client.get_queue_attributes(
                QueueUrl=self._url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )
        return sum(int(count) for count in answer["Attributes"].values())
