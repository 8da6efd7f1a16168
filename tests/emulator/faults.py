"""A proxy in front of the API that fails an SDK's first try of every batch, in a chosen way."""

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.emulator.between import Between, standing


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a first try. Without a status the connection is cut instead of answered."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    taken: bool = True
    """Whether the API took the request all the same."""


CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
FAULTS = {
    "503": Fault(503, CORS),
    "429": Fault(429, CORS | {"Retry-After": "1"}, taken=False),
    "cut": Fault(None),
}


@dataclass(frozen=True, slots=True)
class Try:
    """One request as it came to the proxy."""

    message_ids: tuple[str, ...]
    sent_at: str
    headers: Mapping[str, str]
    """Names in lower case."""
    failed: bool
    answered: int | None
    """The status that the API gave; None where it was not asked."""


@contextmanager
def failing(api_url: str, fault: Fault) -> Iterator[tuple[str, list[Try]]]:
    """The proxy's URL, and the tries that it has seen. It goes by messageIds: a batch of which it
    has seen none is on its first try."""
    tries: list[Try] = []

    class Proxy(Between):
        def take(self) -> None:
            body = self.body()
            ids, sent_at = _read(body)
            failed = not {id_ for one in tries for id_ in one.message_ids} & set(ids)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = fault.taken or not failed
            answer = self.ask(headers, body) if asked else None
            tries.append(Try(ids, sent_at, headers, failed, answer.status if answer else None))
            if answer and not failed:
                self.answer(answer.status, answer.headers, answer.data)
            elif fault.status:
                self.answer(fault.status, fault.headers, b"")
            else:
                self.cut()

    with standing(Proxy, api_url) as url:
        yield url, tries


def _read(body: bytes) -> tuple[tuple[str, ...], str]:
    """The messageIds and the sentAt of a batch, or of an event by itself."""
    sent = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    return tuple(event["messageId"] for event in sent.get("batch", [sent])), sent["sentAt"]
