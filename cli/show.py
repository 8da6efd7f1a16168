"""How answers of the API look to people."""

import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.style import StyleType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cli.screen import text

OTHER_PURPOSES = "the policy keeps it for "
"""How a reason begins that names an attribute's own purposes, and so differs for each."""

STATE_COLOURS = {
    "granted": "green",
    "denied": "red",
    "unknown": "yellow",
    "completed": "green",
    "running": "cyan",
    "succeeded": "green",
    "pending": "cyan",
    "failed": "red",
    "partial": "red",
    "timed_out": "red",
    "aborted": "red",
}


class Grid(Table):
    """A table of data: each cell is shown as it is."""

    def add_row(self, *cells: object, style: StyleType | None = None, **more: bool) -> None:
        super().add_row(*map(text, cells), style=style, **more)


def grid(*columns: str) -> Grid:
    table = Grid(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def facts() -> Grid:
    """Names and what they stand for, without headings."""
    table = Grid(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def panel(inside: RenderableType, title: str | Text, colour: str = "none") -> Panel:
    # A title that is not a Text would be read as markup, whatever the console says.
    return Panel(inside, title=text(title), title_align="left", border_style=colour)


def when(value: object) -> str:
    """A time of the API (epoch seconds or ISO 8601) in this machine's zone."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, str) and "T" in value:
        try:
            return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M")
        except (ValueError, OverflowError):  # no time, or one too near the calendar's end
            return value
    return "" if value is None else str(value)


def state(word: object) -> Text:
    return text(word, STATE_COLOURS.get(str(word), ""))


def plain(value: object) -> str:
    """A value of a trait or property on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(plain(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def profile(found: Mapping[str, Any], title: str) -> RenderableType:
    """A profile as it was answered: what it holds, and what was withheld."""
    parts: list[RenderableType] = []
    traits = grid("trait", "value")
    for name, value in found.get("traits", {}).items():
        traits.add_row(name, plain(value))
    known = grid("identifier", "value", "first seen", "last seen")
    for one in listed(found.get("identifiers")):
        known.add_row(
            one["type"], str(one["value"]), when(one.get("first_seen")), when(one.get("last_seen"))
        )
    for table in (known, traits):
        if table.row_count:
            parts += [table, ""]
    events = grid("time", "event", "properties", "")
    for one in listed(found.get("events")):
        events.add_row(*event_row(one))
    if events.row_count:
        parts += [events, ""]
    if found.get("consents"):
        parts += [consents(found["consents"]), ""]
    if not (known.row_count or traits.row_count or events.row_count):
        parts += [Text("Nothing may be shown for this purpose.", style="yellow"), ""]
    if found.get("withheld"):
        parts += [withheld(found["withheld"]), ""]
    heading = Text.assemble(text(title), " · for ", text(found.get("purpose", "?"), "bold"))
    return panel(Group(*parts[:-1]), heading, "blue")


def event_row(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    name = str(one.get("event") or one.get("name") or one.get("type") or "")
    properties = textwrap.shorten(plain(one.get("properties") or {}), 70, placeholder=" …")
    flag = "not in policy.yaml" if one.get("unnamed") else ""
    return when(one.get("timestamp") or one.get("time")), name, properties, flag


def listed(value: object) -> list[dict[str, Any]]:
    """The entries of a list answer, `{"data": […]}` or plain."""
    if isinstance(value, Mapping):
        value = value.get("data", [])
    return [dict(each) for each in value] if isinstance(value, list) else []


def consents(found: Mapping[str, Any]) -> Table:
    """Each purpose's state, purposes with the same one on one row."""
    table = grid("purpose", "consent", "because")
    alike: dict[tuple[str, str], list[str]] = {}
    for purpose, one in found.items():
        key = (str(one.get("state")), plain(one.get("because") or ""))
        alike.setdefault(key, []).append(purpose)
    for (word, because), purposes in alike.items():
        table.add_row(", ".join(purposes), state(word), because)
    return table


def withheld(entries: list[dict[str, Any]]) -> Table:
    """What was kept back, entries with the same reason on one row."""
    table = grid("withheld", "because", "what would show it")
    table.columns[0].style = "yellow"
    alike: dict[tuple[str, str], list[str]] = {}
    for one in entries:
        because = plain(one.get("because", ""))
        if because.startswith(OTHER_PURPOSES):
            because = f"the policy keeps these for other purposes than {one.get('purpose')}"
        key = (because, plain(one.get("fix", "")))
        alike.setdefault(key, []).append(str(one.get("name")))
    for (because, fix), names in alike.items():
        table.add_row(", ".join(dict.fromkeys(names)), because, fix)
    return table


def stripped(entries: list[dict[str, Any]]) -> Table:
    """What the answers to a sender said of its events: `stripped` and `notes`."""
    table = grid("sent", "what became of it", "what to do")
    table.columns[0].style = "yellow"
    for one in entries:
        name = ", ".join(names(one)) or plain(one.get("purposes") or one.get("code"))
        table.add_row(str(name), became(one), str(one.get("fix", "")))
    return table


def names(said: dict[str, Any]) -> list[str]:
    """What an entry of `stripped` or `notes` is about."""
    return [said["name"]] if "name" in said else list(said.get("names", ()))


def became(said: dict[str, Any]) -> str:
    """What an entry of `stripped` or `notes` says."""
    return str(said.get("message") or (f"kept {said['kept']}" if "kept" in said else "stripped"))


def why(links: list[dict[str, Any]], root: str, sources: Mapping[str, str]) -> Tree:
    """The evidence as a tree: what was first seen together with what, from `root` on.

    `sources` names those that are known by their id.
    """
    tree = Tree(text(root, "bold"), guide_style="dim")
    names = {root: tree}
    left = [one for one in links if not one.get("refused")]
    while left:
        grown = [one for one in left if end(one, "a") in names or end(one, "b") in names]
        for one in grown or left[:1]:
            left.remove(one)
            near, far = end(one, "a"), end(one, "b")
            if near not in names:
                near, far = (far, near) if far in names else (near, far)
            if near not in names:
                names[near] = tree.add(text(near))
            if far not in names:
                names[far] = names[near].add(
                    Text.assemble(text(far), text(f"   {evidence(one, sources)}", "dim"))
                )
    for one in links:
        if one.get("refused"):
            words = f"{end(one, 'a')} and {end(one, 'b')} stay apart: {plain(one['refused'])}"
            tree.add(text(words, "yellow"))
    return tree


def end(link: Mapping[str, Any], side: str) -> str:
    return f"{link[side]['type']}:{link[side]['value']}"


def evidence(link: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    source = str(link.get("source", "?"))
    sender = f"{sources.get(source, source)} ({link.get('trust', '?')})"
    return ", ".join(filter(None, [str(link.get("rule", "")), sender, when(link.get("time"))]))


def request(found: Mapping[str, Any]) -> RenderableType:
    """A privacy request with its receipts and horizons."""
    receipts = grid("store", "found", "deleted", "left", "because")
    for one in found.get("receipts") or []:
        counts = (one.get(name) for name in ("store", "found", "deleted", "left"))
        row = ["?" if count is None else plain(count) for count in counts]
        receipts.add_row(*row, plain(one.get("because") or ""))
    horizons = grid("unreadable remains", "until")
    for one in found.get("horizons") or []:
        horizons.add_row(plain(one.get("what", "")), when(one.get("until")))
    kind, id_ = text(found.get("type", "")), text(found.get("id", ""), "bold")
    head = Text.assemble(kind, " ", id_, " · ", state(found.get("status", "")))
    if not found.get("id"):
        head = Text("A dry run: nothing was changed.")
    if found.get("due"):
        head.append(text(f" · answer by {when(found['due'])}"))
    if found.get("awaits_approval"):
        head.append(text(" · waits for a second person's approval"))
    if found.get("acts_at"):
        head.append(text(f" · destroys from {when(found['acts_at'])} on"))
    if found.get("ground"):
        head.append(text(f" · {found['ground']}"))
    parts: list[RenderableType] = [head]
    for table in (receipts, horizons):
        if table.row_count:
            parts += ["", table]
    return panel(Group(*parts), "privacy request", "blue")


def certificate(found: Mapping[str, Any], document: Mapping[str, Any], verdict: Text) -> Panel:
    rows = facts()
    for name, value in document.items():
        if name not in {"stores", "destinations", "horizons"}:  # told above, of the request
            rows.add_row(name.replace("_", " "), plain(value))
    rows.add_row("", "")
    rows.add_row("signature", found.get("signature", ""))
    rows.add_row("key", found.get("key_id", ""))
    rows.add_row("checked", verdict)
    return panel(rows, "erasure certificate", "green")
