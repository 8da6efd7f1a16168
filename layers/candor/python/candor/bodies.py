"""The JSON bodies of the API's own calls (collection has Segment's)."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
)

from candor import consents, credentials, destinations, proofs
from candor.consent import Mechanism
from candor.credentials import Role, Trust
from candor.errors import Refused
from candor.identifiers import Identifiers
from candor.keyring import Mode
from candor.policy import Policy
from candor.preferences import Heard, OptOut, Preferences
from candor.requests import Ground, Law
from candor.traits import MOST_TRAIT_BYTES

Text = Annotated[str, Field(min_length=1, max_length=256)]
B = TypeVar("B", bound=BaseModel)
Words = Annotated[dict[str, Any], Field(max_length=256)]
MOST_EVIDENCE_BYTES = 2_048
MOST_SUBJECTS = 1_000
"""Of one request; they are written down before it is answered."""
Language = Annotated[
    str, Field(min_length=2, max_length=35, pattern="^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$")
]
"""Shaped as a language tag is (RFC 5646, section 2.1), as long as it says that tags may have to be
(4.4.1). Whether the subtags are registered is not looked up."""
Version = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9 ._:+/#-]+$")]
"""It is stored as it is, so it may not be an address, and hardly a name."""


def _small(evidence: dict[str, Any]) -> dict[str, Any]:
    """It is kept for years, once for each purpose, and a public key can send it."""
    if len(json.dumps(evidence)) > MOST_EVIDENCE_BYTES:
        raise ValueError(f"may have {MOST_EVIDENCE_BYTES} bytes as JSON")
    return evidence


def _traits(said: dict[str, Any]) -> dict[str, Any]:
    if any(len(json.dumps(value)) > MOST_TRAIT_BYTES for value in said.values()):
        raise ValueError(f"each may have {MOST_TRAIT_BYTES} bytes as JSON")
    return said


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Subject(Body):
    type: Text
    value: Annotated[str, Field(min_length=1, max_length=1024)]


class Query(Body):
    identifier: Subject


class Unlink(Body):
    """The identifier that the one in the path is to be kept apart from."""

    identifier: Subject
    reason: Annotated[str, Field(min_length=3, max_length=1024)]
    dry_run: bool = False


class Relink(Body):
    identifier: Subject


class Rebuild(Body):
    dry_run: bool = False


class Renew(Body):
    dry_run: bool = False


class Quarantine(Body):
    reason: Literal["shared_device", "shared_address", "test_value", "other"]


class Asked(Body):
    """What every privacy request says: of whom it is, and how staff verified who asked."""

    subject: Subject
    verified_by: Annotated[str, Field(min_length=3, max_length=1024)]
    law: Law = "gdpr"


class ErasureRequest(Asked):
    type: Literal["erasure"]
    mode: Mode = "erase"
    dry_run: bool = False


class Restriction(Asked):
    type: Literal["restriction"]


class Objection(Asked):
    """To these purposes; to all that rest on a legitimate interest where none are named."""

    type: Literal["objection"]
    purposes: Annotated[list[Text], Field(max_length=64)] = []


class Rectification(Asked):
    type: Literal["rectification"]
    traits: Annotated[dict[str, Any], Field(min_length=1, max_length=64), AfterValidator(_traits)]
    """Their right values, by name."""


class PrivacyRequest(
    RootModel[
        Annotated[
            ErasureRequest | Restriction | Objection | Rectification, Field(discriminator="type")
        ]
    ]
):
    pass


class Bulk(Body):
    """Erasure requests of many people at once, all verified in the same way."""

    subjects: Annotated[list[Subject], Field(min_length=1, max_length=MOST_SUBJECTS)]
    verified_by: Annotated[str, Field(min_length=3, max_length=1024)]
    law: Law = "gdpr"
    mode: Mode = "erase"


class Refusal(Body):
    ground: Ground


class Hold(Body):
    subject: Subject
    reason: Annotated[str, Field(min_length=3, max_length=1024)]
    until: Annotated[AwareDatetime, Field(strict=False)]


class DestinationAnswer(Body):
    """What became of the erasure that a destination was told of."""

    status: destinations.Status


class Source(Body):
    kind: Literal["source"]
    name: Text
    source: Literal["website", "app", "crm", "server", "webhook"]
    trust: Literal["client", "server"]
    mapping: Text | None = None
    """Of a webhook: an entry of the policy's `webhooks`."""


class Token(Body):
    kind: Literal["token"]
    name: Text
    role: Role
    purposes: Annotated[list[Text], Field(max_length=32)] = []


class Credential(RootModel[Annotated[Source | Token, Field(discriminator="kind")]]):
    pass


class Secret(Body):
    """What the source has already, such as an app secret; without one a random secret is made."""

    secret: Annotated[str | None, Field(min_length=16, max_length=256)] = None


