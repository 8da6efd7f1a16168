"""A proxy in front of the API that fails an SDK's first try of every batch, in a chosen way."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive"})
"""Headers that are between two hops (RFC 9110, section 7.6.1), or that the next hop makes anew."""


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
    pool = urllib3.PoolManager(retries=False)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ids, sent_at = _read(body)
            failed = not {id_ for one in tries for id_ in one.message_ids} & set(ids)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = fault.taken or not failed
            answer = self._ask(headers, body) if asked else None
            tries.append(Try(ids, sent_at, headers, failed, answer.status if answer else None))
            if answer and not failed:
                self._answer(answer.status, answer.headers, answer.data)
            elif fault.status:
                self._answer(fault.status, fault.headers, b"")
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def do_OPTIONS(self) -> None:
            answer = self._ask(dict(self.headers.items()), None)
            self._answer(answer.status, answer.headers, answer.data)

        def _ask(self, headers: Mapping[str, str], body: bytes | None) -> urllib3.BaseHTTPResponse:
            kept = {name: value for name, value in headers.items() if name.lower() not in HOP}
            return pool.request(self.command, api_url + self.path, headers=kept, body=body)

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", tries
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        pool.clear()


def _read(body: bytes) -> tuple[tuple[str, ...], str]:
    """The messageIds and the sentAt of a batch, or of an event by itself."""
    sent = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    return tuple(event["messageId"] for event in sent.get("batch", [sent])), sent["sentAt"]
