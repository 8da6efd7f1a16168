"""A real browser: Chromium, driven by the DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol/ names every method and event used here.
"""

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import chromium

Json = dict[str, Any]
SECONDS = 30
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    # It opens nothing but this project's own page, and an unpacked Chromium has no sandbox helper.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    # Whatever a page asks for, nothing leaves the machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    " ": (32, " "),
}
"""Keys to their code and text."""
_WHERE = """(selector => {
  const element = document.querySelector(selector);
  element.scrollIntoView({block: "center", behavior: "instant"});
  const {x, y, width, height} = element.getBoundingClientRect();
  const at = [x + width / 2, y + height / 2];
  const hit = document.elementFromPoint(...at);
  return element.contains(hit) ? at : `${selector} is covered by ${hit?.outerHTML}`;
})"""


class Browser:
    """One Chromium. Each page that it opens is in a profile of its own, as of a new visitor."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        assert process.stdout
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        self._read = b""
        self._last = 0
        self._answers: dict[int, Json] = {}
        self._pages: dict[str, Page] = {}

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Json:
        self._last += 1
        sent = {"id": self._last, "method": method, "params": parameters}
        told = json.dumps(sent | ({"sessionId": session} if session else {}))
        os.write(self._to, told.encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while self._last not in self._answers:
            self.listen(deadline - time.monotonic(), method)
        answer = self._answers.pop(self._last)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        found: Json = answer["result"]
        return found

    def listen(self, seconds: float, what: str) -> None:
        """Take in what the browser says next."""
        ready, _, _ = select.select([self._from], [], [], max(0, seconds))
        heard = os.read(self._from, 1 << 20) if ready else b""
        if not heard:
            pytest.fail(f"Chromium {'ended' if ready else 'did not answer'}: {what}")
        *messages, self._read = (self._read + heard).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            elif page := self._pages.get(message.get("sessionId", "")):
                page.hear(message["method"], message["params"])

    def visitor(self) -> "Page":
        """An empty page of somebody who was never here."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        session = attached["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Accessibility"):
            page.call(f"{domain}.enable")
        return page


class Page:
    """A tab, what it asked the network for, and what went wrong in it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.asked: list[Json] = []
        """Requests, as `Network.requestWillBeSent` tells them."""
        self.errors: list[str] = []

    def call(self, method: str, **parameters: Any) -> Json:
        return self._browser.call(method, self._session, **parameters)

    def hear(self, method: str, told: Json) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(told["request"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in {"error", "warning"}:
            self.errors.append(" ".join(str(one.get("value", one)) for one in told["args"]))

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression, or of its promise."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """The first true value of an expression."""
        return await_true(script, lambda: self.run(script))

    def press(self, key: str, *, shift: bool = False) -> None:
        code, text = KEYS[key]
        named: Json = {"key": key, "code": "Space" if key == " " else key}
        named |= {"windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        down = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=down, text=text, **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """With the mouse, where a person would: fails where something covers it."""
        at = self.run(f"{_WHERE}({json.dumps(selector)})")
        assert isinstance(at, list), at
        button = {"x": at[0], "y": at[1], "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **button)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **button)

    def tree(self) -> list[Json]:
        """What a screen reader is told: the nodes that are not ignored."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node["ignored"]]


@contextmanager
def running(home: Path, *flags: str) -> Iterator[Browser]:
    """A Chromium whose profile is in `home`. It ends with the block."""
    command, environment = chromium.command()
    # Chromium speaks by the descriptors 3 and 4, which a shell can make of 0 and 1.
    shell = ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >&2', "sh"]
    with (home / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*shell, *command, *FLAGS, f"--user-data-dir={home}/profile", *flags],
            env=environment | {"HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
        )
    try:
        yield Browser(process)
    finally:
        process.kill()
        process.communicate()


def await_true(what: str, holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            pytest.fail(f"Not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
    return found