class Signals(Body):
    """What was said in the words of other tools. More fields are told of, and count for nothing."""

    model_config = ConfigDict(extra="allow")

    category_preferences: Annotated[Words | None, Field(alias="categoryPreferences")] = None
    consent_management: Annotated[Words | None, Field(alias="consentManagement")] = None
    consent_mode: Annotated[Words | None, Field(alias="consentMode")] = None
    tcf: str | None = None
    gpp: str | None = None
    us_privacy: str | None = None
    opt_out: Annotated[list[OptOut] | None, Field(max_length=16)] = None
    objection: Literal[True] | Annotated[list[Text], Field(max_length=64)] | None = None
    """To these purposes, or to all that rest on a legitimate interest."""


class Choice(Body):
    """Who is named by `userId`, `anonymousId` or, for other identifiers, `subject`; what was chosen
    by `purposes`, `signals` or both, and of what disagrees a denial counts."""

    user_id: Annotated[str | None, Field(alias="userId")] = None
    anonymous_id: Annotated[str | None, Field(alias="anonymousId")] = None
    subject: Subject | None = None
    purposes: Annotated[dict[str, bool], Field(max_length=64)] = {}
    guardian: bool = False
    """Whether a guardian chose, for a minor."""
    minor: bool | None = None
    """Whether the person is under the policy's age, if that is known."""
    signals: Signals | None = None
    mechanism: Mechanism = "api"
    timestamp: Annotated[AwareDatetime | None, Field(strict=False)] = None
    language: Language | None = None
    """Of the text that was shown to the person."""
    text_version: Version | None = None
    evidence: Annotated[dict[str, Any], AfterValidator(_small)] = {}
    write_key: Annotated[str | None, Field(alias="writeKey")] = None
    identity_proof: Annotated[str | None, Field(alias="identityProof")] = None
    """From a client's source: made by the shop's server for `userId`."""

    def trust(
        self, sender: credentials.Source, identifiers: Identifiers, now: float
    ) -> tuple[Trust, list[consents.Note]]:
        """How far to believe it, as of an event: with its user's proof, a client is verified."""
        if self.identity_proof is None or sender.trust != "client":
            return sender.trust, []
        made = identifiers.make("user_id", self.user_id)
        spellings = {made.value, str(self.user_id)} if made else set()
        fault = proofs.fault(self.identity_proof, sender.secret, spellings, now)
        if fault is None:
            return "verified", []
        message = f"{fault} The choice counts as unproven."
        told = {"code": "bad_identity_proof", "purposes": sorted(self.purposes)}
        return "client", [told | {"message": message}]

    def heard(self, policy: Policy) -> Heard:
        """What `signals` come to. Raises Refused where they and `purposes` choose nothing."""
        said = self.signals.model_dump(by_alias=True) if self.signals else {}
        heard = Preferences(policy).read(said.items(), explicit=True)
        if not self.purposes and not heard.purposes and self.minor is None:
            why = "; ".join(f"{one.code}: {one.message}" for one in heard.notes[:5])
            text = why or "It grants and denies nothing, so there is nothing to record."
            raise Refused("nothing_chosen", text)
        return heard

    def choice(
        self, identifiers: Identifiers, now: float, source: str, trust: Trust, heard: Heard
    ) -> consents.Choice:
        """The choice in the domain's words. A time in the future counts as now."""
        purposes, mechanisms = dict(self.purposes), dict(heard.mechanisms)
        for purpose, granted in heard.purposes.items():
            if purposes.setdefault(purpose, granted) < granted:
                mechanisms.pop(purpose, None)  # the denial in `purposes` decides
            purposes[purpose] &= granted
        subject = self.subject
        made = [
            identifiers.make("user_id", self.user_id),
            identifiers.make("anonymous_id", self.anonymous_id),
            identifiers.make(subject.type, subject.value) if subject else None,
        ]
        stated = self.timestamp or datetime.fromtimestamp(now, UTC)
        return consents.Choice(
            ids=tuple(one for one in made if one),
            purposes=purposes,
            at=max(0.0, min(stated.timestamp(), now)),
            mechanism=self.mechanism,
            evidence=self.evidence,
            source=source,
            trust=trust,
            guardian=self.guardian,
            minor=self.minor,
            mechanisms=mechanisms,
            language=self.language,
            text_version=self.text_version,
        )


def parse(model: type[B], body: object) -> B:
    """Raises Refused, which names the fields that are wrong and repeats nothing that was sent."""
    try:
        return model.model_validate(body)
    except ValidationError as mistakes:
        told = [_told(dict(mistake)) for mistake in mistakes.errors(include_input=False)]
        raise Refused("bad_body", "; ".join(told[:5])) from None


def _told(mistake: dict[str, Any]) -> str:
    kind = mistake["type"]
    where = ".".join(part for part in mistake["loc"] if part in NAMES) or "the body"
    if kind == "extra_forbidden":
        return f"{where}: has a field that is not known"
    if kind == "union_tag_invalid":
        name = str(mistake["ctx"]["discriminator"]).strip("'")
        return f"{name}: one of {mistake['ctx']['expected_tags']}"
    return f"{where}: {mistake['msg']}"


NAMES = {
    name
    for body in [*Body.__subclasses__(), *Asked.__subclasses__()]
    for field, info in body.model_fields.items()
    for name in (field, info.alias, "source", "token")
}
"""What an error may repeat: fields that we named. A key of a mapping was the sender's."""
