"""Clients whose calls of AWS fail where a test chooses, and a list of the places where they can.

Each call of AWS that the functions make fails before it is sent, or after it was answered, with the
answer lost. A third way is the client's own: it had no answer, sends the same once more, and AWS
gets it twice.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from moto.core.models import botocore_stubber

from candor import wiring
from candor.stores.clients import client
from tests.recorder import Recorder

How = Literal["before", "after", "twice"]
HOWS: tuple[How, ...] = ("before", "after", "twice")
ERRORS: dict[How, Callable[[str], BaseException]] = {
    "before": lambda call: EndpointConnectionError(endpoint_url=call),
    "after": lambda call: ReadTimeoutError(endpoint_url=call),
}


class Failing:
    """Every client that is made from then on. `recorder.places` has what was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recorder, self._twice = Recorder(), -1
        self.down = ""
        """A place at which every call fails, until it is none."""
        self.client = cache(self._client)
        monkeypatch.setattr(wiring, "client", self.client)

    def fail(self, how: How, place: int) -> None:
        """Fail at this place of those to come, of which none is yet."""
        self._twice = place if how == "twice" else -1
        self.recorder.fail(-1 if how == "twice" else place, ERRORS.get(how, RuntimeError))

    def heal(self) -> list[str]:
        """Fail nowhere any more; returns the places there were."""
        places, self.down = self.recorder.places, ""
        self.fail("before", -1)
        return places

    def _client(self, service: str) -> Any:
        made = client(service)
        for phase in ("before", "after"):
            made.meta.events.register(f"{phase}-call", partial(self._called, phase))
        made.meta.events.register_first("before-send", self._sending)
        return made

    def _called(self, phase: How, model: Any, **_: Any) -> None:
        self.tap(f"{model.service_model.service_name}.{model.name}", phase)

    def tap(self, call: str, phase: How) -> None:
        """A call that may be none of AWS."""
        place = f"{call}:{phase}"
        self.recorder.tap(place)
        if place == self.down:
            raise ERRORS[phase](place)

    def _sending(self, request: Any, event_name: str, **_: Any) -> None:
        if len(self.recorder.places) - 1 == self._twice:
            botocore_stubber(event_name, request)
            request.reset_stream()
