"""The deployed stack that is measured, on a MiniStack of its own, and its functions in here."""

import io
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any, Self

from candor.policy import Policy
from cli import running
from cli.policy import compile_policy
from cli.screen import Screen
from cli.target import ROOT, Target
from tests.emulators import MiniStack, clients_for
from tests.fakes import FakeClock
from tests.functions import Function

QUIET = Screen(as_json=True)
AS_ON_AWS = {"TAIL": "off", "UNNAMED_EVENTS": "strip", "CONFIGURATION": "prod"}
"""Variables whose local values would make a laptop's logs and times of it."""
SWITCH_SECONDS = 60


class Stack:
    """The template as `make up` deploys it. Ends with the `with` that began it."""

    def __init__(self, home: Path) -> None:
        self._ministack = MiniStack(home)
        self._home = home
        self.said = io.StringIO()
        """All that the functions in this process print."""
        self.clock = FakeClock(time.time())
        """Theirs. It stands still, so that no minute or day ends in the middle of a measurement."""

    def __enter__(self) -> Self:
        self._ministack.start()
        try:
            endpoint = self._ministack.endpoint
            target = Target(self._home / "local", "local", endpoint, ours=False)
            self.facts: dict[str, Any] = running.up(target, QUIET).stack
            self.layer = target.local / f"sam-{target.name}" / "build" / "Layer" / "python"
            os.environ["AWS_ENDPOINT_URL"] = endpoint
            self.client = cache(clients_for(endpoint))
            self.outputs: dict[str, str] = self.facts["outputs"]
        except BaseException:
            self._ministack.kill()
            raise
        # The built layer has the compiled policy beside the module; the source tree has not.
        compiled = json.dumps(compile_policy((ROOT / "policy.yaml").read_text()))
        Policy.load = lambda: Policy.of(json.loads(compiled))  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._ministack.kill()

    def variables(self, name: str) -> dict[str, str]:
        """What a function was deployed with, but as it would be on AWS."""
        deployed = self.client("lambda").get_function_configuration(
            FunctionName=self.outputs[f"{name.capitalize()}Function"]
        )
        return {**deployed["Environment"]["Variables"], **AS_ON_AWS}

    def function(self, name: str, **others: str) -> Function:
        """A deployed function, in this process; `others` are variables of ours."""
        return Function(name, self.variables(name) | others, self.clock, self.said)

    def switch(self, *, on: bool) -> None:
        """Lets the emulator's own functions read the queues and the stream, or not."""
        functions = self.client("lambda")
        mappings = functions.list_event_source_mappings()["EventSourceMappings"]
        wanted = "Enabled" if on else "Disabled"
        for mapping in mappings:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)
        deadline = time.monotonic() + SWITCH_SECONDS
        for mapping in mappings:
            while functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] != wanted:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"a mapping is never {wanted}")
                time.sleep(0.1)
