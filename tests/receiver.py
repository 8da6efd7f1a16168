"""A destination's receiver, made as docs/destinations.md says, of what is told there alone."""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Json = dict[str, Any]
OLDEST = timedelta(minutes=15)
Answer = Callable[[str, Json], Any]
"""Posts a body to a path of the API."""


class Receiver:
    """Several destinations on this machine. `says` is what each does, one a time and the last for
    ever: a status of HTTP that refuses the notice, or the answer to it; "" never answers."""

    def __init__(self, public_key: bytes, answer: Answer) -> None:
        self._key, self._answer = load_pem_public_key(public_key), answer
        self.says: defaultdict[str, list[int | str]] = defaultdict(lambda: ["erased"])
        self.told: list[Json] = []
        """The notices that were genuine."""
        self.refused: list[str] = []
        self.faults: list[BaseException] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def destinations(self, *names: str, knows: tuple[str, ...] = ("email",)) -> str:
        """For the parameter LocalDestinations."""
        rule = {"knows": list(knows), "tell": ["erasure"], "answer_within_hours": 1}
        return json.dumps({name: {"name": name, "url": self.url(name), **rule} for name in names})

    def names(self) -> list[str]:
        """Who took a notice, in order."""
        return [notice["destination"] for notice in self.told]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    status = receiver.take(self.path.strip("/"), json.loads(body))
                except Exception as fault:  # noqa: BLE001  the test looks at them
                    receiver.faults.append(fault)
                    status = 400
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def take(self, name: str, signed: Json) -> int:
        """Checks a notice and does what is said. Raises where it is not genuine."""
        notice: Json = json.loads(signed["document"])
        assert isinstance(self._key, ec.EllipticCurvePublicKey)
        digest = hashlib.sha256(signed["document"].encode()).digest()
        self._key.verify(base64.b64decode(signed["signature"]), digest, ec.ECDSA(hashes.SHA256()))
        assert notice["type"] == "candor/erasure-notice/1"
        assert notice["url"] == self.url(name)
        assert notice["destination"] == name
        age = datetime.now(UTC) - datetime.fromisoformat(notice["time"])
        assert abs(age) < OLDEST
        plan = self.says[name]
        what = plan.pop(0) if len(plan) > 1 else plan[0]
        if isinstance(what, int):
            self.refused.append(name)
            return what
        self.told.append(notice)
        if what:
            Thread(target=self._confirm, args=(notice, what), daemon=True).start()
        return 202

    def _confirm(self, notice: Json, status: str) -> None:
        try:
            self._answer(notice["callback"], {"status": status})
        except Exception as fault:  # noqa: BLE001
            self.faults.append(fault)
