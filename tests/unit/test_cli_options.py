"""What the command line understands, and how it says that it does not."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any, get_args

import pytest

from candor import requests
from cli import commands, consent, demo, keys, profile, running
from cli.api import Answered, Api, identifier, profile_path, understood
from cli.main import main
from cli.problem import Problem
from cli.screen import Screen
from cli.target import ROOT, StackFile, choose, load_stack

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANDOR_PORT", raising=False)


@pytest.fixture
def local_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack file for an emulator that does not run."""
    stack = {
        "endpoint_url": "http://127.0.0.1:1",
        "api_url": "http://127.0.0.1:1/_aws/execute-api/a",
        "write_keys": {"client": "wk", "server": "wk"},
        "tokens": dict.fromkeys(("admin", "dpo", "analyst", "marketer"), "tk"),
        "outputs": {"CollectFunction": "c", "UnifyFunction": "u"},
    }
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    monkeypatch.setattr(load_stack, "__defaults__", (tmp_path,))
    return tmp_path


SHOW = """
import sys
from cli import keys
from cli.api import Api
from cli.main import main
keys.load_stack = lambda *_: {"api_url": "", "tokens": {"admin": "tk"}}
Api._call = lambda *_: {"data": [{"id": "1", "name": "Zoë"}]}
"""


@pytest.mark.parametrize(
    "words",
    [
        "demo",
        "up --endpoint-url http://127.0.0.1:4570",
        "up --config-env dev --json",
        "down",
        "reset",
        "status --json",
        "tail --since 60 --seconds 1",
        "import people.csv --mapping hubspot_contacts --dry-run",
        "keys create shop --source website",
        "keys create Ann --role analyst --purposes analytics,service",
        "keys list",
        "keys revoke abc",
        "policy check other.yaml --json",
        "policy suggest",
        "policy diff HEAD~1 other.yaml",
        "profile show user_id:42 --as marketer --purpose marketing --why",
        "consent set user_id:42 marketing=granted analytics=denied",
        "consent set user_id:42 marketing=granted --language de-DE --text-version 2026-03",
        "consent explain user_id:42 marketing --at 2026-03-31T12:00Z --as analyst",
        "consent rebuild user_id:42 --dry-run --purpose privacy_rights",
        "consent rebuild --file people.txt --from 12 --json",
        "privacy erase email:a@example.com --mode erase_and_suppress --dry-run --no-wait",
        "identity why user_id:1 email:a@b.c --purpose service --as analyst",
        "identity split user_id:1 user_id:2 --reason mistaken --yes",
        "identity split user_id:1 user_id:2 --reason mistaken --dry-run",
        "identity split user_id:1 user_id:2 --lift",
        "identity quarantine",
        "identity quarantine anonymous_id:till --reason shared_device --as steward",
        "identity release anonymous_id:till",
        "identity stats --json",
        "identity picture user_id:1 --svg graph.svg",
        "receipt download user_id:1 --only marketing --out it.json --purpose privacy_rights",
        "receipt verify it.json --key key.pem",
        "receipt key",
        "dlq list --json",
        "dlq redrive audit --limit 5 --dry-run --wait 0",
        "archive vacuum --no-wait",
        "archive status --json",
        "retention apply --dry-run --as admin",
        "retention apply --yes --json",
        "retention status",
        "privacy status",
        "privacy status 01",
        "privacy certificate 01 --out it.json",
        "privacy erase --file ids.csv --no-wait",
        "privacy restrict user_id:42 --verified-by letter",
        "privacy object user_id:42 marketing",
        "privacy rectify user_id:42 name=Ann age:=7",
        "privacy approve 01",
        "privacy cancel 01",
        "privacy refuse 01 legal_claims",
        "hold place user_id:42 --reason court --until 2027-12-31",
        "restore replay",
        "hold list",
        "hold release 01",
        "fence lift user_id:42",
        "certificate verify it.json --key key.pem",
    ],
)
def test_every_documented_command_has_code_behind_it(words: str) -> None:
    options = commands.parser().parse_args(words.split())
    names = {cell.cell_contents for cell in options.run.__closure__}
    found = [
        getattr(import_module(f"cli.{module}"), function, None)
        for module, function in permutations(names)
        if find_spec(f"cli.{module}")
    ]
    assert any(callable(each) for each in found)


def test_the_grounds_of_a_refusal_are_those_of_the_domain() -> None:
    assert get_args(requests.Ground) == commands.GROUNDS


def test_a_key_is_for_a_source_or_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("keys create x", "keys create x --role dpo --source crm"):
        with pytest.raises(SystemExit):
            commands.parser().parse_args(words.split())
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "trust"),
    [
        ("--source website", "client"),
        ("--source app", "client"),
        ("--source crm", "server"),
        ("--source app --trust server", "server"),
    ],
)
def test_browsers_and_apps_are_not_trusted_unless_said(words: str, trust: str) -> None:
    options = commands.parser().parse_args(["keys", "create", "x", *words.split()])
    assert keys.spec_of(options)["trust"] == trust


