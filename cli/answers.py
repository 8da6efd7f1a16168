"""The shapes of the API's answers and of Segment's calls, for its description (`cli/openapi.py`).

Nothing at run time reads them; a test holds real answers against them.
"""
# ruff: noqa: N815  Segment's names are in camel case

from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, RootModel

from candor import collection
from candor.consent import Mechanism, State
from candor.credentials import Role, Trust
from candor.keyring import Mode
from candor.policy import Basis
from candor.preferences import ConsentType
from candor.requests import Ground, Law, Store, Type
from candor.spelling import Normaliser

Json = dict[str, Any]
Seconds = Annotated[int, Field(description="epoch seconds")]
Milliseconds = Annotated[int, Field(description="epoch milliseconds")]
T = TypeVar("T")


class Call(BaseModel):
    """One event. `type` counts in a batch only; elsewhere the path says it."""

    type: Literal["identify", "track", "page", "screen", "group", "alias"] | None = None
    userId: str | None = None
    anonymousId: str | None = None
    previousId: str | None = None
    groupId: str | None = None
    event: str | None = None
    name: str | None = None
    messageId: str | None = None
    timestamp: str | None = None
    sentAt: str | None = None
    properties: Json | None = None
    traits: Json | None = None
    context: Json | None = None
    writeKey: str | None = None


class Batch(BaseModel):
    """JSON, whatever the content type says, and gzipped or not."""

    batch: Annotated[list[Call], Field(max_length=collection.MOST_EVENTS)]
    context: Json | None = None
    sentAt: str | None = None
    writeKey: str | None = None


class Settings(BaseModel):
    """What analytics.js reads of its settings document. `integrations` has `Segment.io` only."""

    integrations: dict[str, Json]
    plan: Json
    metrics: Json
    middlewareSettings: Json
    enabledMiddleware: Json
    remotePlugins: list[Json]
    legacyVideoPluginsEnabled: bool
    analyticsNextEnabled: bool


class Document(BaseModel):
    """OpenAPI 3.1."""

    openapi: str
    info: Json
    tags: list[Json]
    servers: list[Json]
    paths: Json
    components: Json


class Signed(RootModel[Json]):
    """A webhook's body as its sender has it; the mapping of its source says what is read of it."""


class Told(BaseModel):
    """What became of the event at `index`."""

    index: int
    messageId: str | None
    code: str


class RefusedEvent(Told):
    message: str


class Stripped(Told):
    name: str
    fix: str


class Note(BaseModel):
    """What holds for the events at `indexes`."""

    code: str
    indexes: list[int]
    fix: str
    names: Annotated[
        list[str],
        Field(description="of events, traits (traits.NAME), fields or consent categories"),
    ] = []
    kept: str = ""
    message: str = ""
    purposes: list[str] = []


class Collected(BaseModel):
    """Empty lists are left out; `untold` counts what a long one leaves out."""

    success: Literal[True]
    refused: list[RefusedEvent] = []
    stripped: list[Stripped] = []
    notes: list[Note] = []
    untold: dict[str, int] = {}


class Done(BaseModel):
    success: Literal[True]


class Uncounted(BaseModel):
    """What of a choice does not count: of `purposes`, where `(minor)` is that somebody is of age,
    or of the word `name` of a signal."""

    code: Literal[
        "device_required",
        "evidence_required",
        "grant_by_denial",
        "guardian_of_an_adult",
        "not_a_choice",
        "proof_required",
        "bad_consent",
        "bad_consent_string",
        "unknown_consent_category",
        "unknown_consent_form",
        "unknown_consent_type",
        "unmapped_consent",
    ]
    message: str
    purposes: list[str] = []
    name: str = ""
    fix: str = ""


class Chosen(Done):
    notes: list[Uncounted] = []


class Withheld(BaseModel):
    """What the purpose does not get, never its value; and what would change it."""

    name: str
    purpose: str
    because: str
    fix: str


class Read(BaseModel):
    purpose: str
    withheld: list[Withheld]


class Page(BaseModel, Generic[T]):
    data: list[T]
    next: Annotated[str | None, Field(description="the `cursor` of the next page")]

    @classmethod
    def model_parametrized_name(cls, params: tuple[type[Any], ...]) -> str:
        return f"PageOf{params[0].__name__}s"


class Named(BaseModel):
    type: str
    value: str | None


class Identifier(BaseModel):
    type: str
    value: str
    first_seen: date
    last_seen: date


class Event(BaseModel):
    type: str
    event: str
    messageId: str
    at: Milliseconds
    timestamp: datetime
    properties: Json
    context: Json
    source: str
    unnamed: bool = False


class Link(BaseModel):
    """Why two identifiers are believed to be one person, or why they are not."""

    a: Named
    b: Named
    rule: str
    source: str
    trust: Trust
    event: str
    time: Seconds
    refused: str | None
    merged: Annotated[bool, Field(description="whether it made one profile of two")]


class Separated(BaseModel):
    """Two identifiers that a person took apart; or, without `b`, one in quarantine."""

    a: Named
    b: Named | None
    time: Seconds
    by: Annotated[str, Field(description="whose token, or `candor` itself")]
    because: Json | None
    lifted: Seconds | None
    lifted_by: str | None


