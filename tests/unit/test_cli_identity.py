"""A steward at the command line, before the real handlers."""

import io
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from cli import evidence, first_keys, identity, openapi
from cli.api import Api, understood
from cli.main import main
from cli.screen import Screen
from cli.target import load_stack
from tests.described import Caller
from tests.served import Served
from tests.worlds import SHARED, Json, order, sent

ANN, BOB, TABLET = "user_id:ann", "email:bob@example.com", "anonymous_id:tablet"
REASON = "two people at one till"
COLOURS = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
DOCUMENT: Json = json.loads(openapi.OUT.read_text())


class Desk:
    """A shop with its stack file, and what the commands send to its handlers."""

    def __init__(self, served: Served) -> None:
        self.shop = served.shop
        self.calls: list[tuple[str, str, Json]] = []
        self._served = served
        self._caller = Caller(served, DOCUMENT)
        keys = first_keys.ensure(served.shop.rows, None, served.shop.clock())
        self.stack: Json = {"api_url": "http://api.example", "outputs": {}} | keys

    def call(self, method: str, path: str, headers: Json, body: Any) -> Json:
        """What the wire would bring back, after the document of the API has been held to it."""
        place = urlsplit(path)
        self.calls.append((method, place.path.rpartition("/")[2], body or {}))
        resource = self._caller.route(method, place.path)
        values = re.fullmatch(re.sub(r"{\w+}", "([^/]+)", resource), place.path)
        assert values
        inside = {"identifier": unquote(values[1])} if values.groups() else {}
        query = dict(parse_qsl(place.query))
        status, answer = self._caller.answer(
            method, resource, inside, query=query, headers=headers, body=body
        )
        return understood(status, json.dumps(answer).encode())

    def wire(self) -> Callable[..., Json]:
        return lambda _, *call: self.call(*call)

    def send(self, source: str, *events: Json) -> None:
        key = self.stack["write_keys"][source]
        self.shop.send(self._served.wiring.credentials.source({}, key), *events)

    @property
    def changes(self) -> list[str]:
        """The calls that changed something."""
        return [
            f"{method} {part}"
            for method, part, body in self.calls
            if method != "GET" and not body.get("dry_run")
        ]


def opened(monkeypatch: pytest.MonkeyPatch, folder: Path, columns: int) -> Desk:
    """A desk whose stack file is in `folder`, and a terminal so wide."""
    made = Desk(Served(monkeypatch))
    (folder / "stack.json").write_text(json.dumps(made.stack))
    monkeypatch.setattr(load_stack, "__defaults__", (folder,))
    monkeypatch.setattr(Api, "_call", made.wire())
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    return made


def speaking(capsys: pytest.CaptureFixture[str], family: str) -> Any:
    """Runs a command of a family; what it said, with its exit code first."""

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main([family, *words])
        return code, COLOURS.sub("", "".join(capsys.readouterr()))

    return run


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    made = opened(monkeypatch, tmp_path, 160)
    monkeypatch.setattr(identity, "time", SimpleNamespace(time=made.shop.clock))
    return made


@pytest.fixture
def melted(desk: Desk) -> Desk:
    """Ann logged in at a shop's tablet; Bob, who has an email there alone, ordered at it."""
    desk.send("client", sent("identify", "i1", userId="ann", anonymousId="tablet"))
    bob: Json = {"traits": {"email": "bob@example.com"}}
    desk.send("server", order("o1", anonymousId="tablet", context=bob))
    bob = {"traits": {"email": "bob@example.com", "phone": "+49301234567"}}
    desk.send("crm", order("o2", context=bob))
    assert len(desk.shop.profiles()) == 1
    return desk


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return speaking(capsys, "identity")


def answered(said: Any, *words: str) -> tuple[int, Json]:
    code, text = said(*words, "--json")
    answer: Json = json.loads(text)
    return code, answer


def terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Somebody sits there and types."""
    typed = io.StringIO(answer)
    typed.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", typed)
    monkeypatch.setattr(Console, "is_terminal", property(lambda _: True))


def test_why_is_told_a_step_a_line_with_the_names_of_sources(melted: Desk, said: Any) -> None:
    code, text = said("why", ANN, BOB)

    assert code == 0
    assert "one person: 2 pieces of evidence" in text
    (first,) = (line for line in text.splitlines() if ANN in line and TABLET in line)
    (second,) = (line for line in text.splitlines() if TABLET in line and BOB in line)
    assert first.index(ANN) < first.index(TABLET)
    assert "An identify event named both, from web shop on 2026-09-21" in first
    assert "A track event named both, from shop server on 2026-09-21" in second
    assert "candor identity split user_id:ann email:bob@example.com" in text
    assert melted.stack["ids"]["client"] not in text


def test_why_names_no_value_that_the_purpose_may_not_know(melted: Desk, said: Any) -> None:
    _, told = answered(said, "why", ANN, "phone:+49301234567")
    assert len(told["chain"]) == 3

    _, text = said("why", ANN, "phone:+49301234567", "--as", "analyst", "--purpose", "analytics")

    assert "bob@example.com" not in text
    assert "email (withheld)" in text
    assert text.count("phone:+49301234567") == 3, "in the title, a step and the way on"
    _, text = said("why", BOB, ANN, "--as", "analyst", "--purpose", "analytics")
    assert "email (withheld)" not in text


def test_why_says_what_keeps_two_apart(melted: Desk, said: Any) -> None:
    melted.send("server", order("o3", userId="cy", anonymousId="tablet"))

    code, text = said("why", TABLET, "user_id:cy")

    assert code == 0
    assert "not one person" in text
    assert "from shop server on" in text
    assert "may not hold more user_id" in text
    assert "candor identity split" not in text


def test_who_is_unknown_is_told_as_everywhere(desk: Desk, said: Any) -> None:
    for words in (
        ("why", "user_id:nobody", ANN),
        ("split", "user_id:nobody", ANN, "--reason", REASON, "--yes"),
        ("split", "user_id:nobody", ANN, "--lift"),
        ("quarantine", "user_id:nobody", "--reason", "other"),
        ("release", "user_id:nobody"),
        ("picture", "user_id:nobody"),
    ):
        code, text = said(*words)
        assert code == 1
        assert "There is no profile for user_id:nobody" in text


def test_a_split_is_shown_before_anybody_is_asked(
    melted: Desk, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch, "n\n")

    code, text = said("split", ANN, BOB, "--reason", REASON)

    assert code == 1
    assert "Nothing was changed" in text
    assert melted.changes == []
    keeps, moves = text.index("keeps the profile"), text.index("gets a profile of its own")
    assert keeps < text.index(ANN) < moves < text.index(BOB) < text.index("[y/N]")
    assert "email, phone" in text
    assert re.search(r"events +2\b", text)
    assert len(melted.shop.profiles()) == 1


@pytest.mark.parametrize("answer", ["", "\n", "nope\n", "yesterday\n"])
def test_only_yes_is_yes(
    answer: str, melted: Desk, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch, answer)
    assert said("split", ANN, BOB, "--reason", REASON)[0] == 1
    assert melted.changes == []


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_who_says_yes_separates_them(
    answer: str, melted: Desk, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch, answer)

    code, text = said("split", ANN, BOB, "--reason", REASON)

    assert code == 0
    assert "stay two people" in text
    assert len(melted.shop.profiles()) == 2


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_without_anybody_to_ask_nothing_is_changed(
    more: tuple[str, ...], melted: Desk, said: Any
) -> None:
    code, text = said("split", ANN, BOB, "--reason", REASON, *more)

    assert code == 1
    assert "Nobody can be asked here" in text
    assert "--yes" in text
    assert melted.changes == []
    if more:
        assert json.loads(text)["success"] is False


def test_a_dry_run_changes_nothing(melted: Desk, said: Any) -> None:
    code, told = answered(said, "split", ANN, BOB, "--reason", REASON, "--dry-run")

    assert (code, told["dry_run"], len(told["parts"])) == (0, True, 2)
    assert melted.changes == []


def test_what_was_separated_stays_so_until_it_is_lifted(melted: Desk, said: Any) -> None:
    again: Json = {"traits": {"email": "bob@example.com"}}
    assert answered(said, "split", ANN, BOB, "--reason", REASON, "--yes")[0] == 0

    melted.send("server", order("o4", userId="ann", context=again))
    assert "A person separated them on 2026-09-21" in said("why", ANN, BOB)[1]

    assert "Lifted" in said("split", ANN, BOB, "--lift")[1]
    assert len(melted.shop.profiles()) == 2
    melted.send("server", order("o5", userId="ann", context=again))
    assert "one person: One event named both" in said("why", ANN, BOB)[1]
    code, text = said("split", ANN, BOB, "--lift")
    assert (code, "not separated" in text) == (1, True)


def test_two_that_are_in_two_profiles_can_be_kept_apart(desk: Desk, said: Any) -> None:
    desk.send("server", order("o1", userId="ann"), order("o2", userId="cy"))

    _, text = said("split", ANN, "user_id:cy", "--reason", REASON, "--yes")

    assert "in two profiles already" in text
    assert "Separated" in text


def test_a_profile_that_changed_meanwhile_is_shown_as_it_was_split(
    melted: Desk, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def while_they_think(self: Screen, question: str, fix: str) -> bool:
        melted.send("server", order("o9", userId="ann", anonymousId="phone"))
        return True

    monkeypatch.setattr(Screen, "confirmed", while_they_think)

    _, text = said("split", ANN, BOB, "--reason", REASON)

    assert "had changed meanwhile" in text
    first, again = text.split("keeps the profile")[1:]
    assert "anonymous_id:phone" not in first
    assert "anonymous_id:phone" in again


@pytest.mark.parametrize(
    "words",
    [
        ("split", ANN, BOB),
        ("split", ANN, "bob", "--reason", REASON),
        ("quarantine", TABLET),
        ("quarantine", "--reason", "other"),
        ("quarantine", "tablet", "--reason", "other"),
        ("release", "tablet"),
        ("picture", "tablet"),
        ("why", ANN, "bob"),
    ],
)
def test_half_a_command_asks_for_nothing(words: tuple[str, ...], desk: Desk, said: Any) -> None:
    code, text = said(*words)
    assert code == 1
    assert text.startswith("✗ ")
    assert desk.calls == []


def test_a_tablet_is_quarantined_listed_and_released(melted: Desk, said: Any) -> None:
    assert "Nothing is in quarantine" in said("quarantine")[1]

    code, text = said("quarantine", TABLET, "--reason", "shared_device")
    assert (code, "joins nobody" in text) == (0, True)
    listed = said("quarantine")[1]
    for words in (TABLET, "first dpo", "a device that several people share", "2026-09-21"):
        assert words in listed

    assert said("release", TABLET)[0] == 0
    assert "Nothing is in quarantine" in said("quarantine")[1]
    code, text = said("release", TABLET)
    assert (code, "in no quarantine" in text) == (1, True)


def test_how_candor_itself_found_what_many_share_is_told_in_words(desk: Desk, said: Any) -> None:
    for n in range(SHARED + 2):
        desk.send("crm", order(f"o{n}", userId=f"{n}", anonymousId="till"))

    text = said("quarantine")[1]

    assert "anonymous_id:till" in text
    assert "Candor itself" in text
    words = f"it was met with {SHARED + 1} user_id, the last of them said by CRM (secret key)"
    assert words in text


def test_what_is_gone_is_no_value(desk: Desk) -> None:
    gone = {"identifier": {"type": "email", "value": None}, "at": 0, "by": "x", "because": {}}
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(evidence.quarantine([gone], {}))
    assert "email (gone)" in console.export_text()


def test_refused_links_are_counted_by_rule_source_and_day(desk: Desk, said: Any) -> None:
    desk.send("crm", order("o1", userId="1", anonymousId="a1"))
    desk.send("crm", order("o2", userId="2", anonymousId="a1"))
    desk.shop.clock.now += 86_400
    desk.send("server", order("o3", userId="3", anonymousId="a1"))
    desk.send("crm", order("o4", userId="4", anonymousId="a1"))

    code, told = answered(said, "stats")

    (rule,) = told["refused"]
    assert (code, rule["rule"]) == (0, "limit:user_id")
    assert rule["meaning"] == "a profile may not hold more user_id than the policy's limit"
    assert rule["sources"] == [
        {"name": "CRM", "by_day": [0, 0, 0, 0, 0, 1, 1]},
        {"name": "shop server", "by_day": [0, 0, 0, 0, 0, 0, 1]},
    ]
    assert told["days"][-1] == "2026-09-22"
    assert told["quarantined"] == 0

    text = said("stats")[1]
    assert "limit:user_id: a profile may not hold more user_id" in text
    assert "reset()" in text
    assert "09-22" in text
    assert "0 identifiers are in quarantine" in text


def test_a_source_made_later_is_named_too(desk: Desk, said: Any) -> None:
    spec = {"kind": "source", "name": "till SDK", "source": "server", "trust": "server"}
    id_, key = first_keys.issue(desk.shop.rows, spec, desk.shop.clock())
    desk.stack["write_keys"]["till"] = key
    desk.send("till", order("o1", userId="1", anonymousId="a1"))
    desk.send("till", order("o2", userId="2", anonymousId="a1"))

    text = said("stats")[1]

    assert "till SDK" in text
    assert id_ not in text


def test_a_week_without_refusals_is_said_so(desk: Desk, said: Any) -> None:
    assert "No link was refused in the last 7 days." in said("stats")[1]


def test_a_rule_of_another_version_is_told_as_it_is() -> None:
    counted = [{"source": "s", "day": 7, "outcomes": {"refused_link:new_rule": 1, "stored": 2}}]
    (found,) = evidence.refusals(counted, {}, 7)
    assert (found["rule"], found["meaning"], found["often"]) == ("new_rule", "new_rule", "")
    assert evidence.refusals(counted, {}, 7 + evidence.DAYS) == []


def test_a_picture_tells_every_identifier_and_link_once(melted: Desk, said: Any) -> None:
    code, text = said("picture", ANN)

    assert code == 0
    lines = [line.strip("│ ") for line in text.splitlines()]
    for name in (ANN, TABLET, BOB, "phone:+49301234567"):
        assert sum(line.lstrip("├└─ │").startswith(name) for line in lines) == 1
    assert text.index(ANN) < text.index(TABLET) < text.index(BOB) < text.index("phone:")
    (tablet,) = (line for line in lines if TABLET in line)
    assert "identify event, 2026-09-21, web shop (public key, unproven)" in tablet


def test_a_picture_shows_what_was_refused_and_what_was_taken_apart(melted: Desk, said: Any) -> None:
    for n in range(1, 4):
        melted.send("crm", order(f"x{n}", userId=f"{n}", anonymousId="tablet"))
    answered(said, "split", ANN, BOB, "--reason", REASON, "--yes")

    text = said("picture", TABLET)[1]

    assert "╌╌✕ somebody outside   refused: too many user_id" in text
    assert "3 times" in text
    assert "╌╌✕ somebody outside   taken apart again" in text
    assert "user_id:1" not in text, "it is somebody else's"


def test_a_picture_is_written_for_its_owner_alone(melted: Desk, said: Any, tmp_path: Path) -> None:
    file = tmp_path / "graph.svg"

    code, told = answered(said, "picture", ANN, "--svg", str(file))

    assert (code, told["svg"]) == (0, str(file))
    assert len(told["links"]) == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "".join(ET.parse(file).getroot().itertext()).count(BOB) > 1  # noqa: S314
    code, text = said("picture", ANN, "--svg", str(tmp_path / "no" / "where.svg"))
    assert code == 1
    assert "cannot be written: No such file or directory" in text


def test_a_picture_shows_a_purpose_no_more_than_it_may_know(
    melted: Desk, said: Any, tmp_path: Path
) -> None:
    file = tmp_path / "graph.svg"

    _, text = said("picture", ANN, "--as", "analyst", "--purpose", "analytics", "--svg", str(file))

    drawn = file.read_text()
    for secret in ("bob@example.com", "49301234567", "tablet"):
        assert secret not in text + drawn
    assert "email (withheld)" in text
    assert "withheld" in drawn


def test_a_steward_of_the_first_keys_may_do_it_for_the_service(melted: Desk, said: Any) -> None:
    code, told = answered(said, "split", ANN, BOB, "--reason", REASON, "--yes", "--as", "steward")
    assert (code, told["purpose"]) == (0, "service")
