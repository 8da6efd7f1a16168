"""The graph against the model of its rules, on tables that are real, with calls that fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from candor.ports import Row, Table
from candor.stores.dynamo import DynamoRows
from tests.contract.conftest import Backend, tables
from tests.fakes import FakeClock
from tests.unit.test_identity_model import Identity

SHARE = {"moto": 8}
"""Of the examples that the fake gets, one in so many; of emulators fewer still."""


class TappedRows(DynamoRows):
    """Tells of each call before it is made and after it was answered, as the fake does."""

    tap: Callable[[str, Any], None] | None = None

    def __init__(self, client: Any, names: dict[Table, str], clock: FakeClock) -> None:
        super().__init__(client, names, clock)
        client.meta.events.register("before-call.dynamodb", self._tell)
        client.meta.events.register("after-call.dynamodb", self._tell)

    def _tell(self, **about: Any) -> None:
        if self.tap:
            self.tap("dynamodb", None)

    def held(self, table: Table) -> list[Row]:
        tap, self.tap = self.tap, None
        found = list(self.scan(table, expired=True))
        self.tap = tap
        return found


@pytest.mark.no_fake
def test_the_graph_is_the_model(backend: Backend) -> None:
    make = backend.clients
    assert make is not None
    opened: list[Any] = []

    @contextmanager
    def fresh() -> Iterator[Callable[[FakeClock], Any]]:
        with tables(make("dynamodb"), ("keys", "graph", "events", "counts")) as names:
            yield lambda clock: TappedRows(make("dynamodb"), names, clock)

    class OnTables(Identity):
        def __init__(self) -> None:
            opened.append(fresh())
            super().__init__(opened[-1].__enter__())

        def teardown(self) -> None:
            opened.pop().__exit__(None, None, None)

    usual = settings()
    share = SHARE.get(backend.name, 10)
    few = settings(max_examples=max(3, usual.max_examples // share), stateful_step_count=20)
    run_state_machine_as_test(OnTables, settings=few)