def test_a_webhook_names_its_mapping() -> None:
    words = ["keys", "create", "Leads", "--source", "webhook", "--mapping", "lead_form"]
    spec = keys.spec_of(commands.parser().parse_args(words))
    assert (spec["trust"], spec["mapping"]) == ("server", "lead_form")
    words = ["keys", "create", "Ann", "--role", "analyst", "--mapping", "lead_form"]
    with pytest.raises(Problem, match="go with --source"):
        keys.spec_of(commands.parser().parse_args(words))


def test_a_token_names_its_purposes() -> None:
    words = ["keys", "create", "Ann", "--role", "analyst", "--purposes", "analytics, service"]
    assert keys.spec_of(commands.parser().parse_args(words)) == {
        "kind": "token",
        "name": "Ann",
        "role": "analyst",
        "purposes": ["analytics", "service"],
    }


@pytest.mark.parametrize("purposes", ["", "analytics,tpyo"])
def test_the_first_token_of_a_stack_in_aws_can_read_something(
    purposes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["keys", "create", "x", "--role", "analyst", "--purposes", purposes]
    options = commands.parser().parse_args([*words, "--config-env", "prod"])
    monkeypatch.setattr(keys, "_admin_known", lambda _: False)
    monkeypatch.setattr(keys, "Deployment", lambda *_: pytest.fail("it went on"))
    with pytest.raises(Problem, match="policy's: analytics, marketing"):
        keys.create(options, Screen())


def test_a_webhooks_address_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = {"api_url": "http://127.0.0.1:4566/_aws/execute-api/x", "tokens": {}, "outputs": {}}
    monkeypatch.setattr(keys, "load_stack", lambda *_: stack)
    made = {"id": "1", "key": "wk_1", "mapping": "lead_form"}
    monkeypatch.setattr(Api, "staff", lambda *_, **__: dict(made))

    words = ["keys", "create", "Leads", "--source", "webhook", "--mapping", "lead_form"]
    assert main(words) == 0
    assert f"{stack['api_url']}/v1/webhooks/wk_1\n" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["address"] == f"{stack['api_url']}/v1/webhooks/wk_1"


def test_a_profile_by_a_type_that_is_none_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile, "load_stack", lambda *_: {"api_url": "http://x", "outputs": {}})

    def nobody(*_: Any, **__: Any) -> None:
        raise Answered(404, "not_found", "There is none.", "")

    monkeypatch.setattr(Api, "staff", nobody)
    for type_, said in (("nobody", "no identifier type 'nobody'"), ("user_id", "the person was")):
        assert main(["profile", "show", f"{type_}:1"]) == 1
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_demo_of_a_policy_without_its_purpose_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "WITHHELD_FOR", "selling")
    monkeypatch.setattr(running, "up", lambda *_: pytest.fail("it went on"))

    assert main(["demo"]) == 1
    assert "has no purpose `selling`" in " ".join(capsys.readouterr().err.split())


def test_a_choice_becomes_the_body_of_the_api() -> None:
    body = consent.body_of("user_id:42", ["marketing=granted", "analytics=denied"], NOON)
    assert body == {
        "userId": "42",
        "purposes": {"marketing": True, "analytics": False},
        "mechanism": "preference_center",
        "timestamp": "2026-05-04T12:00:00.000Z",
    }


@pytest.mark.parametrize("choice", ["marketing", "marketing=yes", "=granted", "marketing="])
def test_an_unclear_choice_is_never_recorded(choice: str) -> None:
    with pytest.raises(Problem, match="not a choice"):
        consent.body_of("user_id:42", [choice], NOON)


def test_a_choice_needs_somebody_who_can_choose() -> None:
    with pytest.raises(Problem, match="user_id or an anonymous_id"):
        consent.body_of("email:a@example.com", ["marketing=granted"], NOON)


@pytest.mark.parametrize("text", ["42", "user_id:", ":42", ""])
def test_an_identifier_has_a_type_and_a_value(text: str) -> None:
    with pytest.raises(Problem):
        identifier(text)


def test_identifiers_travel_safely_in_a_path() -> None:
    assert identifier("email:a:b@c") == ("email", "a:b@c")
    assert profile_path("email:a/b?@c") == "/profiles/email:a%2Fb%3F%40c"


def test_a_refusal_of_the_api_keeps_its_words() -> None:
    with pytest.raises(Answered) as caught:
        understood(401, b'{"success": false, "code": "unknown_token", "message": "No."}')
    assert (caught.value.status, caught.value.code) == (401, "unknown_token")
    assert "make up" in caught.value.fix
    assert understood(200, b"{}") == {}


def test_an_answer_that_is_no_json_is_no_traceback() -> None:
    with pytest.raises(Answered, match="Bad gateway"):
        understood(502, b"<html>Bad gateway")


def test_a_success_that_is_not_candors_is_none() -> None:
    for body in (b"<html>Log in to the network", b"[]", b""):
        with pytest.raises(Problem, match="not Candor"):
            understood(200, body)


