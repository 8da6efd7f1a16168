"""The server of this example's shop: `.venv/bin/python examples/banner/serve.py`, after `make up`.

For a consent banner a shop's own server does three things: it serves the page, and analytics.js
from npm with it, from its own address; it tells the page its public write key; and it vouches for
who is logged in.
"""

import argparse
import hashlib
import hmac
import json
import sys
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli import npm
from cli.api import Api
from cli.problem import Problem
from cli.target import load_stack

HERE = Path(__file__).resolve().parent
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
PAGES = {"/": HERE / "index.html"} | {
    f"/{name}": HERE / name for name in ("style.css", "banner.js", "choices.js", "shop.js")
}
SOURCE = {"kind": "source", "name": "banner example", "source": "website", "trust": "client"}
MOST_BYTES = 1_000


def identity_proof(secret: str, user_id: str, seconds: int = 3600) -> str:
    """What this server knows and a browser can only claim: that this user is logged in."""
    expires = int(time.time()) + seconds
    text = f"{user_id}\n{expires}".encode()
    return f"{expires}.{hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}"


class Shop(BaseHTTPRequestHandler):
    """Answers one request."""

    def __init__(self, settings: dict[str, str], secret: str, *given: Any) -> None:
        self.settings, self.secret = settings, secret
        super().__init__(*given)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/settings.json":
            self._answer(json.dumps(self.settings).encode(), "application/json")
        elif path == "/policy":  # Candor makes it of policy.yaml, in plain words
            self.send_response(302)
            self.send_header("Location", f"{self.settings['api_url']}/v1/policy")
            self.end_headers()
        elif path in PAGES or path in library():
            file = PAGES.get(path) or library()[path]
            self._answer(file.read_bytes(), TYPES[file.suffix])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """Log in. A real shop asks for a password, and knows the user by a session cookie."""
        length = int(self.headers.get("Content-Length") or 0)
        if urlsplit(self.path).path != "/login" or not 0 < length <= MOST_BYTES:
            self.send_error(404)
            return
        try:
            user = str(json.loads(self.rfile.read(length))["userId"])
        except (ValueError, TypeError, KeyError):
            self.send_error(400)
            return
        proof = identity_proof(self.secret, user)
        self._answer(json.dumps({"identityProof": proof}).encode(), "application/json")

    def _answer(self, body: bytes, type_: str) -> None:
        candor = urlsplit(self.settings["api_url"])
        self.send_response(200)
        self.send_header("Content-Type", f"{type_}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        # Whatever a script tries: this page talks to its shop and to Candor, and to nobody else.
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
            f"connect-src 'self' {candor.scheme}://{candor.netloc}; base-uri 'none'; "
            "form-action 'self'; frame-ancestors 'none'",
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: who reads what is nobody's business."""


def library() -> dict[str, Path]:
    """The files of analytics.js for browsers, by their paths here."""
    folder = npm.packages(HERE) / "@segment" / "analytics-next" / "dist" / "umd"
    return {f"/analytics/{file.name}": file for file in folder.glob("*.js")}


def shop(api_url: str, write_key: str, secret: str, port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, at any free port by default. `secret` is shared with the source of
    `write_key`."""
    library()  # a missing package is told before anybody asks for the page
    settings = {"api_url": api_url, "write_key": write_key}
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Shop, settings, secret))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    options.add_argument("--port", type=int, default=8000)
    port = options.parse_args().port
    try:
        stack = load_stack(None, "local")
        api = Api(stack)
        source = api.staff("admin", "POST", "/keys", SOURCE)
        try:
            secret = api.staff("admin", "POST", f"/keys/{source['id']}/secret", {})["secret"]
            with shop(stack["api_url"], source["key"], secret, port) as server:
                sys.stdout.write(f"The shop is at http://127.0.0.1:{port} until you press Ctrl+C\n")
                server.serve_forever()
        finally:
            api.staff("admin", "DELETE", f"/keys/{source['id']}")
    except KeyboardInterrupt:
        return 0
    except (Problem, OSError) as problem:
        sys.stderr.write(f"✗ {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
