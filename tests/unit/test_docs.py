"""The page that describes the API to people: all of the document, and fit for any reader."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from candor import pages
from cli import docs, openapi

Json = dict[str, Any]
VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})
HOSTILE = '</code><script>alert("1")</script> & `<b>`'


class Read(HTMLParser):
    """A page as a browser takes it apart. Fails where a tag is not closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append((self._open[-1] if self._open else "", data))

    def texts(self, tag: str) -> list[str]:
        return [text for where, text in self.text if where == tag]

    def of(self, name: str) -> list[str]:
        """The values of an attribute."""
        return [str(attributes[name]) for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def document() -> Json:
    return openapi.document()


@pytest.fixture(scope="module")
def page(document: Json) -> str:
    return docs.page(document)


@pytest.fixture(scope="module")
def read(page: str) -> Read:
    return Read(page)


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb.upper()} {path}", operation


def test_it_lists_every_operation_with_its_words_and_an_example(
    document: Json, page: str, read: Read
) -> None:
    code = set(read.texts("code"))
    for call, operation in operations(document):
        id_ = operation["operationId"]
        assert f'<h3 id="{id_}"><code>{call}</code></h3>' in page
        assert f'<a href="#{id_}"><code>{call}</code></a>' in page
        section = page.partition(f'<section>\n<h3 id="{id_}">')[2].partition("</section>")[0]
        assert operation["summary"] in re.sub(r"</?code>", "`", section)
        assert set(operation["responses"]) <= set(re.findall(r"\b\d{3}\b", section))
        assert docs.curl(document, call, operation) in code


def test_it_names_every_parameter_field_and_code(document: Json, read: Read) -> None:
    code = set(read.texts("code"))
    parts = document["components"]
    own = [one for _, operation in operations(document) for one in operation.get("parameters", [])]
    named = [one for one in [*own, *parts["parameters"].values()] if "name" in one]
    assert {one["name"] for one in named} <= code
    fields = [field for one in parts["schemas"].values() for field in one.get("properties", {})]
    assert set(fields) <= code
    failures = [one["content"]["application/json"]["schema"] for one in parts["responses"].values()]
    assert {code for one in failures for code in one["properties"]["code"]["enum"]} <= code


def test_it_runs_and_loads_nothing(read: Read) -> None:
    assert not {"script", "iframe", "img", "link", "object"} & {tag for tag, _ in read.tags}
    names = {name for _, attributes in read.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in {"src", "style"}]
    assert {link for link in read.of("href") if not link.startswith("#")} == {"openapi.json"}
    (style,) = read.texts("style")
    assert not re.search(r"url\(|@import", style)


def test_its_links_lead_somewhere(read: Read) -> None:
    ids = read.of("id")
    assert len(set(ids)) == len(ids)
    assert {link[1:] for link in read.of("href") if link.startswith("#")} <= set(ids)


def test_it_can_be_read_on_a_phone_in_the_dark_and_by_a_screen_reader(read: Read) -> None:
    tags = [tag for tag, _ in read.tags]
    assert ("html", {"lang": "en"}) in read.tags
    assert any("width=device-width" in content for content in read.of("content"))
    (style,) = read.texts("style")
    assert "prefers-color-scheme: dark" in style
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert tags.count("main") == tags.count("nav") == 1
    assert tags.count("caption") == tags.count("table")
    assert all("scope" in attributes for tag, attributes in read.tags if tag == "th")
    # What can be scrolled sideways can be reached with the keyboard.
    scrolled = [a for tag, a in read.tags if tag == "pre" or a.get("class") == "wide"]
    assert all(attributes.get("tabindex") == "0" for attributes in scrolled)


def test_a_browser_may_do_nothing_with_it_but_show_it(page: str, read: Read) -> None:
    headers = pages.headers(page)
    (style,) = read.texts("style")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(one.split(" ", 1) for one in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("style-src") == f"'sha256-{digest}'"
    assert set(policy.values()) == {"'none'"}
    assert {"default-src", "frame-ancestors", "base-uri", "form-action"} <= policy.keys()


def test_what_the_document_says_is_text_and_never_markup() -> None:
    text = json.dumps(openapi.document())
    for word in ("Take events, and tell", "Segment.io", "userId", "user_id:42"):
        text = text.replace(word, json.dumps(HOSTILE)[1:-1])
    read = Read(docs.page(json.loads(text)))
    assert "script" not in {tag for tag, _ in read.tags}
    assert 'alert("1")' in "".join(read.texts("code"))
