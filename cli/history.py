"""How proof of consent looks on a terminal: what decided, and whether registers say the same."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from cli.evidence import spoken
from cli.graph import named
from cli.screen import text
from cli.show import grid, listed, panel, withheld

Json = Mapping[str, Any]


def account(found: Json, who: str, names: Mapping[str, str]) -> RenderableType:
    """Why data could be used for a purpose or could not. `names` are those of sources, by id."""
    basis = found.get("basis")
    parts: list[RenderableType] = [
        _verdict("the person", found),
        text(f"Legal basis: {basis}." if basis else "The policy names no such purpose.", "dim"),
    ]
    parts += [_verdict(named(one["identifier"]), one) for one in listed(found.get("devices"))]
    records = grid("", "", "what was said", "what it did")
    for one in listed(found):
        decides = bool(one.get("decides"))
        mark = text("●" if decides else "·", "cyan" if decides else "dim")
        said, whose = spoken(one.get("said"), names), named(one["identifier"])
        records.add_row(mark, whose, said, one.get("because"), style="" if decides else "dim")
    parts += ["", records if records.row_count else text("No record of it was known.", "yellow")]
    if found.get("left_out"):
        parts.append(text(f"Older records, not shown: {found['left_out']}", "dim"))
    if found.get("later"):
        many = f"Records of that time that came only later, and did not count: {found['later']}"
        parts.append(text(many, "yellow"))
    if found.get("withheld"):
        parts += ["", withheld(found["withheld"])]
    title = f"{found.get('about')} for {who}, as of {moment(found.get('at'))}"
    return panel(Group(*parts), title, "blue")


def _verdict(whose: str, one: Json) -> Text:
    allowed = bool(one.get("allowed"))
    word = text("allowed" if allowed else "not allowed", "green" if allowed else "red")
    said = [text(f"{whose}: "), word, text(f", because {one.get('because')}.")]
    if one.get("fix"):
        said.append(text(f" What would change it: {one['fix']}", "dim"))
    return Text.assemble(*said)


def differences(found: Json, who: str) -> RenderableType:
    """What registers said otherwise than their records."""
    shown = listed(found.get("differences"))
    if not shown:
        return text("The registers say what the records say.", "green")
    table = grid("whose", "purpose", "register", "records", "becomes", "because")
    for one in shown:
        whose = named(one["identifier"]) if one.get("identifier") else "the person"
        states = (state(one.get(name)) for name in ("register", "records", "becomes"))
        table.add_row(whose, one.get("purpose"), *states, one.get("because"))
    parts: list[RenderableType] = [table]
    if found.get("withheld"):
        parts += ["", withheld(found["withheld"])]
    done = "a dry run: nothing was changed" if found.get("dry_run") else "rebuilt"
    return panel(Group(*parts), f"consent registers of {who} · {done}", "yellow")


def state(one: object) -> str:
    """What a register holds of a purpose."""
    if not isinstance(one, Mapping):
        return "nothing"
    told = [f"{word} {moment(at)}" for word, at in one.items() if at is not None]
    return ", ".join(told) or "nothing"


def counted(found: Json) -> RenderableType:
    """Many people's registers, in numbers."""
    done = "would change or stay unproven" if found.get("dry_run") else "changed or stay unproven"
    said = f"{found['people']} compared: {found['differences']} entries of {found['differing']}"
    parts = [text(f"{said} {done}.", "yellow" if found["differing"] else "green")]
    if found["unknown"]:
        parts.append(text(f"{found['unknown']} lines name nobody who is here.", "yellow"))
    lines = [str(one["line"]) for one in found["lines"]]
    if lines:
        more = f" and {len(lines) - 20} more" if len(lines) > 20 else ""
        parts.append(text(f"Their lines: {', '.join(lines[:20])}{more}", "dim"))
    return Group(*parts)


def moment(seconds: object) -> str:
    """An auditor's time is UTC, wherever they sit; what is none is shown as it is."""
    if not isinstance(seconds, int):
        return str(seconds)
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