class Step(BaseModel):
    """One piece of evidence, and what it says in words."""

    a: Named
    b: Named
    said: str
    rule: str
    source: str
    trust: Trust
    event: str
    time: Seconds


class Why(Read):
    """The shortest chain of evidence between two identifiers, or why there is none."""

    a: Named
    b: Named
    together: bool
    because: str
    chain: list[Step]


class Part(BaseModel):
    """What one part of a split profile holds; `traits` are names."""

    identifiers: list[Named]
    traits: list[str]
    events: int
    moves: Annotated[bool, Field(description="whether it gets a profile of its own")]


class Unlinked(Read):
    """No parts: the two were in two profiles already."""

    success: Literal[True]
    dry_run: bool
    parts: list[Part]


class Quarantined(BaseModel):
    identifier: Named
    at: Seconds
    by: Annotated[str, Field(description="whose token, or `candor` itself")]
    because: Json


class Consent(BaseModel):
    state: State
    because: str
    may: Annotated[bool, Field(description="whether the person may be acted on for this purpose")]


class ConsentRecord(BaseModel):
    purpose: str
    granted: bool
    at: Seconds
    source: str
    trust: Trust
    mechanism: Mechanism
    binds: Literal["device", "profile"]
    received: Seconds
    policy: str
    identifier: Named
    language: Annotated[str, Field(description="of the text that was shown, BCP 47")] = ""
    text_version: str = ""
    evidence: Json | None = None
    guardian: bool = False


class Decision(BaseModel):
    """Whether data may be used, why, and what would change that."""

    allowed: bool
    because: str
    fix: str


class DeviceDecision(Decision):
    identifier: Named


class ExplainedRecord(BaseModel):
    """A consent record in words, and whether it decides."""

    said: str
    decides: bool
    because: str
    granted: bool
    at: Seconds
    received: Seconds
    mechanism: Mechanism
    source: str
    trust: Trust
    binds: Literal["device", "profile"]
    policy: str
    language: str = ""
    text_version: str = ""
    identifier: Named


class RegisterState(BaseModel):
    denied: Seconds | None
    granted: Seconds | None


class Difference(BaseModel):
    """Of an identifier's signals or, without one, of what the person chose."""

    identifier: Named | None
    purpose: str
    register_: Annotated[RegisterState | None, Field(alias="register")]
    records: RegisterState | None
    becomes: RegisterState | None
    because: str


class Profile(Read):
    profile: str
    traits: Json
    events: Page[Event]
    identifiers: Page[Identifier]
    consents: dict[str, Consent]


class Traits(Read):
    traits: Json


class Events(Read, Page[Event]):
    pass


class Identifiers(Read, Page[Identifier]):
    pass


class Links(Read, Page[Link]):
    separations: list[Separated]


class InQuarantine(Page[Quarantined]):
    pass


class Consents(Page[ConsentRecord]):
    """`consent_mode` and `category_preferences` are about data of the identifier in the path; they
    are granted where all their purposes may be used."""

    purposes: dict[str, Consent]
    minor: Annotated[bool, Field(description="marked as under the policy's age")]
    consent_mode: dict[ConsentType, Literal["granted", "denied"]]
    category_preferences: dict[str, bool]


class ExplainedConsent(Read, Decision, Page[ExplainedRecord]):
    """What was known at a time, oldest first, and what followed for data that no device's own
    signal speaks for; for what a device sent, its own entry."""

    about: str
    at: Seconds
    basis: Basis | None
    policy: Annotated[str, Field(description="the policy by which this is judged: today's")]
    devices: list[DeviceDecision]
    left_out: Annotated[int, Field(description="older records that are not told one by one")]
    later: Annotated[int, Field(description="records of that time which came only after it")]


class Rebuilt(Read):
    success: Literal[True]
    dry_run: bool
    differences: list[Difference]


class Receipt(BaseModel):
    """`null` is what is not known: nobody has searched there yet."""

    store: Store | Annotated[str, Field(pattern="^destination:[a-z][a-z0-9_]*$")]
    found: int | None
    deleted: int
    left: int | None
    because: str


class Horizon(BaseModel):
    """What remains somewhere, unreadable, and until when."""

    what: str
    until: datetime


class Certificate(BaseModel):
    document: str
    signature: str
    key_id: str


class ConsentReceipt(Certificate):
    """`document` is JSON-LD as text; its UTF-8 bytes' SHA-256 is what is signed."""

    key_sha256: Annotated[
        str, Field(description="of the public key (DER): which one to check with")
    ]


Status = Literal[
    "pending", "running", "held", "partial", "failed", "cancelled", "refused", "completed"
]


class Request(BaseModel):
    id: str
    type: Type
    mode: Annotated[Mode | None, Field(description="of an erasure")]
    status: Status
    law: Law
    created: datetime
    due: Annotated[datetime, Field(description="by when the person has to be answered")]
    acts_at: Annotated[
        datetime | None, Field(description="when its waiting period ends, where there is one")
    ]
    awaits_approval: bool
    ground: Annotated[
        Ground | Literal["erased_by_another_request", "not_possible"] | None,
        Field(description="why it was refused"),
    ]
    identifiers: int
    receipts: list[Receipt]
    horizons: list[Horizon]
    certificate: Certificate | None


