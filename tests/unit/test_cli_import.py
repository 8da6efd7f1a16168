"""`candor import` against the real handlers behind a socket, which fail as they are told to."""

import gzip
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from candor import imports
from cli import importing
from cli.api import Api
from cli.input_file import Bookmark, Done
from cli.main import main
from cli.target import ROOT, load_stack
from tests.served import Served

Json = dict[str, Any]
SAMPLES = ROOT / "events" / "imports"
CUT = 0
"""As a status: the connection ends without an answer, after the request was taken."""


class Server:
    """`refusing` holds what it does to the next requests: a status, and perhaps seconds to wait."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.refusing: list[tuple[int, str]] = []
        self.bodies: list[Json] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status, seconds = server.refusing.pop(0) if server.refusing else (200, "")
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if status not in (200, CUT):
                    said: Json = {"statusCode": status, "body": '{"code": "busy", "message": "!"}'}
                else:
                    said = server.take(self.path, dict(self.headers), body)
                if status == CUT:
                    return
                self.send_response(said["statusCode"])
                if seconds:
                    self.send_header("Retry-After", seconds)
                self.send_header("Content-Length", str(len(said["body"])))
                self.end_headers()
                self.wfile.write(said["body"].encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def take(self, path: str, headers: Json, body: bytes) -> Json:
        self.bodies.append(json.loads(body))
        event = {
            "resource": path.removeprefix("/v1"),
            "httpMethod": "POST",
            "headers": headers,
            "body": body.decode(),
        }
        answer: Json = self.served.invoke("collect", event)
        return answer


@pytest.fixture
def server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Server]:
    monkeypatch.delenv("CANDOR_PORT", raising=False)
    made = Server(Served(monkeypatch))
    local = tmp_path / "local"
    local.mkdir()
    key = made.served.write_key("server")
    stack = {"api_url": made.url, "write_keys": {"crm": key}, "outputs": {}}
    (local / "stack.json").write_text(json.dumps(stack))
    monkeypatch.setattr(load_stack, "__defaults__", (local,))
    monkeypatch.setattr(importing, "LOCAL", local)
    made.thread.start()
    yield made
    made.http.shutdown()
    made.thread.join()
    made.http.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without waiting."""
    found: list[float] = []
    send = importing.send
    monkeypatch.setattr(importing, "send", lambda api, events: send(api, events, found.append))
    return found


def sample(name: str, folder: Path) -> Path:
    return Path(shutil.copy(SAMPLES / name, folder / name))


def people(path: Path, count: int, wrong: tuple[int, ...] = ()) -> Path:
    rows = [f"{n},{'' if n in wrong else n}@example.com" for n in range(1000, 1000 + count)]
    for place in wrong:
        rows[place - 1000] = "no cell here"
    path.write_text("\n".join(["id,mail", *rows]))
    return path


MAP = ["--map", "id=userId", "--map", "mail=traits.email"]


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def users(server: Server) -> list[str]:
    return [event["userId"] for body in server.bodies for event in body["batch"]]


def stored(server: Server) -> dict[tuple[str, str], Any]:
    """All rows of what an import leaves: the graph's, with what is sealed opened, and bundles."""
    shop = server.served.shop
    salts = {row["pk"]: row.get("salt") for row in shop.rows.held("keys")}
    found: dict[tuple[str, str], Any] = {}
    for row in shop.rows.held("graph"):
        owner = salts.get(row["pk"].partition("#")[2])
        data = shop.world.vault.open(owner, row["data"], row["pk"]) if "data" in row else None
        found[row["pk"], row["sk"]] = row | {"data": data}
    return found | {(row["pk"], row["sk"]): row["n"] for row in shop.rows.held("events")}


