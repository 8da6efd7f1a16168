"""The command `identity`: why identifiers are one person's, and what to do where they are not."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from cli import drawing, evidence, first_keys
from cli import graph as graphs
from cli.api import Api, identifier, profile_path
from cli.problem import Problem
from cli.profile import links, unknown_explained
from cli.screen import Screen
from cli.show import listed, withheld
from cli.target import load_stack

Json = dict[str, Any]


def why(options: argparse.Namespace, screen: Screen) -> int:
    a, b = _pair(options)
    api = _api(options)
    path = f"{profile_path(a)}/why"
    with screen.progress("Reading the evidence"), unknown_explained(a):
        query = {"a": a, "b": b}
        found = api.staff(options.role, "GET", path, purpose=options.purpose, query=query)
    screen.show(evidence.chain(found, a, b, first_keys.source_names(api.stack)))
    if found.get("together") and a != b:
        screen.show("If they are not:")
        screen.line(f"  {evidence.again('split', a, b, '--reason', '…', '--dry-run')}")
    screen.answer(found)
    return 0


def split(options: argparse.Namespace, screen: Screen) -> int:
    a, b = _pair(options)
    if options.lift:
        return _lift(options, screen, a, b)
    if not options.reason:
        raise Problem("A separation needs a reason.", "Give it with --reason; it is kept, sealed.")
    api = _api(options)
    with screen.progress("Looking what would become of them"):
        forecast = _unlink(api, options, dry_run=True)
    screen.show(evidence.parts(forecast, a, b))
    if options.dry_run:
        screen.note("A dry run: nothing was changed.")
        screen.answer(forecast)
        return 0
    if not options.yes:
        confirmed = screen.confirmed(
            f"Separate {a} and {b}?", "Look at it with --dry-run, and then give --yes."
        )
        if not confirmed:
            screen.note("Nothing was changed.")
            return 1
    with screen.progress("Separating"):
        found = _unlink(api, options, dry_run=False)
    if found.get("parts") != forecast.get("parts"):
        screen.warn("The profile had changed meanwhile. This is how it was split:")
        screen.show(evidence.parts(found, a, b))
    screen.note(f"Separated. {a} and {b} stay two people, whatever evidence comes, until this:")
    screen.line(f"  {evidence.again('split', a, b, '--lift')}")
    screen.answer(found)
    return 0


def _unlink(api: Api, options: argparse.Namespace, *, dry_run: bool) -> Json:
    body = {**_subject(options.b), "reason": options.reason, "dry_run": dry_run}
    path, purpose = f"{profile_path(options.a)}/unlink", options.purpose
    with unknown_explained(f"{options.a} or for {options.b}"):
        return api.staff(options.role, "POST", path, body, purpose=purpose)


def _lift(options: argparse.Namespace, screen: Screen, a: str, b: str) -> int:
    api = _api(options)
    with screen.progress("Lifting the separation"), unknown_explained(f"{a} or for {b}"):
        path = f"{profile_path(a)}/relink"
        found = api.staff(options.role, "POST", path, _subject(b))
    screen.note(f"Lifted. {a} and {b} are joined when evidence of it comes again, not before.")
    screen.answer(found)
    return 0


def quarantine(options: argparse.Namespace, screen: Screen) -> int:
    if (options.identifier is None) != (options.reason is None):
        raise Problem(
            "An identifier is quarantined for a reason.",
            "Give both, or neither to see what is in quarantine.",
        )
    if options.identifier is None:
        return _list(options, screen)
    identifier(options.identifier)
    api = _api(options)
    path = f"{profile_path(options.identifier)}/quarantine"
    with screen.progress("Putting it into quarantine"), unknown_explained(options.identifier):
        found = api.staff(options.role, "POST", path, {"reason": options.reason})
    screen.note(f"{options.identifier} is with nobody now, and joins nobody, until this:")
    screen.line(f"  {evidence.again('release', options.identifier)}")
    screen.answer(found)
    return 0


def _list(options: argparse.Namespace, screen: Screen) -> int:
    api = _api(options)
    with screen.progress("Looking what is in quarantine"):
        found = api.staff(options.role, "GET", "/quarantine")
    screen.show(evidence.quarantine(listed(found), first_keys.names(api.stack)))
    screen.answer(found)
    return 0


def release(options: argparse.Namespace, screen: Screen) -> int:
    identifier(options.identifier)
    api = _api(options)
    path = f"{profile_path(options.identifier)}/quarantine"
    with screen.progress("Releasing it"), unknown_explained(options.identifier):
        found = api.staff(options.role, "DELETE", path)
    screen.note(f"Released. {options.identifier} joins others again when evidence of it comes.")
    screen.answer(found)
    return 0


def stats(options: argparse.Namespace, screen: Screen) -> int:
    api = _api(options)
    with screen.progress("Counting"):
        counted = listed(api.staff(options.role, "GET", "/outcomes"))
        quarantined = len(listed(api.staff(options.role, "GET", "/quarantine")))
        names = _source_names(api)
    today = int(time.time() // 86_400)
    days = [graphs.day(day * 86_400) for day in range(today - evidence.DAYS + 1, today + 1)]
    found = {"days": days, "refused": evidence.refusals(counted, names, today)}
    screen.show(evidence.stats(found, quarantined))
    screen.answer(found | {"quarantined": quarantined})
    return 0


def picture(options: argparse.Namespace, screen: Screen) -> int:
    asked, role, purpose = options.identifier, options.role, options.purpose
    identifier(asked)
    api = _api(options)
    with screen.progress("Reading the graph"), unknown_explained(asked):
        found = api.staff(role, "GET", f"{profile_path(asked)}/identifiers", purpose=purpose)
        told = links(api, asked, role, purpose)
        types = api.anyone("/policy").get("identifiers", {})
    names = first_keys.source_names(api.stack)
    graph = graphs.graph(listed(found), told, asked, types, names)
    screen.show(evidence.picture(graph, asked))
    if found.get("withheld"):
        screen.show(withheld(found["withheld"]))
    answer: Json = {"identifiers": listed(found), "links": told}
    if options.svg:
        _write(options.svg, drawing.svg(graph, asked, str(found.get("purpose", "?"))))
        screen.note(f"{options.svg} shows it. It holds personal data: delete it when you are done.")
        answer["svg"] = str(options.svg)
    screen.answer(answer)
    return 0


def _write(path: Path, text: str) -> None:
    """A file that its owner alone may read, where it is new. Raises Problem."""
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}.") from None


def _source_names(api: Api) -> dict[str, str]:
    """The names of all sources, where the first admin's token tells them, else of the first ones:
    what is counted here is mostly what somebody has just connected."""
    try:
        keys = listed(api.staff("admin", "GET", "/keys"))
    except Problem:
        return first_keys.source_names(api.stack)
    return {str(one["id"]): str(one["name"]) for one in keys}


def _pair(options: argparse.Namespace) -> tuple[str, str]:
    for one in (options.a, options.b):
        identifier(one)
    return options.a, options.b


def _subject(text: str) -> Json:
    kind, value = identifier(text)
    return {"identifier": {"type": kind, "value": value}}


def _api(options: argparse.Namespace) -> Api:
    return Api(load_stack(options.endpoint_url, options.config_env))
