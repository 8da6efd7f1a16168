"""`policy.yaml`: its model, its checks, and its compiled form that functions read.

Run at build as `python -m cli.policy compile policy.yaml OUT.json`; it needs pydantic and PyYAML.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from candor.conversion import Conversion, Target
from candor.imports import Layout
from candor.webhooks import Form
from cli.problem import Problem


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as mistake:
        raise ValueError(f"not a regular expression: {mistake}") from None
    return text


Days = Annotated[int, Field(ge=1, le=36_500)]
Pattern = Annotated[str, AfterValidator(_regular_expression)]


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
    properties: list[str]


class IdentifierRule(Attribute):
    priority: int = Field(ge=1)
    limit: int = Field(ge=1, le=90)
    known: bool
    normaliser: Literal["trim", "lower", "digits"] = "trim"
    never: list[Pattern] = []
    sources: list[str] = Field(default=[], alias="from")


class Records(Strict):
    identifier: Days
    link: Days
    consent: Days
    request: Days
    audit: Days


class Context(Strict):
    keep: list[str]
    use: list[str]
    drop: list[str]


class Sources(Strict):
    priority: list[Literal["website", "app", "crm", "server", "webhook"]]


class Minimise(Strict):
    ip: Literal["truncate", "drop", "keep"]
    user_agent: Literal["family", "drop", "keep"]


class Mapped(Strict):
    """How named values become an event (`candor.conversion`)."""

    type: Literal["identify", "track"] = "identify"
    event: str | None = None
    map: dict[Annotated[str, Field(min_length=1)], str] = Field(min_length=1)

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

    path: str
    name: str
    value: str


class Webhook(Mapped):
    """How the body of a signed webhook is read (`candor.webhooks`)."""

    each: str
    where: dict[str, str | int | bool] = {}
    id: str
    time: str
    fields: Fields | None = None
    max_age_hours: int = Field(default=36, ge=1, le=168)

    @model_validator(mode="after")
    def can_be_found(self) -> Self:
        Form.of(self.model_dump())
        return self


Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Policy(Strict):
    version: Literal[1]
    organization: str
    contact: str
    purposes: dict[str, Purpose]
    consent_categories: dict[str, list[str]]
    retention: dict[str, Days]
    records: Records
    identifiers: dict[str, IdentifierRule]
    never_identifiers: list[Pattern]
    traits: dict[str, Trait]
    events: dict[str, Event]
    context: Context
    sources: Sources
    minimise: Minimise
    gpc: list[str]
    imports: dict[Slug, Import] = {}
    webhooks: dict[Slug, Webhook] = {}

    @model_validator(mode="after")
    def names_only_what_it_defines(self) -> Self:
        for kind in ("identifiers", "traits", "events"):
            for name, entry in getattr(self, kind).items():
                self._defined(entry.purposes, f"{kind}.{name}.purposes")
                if entry.retention not in self.retention:
                    raise ValueError(f"{kind}.{name}.retention: no class {entry.retention!r}")
        for category, purposes in self.consent_categories.items():
            self._defined(purposes, f"consent_categories.{category}")
        self._defined(["service"], "purposes")
        self._defined(self.gpc, "gpc")
        if self.records.identifier < max(self.retention.values()):
            raise ValueError("records.identifier: shorter than a retention class it must outlive")
        if "unnamed" not in self.retention:
            raise ValueError("retention: the class `unnamed` is missing")
        priorities = [rule.priority for rule in self.identifiers.values()]
        if len(set(priorities)) != len(priorities):
            raise ValueError("identifiers: two types share a priority")
        for missing in {"user_id", "anonymous_id"} - set(self.identifiers):
            raise ValueError(f"identifiers: {missing} is missing")
        return self

    @model_validator(mode="after")
    def maps_to_what_it_names(self) -> Self:
        """Or a mapping would bring values that collection strips."""
        categories = {name.lower() for name in self.consent_categories}
        for kind in ("imports", "webhooks"):
            for name, mapping in getattr(self, kind).items():
                where = f"{kind}.{name}"
                if mapping.type == "track" and mapping.event not in self.events:
                    raise ValueError(f"{where}.event: no event {mapping.event!r} in the catalogue")
                allowed = self.events[mapping.event or mapping.type].properties
                for field, target in mapping.map.items():
                    match Target.of(target).path:
                        case "traits", trait, *_ if trait not in self.traits:
                            raise ValueError(f"{where}.map.{field}: no trait {trait!r}")
                        case "properties", one, *_ if one not in allowed:
                            raise ValueError(f"{where}.map.{field}: no property {one!r} of it")
                        case _, _, _, category if category.lower() not in categories:
                            raise ValueError(f"{where}.map.{field}: no category {category!r}")
        return self

    def _defined(self, purposes: list[str], where: str) -> None:
        for purpose in purposes:
            if purpose not in self.purposes:
                raise ValueError(f"{where}: no purpose {purpose!r}")


def compile_policy(text: str) -> dict[str, Any]:
    """The compiled form of a policy's YAML text. Raises ValidationError with every mistake."""
    compiled = Policy.model_validate(yaml.safe_load(text)).model_dump(by_alias=True)
    canonical = json.dumps(compiled, sort_keys=True, separators=(",", ":"))
    return {**compiled, "hash": hashlib.sha256(canonical.encode()).hexdigest()[:16]}


def read(path: Path) -> dict[str, Any]:
    """The compiled policy in a file. Raises Problem, which names the place of every mistake."""
    try:
        return compile_policy(path.read_text(encoding="utf-8"))
    except ValidationError as found:
        said = [_told(one["loc"], one["msg"]) for one in found.errors()]
    except yaml.MarkedYAMLError as mistake:
        at = mistake.problem_mark
        said = [f"line {at.line + 1 if at else '?'}: {mistake.problem}"]
    except yaml.YAMLError as mistake:
        said = [" ".join(str(mistake).split())]
    except (OSError, UnicodeDecodeError) as error:
        said = [f"it cannot be read: {error}"]
    raise Problem(f"{path}: {'; '.join(said)}.")


def _told(place: tuple[int | str, ...], what: str) -> str:
    words = what.removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(map(str, place)), words]))


def main(arguments: list[str]) -> int:
    if len(arguments) != 3 or arguments[0] != "compile":
        print("usage: python -m cli.policy compile policy.yaml OUT.json", file=sys.stderr)
        return 2
    try:
        compiled = read(Path(arguments[1]))
    except Problem as problem:
        print(problem.what, file=sys.stderr)
        return 1
    Path(arguments[2]).write_text(json.dumps(compiled, separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
