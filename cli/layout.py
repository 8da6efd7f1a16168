"""Where everything of a profile's graph is put: what names a person left, devices right.

Not in rings: in two columns every link's words have a place of their own beside the box that they
are about, so that nothing ever covers anything, however many there are. All sizes are pixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from cli.graph import Graph, Link, Node
from cli.lettering import cells, legible, shortened

SMALL, LARGE = 11, 12
"""Sizes of text."""
CELL = {SMALL: 6.6, LARGE: 7.2}
"""The width of a character of a monospaced font: 0.6 of its size."""
BOX, PADDING = 280, 10
LANE_CELLS = 36
"""Characters of a link's words on a line."""
LINE, ROW_GAP, GUTTER, MARGIN, HEAD = 14, 14, 120, 24, 96
LEAST_WIDTH, LEAST_HEIGHT = 720, 44
"""Of the picture, for its heading; and of a box."""
STRIP = 12
"""Of a box's outer side: where lines of others arrive, above its own."""
TRACK = 12
"""Between lines beside each other."""


def lay_out(graph: Graph) -> "Plan":
    left = [node for node in graph.nodes if node.known]
    right = _near(graph, [node for node in graph.nodes if not node.known], left)
    return Plan(graph, left, right)


@dataclass(slots=True)
class Words:
    """What is written of a link beside a box, and the height of the line below it."""

    link: Link
    lines: list[str]
    y: float = 0

    @property
    def height(self) -> int:
        return LINE * len(self.lines) + 6


@dataclass(slots=True)
class Row:
    """A box, with the words of its links to the other column (inner) and of the rest (outer)."""

    node: Node
    inner: list[Words] = field(default_factory=list)
    outer: list[Words] = field(default_factory=list)
    ports: list[Words] = field(default_factory=list)
    """Whose lines arrive at the inner side."""
    y: float = 0

    @property
    def height(self) -> float:
        inner = sum(words.height for words in self.inner)
        outer = STRIP + sum(words.height for words in self.outer) if self.outer else 0
        return max(LEAST_HEIGHT, inner + 4, outer + 4)

    def put(self, y: float) -> None:
        self.y = y
        for side, top in ((self.inner, y), (self.outer, y + STRIP)):
            bottom = top
            for words in side:
                bottom += words.height
                words.y = bottom


class Plan:
    """Where everything is. The left column's outer side is the left one, the right's the right."""

    def __init__(self, graph: Graph, left: list[Node], right: list[Node]) -> None:
        self.graph = graph
        self.rows = {node: Row(node) for node in (*left, *right)}
        self.columns = [self.rows[node] for node in left], [self.rows[node] for node in right]
        place = {node: n for n, node in enumerate([*left, *right])}
        for link in graph.links:
            self._own(link, place)
        self._put()
        self._measure()

    def _own(self, link: Link, place: dict[Node, int]) -> None:
        """Give a link's words to one of its ends: the device, else the lower one."""
        owner = link.a
        if link.b and (link.b.known, -place[link.b]) < (link.a.known, -place[link.a]):
            owner = link.b
        other = link.end(owner) if link.b else None
        row, across = self.rows[owner], other is not None and other.known != owner.known
        words = Words(link, _lines(link, other))
        (row.inner if across else row.outer).append(words)
        if across and other:
            self.rows[other].ports.append(words)

    def _put(self) -> None:
        """Devices one below the other; people about as high as what they are linked to."""
        people, devices = self.columns
        bottom = float(HEAD)
        for row in devices:
            row.put(bottom)
            bottom += row.height + ROW_GAP
        free = float(HEAD)
        for row in people:
            middle = [words.y for words in row.ports]
            wanted = sum(middle) / len(middle) - row.height / 2 if middle else free
            row.put(max(free, wanted))
            free = row.y + row.height + ROW_GAP
        self.bottom = max(free, bottom)

    def _measure(self) -> None:
        people, devices = self.columns
        self.lanes = [_lane(words for row in side for words in row.outer) for side in self.columns]
        inner = _lane(words for row in devices for words in row.inner)
        self.tracks = [self._tracks(side) for side in self.columns]
        beside = [
            TRACK * (1 + max(tracks.values(), default=-1)) + (STRIP if tracks else 0)
            for tracks in self.tracks
        ]
        x = MARGIN + beside[0] + self.lanes[0]
        self.left = x
        if people:
            x += BOX
        self.gutter = x
        if people and devices:
            x += GUTTER + inner
        self.right = x
        x += BOX if devices else 0
        self.width = max(x + self.lanes[1] + beside[1] + MARGIN, LEAST_WIDTH)

    def _tracks(self, side: list[Row]) -> dict[Node, int]:
        """Which of the lines beside a column leads to each box; those that meet have their own."""
        spans: dict[Node, tuple[float, float]] = {}
        for row in side:
            for words in row.outer:
                other = words.link.end(row.node) if words.link.b else None
                if other:
                    top, bottom = spans.get(other, (self.rows[other].y + STRIP / 2, words.y))
                    spans[other] = min(top, words.y), max(bottom, words.y)
        found: dict[Node, int] = {}
        ends: list[float] = []
        for node, (top, bottom) in sorted(spans.items(), key=lambda one: one[1]):
            free = [n for n, end in enumerate(ends) if end < top]
            track = free[0] if free else len(ends)
            ends[track : track + 1] = [bottom]
            found[node] = track
        return found


def _lines(link: Link, other: Node | None) -> list[str]:
    name = other.name if other else "somebody outside"
    lines = [f"with {name}", link.verdict, link.occasion, link.sender]
    return [shortened(legible(line), LANE_CELLS) for line in lines if line]


def _lane(words: Iterable[Words]) -> float:
    """How wide the words are; 0 where there are none."""
    widths = [cells(line) for one in words for line in one.lines]
    return max(widths) * CELL[SMALL] + 30 if widths else 0


def _near(graph: Graph, devices: list[Node], people: list[Node]) -> list[Node]:
    """Devices in an order that puts each close to what it is linked to."""
    beside: dict[Node, list[Node]] = {}
    for link in graph.links:
        if link.kind == "joined" and link.b:
            beside.setdefault(link.a, []).append(link.b)
            beside.setdefault(link.b, []).append(link.a)
    left, found = dict.fromkeys(devices), list[Node]()
    for start in (*people, *devices):
        waiting = [start]
        while waiting:
            here = waiting.pop()
            if here in left:
                del left[here]
                found.append(here)
            elif here != start:
                continue
            waiting += [one for one in reversed(beside.get(here, [])) if one in left]
    return found
