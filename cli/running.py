"""`candor up`, `down` and `reset`."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import first_keys, policy
from cli.aws import Clients
from cli.deploy import Deployment
from cli.emulator import Emulator, health
from cli.problem import Problem
from cli.screen import Screen
from cli.target import REGION, ROOT, StackFile, Target


@dataclass(frozen=True, slots=True)
class Up:
    stack: dict[str, Any]
    seconds: float
    lost: bool
    """The emulator had been killed, so what it held since its last start is gone."""


def up(target: Target, screen: Screen) -> Up:
    """Starts what does not run, deploys what changed, issues keys, writes stack.json."""
    started = time.monotonic()
    if target.config_env == "prod":
        raise Problem(
            "`candor up` would leave keys of production on this machine.",
            "Deploy it with sam (README, Deploying), then `candor keys create --config-env prod`.",
        )
    # A mistake in it is told at once, and nothing is started for it.
    policy.read(Path(os.path.relpath(ROOT / "policy.yaml")))
    clients = Clients(target.endpoint)
    deployment = Deployment(target, clients)
    lost = False
    if target.ours:
        lost = start_ours(target, deployment, screen)
    elif target.endpoint and health(target.endpoint) is None:
        raise Problem(
            f"No emulator answers at {target.endpoint}.",
            "Start it, or leave ENDPOINT_URL out: then `make up` starts MiniStack by itself.",
        )
    outputs = deployment.ensure(screen)
    file = StackFile(target)
    known = file.read()
    with screen.progress("Issuing the first keys"):
        rows = first_keys.credentials_table(clients, outputs)
        keys = first_keys.ensure(rows, known, time.time())
    stack = {
        "endpoint_url": target.endpoint,
        "api_url": api_url(target, outputs),
        "region": os.environ.get("AWS_REGION", REGION),
        "config_env": target.config_env,
        **keys,
        "outputs": outputs,
    }
    file.write(stack)
    return Up(stack, time.monotonic() - started, lost)


def start_ours(target: Target, deployment: Deployment, screen: Screen) -> bool:
    """Starts the emulator of this folder. Answers whether it had lost something."""
    found = Emulator(target).start(screen)
    if found != "killed":
        return False
    deployment.forget()
    screen.warn(
        "The emulator was killed the last time, so what came in since its last clean start is "
        "lost. Deploying again. (`make down` stops it and keeps everything.)"
    )
    return True


def api_url(target: Target, outputs: dict[str, str]) -> str:
    """What an SDK is given as its host."""
    if target.endpoint is None:
        return outputs["ApiUrl"]
    return f"{target.endpoint}/_aws/execute-api/{outputs['ApiId']}"


def down(target: Target, screen: Screen) -> str:
    """Stops the emulator of this folder. Answers what was found: running, stopped or killed."""
    return ours(target).stop(screen)


def ours(target: Target) -> Emulator:
    """The emulator of this folder. Raises Problem when the target is another."""
    if not target.ours:
        raise Problem(
            f"What runs at {target.endpoint or 'AWS'} was not started here.",
            "Only the emulator that `make up` starts is stopped.",
        )
    return Emulator(target)


def reset(target: Target, screen: Screen) -> None:
    """Stops the emulator of this folder and forgets everything that it held."""
    ours(target).forget(screen)
    own = [f"{kind}-{target.name}" for kind in ("stack", "deployed", "journey", "deploy")]
    current = StackFile(target).is_current()
    for name in [*own, *(["stack"] if current else [])]:
        for path in target.local.glob(f"{name}.*"):
            path.unlink(missing_ok=True)
