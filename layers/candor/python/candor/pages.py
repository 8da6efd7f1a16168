"""What people and programs read of this installation itself: made when the layer is built.

A page runs nothing and loads nothing; its one style is named by its hash (Content Security Policy
Level 3, section 2.3.1, "Source Lists").
"""

import base64
import hashlib
from pathlib import Path

BUILT = Path(__file__).parent
CACHE = {"Cache-Control": "public, max-age=300"}
STYLE = ("<style>", "</style>")


def built(name: str) -> str:
    """A text that the build put beside this module."""
    return (BUILT / name).read_text(encoding="utf-8")


def headers(page: str) -> dict[str, str]:
    """Of an HTML page: what it is, and that a browser may do nothing with it but show it."""
    style = page.partition(STYLE[0])[2].partition(STYLE[1])[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    alone = ("default-src", "base-uri", "form-action", "frame-ancestors")
    policy = [f"style-src 'sha256-{digest}'", *(f"{one} 'none'" for one in alone)]
    return CACHE | {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Language": "en",
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
