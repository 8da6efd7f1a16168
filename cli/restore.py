"""The command `restore replay`."""

import argparse
import json

from cli.aws import AwsError, Clients, explained
from cli.problem import Problem
from cli.screen import Screen
from cli.target import load_stack


def replay(options: argparse.Namespace, screen: Screen) -> int:
    """Erases again who was erased, in slices that the function has time for."""
    stack = load_stack(options.endpoint_url, options.config_env)
    name = str(stack["outputs"]["SweepFunction"])
    clients = Clients(stack.get("endpoint_url"))
    place, requests, again, more = "", 0, 0, True
    with screen.progress("Erasing again who was erased") as progress:
        while more:
            try:
                answered = clients.functions.invoke(
                    FunctionName=name, Payload=json.dumps({"replay": place}).encode()
                )
            except AwsError as error:
                raise explained(error, "The replay") from None
            told = json.loads(answered["Payload"].read())
            if answered.get("FunctionError"):
                fix = "Its log says where. Run the command again: it may be repeated."
                raise Problem("The sweep function failed.", fix)
            place, more = told["after"], told["more"]
            requests, again = requests + told["requests"], again + told["again"]
            progress.tick(f"{requests} requests")
    screen.note(f"{requests} erasures were gone through; {again} of them had come back.")
    screen.answer({"requests": requests, "again": again})
    return 0
