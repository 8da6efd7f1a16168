"""A profile's picture: everything is there, nothing covers anything, and nobody's words are obeyed.

What is measured is measured in the document itself, as a reader would draw it.
"""

import io
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, product
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli import drawing, evidence
from cli.graph import OUTSIDE, graph, short
from cli.lettering import cells, legible, shortened
from tests.unit.test_cli_hostile import EVIL, OBEYED
from tests.worlds import CRM, SHIPPED, Json, Shop, order

SVG = "{http://www.w3.org/2000/svg}"
TYPES: Json = SHIPPED.document["identifiers"]
SOURCES = {"s1": "web shop", "s2": "CRM"}
ODD = [
    EVIL,
    "</text><script>alert(1)</script>",
    "&lt;&#0;]]>\ufffe\uffff",
    "x" * 5_000,
    "名前" * 60,
    "👩‍💻" * 30,
    "e" + "\u0301" * 400,
    "שלום" * 20,
    "   ",
    "",
]
ASCENT, DESCENT = 0.8, 0.25
"""Of a text's size, above and below its base line."""


def identifier(type_: str, value: str | None) -> Json:
    seen = {"first_seen": "2026-09-01", "last_seen": "2026-11-25"}
    return {"type": type_, "value": value} | seen


def link(a: Json, b: Json | None, time: int = 1_790_000_000, **more: Any) -> Json:
    ends = [{"type": one["type"], "value": one["value"]} for one in (a, b) if one]
    ends += [{"type": OUTSIDE, "value": None}] * (b is None)
    said = {"rule": "identify_carries_both", "source": "s1", "trust": "client", "refused": None}
    return {"a": ends[0], "b": ends[1], "event": "e", "time": time, **said, **more}


def picture(identifiers: list[Json], links: list[Json], asked: str = "user_id:ann") -> str:
    return drawing.svg(graph(identifiers, links, asked, TYPES, SOURCES), asked, "service")


ANN, TABLET = identifier("user_id", "ann"), identifier("anonymous_id", "tablet")
MAIL = identifier("email", "ann@example.com")


@dataclass(frozen=True)
class Area:
    left: float
    top: float
    right: float
    bottom: float
    what: str = ""

    def meets(self, other: "Area", by: float = 0.1) -> bool:
        return (
            self.left + by < other.right
            and other.left + by < self.right
            and self.top + by < other.bottom
            and other.top + by < self.bottom
        )

    def holds(self, other: "Area") -> bool:
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


class Drawn:
    """A picture as a reader takes it apart."""

    def __init__(self, document: str) -> None:
        self.root = ET.fromstring(document.encode())  # noqa: S314
        _, _, width, height = map(float, self.root.attrib["viewBox"].split())
        self.page = Area(0, 0, width, height)
        self.texts = [_text(one) for one in self.root.iter(f"{SVG}text")]
        rects = [one.attrib for one in self.root.iter(f"{SVG}rect") if "x" in one.attrib]
        self.rects = [
            Area(x, y, x + width, y + height)
            for x, y, width, height in (
                [float(one[name]) for name in ("x", "y", "width", "height")] for one in rects
            )
        ]
        self.paths = [one.attrib["d"] for one in self.root.iter(f"{SVG}path")]

    def words(self) -> list[str]:
        return [one.what for one in self.texts]


def _text(one: ET.Element) -> Area:
    x, y, size, long = (float(one.attrib[n]) for n in ("x", "y", "font-size", "textLength"))
    return Area(x, y - ASCENT * size, x + long, y + DESCENT * size, one.text or "")


