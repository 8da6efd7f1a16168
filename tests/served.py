"""The functions' own handlers, over stores in memory."""

import importlib
import json
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from candor import credentials, pages
from candor.credentials import Credentials
from candor.transit import Transit
from candor.wiring import Wiring
from cli import docs, openapi
from tests.fakes import FakeObjects, FakeQueue, FakeWorkflow
from tests.worlds import Shop

Json = dict[str, Any]
PURPOSES = ["service", "marketing", "privacy_rights"]


@cache
def _built() -> dict[str, str]:
    text = openapi.OUT.read_text()
    return {"openapi.json": text, "docs.html": docs.page(json.loads(text))}


class Served:
    """A shop behind its handlers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop = Shop()
        self.audit_queue = FakeQueue(fifo=True)
        self.drop_bucket, self.drop_queue = FakeObjects(), FakeQueue()
        self.drop_bucket.modified = self.shop.clock()
        self._monkeypatch = monkeypatch
        # The built layer has these texts beside the modules; the source tree has not.
        monkeypatch.setattr(pages, "built", _built().__getitem__)
        shop = self.shop
        self.wiring = Wiring({})
        self.wiring.clock = shop.clock
        # Each part is a cached property, which gives way to what is there already.
        self.wiring.__dict__.update(
            rows=shop.rows,
            policy=shop.policy,
            vault=shop.world.vault,
            identifiers=shop.world.identifiers,
            world=shop.world,
            transit=Transit(shop.rows, shop.world.vault, shop.clock),
            credentials=Credentials(shop.rows, shop.clock, lambda: shop.world.vault),
            events_queue=shop.queue,
            audit_queue=self.audit_queue,
            drop_bucket=self.drop_bucket,
            drop_queue=self.drop_queue,
            archive=shop.objects,
            checkpoints=FakeObjects(),
            signer=shop.signer,
            workflow=shop.workflow,
            bulk=FakeWorkflow(),
            vacuum=FakeWorkflow(),
            sweeper=shop.sweeper,
            erasure=shop.erasure,
        )

    def issue(self, **spec: Any) -> str:
        return credentials.issue(self.shop.rows, spec, self.shop.clock())[1]

    def write_key(self, trust: str = "server") -> str:
        return self.issue(kind="source", name="shop", source="server", trust=trust)

    def token(self, role: str) -> str:
        return self.issue(kind="token", name="Kim", role=role, purposes=PURPOSES)

    def invoke(self, name: str, event: Json, left: int = 300_000) -> Any:
        """What a function answers to an event, through JSON as Lambda passes both; `left` are the
        milliseconds that it has."""
        module = self._module(name)
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: left)
        return json.loads(json.dumps(module.handler(json.loads(json.dumps(event)), context)))

    def collect(self, body: Json, key: str) -> tuple[int, Json]:
        """What POST /v1/batch answers to a write key."""
        told = self.invoke(
            "collect",
            {
                "resource": "/batch",
                "httpMethod": "POST",
                "headers": {"Authorization": f"Bearer {key}"},
                "body": json.dumps(body),
            },
        )
        return told["statusCode"], json.loads(told["body"])

    def unify(self) -> None:
        """Hand on what collection queued."""
        bodies, self.shop.queue.bodies = self.shop.queue.bodies, []
        first = {"attributes": {"ApproximateReceiveCount": "1"}}
        records = [{"messageId": str(n), "body": body, **first} for n, body in enumerate(bodies)]
        assert self.invoke("unify", {"Records": records}) == {"batchItemFailures": []}

    def _module(self, name: str) -> ModuleType:
        module = importlib.import_module(f"functions.{name}.{name}_function")
        self._monkeypatch.setattr(module, "wiring", self.wiring)
        return module
