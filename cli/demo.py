"""The command `demo`: the first ten minutes."""

import argparse
import json
import shlex
import time
from typing import Any

from rich.rule import Rule
from rich.text import Text
from rich.tree import Tree

from cli import journey, policy, running, show
from cli.api import Api
from cli.first_keys import source_names
from cli.problem import Problem
from cli.profile import links, read
from cli.screen import Screen, text
from cli.target import ROOT, choose

WITHHELD_FOR = "marketing"


def run(options: argparse.Namespace, screen: Screen) -> int:
    started = time.monotonic()
    target = choose(options.endpoint_url, options.config_env)
    if WITHHELD_FOR not in policy.read(ROOT / "policy.yaml")["purposes"]:
        raise Problem(
            f"policy.yaml has no purpose `{WITHHELD_FOR}`, whose limits the demo shows.",
            "`make up` brings the stack up without the journey.",
        )
    brought = running.up(target, screen)
    screen.note(f"The stack is up, after {brought.seconds:.0f} s")
    api = Api(brought.stack)
    memory = journey.Memory(target)
    person = journey.choose(api, memory.read(), journey.now())
    memory.write(person)

    screen.show("", Rule(f"The journey of {person.name}", align="left"))
    played = []
    with screen.progress("Playing") as progress:
        steps = journey.steps(ROOT / "events" / "journey", person)
        for one in journey.play(api, steps):
            played.append(one)
            progress.tick(one.step.title)
    tell_steps(screen, played)
    with screen.progress("Waiting until everything is unified") as progress:
        profile, missing = journey.await_profile(api, person, steps, progress)
    if profile is None or missing:
        raise Problem(
            "The profile is not complete after a minute"
            + (f": {', '.join(sorted(missing))} is not in it." if profile else ": there is none."),
            "`candor status` shows what waits or failed, `candor tail` what becomes of events.",
        )
    evidence = links(api, person.identifier, "dpo", "privacy_rights")
    for_marketing = read(api, person.identifier, "marketer", WITHHELD_FOR)
    commands = to_paste(brought.stack, person)
    why = show.why(evidence, person.identifier, source_names(brought.stack))
    tell(screen, person, profile, why, for_marketing, played)
    tell_commands(screen, commands)
    seconds = f"{time.monotonic() - started:.0f} s"
    screen.show(text(f"{seconds} altogether. It goes on running; make down stops it.", "dim"))
    screen.answer(
        {
            "success": True,
            "person": person.identifier,
            "profile": profile,
            "links": evidence,
            "withheld_from_marketing": for_marketing.get("withheld", []),
            "stripped": [entry for one in played for entry in one.all("stripped")],
            "commands": commands,
        }
    )
    return 0


def tell_steps(screen: Screen, played: list[journey.Played]) -> None:
    for number, one in enumerate(played, 1):
        screen.show(Text.assemble((f"{number}. ", "bold"), text(one.step.title)))


def tell(
    screen: Screen,
    person: journey.Person,
    profile: dict[str, Any],
    why: Tree,
    for_marketing: dict[str, Any],
    played: list[journey.Played],
) -> None:
    """One profile, why it is one, what was not kept, what marketing does not get to see."""
    screen.show("", show.profile(profile, f"One profile came of it: {person.name}"))
    screen.show(show.panel(why, "Why these are one person"))
    notes = [entry for one in played for kind in ("stripped", "notes") for entry in one.all(kind)]
    if notes:
        screen.show(show.panel(show.stripped(notes), "What policy.yaml does not name"))
    if for_marketing.get("withheld"):
        table = show.withheld(for_marketing["withheld"])
        screen.show(show.panel(table, f"Withheld from {WITHHELD_FOR}, and why"))


def to_paste(stack: dict[str, Any], person: journey.Person) -> list[dict[str, str]]:
    """Five commands for a shell in the repository's folder, each with what it does."""
    event = {
        "userId": person.name,
        "event": "Order Completed",
        "properties": {"order_id": "1002", "total": 35, "currency": "EUR", "gift": True},
    }
    candor = ".venv/bin/candor"
    shown = f"{candor} profile show {person.identifier} --as marketer --purpose {WITHHELD_FOR}"
    choice = f"{candor} consent set {person.identifier} {WITHHELD_FOR}"
    curl = (
        f"curl -sS -w '\\n' {stack['api_url']}/v1/track -u {stack['write_keys']['server']}: "
        f"-H 'content-type: application/json' -d {shlex.quote(json.dumps(event))}"
    )
    return [
        {"does": "Send an event, as any HTTP client would", "command": curl},
        {"does": f"Show the profile to {WITHHELD_FOR}, and what is withheld", "command": shown},
        {"does": "Grant consent, and look again", "command": f"{choice}=granted && {shown}"},
        {"does": "Withdraw it, and look again", "command": f"{choice}=denied && {shown}"},
        {
            "does": "Erase the person, and see the certificate",
            "command": f"{candor} privacy erase {person.identifier}",
        },
    ]


def tell_commands(screen: Screen, commands: list[dict[str, str]]) -> None:
    screen.show("", Rule("Your turn: paste these, in this order", align="left"))
    for number, one in enumerate(commands, 1):
        screen.show("", text(f"# {number}. {one['does']}", "dim"))
        screen.line(one["command"])
    screen.show("")
