"""An HTTP server between two that talk: it passes their requests on, or does what a test wants."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive"})
"""Headers that are between two hops (RFC 9110, section 7.6.1), or that the next hop makes anew."""


class Between(BaseHTTPRequestHandler):
    """A handler of requests to what is behind it, at `behind`. What `take` does is a test's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # which would wait for 40 ms between an answer's head and body
    anew = HOP
    behind: str
    pool: urllib3.PoolManager

    def take(self) -> None:
        raise NotImplementedError

    def do_POST(self) -> None:
        self.take()

    def do_GET(self) -> None:
        self.take()

    def do_HEAD(self) -> None:
        self.take()

    def do_PUT(self) -> None:
        self.take()

    def do_DELETE(self) -> None:
        self.take()

    def do_OPTIONS(self) -> None:
        answer = self.ask(dict(self.headers.items()), None)
        self.answer(answer.status, answer.headers, answer.data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def ask(self, headers: Mapping[str, str], body: bytes | None) -> urllib3.BaseHTTPResponse:
        kept = {name: value for name, value in headers.items() if name.lower() not in self.anew}
        return self.pool.request(
            self.command, self.behind + self.path, headers=kept, body=body, decode_content=False
        )

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        """End the connection instead of answering."""
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def standing(handler: type[Between], behind: str) -> Iterator[str]:
    """The URL of a server that handles so what is for the one behind it."""
    handler.behind = behind
    handler.pool = urllib3.PoolManager(retries=False, maxsize=32)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        handler.pool.clear()