def test_a_crm_export_becomes_profiles_and_its_bad_lines_a_file(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample("hubspot-contacts.csv", tmp_path)
    assert main(["import", str(path), "--mapping", "hubspot_contacts"]) == 0
    assert "3 sent, 2 rejected" in capsys.readouterr().err
    rejected = tmp_path / "hubspot-contacts.csv.rejected.ndjson"
    assert [(one["line"], one["code"], one["text"][:5]) for one in lines(rejected)] == [
        (6, "ragged_row", "9004,"),
        (7, "bad_boolean", "9005,"),
    ]
    assert rejected.stat().st_mode & 0o777 == 0o600
    server.served.unify()
    shop = server.served.shop
    assert (
        shop.read("email:ann@example.com")["traits"]["company"]["value"]["name"] == "Example, Ltd."
    )
    assert shop.read("user_id:9001", "marketing")["traits"]["email"]
    assert shop.state("user_id:9002", "marketing") == "denied"
    assert shop.state("user_id:9003", "marketing") == "denied"


def test_what_the_server_refuses_is_told_by_its_line(server: Server, tmp_path: Path) -> None:
    path = sample("orders.ndjson", tmp_path)
    assert main(["import", str(path)]) == 0
    rejected = lines(tmp_path / "orders.ndjson.rejected.ndjson")
    assert [(one["line"], one["code"]) for one in rejected] == [
        (3, "no_timestamp"),
        (4, "bad_json"),
        (5, "no_identifier"),
    ]
    assert json.loads(rejected[2]["text"])["properties"]["order_id"] == "1004"


def test_the_same_file_twice_stores_nothing_twice(server: Server, tmp_path: Path) -> None:
    for name in ("orders.ndjson", "hubspot-contacts.csv"):
        path = sample(name, tmp_path)
        options = ["--mapping", "hubspot_contacts"] if name.endswith("csv") else []
        assert main(["import", str(path), *options]) == 0
        server.served.unify()
        before = stored(server)
        again = tmp_path / f"again-{name}"
        again.write_bytes(path.read_bytes())
        assert main(["import", str(again), *options, "--as-of", "2026-01-01"]) == 0
        server.served.unify()
        assert stored(server) == before
        assert before


def test_a_later_export_of_the_same_facts_is_no_second_person(
    server: Server, tmp_path: Path
) -> None:
    """One more column, another order: the same events; of a changed trait the later file counts."""
    path = tmp_path / "people.csv"
    for as_of, text in (
        ("2026-02-01", "id,mail,name\n7,a@example.com,New\n"),
        ("2026-01-01", "age,name,mail,id\n5,Old,a@example.com,7\n"),
    ):
        path.write_text(text)
        assert main(["import", str(path), *MAP, "--map", "name=traits.name", "--as-of", as_of]) == 0
    server.served.unify()
    assert server.served.shop.read("user_id:7")["traits"]["name"]["value"] == "New"


def test_a_gzipped_file_is_the_same_file(server: Server, tmp_path: Path) -> None:
    path = people(tmp_path / "people.csv", 3)
    packed = tmp_path / "people.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for each in (path, packed):
        assert main(["import", str(each), *MAP, "--as-of", "2026-01-01"]) == 0
    assert server.bodies[0] == server.bodies[1]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_import_that_was_stopped_goes_on_where_it_was(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    monkeypatch.setattr(imports, "CHUNK_LINES", 10)
    path = people(tmp_path / "people.csv", 45, wrong=(1003, 1013, 1041))
    if suffix:
        packed = tmp_path / "people.csv.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    collect = Api.collect

    def interrupted(self: Api, *call: Any) -> Json:
        answer = collect(self, *call)
        if len(server.bodies) == 3:  # taken, and not yet known to be
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Api, "collect", interrupted)
        assert main(["import", str(path), *MAP]) == 130
    assert "before line 22 is sent; the same command goes on" in capsys.readouterr().err
    rejected = tmp_path / f"{path.name}.rejected.ndjson"
    assert [one["line"] for one in lines(rejected)] == [5, 15]

    assert main(["import", str(path), *MAP, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["rejected_lines"]) == (42, 3)
    assert told["rejected"] == {"ragged_row": 3}, "those of the run before included"
    assert told["from_line"] == 22, "of what is said"
    assert [one["line"] for one in lines(rejected)] == [5, 15, 43]
    assert server.bodies[2] == server.bodies[3]
    assert len(server.bodies) == 6
    assert len(set(users(server))) == 42
    assert list((tmp_path / "local" / "imports").iterdir()) == []


def test_lines_that_come_again_are_rejected_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it was stopped between writing them down and knowing so; and for its owner alone."""
    monkeypatch.setattr(imports, "CHUNK_LINES", 10)
    path = people(tmp_path / "people.csv", 15, wrong=(1001, 1012))
    rejected = tmp_path / "people.csv.rejected.ndjson"
    rejected.write_text("of an import before\n")
    rejected.chmod(0o644)
    write = Bookmark.write

    def interrupted(self: Bookmark, done: Done) -> None:
        if done.rejected == 2:
            raise KeyboardInterrupt
        write(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(Bookmark, "write", interrupted)
        assert main(["import", str(path), *MAP]) == 130
    for _ in range(2):
        assert [one["line"] for one in lines(rejected)] == [3, 14]
        assert rejected.stat().st_mode & 0o777 == 0o600
        assert main(["import", str(path), *MAP]) == 0


def test_a_file_that_changed_meanwhile_is_another_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK_LINES", 10)
    path = people(tmp_path / "people.csv", 25)
    server.refusing = [(200, ""), (403, "")]
    assert main(["import", str(path), *MAP]) == 1
    people(path, 26)
    assert main(["import", str(path), *MAP]) == 0
    assert users(server)[10:] == [str(n) for n in range(1000, 1026)]


def test_restart_begins_at_the_beginning(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK_LINES", 10)
    path = people(tmp_path / "people.csv", 15)
    server.refusing = [(200, ""), (403, "")]
    assert main(["import", str(path), *MAP]) == 1
    assert main(["import", str(path), *MAP, "--restart"]) == 0
    assert len(users(server)) == 10 + 15


def test_a_busy_server_is_waited_for_as_long_as_it_says(
    server: Server, tmp_path: Path, waits: list[float]
) -> None:
    server.refusing = [(429, "7"), (503, "3"), (503, ""), (CUT, ""), (503, "86400"), (200, "")]
    assert main(["import", str(people(tmp_path / "people.csv", 2)), *MAP]) == 0
    assert waits == [7, 3, 2, 4, importing.LONGEST_WAIT]
    assert server.bodies[0] == server.bodies[1]  # the one that was cut, and its repetition


def test_a_server_that_stays_busy_is_given_up(
    server: Server, tmp_path: Path, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    server.refusing = [(503, "1")] * importing.ATTEMPTS
    path = people(tmp_path / "people.csv", 2)
    assert main(["import", str(path), *MAP]) == 1
    assert "the same command goes on from there" in capsys.readouterr().err
    assert waits == [1] * (importing.ATTEMPTS - 1)
    assert main(["import", str(path), *MAP]) == 0
    assert users(server) == ["1000", "1001"]


def test_an_unknown_key_is_no_reason_to_try_again(
    server: Server, tmp_path: Path, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    path = people(tmp_path / "people.csv", 2)
    assert main(["import", str(path), *MAP, "--write-key", "wk_none"]) == 1
    assert "unknown_key" in capsys.readouterr().err
    assert waits == []
    assert main(["import", str(path), *MAP, "--write-key", server.served.write_key("client")]) == 0


def test_what_is_refused_as_a_whole_is_found_out(server: Server) -> None:
    """One event too many for a body takes none of its neighbours along."""
    small: Json = {"type": "identify", "userId": "1", "timestamp": "2026-01-01", "messageId": "m"}
    events = [small | {"userId": str(10 + n)} for n in range(9)]
    events[5] = small | {"x": "y" * 500_000}
    key = server.served.write_key()
    api = Api({"api_url": server.url, "write_keys": {"crm": key}})
    told = importing.send(api, events)
    assert [(one["index"], one["code"]) for one in told["refused"]] == [(5, "body_too_large")]
    server.served.unify()
    for n in (0, 4, 6, 8):
        assert server.served.shop.node(f"user_id:{10 + n}")


def test_a_dry_run_tells_and_sends_nothing(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample("orders.ndjson", tmp_path)
    assert main(["import", str(path), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rejected"] == {"no_timestamp": 1, "bad_json": 1, "no_identifier": 1}
    assert [one["names"] for one in told["said"]] == [["properties.gift_note"]]
    assert server.bodies == []
    assert [each.name for each in tmp_path.iterdir() if "rejected" in each.name] == []


@pytest.mark.parametrize("dry", [True, False])
def test_times_are_told_in_full_or_that_there_were_more(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, dry: bool
) -> None:
    """The API's answer lists 200 of what it stripped of a request, and counts the rest."""
    event = {"type": "identify", "timestamp": "2026-01-01", "traits": {"x": 1, "y": 2, "z": 3}}
    path = tmp_path / "people.ndjson"
    path.write_text("".join(json.dumps(event | {"userId": f"u{n}"}) + "\n" for n in range(100)))

    assert main(["import", str(path), "--json", *(["--dry-run"] if dry else [])]) == 0

    out = capsys.readouterr()
    told = json.loads(out.out)
    times = sum(one["times"] for one in told["said"])
    assert (times, told["untold"]) == ((300, 0) if dry else (200, 100))


@pytest.mark.parametrize(
    ("name", "text", "options", "said"),
    [
        ("x.csv", "id,mail\n", [], "has the columns: id, mail."),
        ("x.csv", "id,mail\n", ["--map", "Id=userId", "--map", "m=traits.x"], "no column 'm'"),
        ("x.csv", "id,mail\n", ["--map", "id=user"], "is no target"),
        ("x.csv", "id,mail\n", ["--map", "userId"], "maps nothing"),
        ("x.csv", "id,mail\n", ["--mapping", "none"], "policy.yaml has no mapping 'none'"),
        ("x.csv", "id,mail\n", [*MAP, "--encoding", "utf-16"], "no encoding"),
        ("x.csv", "id,mail\n", [*MAP, "--as-of", "soon"], "is no time"),
        ("x.xls", "id,mail\n", MAP, "--format"),
        ("x.ndjson", "{}\n", MAP, "a mapping is for CSV"),
        ("x.csv", "", MAP, "does not begin with a row"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    options: list[str],
    said: str,
) -> None:
    (tmp_path / name).write_text(text)
    assert main(["import", str(tmp_path / name), *options]) == 1
    assert said in capsys.readouterr().err
    assert server.bodies == []


def test_a_file_that_is_not_there_is_said(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(tmp_path / "none.csv"), *MAP]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_rejected_lines_are_written_through_no_link(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = people(tmp_path / "people.csv", 3, wrong=(1001,))
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "people.csv.rejected.ndjson").symlink_to(victim)
    assert main(["import", str(path), *MAP]) == 1
    assert victim.read_text() == "mine"
    assert "cannot be written" in capsys.readouterr().err