@pytest.mark.parametrize("words", ["privacy status", "privacy certificate", "keys revoke"])
@pytest.mark.parametrize("wrong", ["../keys", "a/b", "a b", "", "a?b"])
def test_an_id_never_becomes_another_path(
    words: str, wrong: str, local_stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words.split(), wrong]) == 1
    assert "is not an id" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["profile show 42", "privacy erase 42", "receipt download 42"])
def test_a_typo_is_said_before_anything_is_begun(
    words: str, local_stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 1
    assert capsys.readouterr().err.startswith("✗ '42' is not an identifier.")


def test_a_profile_is_asked_for_without_its_identifier_in_a_url(
    local_stack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def answer(_: Api, *call: Any) -> dict[str, Any]:
        calls.append(call)
        return {}

    monkeypatch.setattr(Api, "_call", answer)
    assert main(["profile", "show", "user_id:a/b%2Fc"]) == 0
    ((method, path, _, body),) = calls
    assert (method, path) == ("POST", "/profiles/query")
    assert body == {"identifier": {"type": "user_id", "value": "a/b%2Fc"}}


@pytest.mark.parametrize("words", ["status", "tail", "keys list", "profile show user_id:1"])
def test_a_damaged_stack_file_is_one_sentence(
    words: str, local_stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (local_stack / "stack.json").write_text("{}")
    assert main(words.split()) == 1
    assert "There is no stack here yet." in capsys.readouterr().err


@pytest.mark.parametrize("words", ["status", "tail", "profile show user_id:1"])
def test_an_emulator_that_is_gone_is_said_so(
    words: str, local_stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 1
    assert "Nothing answers at http://127.0.0.1:1." in capsys.readouterr().err


def test_a_terminal_without_unicode_gets_what_it_can_show() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{SHOW}\nsys.exit(main(['keys', 'list']))"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Zo?" in done.stdout


@pytest.mark.parametrize("words", [["keys", "revoke", ".."], ["keys", "list"]])
def test_a_reader_that_went_away_is_no_traceback(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", f"{SHOW}\nsys.exit(main({[*words, '--json']}))"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_keys_fit_a_narrow_terminal(
    local_stack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    purposes = ["marketing", "personalization", "service"]
    listed: list[dict[str, Any]] = [
        {"id": "a" * 32, "name": "first marketer", "role": "marketer", "purposes": purposes},
        {"id": "b" * 32, "name": "web shop", "source": "website", "trust": "client"},
    ]
    dated = [one | {"created": 1_777_900_000, "revoked": None} for one in listed]
    monkeypatch.setattr(Api, "_call", lambda *_: {"data": dated})
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["keys", "list"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    words = {"a" * 32, "b" * 32, "website", "(client)", "2026-05-04", "marketer"}
    assert words <= set(said.split())
    assert set(said.split()) >= set(purposes)


def test_a_missing_make_up_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load_stack, "__defaults__", (tmp_path,))
    assert main(["profile", "show", "user_id:42"]) == 1
    said = capsys.readouterr()
    assert said.err == "✗ There is no stack here yet.\n  Run `make up` first.\n"
    assert main(["profile", "show", "user_id:42", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["fix"] == "Run `make up` first."


def test_the_options_choose_the_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert choose(None, "local", tmp_path).endpoint == "http://127.0.0.1:4566"
    assert choose(None, "local", tmp_path).ours
    other = choose("http://127.0.0.1:4570/", "local", tmp_path)
    assert (other.endpoint, other.ours, other.name) == (
        "http://127.0.0.1:4570",
        False,
        "127.0.0.1-4570",
    )
    assert choose(None, "dev", tmp_path).endpoint is None
    for wrong in ("127.0.0.1:4570", "ftp://x", "http://"):
        with pytest.raises(Problem):
            choose(wrong, "local", tmp_path)
    with pytest.raises(Problem):
        choose("http://127.0.0.1:4570", "dev", tmp_path)
    monkeypatch.setenv("CANDOR_PORT", "80")
    with pytest.raises(Problem, match="CANDOR_PORT"):
        choose(None, "local", tmp_path)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    first, second = choose(None, "local", tmp_path), choose("http://h:1", "local", tmp_path)
    StackFile(first).write({"api_url": "", "outputs": {}, "tokens": {"admin": "one"}})
    StackFile(second).write({"api_url": "", "outputs": {}, "tokens": {"admin": "two"}})
    current = tmp_path / "stack.json"
    assert current.stat().st_mode & 0o777 == 0o600
    assert load_stack(None, "local", tmp_path)["tokens"]["admin"] == "two"
    assert load_stack("http://127.0.0.1:4566", "local", tmp_path)["tokens"]["admin"] == "one"


def test_json_silences_everything_else(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=True)
    with screen.progress("x") as progress:
        progress.tick("y")
    screen.show("a")
    screen.note("b")
    screen.line("c")
    screen.answer({"name": "Zoë"})
    said = capsys.readouterr()
    assert json.loads(said.out) == {"name": "Zoë"}
    assert said.err == ""
