"""The page for the people it concerns: valid, accessible, complete, and safe."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candor import notice, pages
from candor.policy import Policy
from candor.web import prefers_html
from tests.served import Served
from tests.worlds import SHIPPED, policy

Json = dict[str, Any]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
EVIL = (
    "</title></style><script>alert(1)</script><img src=x onerror='a' \"b\"> & &lt; "
    "\x00\x85\ud800\uffff"
)


def parsed(html: str) -> Element:
    """The document. A strict parser: every error that the HTML standard names is one here."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    document: Element = parser.parse(html)
    return document


def page(rules: Policy = SHIPPED) -> Element:
    return parsed(notice.page(rules.document))


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def marked(document: Element, kind: str) -> dict[str, Element]:
    found = document.iterfind(f".//*[@data-{kind}]")
    return {element.attrib[f"data-{kind}"]: element for element in found}


def everything(document: Element) -> list[Element]:
    return list(document.iter())


# Valid and accessible


def test_it_is_valid_html() -> None:
    html = notice.page(SHIPPED.document)

    assert html.startswith("<!DOCTYPE html>\n")
    assert page().tag == "html"
    for wrong in ("<p>", "</section>", "<b><i></b></i>", "&nosuch;"):
        with pytest.raises(html5lib.html5parser.ParseError):
            parsed(html.replace("</main>", f"<table>{wrong}</main>"))


def test_it_says_its_language_its_encoding_its_title_and_that_phones_need_not_zoom() -> None:
    document = page()

    assert document.attrib["lang"] == pages.headers("")["Content-Language"] == "en"
    assert document.find("head/meta[@charset='utf-8']") is not None
    viewport = document.find("head/meta[@name='viewport']")
    assert viewport is not None
    assert viewport.attrib["content"] == "width=device-width, initial-scale=1"
    title, heading = document.find("head/title"), document.find(".//h1")
    assert title is not None
    assert heading is not None
    assert words(title) == words(heading) == "What Example Shop keeps about you, and why"


def test_its_headings_are_in_order_and_none_is_empty() -> None:
    headings = [one for one in everything(page()) if re.fullmatch("h[1-6]", one.tag)]
    levels = [int(one.tag[1]) for one in headings]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert all(words(one) for one in headings)


def test_it_has_one_of_each_landmark_and_every_section_has_a_name() -> None:
    document = page()
    ids = {one.attrib["id"]: one for one in everything(document) if "id" in one.attrib}

    for landmark in ("header", "nav", "main", "footer"):
        assert len(list(document.iter(landmark))) == 1
    for section in document.iter("section"):
        assert ids[section.attrib["aria-labelledby"]].tag == "h2"
    for named in document.iterfind(".//*[@role='region']"):
        assert named.attrib["aria-label"]
        assert named.attrib["tabindex"] == "0", "what scrolls must scroll by keyboard too"


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    document = page()
    ids = [one.attrib["id"] for one in everything(document) if "id" in one.attrib]
    links = [one.attrib["href"] for one in document.iter("a")]

    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert {link for link in links if not link.startswith("#")} == {"mailto:privacy@example.com"}
    assert all(words(one) for one in document.iter("a"))


def test_tables_have_captions_and_their_heads_say_what_they_head() -> None:
    tables = list(page().iter("table"))

    assert len(tables) == 5
    for table in tables:
        assert words(table[0])
        assert table[0].tag == "caption"
        head, body = table.find("thead/tr"), table.find("tbody")
        assert head is not None
        assert body is not None
        assert {cell.attrib.get("scope") for cell in head} == {"col"}
        for row in body:
            assert len(row) == len(head)
            assert [cell.attrib.get("scope") for cell in row] == ["row"] + [None] * (len(row) - 1)
            assert all(words(cell) for cell in row)


