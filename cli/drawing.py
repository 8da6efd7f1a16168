"""A profile's graph as an SVG document, from where its layout puts everything.

A line that ends in a cross leads to somebody else. There is no script in it, and nothing that
somebody else wrote is obeyed. Texts are told to keep the width that they were given room for
(`textLength`), so that what fits here fits in every reader's font.
"""

import html

from cli.graph import Graph, Link
from cli.layout import (
    BOX,
    CELL,
    GUTTER,
    LARGE,
    LINE,
    MARGIN,
    PADDING,
    SMALL,
    STRIP,
    TRACK,
    Plan,
    Row,
    Words,
    lay_out,
)
from cli.lettering import cells, legible, shortened

LONGEST_TOLD = 280
"""Characters of what is told beside the picture; an identifier has less."""

LIGHT = {
    "ground": "#ffffff",
    "ink": "#1b1f24",
    "dim": "#57606a",
    "person": "#ddf4ff",
    "device": "#f6f8fa",
    "line": "#57606a",
    "apart": "#a40e26",
}
DARK = {
    "ground": "#0d1117",
    "ink": "#e6edf3",
    "dim": "#9da7b3",
    "person": "#0c2d4a",
    "device": "#161b22",
    "line": "#8b949e",
    "apart": "#ff9aa2",
}


def svg(graph: Graph, title: str, purpose: str) -> str:
    """The picture, as an SVG document."""
    return _document(lay_out(graph), title, purpose)


def _document(plan: Plan, title: str, purpose: str) -> str:
    graph = plan.graph
    height = plan.bottom + (44 if graph.untold else 20)
    caption = f"{_count(graph)}, as far as {purpose} may know"
    room = plan.width - 2 * MARGIN
    heading = shortened(legible(title), int(room / CELL[LARGE]))
    body = [
        _text(MARGIN, 30, heading, "ink strong", LARGE),
        _text(MARGIN, 50, shortened(legible(caption), int(room / CELL[SMALL])), "dim"),
        *_legend(plan),
    ]
    for side, rows in enumerate(plan.columns):
        body += [line for row in rows for line in _links(plan, row, side)]
    for side, rows in enumerate(plan.columns):
        body += [line for row in rows for line in _box(plan, row, side)]
    if graph.untold:
        said = f"Links between withheld identifiers of one type, not drawn: {graph.untold}"
        body.append(_text(MARGIN, plan.bottom + 20, said, "dim"))
    size = f'width="{plan.width:.0f}" height="{height:.0f}"'
    view = f'viewBox="0 0 {plan.width:.0f} {height:.0f}"'
    labels = 'role="img" aria-labelledby="candor-title candor-desc"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} {labels} xml:space="preserve">',
            f'<title id="candor-title">{html.escape(_told(title))}</title>',
            f'<desc id="candor-desc">{html.escape(_described(graph, caption))}</desc>',
            f"<style>{_style()}</style>",
            '<rect class="ground" width="100%" height="100%"/>',
            *body,
            "</svg>\n",
        ]
    )


def _count(graph: Graph) -> str:
    apart = sum(link.times for link in graph.links if link.kind != "joined")
    joined = len(graph.links) - sum(link.kind != "joined" for link in graph.links)
    numbers = ((len(graph.nodes), "identifier"), (joined, "link"))
    told = [f"{number} {name}{'' if number == 1 else 's'}" for number, name in numbers]
    return ", ".join([*told, f"{apart} that do not hold"] if apart else told)


def _described(graph: Graph, caption: str) -> str:
    """The same in sentences, for who does not see the picture."""
    return " ".join([f"{_told(caption)}.", *(f"{_sentence(link)}." for link in graph.links)])


def _sentence(link: Link) -> str:
    other = link.b.name if link.b else "somebody outside"
    ends = f"{_told(link.a.name)} and {_told(other)}"
    more = [_told(words) for words in (link.verdict, link.occasion, link.sender) if words]
    return ", ".join([ends, *more])


def _style() -> str:
    def rules(of: dict[str, str]) -> str:
        texts = "".join(f".{name}{{fill:{of[name]}}}" for name in ("ground", "ink", "dim"))
        boxes = "".join(
            f".{name}{{fill:{of[name]};stroke:{of['line']}}}" for name in ("person", "device")
        )
        lines = f".line{{stroke:{of['line']}}}.apart{{stroke:{of['apart']}}}"
        return f"{texts}{boxes}{lines}.verdict{{fill:{of['apart']}}}"

    fixed = (
        "text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
        ".strong{font-weight:bold}.line,.apart{fill:none;stroke-width:1.5}"
        ".apart{stroke-dasharray:6 4}.cross{stroke-dasharray:none}.asked{stroke-width:3}"
    )
    return f"{fixed}{rules(LIGHT)}@media (prefers-color-scheme:dark){{{rules(DARK)}}}"


