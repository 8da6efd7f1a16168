"""The bits of a consent string's segment, read in order and to the last one.

A segment is base64url without `=`: every character is six bits, the highest first.
"""

import re

LONGEST = 16_384
"""Characters of a string that is read at all. Real ones have less than a tenth of that."""
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SIX = {character: f"{value:06b}" for value, character in enumerate(ALPHABET)}
LONGEST_FIBONACCI = 24
"""Bits of a Fibonacci code that is read, enough for 46,000. IAB has given out ids below 100."""


class InvalidSignal(ValueError):
    """Why a consent string cannot be relied on, in a sentence.

    Never quotes the string, which is personal data: the message may be logged and shown.
    """


class Bits:
    """Takes fields from the front of a segment. Every method raises InvalidSignal where bits that
    the segment announced are not there.

    `part` is what messages call it, such as "core segment".
    """

    __slots__ = ("_at", "_bits", "_part")

    def __init__(self, text: str, part: str) -> None:
        if not text:
            raise InvalidSignal(f"The {part} is empty.")
        if not SIX.keys() >= set(text):
            raise InvalidSignal(f"The {part} has a character that base64url does not have.")
        self._bits = "".join([SIX[character] for character in text])
        self._at = 0
        self._part = part

    def integer(self, width: int) -> int:
        """An unsigned integer of that many bits."""
        return int(self._take(width), 2)

    def flag(self) -> bool:
        return self._take(1) == "1"

    def positions(self, width: int) -> frozenset[int]:
        """Where a bit field of that many bits has ones; its first bit is position 1."""
        return frozenset(at for at, bit in enumerate(self._take(width), 1) if bit == "1")

    def runs(self, width: int) -> tuple[tuple[int, int], ...]:
        """The same as ranges: first and last position of every run of ones."""
        return tuple((run.start() + 1, run.end()) for run in re.finditer("1+", self._take(width)))

    def letters(self) -> str:
        """Two capital letters, six bits each, A as 0."""
        codes = self.integer(6), self.integer(6)
        if max(codes) > 25:
            raise InvalidSignal(f"The {self._part} has a language or country that is no letters.")
        return "".join(ALPHABET[code] for code in codes)

    def fibonacci(self) -> int:
        """An integer from 1 up in Fibonacci coding, which ends with the first two ones in a row.

        GPP String specification 1.0, "Fibonacci Encoding to Deal with String Length".
        """
        end = self._bits.find("11", self._at, self._at + LONGEST_FIBONACCI)
        if end < 0:
            raise InvalidSignal(f"The {self._part} ends within a number, or has one beyond reason.")
        value, one, two = 0, 1, 2
        for bit in self._take(end + 1 - self._at):
            value += one if bit == "1" else 0
            one, two = two, one + two
        self._at += 1
        return value

    def end(self, *blocks: int) -> None:
        """Nothing may be left but zeros, and no more of them than encoders write.

        They fill up to full characters (6 bits; what GPP's specification says), or to full bytes
        and these to full characters (8: iabtcf-java, @iabgpp/cmpapi), or to 24 bits, which need
        neither (24: @iabtcf/core, and @iabgpp/cmpapi in its TCF sections). `blocks` says which of
        6, 8 and 24 are legitimate here. Anything longer is refused, zeros or not.
        """
        lengths = {_filled(_filled(self._at, block), 6) for block in blocks}
        if len(self._bits) not in lengths or "1" in self._bits[self._at :]:
            raise InvalidSignal(f"The {self._part} has more than it announces.")

    def _take(self, width: int) -> str:
        taken = self._bits[self._at : self._at + width]
        if len(taken) < width:
            raise InvalidSignal(f"The {self._part} is cut off: it announces more than it has.")
        self._at += width
        return taken


def segments(text: str, most: int) -> list[str]:
    """The parts of a string between its dots."""
    if len(text) > LONGEST:
        raise InvalidSignal(f"The string is longer than {LONGEST} characters.")
    parts = text.split(".", most)
    if len(parts) > most:
        raise InvalidSignal(f"The string has more than {most} segments.")
    return parts


def _filled(length: int, block: int) -> int:
    return length + -length % block
