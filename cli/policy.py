"""`policy.yaml`: its model, its checks, and its compiled form that functions read.

Run at build as `python -m cli.policy compile policy.yaml OUT.json`; it needs pydantic and PyYAML.
"""

import hashlib
import json
import re
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from candor import addresses, webhooks
from candor.conversion import Conversion, Target
from candor.imports import Layout
from candor.spelling import Normaliser
from cli import contradictions, explanations, places
from cli.places import Mistake, Written
from cli.problem import Problem

Kind = Literal["server", "crm", "webhook", "app", "website"]
MOST_DESTINATIONS = 50
"""Each has a receipt in every erasure, and its name stands in the execution."""
KINDS: tuple[Kind, ...] = ("server", "crm", "webhook", "app", "website")


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as mistake:
        raise ValueError(f"not a regular expression: {mistake}") from None
    return text


def _flat(names: Any) -> Any:
    """A list inside a list counts as what is in it, so that lists can share names."""
    if not isinstance(names, list):
        return names
    return [name for one in names for name in (_flat(one) if isinstance(one, list) else [one])]


def _target(text: str) -> str:
    Target.of(text)
    return text


def _path(text: str) -> str:
    webhooks.Path.of(text)
    return text


def _plain(value: Any) -> Any:
    if not isinstance(value, str | int | bool):
        wanted = "it should be text, a whole number, true or false"
        raise ValueError(f"{wanted}, and is {explanations.shown(value)}")
    return value


Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]
Pattern = Annotated[str, AfterValidator(_regular_expression)]
Goal = Annotated[str, AfterValidator(_target)]
Plain = Annotated[Any, AfterValidator(_plain)]
Where = Annotated[str, AfterValidator(_path)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Purpose(Strict):
    basis: Literal["consent", "contract", "legal_obligation", "legitimate_interest"]
    description: str = Field(min_length=10)
    sees_everything: bool = False


class Attribute(Strict):
    """What every stored attribute says of itself: why, how sensitive, until when, how it goes."""

    purposes: list[str] = Field(min_length=1)
    sensitivity: Literal["personal", "special", "none"]
    retention: str
    erasure: Literal["shred"]


class Trait(Attribute):
    verify_within: Days | None = None


class Event(Attribute):
    properties: Annotated[list[str], BeforeValidator(_flat)]


class IdentifierRule(Attribute):
    priority: int = Field(ge=1)
    limit: int = Field(ge=1, le=90)
    shared_after: int = Field(default=10, ge=1, le=10_000)
    known: bool
    normaliser: Normaliser = "trim"
    region: str | None = None
    needs_proof: bool = False
    never: list[Pattern] = []
    sources: list[str] = Field(default=[], alias="from")


class Records(Strict):
    identifier: Days
    link: Days
    consent: Days
    request: Days
    audit: Days


class Sources(Strict):
    priority: list[Kind] = list(KINDS)


class Minimise(Strict):
    ip: Literal["truncate", "drop", "keep"] = "truncate"
    user_agent: Literal["family", "drop", "keep"] = "family"


class Context(Strict):
    keep: list[str]
    use: list[str]
    drop: list[str]


class Mapped(Strict):
    """How named values become an event (`candor.conversion`)."""

    type: Literal["identify", "track"] = "identify"
    event: str | None = None
    map: dict[Annotated[str, Field(min_length=1)], Goal] = Field(min_length=1)

    @model_validator(mode="after")
    def can_be_converted(self) -> Self:
        if (self.type == "track") != (self.event is not None):
            raise ValueError("`event` goes with type: track")
        Conversion.of(self.model_dump())
        return self


class Import(Mapped):
    """How a CSV file is read (`candor.imports`)."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str = "utf-8"

    @model_validator(mode="after")
    def can_be_read(self) -> Self:
        Layout.of(self.model_dump())
        targets = map(Target.of, self.map.values())
        if self.type == "track" and ("timestamp",) not in {target.path for target in targets}:
            raise ValueError("map: no column goes to `timestamp`, and an event says when it was")
        return self


class Fields(Strict):
    """A list of pairs that is read as one object: where it lies, and in each pair what."""

    path: Where
    name: Where
    value: Where


class Webhook(Mapped):
    """How the body of a signed webhook is read (`candor.webhooks`)."""

    each: Where
    where: dict[Where, Plain] = {}
    id: Where
    time: Where
    fields: Fields | None = None
    max_age_hours: int = Field(default=36, ge=1, le=168)

    @model_validator(mode="after")
    def can_be_found(self) -> Self:
        webhooks.Form.of(self.model_dump())
        return self


class Destination(Strict):
    """Somebody else who gets people's data (`candor.destinations`)."""

    name: str = Field(min_length=3)
    url: Annotated[str, Field(min_length=1), AfterValidator(addresses.https)]
    knows: list[str] = Field(min_length=1)
    tell: list[Literal["erasure"]] = Field(min_length=1)
    answer_within_hours: int = Field(strict=True, ge=1, le=720)


Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Erasure(Strict):
    waiting_days: int = Field(default=0, ge=0, le=21)
    second_person: bool = False


class Policy(Strict):
    version: Literal[1]
    organization: str
    contact: str
    changed: date | None = None
    purposes: dict[str, Purpose]
    minors_under: int = Field(default=16, ge=13, le=21)
    consent_categories: dict[str, list[str]]
    retention: dict[str, Days]
    records: Records
    sources: Sources = Sources()
    minimise: Minimise = Minimise()
    identifiers: dict[str, IdentifierRule]
    never_identifiers: list[Pattern]
    kinds: list[Any] = Field(default=[], exclude=True)
    traits: dict[str, Trait]
    events: dict[str, Event]
    context: Context
    gpc: list[str] = []
    consent_mode: dict[str, list[str]] = {}
    tcf: dict[int | str, list[str]] = {}
    us_opt_outs: dict[str, list[str]] = {}
    imports: dict[Slug, Import] = {}
    webhooks: dict[Slug, Webhook] = {}
    erasure: Erasure = Erasure()
    destinations: Annotated[dict[Slug, Destination], Field(max_length=MOST_DESTINATIONS)] = {}


class Wrong(ValueError):
    """A policy with mistakes in it."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(f"line {one.line}: {one}" for one in mistakes))
        self.mistakes = mistakes


def check(text: str) -> list[Mistake]:
    """Every mistake in a policy's YAML text, in its order."""
    return examine(places.read(text))[1]


def compile_policy(text: str) -> dict[str, Any]:
    """The compiled form of a policy's YAML text. Raises Wrong with every mistake."""
    policy, mistakes = examine(places.read(text))
    if mistakes or policy is None:
        raise Wrong(mistakes)
    return _compiled(policy)


def compile_earlier(text: str) -> dict[str, Any]:
    """Of a policy that was in force, whatever is checked since then. Raises Wrong."""
    policy, mistakes = examine(places.read(text))
    if policy is None:
        raise Wrong(mistakes)
    return _compiled(policy)


def read(path: Path) -> dict[str, Any]:
    """The compiled policy in a file. Raises Problem, which names the place of every mistake."""
    try:
        return compile_policy(places.text_of(path))
    except Wrong as wrong:
        fix = "`candor policy check` shows each on a line of its own."
        raise Problem(f"{path}: {wrong}", fix) from None


def examine(written: Written) -> tuple[Policy | None, list[Mistake]]:
    """The policy, where it has the shape of one, and every mistake in it."""
    if not written.readable:
        return None, written.mistakes
    policy = None
    found = [*written.mistakes]
    try:
        policy = Policy.model_validate(written.value)
    except ValidationError as error:
        found += [explanations.explain(one, written, Policy) for one in error.errors()]
    if isinstance(written.value, dict):
        found += contradictions.find(written, KINDS)
    return policy, _in_order(found)


def _in_order(found: list[Mistake]) -> list[Mistake]:
    """By line, and once where many entries share the words with the mistake."""
    shared: dict[tuple[int, str, str], list[Mistake]] = {}
    for one in sorted(found, key=lambda one: one.line):
        shared.setdefault((one.line, one.message, one.suggestion), []).append(one)
    return [
        replace(first, path=first.path + (f" and {len(more)} more" if more else ""))
        for first, *more in shared.values()
    ]


def _compiled(policy: Policy) -> dict[str, Any]:
    compiled = policy.model_dump(by_alias=True, mode="json")
    canonical = json.dumps(compiled, sort_keys=True, separators=(",", ":"))
    return {**compiled, "hash": hashlib.sha256(canonical.encode()).hexdigest()[:16]}


def main(arguments: list[str]) -> int:
    if len(arguments) != 3 or arguments[0] != "compile":
        print("usage: python -m cli.policy compile policy.yaml OUT.json", file=sys.stderr)
        return 2
    source = Path(arguments[1])
    try:
        compiled = compile_policy(places.text_of(source))
    except Wrong as wrong:
        for one in wrong.mistakes:
            print(f"{source}:{one.line}: {one}", file=sys.stderr)
        return 1
    except Problem as problem:
        print(problem.what, file=sys.stderr)
        return 1
    Path(arguments[2]).write_text(json.dumps(compiled, separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
