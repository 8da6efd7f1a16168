"""Lambda functions in this process: each a module of its own, with its own variables alone."""

import base64
import importlib.util
import io
import json
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from candor.wiring import Wiring
from tests import lint_template

Json = dict[str, Any]
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)


class Function:
    """One Lambda function: a fresh module, its variables, one environment of it."""

    _one_at_a_time = Lock()
    """Because standard output is one for all."""

    def __init__(
        self, name: str, variables: dict[str, str], clock: Callable[[], float], said: io.StringIO
    ) -> None:
        path = lint_template.ROOT / "functions" / name / f"{name}_function.py"
        spec = importlib.util.spec_from_file_location(f"fresh_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        self.module: Any = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as environment, redirect_stdout(said):
            for variable, value in variables.items():
                environment.setenv(variable, value)
            spec.loader.exec_module(self.module)
        # The environment is shared with all other functions here, and theirs is not.
        self.variables, self._clock, self._said = variables, clock, said
        self.restart()

    def restart(self) -> None:
        """As a new environment: nothing is cached, clients are made anew."""
        self.module.wiring = Wiring(self.variables)
        self.module.wiring.clock = self._clock

    def __call__(self, event: Json) -> Any:
        """As the runtime invokes it: JSON in and out, and a failure's text is logged."""
        with self._one_at_a_time, redirect_stdout(self._said), redirect_stderr(self._said):
            try:
                return json.loads(json.dumps(self.module.handler(as_json(event), CONTEXT)))
            except Exception:
                print(traceback.format_exc())
                raise


def as_json(value: Any) -> Any:
    """As it arrives at a function: bytes of a stream's records are base64."""
    return json.loads(json.dumps(value, default=_encoded))


def _encoded(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
