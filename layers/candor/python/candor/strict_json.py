"""JSON as RFC 8259 has it; Python's reader takes NaN, Infinity and UTF-16 as well."""

import json
from typing import Any

from candor.errors import Refused


def read_json(text: bytes) -> Any:
    """Any JSON value. Raises Refused, whatever the bytes."""
    try:
        # Given bytes, json.loads would guess their encoding and let halves of pairs through.
        decoded = text.decode("utf-8-sig")
        value = json.loads(decoded, parse_constant=_no_constant, parse_float=_finite)
        return _with_whole_characters(value) if b"\\u" in text else value
    except (ValueError, RecursionError):
        raise Refused("bad_json", "The body is not valid JSON.") from None


def _with_whole_characters(value: Any) -> Any:
    """Half a surrogate pair, which is what a browser sends of a cut emoji, becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value if whole == text else json.loads(whole)


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("not finite")
    return number
