"""What texts become that stand in boxes: on one line, seen as they are, and measured in cells.

A cell is the width of a character of a monospaced font, as in a terminal.
"""

import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories of what has no look of its own, or is not allowed in XML."""
PILED = frozenset({"Mn", "Me"})
"""Of marks that stand on the character before them."""


def cells(text: str) -> int:
    """How many characters' width a text takes."""
    return sum(_width(one) for one in text)


def shortened(text: str, most: int) -> str:
    """A text in at most so many cells, without its middle; ends tell ids apart."""
    if cells(text) <= most:
        return text
    head, tail = "", ""
    room = most - 1
    while cells(head) + _width(text[len(head)]) <= (room + 1) // 2:
        head += text[len(head)]
    while cells(tail) + _width(text[-len(tail) - 1]) <= room - cells(head):
        tail = text[-len(tail) - 1] + tail
    return f"{head}…{tail}"


def legible(value: object) -> str:
    """Anything on one line, with a mark for each character that nobody could see.

    Of marks that stand on other characters at most two stay, so that they do not pile up.
    """
    found, piled = [], 0
    for one in str(value):
        piled = piled + 1 if unicodedata.category(one) in PILED else 0
        if one.isspace():
            found.append(" ")
        elif unicodedata.category(one) in HIDDEN:
            found.append("�")
        elif piled <= 2:
            found.append(one)
    return "".join(found)


def _width(one: str) -> int:
    if unicodedata.category(one) in PILED:
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1