def test_it_takes_nothing_from_elsewhere_and_runs_nothing() -> None:
    html = notice.page(SHIPPED.document)
    document = page()

    assert not re.search(r"url\(|@import|https?://", html)
    for tag in ("script", "img", "iframe", "link", "form", "object", "svg"):
        assert list(document.iter(tag)) == []
    for element in everything(document):
        assert not {"style", "src"} & element.attrib.keys()
        assert not any(name.startswith("on") for name in element.attrib)
    allowed = pages.headers(notice.page(SHIPPED.document))["Content-Security-Policy"]
    assert "default-src 'none'" in allowed
    assert "unsafe" not in allowed
    (style,) = document.iter("style")
    digest = hashlib.sha256((style.text or "").encode()).digest()
    assert f"style-src 'sha256-{base64.b64encode(digest).decode()}'" in allowed


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_its_colours_can_be_told_apart_by_day_and_by_night() -> None:
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root {([^}]*)}", notice.STYLE)
    ]

    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "soft", "link"):
            for ground in ("paper", "shade"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
        assert contrast(theme["line"], theme["paper"]) >= 3


def test_nothing_has_a_fixed_width_wider_than_a_phone() -> None:
    assert not re.findall(r"(?:min-width|[^-]width): *[\d.]+(?:px|rem|em)", notice.STYLE)
    assert "overflow-wrap: anywhere" in notice.STYLE
    assert not re.search(r"font[^;}]*\d(?:px|pt)", notice.STYLE), "text grows with the reader's"


# Complete


def test_every_purpose_says_what_it_rests_on_and_whether_one_can_say_no() -> None:
    document = page()
    headings = marked(document, "purpose")
    text = words(document)

    assert set(headings) == set(SHIPPED.purposes)
    for name, purpose in SHIPPED.purposes.items():
        basis, can_refuse, _ = notice.BASES[purpose.basis]
        assert f"{words(headings[name])} {purpose.description}" in text
        assert basis in text
        assert can_refuse in text


@pytest.mark.parametrize("kind", ["trait", "event", "identifier"])
def test_everything_that_is_kept_is_there_with_why_and_how_long(kind: str) -> None:
    rows = marked(page(), kind)
    entries = SHIPPED.document[f"{kind}s"]

    assert set(rows) == set(entries)
    for name, entry in entries.items():
        said = words(rows[name])
        for purpose in entry["purposes"]:
            assert notice.label(purpose) in said
        if kind != "identifier":
            assert said.endswith(notice.duration(SHIPPED.retention[entry["retention"]]))
        for part in entry.get("properties", []):
            assert notice.label(part).lower() in said
        if entry.get("verify_within"):
            assert f"out of date {notice.duration(entry['verify_within'])} after" in said


def test_records_categories_sources_rights_version_and_contact_are_there() -> None:
    document = page()
    text = words(document)

    assert set(marked(document, "record")) == set(SHIPPED.records)
    assert set(marked(document, "category")) == set(SHIPPED.document["consent_categories"])
    for kind in SHIPPED.source_priority:
        assert notice.SOURCES[kind][1:] in text
    for right in ("Article 15", "Article 16", "Article 17", "Article 18", "Article 20"):
        assert right in text
    assert "Article 21" in text
    assert "Article 77" in text
    assert SHIPPED.hash in text
    assert "privacy@example.com" in text
    assert f"Last changed on {SHIPPED.document['changed']}" in text


@pytest.mark.parametrize(
    ("change", "there", "not_there"),
    [
        ({"ip": "truncate"}, "Your network address: cut short", "in full"),
        ({"ip": "keep"}, "Your network address: in full", "cut short"),
        ({"ip": "drop"}, "Your browser or app", "Your network address"),
        ({"user_agent": "keep"}, "Your browser or app: in full", "main version"),
        ({"user_agent": "drop"}, "Your network address", "Your browser or app"),
    ],
)
def test_the_device_is_told_as_it_is_minimised(
    change: dict[str, str], there: str, not_there: str
) -> None:
    section = page(policy(lambda p: p["minimise"].update(change))).find(".//*[@id='device']")

    assert section is not None
    assert there in words(section)
    assert not_there not in words(section)


def test_who_can_object_is_told() -> None:
    rules = policy(lambda p: p["purposes"]["marketing"].update(basis="legitimate_interest"))

    text = words(page(rules))
    assert "You can object to: marketing." in text
    assert notice.BASES["legitimate_interest"][1] in text


def test_a_special_category_is_told() -> None:
    assert "Article 9" not in words(page())
    rules = policy(lambda p: p["traits"]["gender"].update(sensitivity="special"))
    assert "Article 9" in words(marked(page(rules), "trait")["gender"])


MAIL: Json = {
    "name": "Example Mail, which sends our newsletters",
    "url": "https://mail.example.com/",
    "knows": ["email", "user_id"],
    "tell": ["erasure"],
    "answer_within_hours": 72,
}


def test_who_else_gets_data_is_told_where_somebody_does() -> None:
    assert "Whom we give it to" not in words(page())
    document = page(policy(lambda p: p["destinations"].update(mail=MAIL)))
    assert "Whom we give it to" in words(document)
    row = words(marked(document, "destination")["mail"])
    assert MAIL["name"] in row
    assert "Your email address" in row
    assert "The id of your account with us" in row


# Safe

TEXTS: dict[str, Callable[[Json, str], object]] = {
    "organization": lambda p, text: p.update(organization=text),
    "contact": lambda p, text: p.update(contact=text),
    "description": lambda p, text: p["purposes"]["service"].update(description=text),
    "purpose": lambda p, text: p["purposes"].update({text: p["purposes"]["analytics"]}),
    "category": lambda p, text: p["consent_categories"].update({text: ["analytics"]}),
    "trait": lambda p, text: p["traits"].update({text: p["traits"]["name"]}),
    "event": lambda p, text: p["events"].update({text: p["events"]["page"]}),
    "property": lambda p, text: p["events"]["page"]["properties"].append(text),
    "identifier": lambda p, text: p["identifiers"].update({text: p["identifiers"]["email"]}),
    "record": lambda p, text: p["records"].update({text: 30}),
    "context": lambda p, text: p["context"]["keep"].append(text),
    "destination": lambda p, text: p["destinations"].update({text: MAIL | {"name": text}}),
}


@pytest.mark.parametrize("where", TEXTS)
def test_whatever_stands_in_the_policy_is_text_on_the_page(where: str) -> None:
    plain = len(everything(page(policy(lambda p: TEXTS[where](p, "Plain")))))

    document = page(policy(lambda p: TEXTS[where](p, EVIL)))

    assert list(document.iter("script")) == []
    links = -1 if where == "contact" else 0  # which was an address that could be clicked
    assert len(everything(document)) in (plain, plain + links)
    assert "alert(1)" in words(document).lower()


@given(st.sampled_from(sorted(TEXTS)), st.text(max_size=60))
def test_no_text_breaks_the_page(where: str, text: str) -> None:
    page(policy(lambda p: TEXTS[where](p, text)))


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("privacy@example.com", "mailto:privacy@example.com"),
        ("https://example.com/privacy", "https://example.com/privacy"),
        ("javascript:alert(1)", None),
        ("mailto:a@b.c?bcc=d@e.f", None),
        ("Example Shop, 1 Main Street", None),
    ],
)
def test_only_an_address_that_is_one_becomes_a_link(contact: str, link: str | None) -> None:
    document = page(policy(lambda p: p.update(contact=contact)))

    links = {one.attrib["href"] for one in document.iter("a") if one.attrib["href"][0] != "#"}
    assert links == ({link} if link else set())
    assert contact in words(document)


