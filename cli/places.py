"""A YAML file with the line of everything in it, and what PyYAML reads without a word.

Needs PyYAML alone, because the build runs it.
"""

import pathlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from cli.problem import Problem

Path = tuple[str | int, ...]
MOST_PLACES = 100_000
"""Entries of a file, with what `*` takes over wherever it does."""
MERGE = "tag:yaml.org,2002:merge"
TAB = "Indent with spaces: YAML takes no tabs."
HINTS = {
    "mapping values are not allowed": "Quote text that holds a colon, and look at the indentation.",
    "cannot start any token": TAB,
    "expected ',' or": "Close the bracket, and put a comma between any two entries.",
    "expected <block end>": "Give all entries of one list or mapping the same indentation.",
    "could not find expected ':'": "Put a colon behind the name, and a space behind the colon.",
    "found undefined alias": "Write `&name` where it is defined, above the `*name` that takes it.",
    "could not determine a constructor": "Leave out the `!`, or quote the text.",
    "unhashable key": "Quote the name before the colon.",
    "but found another document": "Remove the line `---`, or what follows it.",
    "found unexpected end of stream": "Close the quotation mark.",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    line: int
    path: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}." + (f" {self.suggestion}" if self.suggestion else "")


@dataclass(slots=True)
class Written:
    """What a file says, and where."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    walked: int = 0
    readable: bool = True
    """Whether it is YAML at all; if not, `mistakes` says why."""

    def line(self, path: Path) -> int:
        """The line of a place, or of what is nearest around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def spelling(self, path: Path, key: object) -> Path:
        """The place of a key that YAML takes for something else than text, as it is spelled."""
        beside = (one for one in self.lines if one[:-1] == path)
        return next((one for one in beside if _plain(one[-1]) == key), path)

    def mistake(self, path: Path, message: str, suggestion: str = "") -> Mistake:
        return Mistake(self.line(path), dotted(path), message, suggestion)


class _TooMuch(Exception):
    """It grows too large to be read to its end."""


class Plain(yaml.SafeLoader):
    """Reads no tag but YAML's own, whatever another library has taught PyYAML's loader."""

    yaml_multi_constructors: ClassVar[dict[str | None, Any]] = {}


class AnyTag(yaml.SafeLoader):
    """Reads CloudFormation's `!Sub` and the like as what they are given."""


def _untagged(loader: AnyTag, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value


AnyTag.add_multi_constructor("!", _untagged)


def text_of(file: pathlib.Path) -> str:
    """Raises Problem."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{file}: it cannot be read: {error}.") from None


def dotted(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


def read(text: str, loader: type[yaml.SafeLoader] = Plain) -> Written:
    """Reads one document. A key that comes twice is a mistake: PyYAML takes the last one."""
    written = Written()
    try:
        reading = loader(text)
        node = reading.get_single_node()
        if node is not None:
            _walk(node, (), written, ())
        if not any(one.message.startswith("it holds itself") for one in written.mistakes):
            written.value = None if node is None else reading.construct_document(node)
            return written
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "this is not YAML"
        hint = next((hint for words, hint in HINTS.items() if words in problem), "")
        if problem == "but found another document":
            problem = "another document begins here, and a policy is one"
        written.mistakes.append(Mistake(mark.line + 1 if mark else 1, "", problem, hint))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the character U+{ord(text[error.position]):04X} may not stand in YAML"
        written.mistakes.append(Mistake(line, "", message, "Remove it."))
    except _TooMuch:
        message = f"it has more than {MOST_PLACES} entries once every `*` stands for what it takes"
        written.mistakes.append(Mistake(1, "", message, "Write out what you mean."))
    except RecursionError:
        written.mistakes.append(Mistake(1, "", "it is nested too deeply", ""))
    except ValueError as error:  # a date or number that is none, such as 2026-13-01
        message = f"a value is not what it looks like: {' '.join(str(error).split())}"
        written.mistakes.append(Mistake(1, "", message, "Quote it."))
    written.readable = False
    return written


def _walk(node: yaml.Node, path: Path, written: Written, above: tuple[int, ...]) -> None:
    if id(node) in above:
        written.mistakes.append(written.mistake(path, "it holds itself", "Take the `*` out of it."))
        return
    written.walked += 1
    if written.walked > MOST_PLACES:
        raise _TooMuch
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            written.lines[*path, index] = item.start_mark.line + 1
            _walk(item, (*path, index), written, above)
    elif isinstance(node, yaml.MappingNode):
        own = [(key, value) for key, value in node.value if key.tag != MERGE]
        for _, value in (pair for pair in node.value if pair[0].tag == MERGE):
            several = isinstance(value, yaml.SequenceNode)
            for merged in reversed(value.value) if several else [value]:
                _walk(merged, path, written, above)  # what stands here itself comes later and wins
        _note_repeated(node, path, written)
        for key, value in own:
            here = (*path, _text(key))
            written.lines[here] = key.start_mark.line + 1
            _walk(value, here, written, above)


def _note_repeated(node: yaml.MappingNode, path: Path, written: Written) -> None:
    first: dict[str, int] = {}
    for key, _ in node.value:
        line, name = key.start_mark.line + 1, _text(key)
        if name not in first:
            first[name] = line
            continue
        message = (
            f"it stands here twice, first in line {first[name]}, and only the last would count"
        )
        mistake = Mistake(line, dotted((*path, name)), message, "Make one of the two.")
        if mistake not in written.mistakes:  # what is shared is walked through several times
            written.mistakes.append(mistake)


def _plain(key: str | int) -> object:
    try:
        return yaml.safe_load(str(key))
    except yaml.YAMLError:
        return key


def _text(key: yaml.Node) -> str:
    return key.value if isinstance(key, yaml.ScalarNode) else re.sub(r"\s+", " ", str(key.value))
