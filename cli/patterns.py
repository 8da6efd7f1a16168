"""Regular expressions that take for ever: Python's tries every way in which a text might match."""

import re

_PARTS = re.compile(
    r"""
    \\. | \[\^?\]?(?:\\.|[^\]\\])*\]        # a character, or a class of them
    | \(\?> | \( | \)                       # a group
    | (?:[*+]|\{[0-9]*,[0-9]*\}) [+?]?      # a repetition, perhaps possessive or lazy
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def may_hang(text: str) -> bool:
    """Whether it repeats a group that repeats something itself, as in `(a+)+`.

    Such a pattern may try 2ⁿ ways of dividing n characters. What never gives back (`a++`, `(?>a+)`,
    since Python 3.11) is not tried again.
    """
    atomic, repeats, closed = [False], [False], False
    for part in _PARTS.findall(text):
        if part in ("(", "(?>"):
            atomic.append(part == "(?>")
            repeats.append(False)
            closed = False
        elif part == ")" and len(repeats) > 1:
            closed = repeats.pop() and not atomic.pop()
            repeats[-1] = repeats[-1] or closed
        elif part[0] in "*+" or (part[0] == "{" and len(part) > 1):
            if closed and not part.endswith("+", 1):
                return True
            repeats[-1] = repeats[-1] or not part.endswith("+", 1)
            closed = False
        else:
            closed = False
    return False