class Requests(Page[Request]):
    pass


class Many(BaseModel):
    """Erasures that were asked for at once."""

    id: str
    created: datetime
    total: int
    statuses: Annotated[dict[Status, int], Field(description="how many are in which")]
    attention: Annotated[list[str], Field(description="requests that somebody has to look at")]


class ManyAsked(Many):
    nobody: Annotated[list[int], Field(description="indexes of what names nobody")]


class LegalHold(BaseModel):
    id: str
    reason: str | None
    until: datetime
    created: datetime
    placed_by: str
    released: datetime | None
    released_by: str | None
    identifiers: int


class LegalHolds(Page[LegalHold]):
    pass


class Forecast(BaseModel):
    """What a dry run found."""

    dry_run: Literal[True]
    type: str
    receipts: list[Receipt]


class KeyFields(BaseModel):
    id: str
    kind: Literal["source", "token"]
    name: str
    source: str = ""
    trust: Trust | None = None
    mapping: str = ""
    role: Role | None = None
    purposes: list[str] = []


class Issued(KeyFields):
    key: str


class ListedKey(KeyFields):
    created: Seconds
    revoked: Seconds | None = None


class Shared(BaseModel):
    id: str
    secret: str
    verify_token: Annotated[str, Field(description="of a webhook: what its sender presents")] = ""


class Moved(BaseModel):
    """How many rows, or traits in them, end on another day by today's policy."""

    kind: str
    class_: Annotated[str, Field(alias="class")]
    sooner: int
    later: int
    at_once: Annotated[int, Field(description="of the sooner: how many have ended")]


class Unnamed(BaseModel):
    """Rows that keep their day, because the policy names no such class any more."""

    kind: str
    class_: Annotated[str, Field(alias="class")]
    rows: int


class Renewal(BaseModel):
    """The latest renewal of what is stored; `status` is null where there was none yet."""

    status: Literal["running", "done"] | None
    id: str = ""
    dry_run: bool | None = None
    policy: Annotated[str, Field(description="the hash of the policy it goes by")] = ""
    started: Seconds | None = None
    finished: Seconds | None = None
    looked: Annotated[int, Field(description="rows that were looked at so far")] = 0
    tables_left: int = 0
    changes: list[Moved] = []
    unknown: list[Unnamed] = []


class UnknownName(BaseModel):
    where: Literal["events", "properties", "traits", "context", "fields"]
    event: str
    name: str


class Counted(BaseModel):
    source: str
    day: int
    """UTC days since 1970."""
    outcomes: dict[str, int]
    """By `outcome` or `outcome:reason`."""
    names: list[UnknownName]


class Outcomes(Page[Counted]):
    pass


class PolicyPurpose(BaseModel):
    basis: Basis
    description: str
    sees_everything: bool


class PolicyAttribute(BaseModel):
    purposes: list[str]
    sensitivity: Literal["personal", "special", "none"]
    retention: str
    erasure: Literal["shred"]


class PolicyTrait(PolicyAttribute):
    verify_within: int | None


class PolicyEvent(PolicyAttribute):
    properties: list[str]


class PolicyIdentifier(PolicyAttribute):
    priority: int
    limit: int
    shared_after: int
    known: bool
    normaliser: Normaliser
    region: str | None
    needs_proof: bool
    never: list[str]
    sources: Annotated[list[str], Field(alias="from")]


class PolicyErasure(BaseModel):
    """What is waited for before an erasure destroys anything."""

    waiting_days: int
    second_person: bool


class PolicyDestination(BaseModel):
    name: str
    url: str
    knows: list[str]
    tell: list[Literal["erasure"]]
    answer_within_hours: int


class Policy(BaseModel):
    """policy.yaml as it is in force; times in days."""

    version: Literal[1]
    organization: str
    contact: str
    changed: date | None
    purposes: dict[str, PolicyPurpose]
    minors_under: int
    consent_categories: dict[str, list[str]]
    retention: dict[str, int]
    records: dict[str, int]
    sources: dict[Literal["priority"], list[str]]
    minimise: dict[Literal["ip", "user_agent"], str]
    identifiers: dict[str, PolicyIdentifier]
    never_identifiers: list[str]
    traits: dict[str, PolicyTrait]
    events: dict[str, PolicyEvent]
    context: dict[Literal["keep", "use", "drop"], list[str]]
    gpc: list[str]
    consent_mode: dict[ConsentType, list[str]]
    tcf: Annotated[dict[str, list[str]], Field(description="by the numbers of its purposes")]
    us_opt_outs: dict[str, list[str]]
    imports: dict[str, Json]
    webhooks: dict[str, Json]
    erasure: PolicyErasure
    destinations: dict[str, PolicyDestination]
    hash: str


class Keys(Page[ListedKey]):
    pass