def points(path: str) -> Iterator[tuple[float, float]]:
    """Places along a path, close to each other."""
    x = y = 0.0
    for command, written in re.findall(r"([MLHVC])([^MLHVC]*)", path):
        numbers = [float(one) for one in written.split()]
        start = x, y
        if command == "C":
            curve = [start, *zip(numbers[::2], numbers[1::2], strict=True)]
            for n in range(101):
                t = n / 100
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                yield (
                    sum(w * px for w, (px, _) in zip(weights, curve, strict=True)),
                    sum(w * py for w, (_, py) in zip(weights, curve, strict=True)),
                )
            x, y = curve[-1]
            continue
        x = numbers[0] if command in "MLH" else x
        y = numbers[-1] if command in "MLV" else y
        if command != "M":
            for n in range(101):
                yield start[0] + (x - start[0]) * n / 100, start[1] + (y - start[1]) * n / 100


def covered(drawn: Drawn) -> list[str]:
    """What is covered by something, or leaves the page; nothing where all can be read."""
    everything = [*drawn.texts, *drawn.rects]
    found = [f"{one} leaves the page" for one in everything if not drawn.page.holds(one)]
    found += [f"{a} meets {b}" for a, b in neighbours(drawn.texts) if a.meets(b)]
    found += [f"{a} meets {b}" for a, b in neighbours(drawn.rects) if a.meets(b)]
    bands: dict[int, list[Area]] = {}
    for one in everything:
        for band in range(int(one.top // 40), int(one.bottom // 40) + 1):
            bands.setdefault(band, []).append(one)
    for text in drawn.texts:
        boxes = [one for one in drawn.rects if one.meets(text)]
        found += [f"{text} sticks out of {box}" for box in boxes if not box.holds(text)]
    for path in drawn.paths:
        for x, y in points(path):
            point = Area(x, y, x, y)
            near = bands.get(int(y // 40), ())
            found += [f"{path} runs through {one}" for one in near if one.meets(point, 0.2)]
    return found


def neighbours(areas: list[Area]) -> Iterator[tuple[Area, Area]]:
    """Pairs that are about as high as each other."""
    ordered = sorted(areas, key=lambda one: one.top)
    for n, one in enumerate(ordered):
        for other in ordered[n + 1 :]:
            if other.top > one.bottom:
                break
            yield one, other


@st.composite
def profiles(draw: st.DrawFn) -> tuple[list[Json], list[Json]]:
    """2 to 90 identifiers with any values, and links of all kinds, as the API tells of them."""
    count = draw(st.integers(2, 90))
    chance = random.Random(draw(st.integers(0, 10**6)))  # noqa: S311
    odd = draw(st.lists(st.text(max_size=40), max_size=8)) + ODD
    people = draw(st.integers(0, count))
    made: dict[tuple[str, str | None], Json] = {}
    for n in range(count):
        types = ("user_id", "email", "phone") if n < people else ("device_id", "anonymous_id")
        value = chance.choice([f"{n:032x}", f"{n}{chance.choice(odd)}", None if n % 7 else "x"])
        one = identifier(chance.choice(types), value)
        made[one["type"], value] = one
    found = list(made.values())
    links = []
    for n, one in enumerate(found[1:], 1):
        other = found[chance.randrange(n)] if chance.random() < 0.7 else found[0]
        links.append(link(one, other, 1_790_000_000 + n * 40_000))
    for _ in range(draw(st.integers(0, 40))):
        refused = chance.choice([None, "limit:user_id", "client_may_not_join_known_users", EVIL])
        outside = chance.random() < 0.1
        one, source = chance.choice(found), chance.choice(["s1", "s2", EVIL])
        said: Json = {"refused": refused, "source": source, "trust": chance.choice(ODD[:3])}
        links.append(link(one, None if outside else chance.choice(found), **said))
    return found, links


@given(profiles())
def test_nothing_covers_anything_however_many_there_are(
    profile: tuple[list[Json], list[Json]],
) -> None:
    identifiers, links = profile
    assert covered(Drawn(picture(identifiers, links))) == []


@pytest.mark.parametrize("count", [2, 12, 90])
@pytest.mark.parametrize("known", [0.0, 0.2, 1.0])
def test_nor_where_everybody_is_linked_to_everybody(count: int, known: float) -> None:
    people = round(count * known)
    made = [identifier("email" if n < people else "device_id", f"{n:036}") for n in range(count)]
    reach = 89 if count < 90 else 5
    links = [link(a, b) for n, a in enumerate(made) for b in made[n + 1 : n + reach]]
    drawn = Drawn(picture(made, [*links, *(link(one, None) for one in made)]))
    assert covered(drawn) == []
    assert sum(line.startswith("with somebody outside") for line in drawn.words()) == count
    assert sum(line.startswith("with ") for line in drawn.words()) == len(links) + count


@pytest.mark.parametrize("what", ["a box", "words", "wide words", "a line", "the page"])
def test_what_covers_something_is_found(what: str) -> None:
    """The measure itself can fail."""
    drawn = Drawn(picture([ANN, MAIL, TABLET], [link(ANN, MAIL), link(ANN, TABLET)]))
    box, words = drawn.rects[-1], drawn.texts[-1]
    if what == "a box":
        drawn.rects.append(replace(box, top=box.top + 30, bottom=box.bottom + 30))
    elif what == "words":
        drawn.texts.append(replace(words, left=words.left + 20, right=words.right + 20))
    elif what == "wide words":
        drawn.texts.append(replace(words, left=box.left + 10, right=box.right + 30))
    elif what == "a line":
        drawn.paths.append(f"M{box.left - 50:.1f} {box.top + 9:.1f}H{box.right:.1f}")
    else:
        drawn.page = replace(drawn.page, right=box.right - 1)
    assert covered(drawn)


def test_lines_beside_a_column_share_a_place_only_where_they_end_at_the_same_box() -> None:
    made = [identifier("email", f"{n}") for n in range(5)]
    links = [link(made[a], made[b]) for a, b in ((0, 3), (1, 4), (1, 2), (0, 4))]

    drawn = Drawn(picture(made, links))

    lines = [re.fullmatch(r"M\S+ (\S+)H(\S+)V(\S+)H\S+", path) for path in drawn.paths]
    beside = [tuple(map(float, found.groups())) for found in lines if found]
    assert len(beside) == len(links)
    for (low, x, port), (other_low, other_x, other_port) in combinations(beside, 2):
        if port != other_port and low > other_port and other_low > port:
            assert x != other_x
    assert len({x for _, x, _ in beside}) == 2


def test_lines_from_one_box_do_not_cross_each_other() -> None:
    devices = [identifier("anonymous_id", f"{n:02}") for n in range(12)]
    links = [link(ANN, one, 1_790_000_000 + n) for n, one in enumerate(devices)]
    links += [link(MAIL, one, 1_790_000_000 - n) for n, one in enumerate(devices)]

    drawn = Drawn(picture([ANN, MAIL, *devices], links))

    for name in ("user_id:ann and", "email:ann@example.com and"):
        lines = [
            [float(number) for number in re.findall(r"[\d.]+", one.attrib["d"])]
            for one in drawn.root.iter(f"{SVG}path")
            if (one.findtext(f"{SVG}title") or "").startswith(name)
        ]
        ends = [end for _, end in sorted((line[1], line[-2]) for line in lines)]
        assert len(ends) == 12
        assert ends == sorted(ends)


def test_each_identifier_and_each_link_is_told() -> None:
    links = [
        link(ANN, TABLET),
        link(ANN, MAIL, rule="consent_names_both", source="s2", trust="server"),
        link(TABLET, None, refused="limit:user_id", trust="verified"),
        link(TABLET, None, 1_790_100_000, refused="limit:user_id", trust="verified"),
        link(MAIL, None),
    ]
    drawn = Drawn(picture([ANN, TABLET, MAIL], links))
    words = drawn.words()

    assert {"ann", "tablet", "ann@example.com", "2026-09-01 to 2026-11-25"} <= set(words)
    for said in (
        ["with user_id:ann", "identify event, 2026-09-21", "web shop (public key, unproven)"],
        ["with user_id:ann", "consent choice, 2026-09-21", "CRM (secret key)"],
        [
            "with somebody outside",
            "refused: too many user_id",
            "identify event, 2026-09-22, 2 times",
        ],
        ["with somebody outside", "taken apart again", "identify event, 2026-09-21"],
    ):
        assert any(words[n : n + len(said)] == said for n in range(len(words)))
    assert "3 identifiers, 2 links, 3 that do not hold, as far as service may know" in words


def test_what_does_not_hold_differs_by_more_than_colour() -> None:
    links = [link(ANN, TABLET), link(MAIL, TABLET, refused="limit:user_id"), link(ANN, None)]
    root = Drawn(picture([ANN, TABLET, MAIL], links)).root
    lines = [one for one in root.iter(f"{SVG}path") if one.find(f"{SVG}title") is not None]
    assert sorted(one.attrib["class"] for one in lines) == ["apart", "apart", "line"]
    style = root.findtext(f"{SVG}style") or ""
    assert ".apart{stroke-dasharray:6 4}" in style
    crosses = [one for one in root.iter(f"{SVG}path") if "cross" in one.attrib["class"]]
    assert len(crosses) == 2, "in the legend, and at the end that is outside"


def test_who_does_not_see_it_is_told_the_same() -> None:
    root = Drawn(picture([ANN, TABLET, MAIL], [link(ANN, TABLET), link(MAIL, None)])).root
    assert root.attrib["role"] == "img"
    ids = root.attrib["aria-labelledby"].split()
    title, desc = (root.find(f"*[@id='{one}']") for one in ids)
    assert title is not None
    assert desc is not None
    assert title.text == "user_id:ann"
    said = "user_id:ann and anonymous_id:tablet, identify event, 2026-09-21, web shop"
    assert said in str(desc.text)
    assert "email:ann@example.com and somebody outside, taken apart again" in str(desc.text)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [drawing.LIGHT, drawing.DARK], ids=["light", "dark"])
def test_everything_stands_out_from_its_ground(colours: dict[str, str]) -> None:
    for words, ground in product(("ink", "dim"), ("ground", "person", "device")):
        assert contrast(colours[words], colours[ground]) >= 4.5
    assert contrast(colours["apart"], colours["ground"]) >= 4.5
    for ground in ("ground", "person", "device"):
        assert contrast(colours["line"], colours[ground]) >= 3


def test_it_is_as_dark_as_its_reader_likes() -> None:
    style = Drawn(picture([ANN], [])).root.findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    for name in drawing.LIGHT:
        assert drawing.LIGHT[name] in light
        assert drawing.DARK[name] in dark


@pytest.mark.parametrize("odd", ODD)
def test_nobodys_words_are_obeyed(odd: str) -> None:
    one, other = identifier("email", odd), identifier(odd, odd)
    links = [link(one, other, source=odd, trust=odd, rule=odd), link(other, None, refused=odd)]
    document = drawing.svg(graph([one, other], links, odd, TYPES, SOURCES), odd, odd)

    assert not OBEYED.search(document.replace("\n", ""))
    drawn = Drawn(document)
    assert covered(drawn) == []
    root = drawn.root
    tags = {one.tag.removeprefix(SVG) for one in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "g", "path", "text"}
    names = {name for one in root.iter() for name in one.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name}
    assert "url(" not in document.lower()
    assert "@import" not in document.lower()
    assert len(document) < 20_000


def test_a_long_value_keeps_both_ends_and_is_told_whole() -> None:
    value = f"begin-{'x' * 60}-end"
    drawn = Drawn(picture([ANN, identifier("email", value)], []))
    (told,) = (words for words in drawn.words() if words.startswith("begin-"))
    assert told.endswith("-end")
    assert "…" in told
    assert f"email:{value}" in {one.text for one in drawn.root.iter(f"{SVG}title")}


def test_the_same_answers_make_the_same_picture_in_any_order() -> None:
    made = [identifier("email" if n % 5 else "device_id", f"{n}") for n in range(30)]
    links = [link(a, b) for a, b in combinations(made[:12], 2)]
    links += [link(one, None, refused="separated") for one in made]
    first = picture(made, links)
    for seed in range(5):
        random.Random(seed).shuffle(made)  # noqa: S311
        random.Random(seed).shuffle(links)  # noqa: S311
        assert picture(made, links) == first


def test_withheld_ones_of_a_type_are_one_and_their_links_are_counted() -> None:
    hidden = identifier("email", None)
    links = [link(ANN, hidden), link(ANN, hidden, 1_790_100_000), link(hidden, hidden)]

    words = Drawn(picture([ANN], links)).words()

    assert words.count("(withheld)") == 1
    assert "identify event, 2026-09-22, 2 times" in words
    assert "Links between withheld identifiers of one type, not drawn: 1" in words


def test_the_api_calls_outsiders_what_we_take_them_for() -> None:
    shop = Shop()
    shop.send(CRM, order("o1", userId="1", anonymousId="a"), order("o2", userId="2"))
    shop.send(CRM, order("o3", userId="2", anonymousId="a"))
    told = shop.view("anonymous_id:a", "privacy_rights").links()
    assert OUTSIDE in {one[side]["type"] for one in told for side in "ab"}


@pytest.mark.parametrize(
    ("rule", "words"),
    [("limit:email", "too many email"), ("limit:profile", "the profile is full"), ("new", "new")],
)
def test_a_rule_is_told_in_a_few_words(rule: str, words: str) -> None:
    assert short(rule) == words


@pytest.mark.parametrize(
    ("text", "wide"), [("abc", 3), ("名前", 4), ("e\u0301", 1), ("👩", 2), ("", 0)]
)
def test_characters_are_as_wide_as_terminals_make_them(text: str, wide: int) -> None:
    assert cells(text) == wide


def test_marks_do_not_pile_up_and_what_nobody_could_see_is_marked() -> None:
    assert legible("e" + "\u0301" * 400 + "n\u0303") == "e\u0301\u0301n\u0303"
    assert legible("a\u200bb\u202ec\ufffed\ne") == "a�b�c�d e"


@given(st.text(), st.integers(2, 30))
def test_what_is_shortened_fits_and_is_nothing_new(text: str, most: int) -> None:
    found = shortened(legible(text), most)
    assert cells(found) <= most
    head, _, tail = found.partition("…")
    assert legible(text).startswith(head)
    assert legible(text).endswith(tail)
    assert found == legible(text) or "…" in found


def in_terminal(identifiers: list[Json], links: list[Json], width: int = 200) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    made = graph(identifiers, links, "user_id:ann", TYPES, SOURCES)
    console.print(evidence.picture(made, "user_id:ann"))
    return [line.strip("│ ") for line in console.export_text().splitlines()]


def test_a_long_chain_does_not_run_out_of_the_terminal() -> None:
    made = [ANN, *(identifier("anonymous_id", f"a{n:02}") for n in range(89))]
    links = [link(a, b) for a, b in pairwise(made)]

    lines = in_terminal(made, links, 100)

    for one in made:
        name = f"{one['type']}:{one['value']}"
        heads = [line.lstrip("│├└─ ").split("   ")[0] for line in lines]
        assert heads.count(name) == 1
    assert max(len(line) - len(line.lstrip("│├└─ ")) for line in lines) <= 4 * evidence.DEEPEST


def test_every_link_is_told_once_in_the_terminal() -> None:
    made = [ANN, MAIL, TABLET, identifier("phone", "+4930")]
    links = [link(a, b) for a, b in combinations(made, 2)]
    text = "\n".join(in_terminal(made, [*links, link(TABLET, None, refused="separated")]))
    assert text.count("identify event") == len(links) + 1
    assert text.count("also with") == 3
    assert text.count("╌╌✕ somebody outside   refused: a person separated them") == 1


@given(profiles())
def test_a_terminal_obeys_nobodys_words(profile: tuple[list[Json], list[Json]]) -> None:
    assert not OBEYED.search("".join(in_terminal(*profile)))