def _legend(plan: Plan) -> list[str]:
    found, x = list[str](), float(MARGIN)
    samples = [("line", "holds"), ("apart", "refused, or taken apart again")]
    for class_, said in samples:
        found.append(f'<path class="{class_}" d="M{x:.1f} 66H{x + 30:.1f}"/>')
        if class_ == "apart":
            found.append(_cross(x + 34, 66))
        found.append(_text(x + 46, 70, said, "dim"))
        x += 46 + cells(said) * CELL[SMALL] + 24
    for class_, said in (("person", "names a person"), ("device", "names a device")):
        if plan.columns[class_ == "device"]:
            rounded = 8 if class_ == "person" else 0
            place = f'x="{x:.1f}" y="58" width="26" height="15" rx="{rounded}"'
            found += [f'<rect class="{class_}" {place}/>', _text(x + 34, 70, said, "dim")]
            x += 34 + cells(said) * CELL[SMALL] + 24
    return found


def _box(plan: Plan, row: Row, side: int) -> list[str]:
    node, x, y = row.node, (plan.left, plan.right)[side], row.y
    most = int((BOX - 2 * PADDING) / CELL[LARGE])
    type_, value, look = shortened(legible(node.type), 14), "(withheld)", "dim"
    if node.value is not None:
        value, look = shortened(legible(node.value), most), "ink strong"
    seen = [shortened(legible(one), 10) for one in (node.first_seen, node.last_seen) if one]
    days = " to ".join(dict.fromkeys(seen))
    days_x = x + BOX - PADDING - cells(days) * CELL[SMALL]
    class_ = "person" if node.known else "device"
    rounded = 8 if node.known else 0
    asked = " asked" if node == plan.graph.asked else ""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{BOX}" height="{row.height:.1f}" rx="{rounded}"'
    return [
        "<g>",
        f"<title>{html.escape(_told(node.name))}</title>",
        f'<rect class="{class_}{asked}" {place}/>',
        _text(x + PADDING, y + 17, type_, "dim"),
        *([_text(days_x, y + 17, days, "dim")] if days else []),
        _text(x + PADDING, y + 34, value, look, LARGE),
        "</g>",
    ]


def _links(plan: Plan, row: Row, side: int) -> list[str]:
    found = []
    for words in row.inner:
        other = words.link.end(row.node)
        if other:
            found += _across(plan, words, plan.rows[other])
    for words in row.outer:
        found += _beside(plan, row, words, side)
    return found


def _across(plan: Plan, words: Words, other: Row) -> list[str]:
    """A line between the columns, from the other box's edge to below the words of this one."""
    ports = sorted(other.ports, key=lambda one: one.y)
    y = other.y + other.height * (ports.index(words) + 1) / (len(ports) + 1)
    start, lane = plan.gutter, plan.gutter + GUTTER
    middle = (start + lane) / 2
    curve = f"M{start:.1f} {y:.1f}C{middle:.1f} {y:.1f} {middle:.1f} {words.y:.1f}"
    path = f"{curve} {lane:.1f} {words.y:.1f}H{plan.right:.1f}"
    return [*_line(words.link, path), *_said(words, lane + 6)]


def _beside(plan: Plan, row: Row, words: Words, side: int) -> list[str]:
    """A line beside a column, to a box of the same column or to somebody outside."""
    sign = 1 if side else -1
    edge = plan.right + BOX if side else plan.left
    end = edge + sign * plan.lanes[side]
    text_x = edge + 10 if side else end + 20
    other = words.link.end(row.node) if words.link.b else None
    if other is None:
        path = f"M{edge:.1f} {words.y:.1f}H{end - sign * 10:.1f}"
        cross = [_cross(end - sign * 6, words.y)]
    else:
        track = end + sign * (STRIP + TRACK * plan.tracks[side][other])
        port = plan.rows[other].y + STRIP / 2
        path = f"M{edge:.1f} {words.y:.1f}H{track:.1f}V{port:.1f}H{edge:.1f}"
        cross = []
    return [*_line(words.link, path), *cross, *_said(words, text_x)]


def _line(link: Link, path: str) -> list[str]:
    class_ = "line" if link.kind == "joined" else "apart"
    told = html.escape(_sentence(link))
    return [f'<path class="{class_}" d="{path}"><title>{told}</title></path>']


def _said(words: Words, x: float) -> list[str]:
    """Words right above their line."""
    found = []
    for n, line in enumerate(words.lines):
        y = words.y - 4 - LINE * (len(words.lines) - 1 - n)
        held = words.link.kind == "joined"
        found.append(_text(x, y, line, "dim" if held or n != 1 else "verdict"))
    return found


def _cross(x: float, y: float) -> str:
    """Where a line ends that leads to nobody of this profile."""
    strokes = f"M{x - 4:.1f} {y - 4:.1f}L{x + 4:.1f} {y + 4:.1f}M{x - 4:.1f} {y + 4:.1f}"
    return f'<path class="apart cross" d="{strokes}L{x + 4:.1f} {y - 4:.1f}"/>'


def _text(x: float, y: float, text: str, class_: str, size: int = SMALL) -> str:
    long = cells(text) * CELL[size]
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}"'
    kept = f'textLength="{long:.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text class="{class_}" {place} {kept}>{html.escape(text)}</text>'


def _told(text: str) -> str:
    return shortened(legible(text), LONGEST_TOLD)