# Served


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    return Served(monkeypatch)


def get(served: Served, **headers: str) -> Json:
    event = {"httpMethod": "GET", "resource": "/policy", "headers": headers}
    answer: Json = served.invoke("api", event)
    return answer


def test_anybody_gets_the_policy_that_is_in_force(served: Served) -> None:
    answer = get(served)

    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "application/json"
    assert Policy.of(json.loads(answer["body"])) == SHIPPED
    assert served.audit_queue.bodies == []


def test_a_browser_gets_the_page(served: Served) -> None:
    answer = get(served, Accept=BROWSER)

    assert answer["body"] == notice.page(SHIPPED.document)
    assert pages.headers(answer["body"]).items() <= answer["headers"].items()
    assert answer["headers"]["Vary"] == "Accept"
    assert "public" in answer["headers"]["Cache-Control"]


@pytest.mark.parametrize("accept", ["application/json", BROWSER])
def test_who_has_it_is_not_sent_it_again(served: Served, accept: str) -> None:
    first = get(served, Accept=accept)
    tag = first["headers"]["ETag"]
    assert SHIPPED.hash in tag

    again = get(served, Accept=accept, **{"If-None-Match": f'"x", W/{tag}'})
    assert (again["statusCode"], again["body"]) == (304, "")
    assert again["headers"]["ETag"] == tag
    other = get(served, Accept=accept, **{"If-None-Match": '"x"'})
    assert (other["statusCode"], other["body"]) == (200, first["body"])


def test_the_two_forms_have_two_tags_and_a_change_has_another(served: Served) -> None:
    tags = {get(served, Accept=accept)["headers"]["ETag"] for accept in ("*/*", BROWSER)}
    served.wiring.__dict__["policy"] = policy(lambda p: p.update(hash="0" * 16))
    tags |= {get(served, Accept=accept)["headers"]["ETag"] for accept in ("*/*", BROWSER)}

    assert len(tags) == 4


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("TEXT/HTML", True),
        (BROWSER, True),
        ("text/*", True),
        ("text/html;q=0.5, application/json", False),
        ("text/html, application/json", False),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("text/html; charset=utf-8 ;q=0.7,*/*;q=0.1", True),
        (";;;,,q=", False),
    ],
)
def test_html_goes_to_who_prefers_it(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html


@given(st.text())
def test_no_accept_header_is_a_crash(accept: str) -> None:
    prefers_html(accept)
