"""The commands `keys create`, `keys list` and `keys revoke`."""

import argparse
import time
from typing import Any

from rich.text import Text

from cli import first_keys
from cli.api import Api, segment
from cli.aws import Clients
from cli.deploy import Deployment, outputs_of
from cli.problem import Problem
from cli.running import api_url as api_url_of
from cli.screen import Screen, text
from cli.show import grid, when
from cli.target import ROOT, StackFile, choose, load_stack


def spec_of(options: argparse.Namespace) -> dict[str, Any]:
    """The body of POST /v1/keys that the options mean. Raises Problem."""
    if options.source:
        if options.purposes:
            raise Problem("--purposes goes with --role: sources only send.")
        trust = options.trust or ("client" if options.source in {"website", "app"} else "server")
        mapping = {"mapping": options.mapping} if options.mapping else {}
        names = {"kind": "source", "name": options.name, "source": options.source}
        return {**names, "trust": trust, **mapping}
    if options.trust or options.mapping:
        raise Problem("--trust and --mapping go with --source.")
    purposes = [each.strip() for each in options.purposes.split(",") if each.strip()]
    return {"kind": "token", "name": options.name, "role": options.role, "purposes": purposes}


def create(options: argparse.Namespace, screen: Screen) -> int:
    spec = spec_of(options)
    if options.config_env != "local" and not _admin_known(options):
        made, api_url = _create_directly(options, spec)
    else:
        stack = load_stack(options.endpoint_url, options.config_env)
        made, api_url = Api(stack).staff("admin", "POST", "/keys", spec), stack["api_url"]
    screen.note(f"{spec['kind']} key {made['id']} for {spec['name']}; it is not shown again:")
    screen.line(str(made["key"]))
    if made.get("mapping"):
        made["address"] = f"{api_url}/v1/webhooks/{made['key']}"
        screen.note("The address for the webhook's sender; `candor keys secret` comes next:")
        screen.line(made["address"])
    screen.answer(made)
    return 0


def list(options: argparse.Namespace, screen: Screen) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff("admin", "GET", "/keys")
    table = grid("for", "may read for", "created", "id")
    for column in table.columns[1:]:
        column.no_wrap = True  # the rest of 80 columns is the first one's
    for one in found.get("data", []):
        what = one.get("role") or f"{one.get('source')} ({one.get('trust')})"
        table.add_row(
            f"{one.get('name', '')}: {what}",
            Text("\n").join(map(text, one.get("purposes") or [])),
            "revoked" if one.get("revoked") else when(one.get("created"))[:10],
            one["id"],
            style="dim strike" if one.get("revoked") else "",
        )
    screen.show(table)
    screen.answer(found)
    return 0


def secret(options: argparse.Namespace, screen: Screen) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    body = {"secret": options.value} if options.value else {}
    made = api.staff("admin", "POST", f"/keys/{segment(options.id)}/secret", body)
    screen.note("The secret that the source shares with Candor; it is not shown again:")
    screen.line(str(made["secret"]))
    if "verify_token" in made:
        screen.note("The verify token that a webhook's sender asks for:")
        screen.line(str(made["verify_token"]))
    screen.answer(made)
    return 0


def revoke(options: argparse.Namespace, screen: Screen) -> int:
    api = Api(load_stack(options.endpoint_url, options.config_env))
    found = api.staff("admin", "DELETE", f"/keys/{segment(options.id)}")
    screen.note("Revoked. Functions that have it cached refuse it within a minute.")
    screen.show(text("`make up` issues the first keys anew if it was one of them.", "dim"))
    screen.answer(found)
    return 0


def _admin_known(options: argparse.Namespace) -> bool:
    stack = StackFile(choose(None, options.config_env)).read() or {}
    return bool(stack.get("tokens", {}).get("admin"))


def _check(spec: dict[str, Any]) -> None:
    """As the API does. Raises Problem."""
    from candor import credentials
    from candor.errors import Refused
    from candor.policy import Policy
    from cli import policy

    try:
        credentials.check(spec, Policy.of(policy.read(ROOT / "policy.yaml")))
    except Refused as refused:
        raise Problem(str(refused)) from None


def _create_directly(
    options: argparse.Namespace, spec: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The first key of a stack in AWS: into the table, by the caller's own permissions there.

    And the API's URL.
    """
    _check(spec)
    target = choose(None, options.config_env)
    clients = Clients(None)
    stack = Deployment(target, clients).describe()
    if stack is None:
        raise Problem("This stack is not deployed.", f"sam deploy --config-env {target.config_env}")
    outputs = outputs_of(stack)
    rows = first_keys.credentials_table(clients, outputs)
    id_, key = first_keys.issue(rows, spec, time.time())
    return {"id": id_, **spec, "key": key}, api_url_of(target, outputs)
