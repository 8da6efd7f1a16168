"""The one place that builds everything. Each part is made when it is first used, once a process."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import get_args

from candor.credentials import Credentials
from candor.destinations import Send
from candor.identifiers import Identifiers
from candor.policy import Destination, Policy
from candor.ports import Table
from candor.requests import Erasure
from candor.sealing import Vault
from candor.stores import https
from candor.stores.clients import client
from candor.stores.dynamo import DynamoRows
from candor.stores.functions import LambdaSweeper
from candor.stores.kms import KmsSigner
from candor.stores.s3 import S3Objects
from candor.stores.secrets import load_hmac, load_masters
from candor.stores.sqs import SqsQueue
from candor.stores.stepfunctions import StepFunctionsWorkflow
from candor.transit import Transit
from candor.world import World

TABLES: tuple[Table, ...] = get_args(Table)


class Wiring:
    """Built from the variables that the template gives each function, and no more than it uses."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self.clock = time.time

    @property
    def tail(self) -> bool:
        """Whether each event's outcome is logged by itself (local only)."""
        return self._environ.get("TAIL") == "on"

    @property
    def local(self) -> bool:
        """Whether this runs on an emulator."""
        return self._environ.get("CONFIGURATION") == "local"

    @property
    def keep_unnamed(self) -> bool:
        return self._environ.get("UNNAMED_EVENTS") == "keep"

    @cached_property
    def policy(self) -> Policy:
        policy = Policy.load()
        given = self._local_destinations
        if not given:
            return policy
        there = {name: Destination.of(rule) for name, rule in json.loads(given).items()}
        return replace(policy, destinations=there)

    @property
    def _local_destinations(self) -> str:
        """Destinations on this machine, in the compiled policy's form, instead of the policy's."""
        return self._environ.get("LOCAL_DESTINATIONS", "") if self.local else ""

    @property
    def send(self) -> Send:
        return partial(https.post, loopback=bool(self._local_destinations))

    @cached_property
    def rows(self) -> DynamoRows:
        names = {table: self._environ.get(f"{table.upper()}_TABLE") for table in TABLES}
        granted = {table: name for table, name in names.items() if name}
        return DynamoRows(client("dynamodb"), granted, self.clock)

    @cached_property
    def vault(self) -> Vault:
        masters = load_masters(client("secretsmanager"), self._environ["MASTER_SECRET_ARN"])
        return Vault({int(version): text for version, text in masters.items()})

    @cached_property
    def identifiers(self) -> Identifiers:
        secret = load_hmac(client("secretsmanager"), self._environ["HMAC_SECRET_ARN"])
        return Identifiers(self.policy, secret)

    @cached_property
    def world(self) -> World:
        return World(self.rows, self.vault, self.identifiers, self.policy, self.clock)

    @cached_property
    def transit(self) -> Transit:
        return Transit(self.rows, self.vault, self.clock)

    @cached_property
    def credentials(self) -> Credentials:
        return Credentials(self.rows, self.clock, lambda: self.vault)

    @cached_property
    def events_queue(self) -> SqsQueue:
        return SqsQueue(client("sqs"), self._environ["EVENTS_QUEUE_URL"])

    @cached_property
    def audit_queue(self) -> SqsQueue:
        return SqsQueue(client("sqs"), self._environ["AUDIT_QUEUE_URL"])

    @cached_property
    def archive(self) -> S3Objects:
        return S3Objects(client("s3"), self._environ["ARCHIVE_BUCKET"])

    @cached_property
    def drop_bucket(self) -> S3Objects:
        return S3Objects(client("s3"), self._environ["DROP_BUCKET"])

    @cached_property
    def drop_queue(self) -> SqsQueue:
        return SqsQueue(client("sqs"), self._environ["DROP_QUEUE_URL"])

    @cached_property
    def checkpoints(self) -> S3Objects:
        return S3Objects(client("s3"), self._environ["AUDIT_BUCKET"])

    @cached_property
    def signer(self) -> KmsSigner:
        return KmsSigner(client("kms"), self._environ["SIGNING_KEY_ARN"])

    @cached_property
    def workflow(self) -> StepFunctionsWorkflow:
        return StepFunctionsWorkflow(client("stepfunctions"), self._environ["ERASURE_MACHINE_ARN"])

    @cached_property
    def vacuum(self) -> StepFunctionsWorkflow:
        return StepFunctionsWorkflow(client("stepfunctions"), self._environ["VACUUM_MACHINE_ARN"])

    @cached_property
    def bulk(self) -> StepFunctionsWorkflow:
        return StepFunctionsWorkflow(client("stepfunctions"), self._environ["BULK_MACHINE_ARN"])

    @cached_property
    def sweeper(self) -> LambdaSweeper:
        return LambdaSweeper(client("lambda"), self._environ["SWEEP_FUNCTION"])

    @cached_property
    def erasure(self) -> Erasure:
        """For the functions that ask for an erasure, do it, or take it up again."""
        environ = self._environ
        urls = [environ[n] for n in ("EVENTS_QUEUE_URL", "EVENTS_DLQ_URL") if n in environ]
        return Erasure(
            rows=self.rows,
            policy=self.policy,
            clock=self.clock,
            objects=self.archive,
            queues=tuple(SqsQueue(client("sqs"), url) for url in urls),
            recovery_days=int(environ.get("RECOVERY_DAYS", "1")),
            vault=lambda: self.vault,
        )
