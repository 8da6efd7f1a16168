"""A shop's year, simulated, with the truth about who did what.

People live in households and visit with browsers of their own, with the household's tablet and at
public browsers; bots visit too. What is sent is what Segment's SDKs would send: pages, identify
calls and orders from the browser; orders and accounts from the shop's server; rows from the CRM. A
visit is one page view, because more of them tell nothing more to anybody. Everybody has agreed to
everything: what consent keeps out is not what is measured.

How often what happens is in `rates.toml`, and nowhere else. Each kind of chance has a stream of its
own for each person, so that a changed rate changes what it is the rate of, and little else.

The truth:

- an identifier belongs to everybody who used it as theirs: a person's account, address and number
  to the person; a browser's cookie to all who visited with it; a household's or a recycled number
  to all who gave it. Junk ids, what bots send, a shop's noreply@ address and a branch's number are
  nobody's;
- an event belongs to who did it, and to those whose account or address it carries. So what somebody
  does in a session that another left open is also that other's: it says so itself.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

from tests.bench.accuracy.rates import Rates

Json = dict[str, Any]
T = TypeVar("T")
Sender = Literal["website", "server", "crm"]
DAY = 86_400
YEAR, MONTH = 365 * DAY, 365 / 12 * DAY
START = 1_790_000_000
"""When the year begins, epoch seconds."""
KNOWN = ("user_id", "email", "phone")
NOBODY = -1_000
"""Has a stream of chance too, as each person has; kiosks have those of -1, -2, …"""
PLACEHOLDER = "noreply@shop.example"


class Message(NamedTuple):
    """What one sender sends at once."""

    sender: Sender
    at: float
    """Epoch seconds."""
    events: list[Json]


@dataclass(slots=True)
class Year:
    """What was sent, oldest first, and the truth about it.

    An identifier is written `email:ann@example.com`.
    """

    people: int
    messages: list[Message] = field(default_factory=list)
    owners: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Of identifiers: the people to whom each belongs; nobody's has none."""
    event_owners: dict[str, set[int]] = field(default_factory=dict)
    """Of events by messageId, of those that a profile shows: not of identify calls."""
    kinds: dict[str, str] = field(default_factory=dict)
    """What an identifier that is not one person's may be: `tablet`, `kiosk`, `bot`, …"""


@dataclass(slots=True, eq=False)
class _Browser:
    kind: str
    owner: int
    """Whose stream of chance it uses."""
    cookie: str
    used: float = START
    session: int | None = None
    """Whose account is signed in."""


@dataclass(slots=True)
class _Person:
    number: int
    account: bool = False
    phone: str = ""
    phone_from: float = START
    phone_until: float = START + YEAR
    browsers: list[_Browser] = field(default_factory=list)
    tablet: _Browser | None = None
    told: bool = False
    """Whether the server has told, or never will tell, whose account it is."""

    def __post_init__(self) -> None:
        self.phone = f"+49170{self.number:07}"

    @property
    def user(self) -> str:
        return f"u{self.number}"

    @property
    def emails(self) -> tuple[str, str]:
        return f"p{self.number}@mail.example", f"p{self.number}@work.example"


def simulate(rates: Rates, people: int, seed: int) -> Year:
    """A year of at least so many people: the last household is complete."""
    return _Simulation(rates, people, seed).run()


class _Simulation:
    def __init__(self, rates: Rates, people: int, seed: int) -> None:
        self.rates, self.seed = rates, seed
        self.streams: dict[tuple[str, int], Random] = {}
        self.sent = 0
        self.shown: dict[str, tuple[int | None, list[str]]] = {}
        """Who did the events that a profile shows, and whom they name."""
        self.people: list[_Person] = []
        while len(self.people) < people:
            self._move_in()
        thousands = len(self.people) / 1_000
        kiosks = range(1, self._count("kiosks", thousands) + 1)
        self.kiosks = [self._browser("kiosk", -kiosk) for kiosk in kiosks]
        self.branches = [f"+49301000{n:03}" for n in range(self._count("branches", thousands))]
        self.bots = [
            self._cookie(NOBODY) if n % 2 else self._any("bot", NOBODY, rates.junk_ids)
            for n in range(self._count("bots", thousands))
        ]
        self.year = Year(len(self.people))
        nobodys = {f"anonymous_id:{id_}": "junk" for id_ in rates.junk_ids}
        nobodys |= {f"phone:{number}": "branch" for number in self.branches}
        nobodys[f"email:{PLACEHOLDER}"] = "placeholder"
        self.year.kinds = {f"anonymous_id:{id_}": "bot" for id_ in self.bots} | nobodys
        self.nobodys = frozenset(self.year.kinds)

    def run(self) -> Year:
        visits = [(at, person) for person in self.people for at in self._visits(person)]
        bots = sum(self._happens("bot_visit", person) for _, person in visits)
        rows = [person for person in self.people if self._happens("crm", person)]
        agenda: list[tuple[float, int, _Person | None]] = [
            *((at, 0, person) for at, person in visits),
            *((self._moment("bot", NOBODY), 1, None) for _ in range(bots)),
            *((self._moment("crm", person.number), 2, person) for person in rows),
        ]
        for at, kind, person in sorted(agenda, key=lambda one: one[:2]):
            if person is None:
                self._bot(at)
            elif kind == 0:
                self._visit(person, at)
            else:
                self._crm_row(person, at)
        self.year.event_owners = self._event_owners()
        return self.year

    # Who there is.

    def _move_in(self) -> None:
        sizes, first = self.rates.household_sizes, len(self.people)
        size = self._stream("household", NOBODY).choices(range(1, len(sizes) + 1), sizes)[0]
        shared = size > 1 and self._happens("shared_tablet")
        tablet = self._browser("tablet", first) if shared else None
        for number in range(first, first + size):
            person = _Person(number, tablet=tablet)
            person.account = self._happens("account", person)
            if size > 1 and self._happens("household_phone", person):
                person.phone = f"+4940{first:07}"
            for _ in range(1 + self._happens("second_browser", person)):
                person.browsers.append(self._browser("own", number))
            if self.people and self._happens("recycled_phone", person):
                self._recycle(self._any("recycled", number, self.people), person)
            self.people.append(person)

    def _recycle(self, before: _Person, after: _Person) -> None:
        before.phone_until = after.phone_from = START + YEAR / 2
        after.phone = before.phone

    # What happens.

    def _visit(self, person: _Person, at: float) -> None:
        browser = self._chosen(person)
        self._age(browser, at)
        if browser.session not in (None, person.number) and self._happens(
            "ends_anothers_session", person
        ):
            self._sign_out(browser, person)
        cookie = browser.cookie
        if self._happens("junk_id", person):
            cookie = self._any("junk", person.number, self.rates.junk_ids)
        self._own(f"anonymous_id:{cookie}", person, browser.kind)
        events = [self._event(person, "page", at, browser, cookie, name="Shop")]
        messages = [Message("website", at, events)]
        if browser.session is None and person.account and self._happens("signs_in", person):
            browser.session = person.number
            traits = {"email": person.emails[0]}
            self._own(f"email:{person.emails[0]}", person)
            events.append(self._event(person, "identify", at, browser, cookie, traits=traits))
            messages += self._tell_account(person, at)
        if self._happens("order", person):
            messages += self._order(person, at, browser, cookie, events)
        self.year.messages += messages
        leaves = {"tablet": "signs_out", "kiosk": "kiosk_signs_out"}.get(browser.kind)
        if leaves and browser.session == person.number and self._happens(leaves, person):
            self._sign_out(browser, person)

    def _tell_account(self, person: _Person, at: float) -> list[Message]:
        if person.told:
            return []
        person.told = True
        if not self._happens("server_tells_account", person):
            return []
        event = self._made(person, "identify", at, userId=person.user)
        event["traits"] = {"email": person.emails[0]}
        return [Message("server", at, [event])]

    def _order(
        self, person: _Person, at: float, browser: _Browser, cookie: str, events: list[Json]
    ) -> list[Message]:
        """The browser's and the server's word of an order; a guest types an address for it."""
        order: Json = {"event": "Order Completed", "properties": {"total": 9}}
        ids: Json = {}
        if browser.session is None:
            traits = {"email": self._typed(person)} | self._phone(person, at)
            events.append(self._event(person, "identify", at, browser, cookie, traits=traits))
        else:
            ids["userId"] = f"u{browser.session}"
            traits = {"email": self.people[browser.session].emails[0]}
        events.append(self._event(person, "track", at, browser, cookie, **order))
        if self._happens("server_forwards_cookie", person):
            ids["anonymousId"] = cookie
        context = {"context": {"traits": traits}}
        return [Message("server", at, [self._made(person, "track", at, **ids, **order, **context)])]

    def _typed(self, person: _Person) -> str:
        """The address that somebody types, right or wrong."""
        email = person.emails[self._happens("second_email", person)]
        if self._happens("typo", person):
            if self._happens("typo_is_anothers", person):
                return self._anybodys_email(person.number)
            email = f"{self._stream('typed', person.number).randrange(10**6)}{email}"
        self._own(f"email:{email}", person)
        return email

    def _anybodys_email(self, chance: int) -> str:
        whose = self._any("email", chance, self.people)
        self._own(f"email:{whose.emails[0]}", whose)
        return whose.emails[0]

    def _phone(self, person: _Person, at: float) -> Json:
        """The number that somebody gives."""
        if not (
            self._happens("gives_phone", person) and person.phone_from <= at < person.phone_until
        ):
            return {}
        self._own(f"phone:{person.phone}", person, "phone")
        return {"phone": person.phone}

    def _crm_row(self, person: _Person, at: float) -> None:
        email = person.emails[self._happens("second_email", person)]
        if self._happens("placeholder_email", person):
            email = PLACEHOLDER
        else:
            self._own(f"email:{email}", person)
        traits: Json = {"email": email}
        if self._happens("shop_phone", person) and self.branches:
            traits["phone"] = self._any("branch", person.number, self.branches)
        else:
            traits |= self._phone(person, at)
        knows = person.account and self._happens("crm_knows_account", person)
        ids = {"userId": person.user} if knows else {}
        row = self._made(person, "identify", at, **ids, traits=traits)
        self.year.messages.append(Message("crm", at, [row]))

    def _bot(self, at: float) -> None:
        cookie = self._any("bot", NOBODY, self.bots)
        events = [self._made(None, "page", at, anonymousId=cookie, name="Shop", **_agreed())]
        if self._happens("bot_names_customer"):
            traits = {"email": self._anybodys_email(NOBODY)}
            event = self._made(None, "identify", at, anonymousId=cookie, traits=traits)
            events.append(event | _agreed())
        self.year.messages.append(Message("website", at, events))

    # Browsers.

    def _chosen(self, person: _Person) -> _Browser:
        if self.kiosks and self._happens("kiosk_visit", person):
            return self._any("kiosk", person.number, self.kiosks)
        if person.tablet and self._happens("visit_on_shared_tablet", person):
            return person.tablet
        return self._any("browser", person.number, person.browsers)

    def _age(self, browser: _Browser, at: float) -> None:
        kept = (1 - self.rates["cookie_lost"]) ** ((at - browser.used) / MONTH)
        if self._stream("cookie_lost", browser.owner).random() >= kept:
            browser.cookie, browser.session = self._cookie(browser.owner), None
        browser.used = at

    def _sign_out(self, browser: _Browser, person: _Person) -> None:
        browser.session = None
        if self._happens("sign_out_resets", person):
            browser.cookie = self._cookie(browser.owner)

    def _browser(self, kind: str, owner: int) -> _Browser:
        return _Browser(kind, owner, self._cookie(owner))

    def _cookie(self, owner: int) -> str:
        return str(UUID(bytes=self._stream("cookie", owner).randbytes(16), version=4))

    # Events and the truth about them.

    def _event(
        self, person: _Person, type_: str, at: float, browser: _Browser, cookie: str, **fields: Any
    ) -> Json:
        """An event of the browser, which adds who is signed in."""
        ids = {"anonymousId": cookie}
        if browser.session is not None:
            ids["userId"] = f"u{browser.session}"
        return self._made(person, type_, at, **ids, **fields, **_agreed())

    def _made(self, person: _Person | None, type_: str, at: float, **fields: Any) -> Json:
        self.sent += 1
        id_ = f"m{self.sent}"
        event = {"type": type_, "messageId": id_, "timestamp": _iso(at), **fields}
        if person and fields.get("userId") == person.user:
            self._own(f"user_id:{person.user}", person)
        if type_ != "identify":
            known = [one for one in identifiers(event) if _is_known(one)]
            self.shown[id_] = person.number if person else None, known
        return event

    def _event_owners(self) -> dict[str, set[int]]:
        owners = self.year.owners
        return {
            id_: ({doer} if doer is not None else set()).union(
                *(owners[one] for one in known if one in owners)
            )
            for id_, (doer, known) in self.shown.items()
        }

    def _own(self, identifier: str, person: _Person, kind: str = "") -> None:
        if identifier not in self.nobodys:
            self.year.owners[identifier].add(person.number)
            self.year.kinds[identifier] = kind

    # Chance.

    def _happens(self, rate: str, person: _Person | None = None) -> bool:
        stream = self._stream(rate, person.number if person else NOBODY)
        return stream.random() < self.rates[rate]

    def _any(self, kind: str, chance: int, choices: Sequence[T]) -> T:
        return self._stream(kind, chance).choice(choices)

    def _count(self, rate: str, thousands: float) -> int:
        """At least one, so that few people have what many have."""
        return max(1, round(self.rates[rate] * thousands))

    def _visits(self, person: _Person) -> Iterator[float]:
        """Moments of the year, so many on average (a Poisson process)."""
        stream, at = self._stream("visits_a_year", person.number), 0.0
        while (at := at + stream.expovariate(self.rates["visits_a_year"])) < 1:
            yield START + at * YEAR

    def _moment(self, kind: str, chance: int) -> float:
        return START + self._stream(f"when {kind}", chance).random() * YEAR

    def _stream(self, kind: str, whose: int) -> Random:
        if (kind, whose) not in self.streams:
            self.streams[kind, whose] = Random(f"{self.seed} {kind} {whose}")  # noqa: S311
        return self.streams[kind, whose]


def identifiers(event: Json) -> list[str]:
    """What an event carries that may name somebody, where Segment's spec puts it."""
    traits = event.get("context", {}).get("traits", {}) | event.get("traits", {})
    found = {
        "user_id": event.get("userId"),
        "email": traits.get("email"),
        "phone": traits.get("phone"),
        "anonymous_id": event.get("anonymousId"),
    }
    return [f"{type_}:{value}" for type_, value in found.items() if value]


def _is_known(identifier: str) -> bool:
    return identifier.partition(":")[0] in KNOWN


def _agreed() -> Json:
    return {"context": {"consent": {"categoryPreferences": {"analytics": True}}}}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
