"""The commands `receipt download`, `receipt verify` and `receipt key`; and `certificate verify`.

Verifying is for a stranger too: it reads two files and asks nobody.
"""

import argparse
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.problem import Problem
from cli.screen import Screen, text
from cli.show import facts, grid, panel, request
from cli.signature import Finding, Malformed, Verdict, public_key, read
from cli.signature import verify as check

if TYPE_CHECKING:
    from cli.api import Api

Json = dict[str, Any]
SCHEMA = "candor/consent-receipt/1"
CODES: Mapping[Finding, int] = {
    "valid": 0,
    "unchecked": 1,
    "altered": 3,
    "other_key": 4,
    "malformed": 5,
}
"""Exit codes of `verify`; 1 is also for a file that cannot be read, 2 for a wrong call."""
STYLES: Mapping[bool | None, str] = {True: "green", False: "bold red", None: "yellow"}


def download(options: argparse.Namespace, screen: Screen) -> int:
    from cli.api import profile_path

    query = {"purpose": options.only} if options.only else None
    path = f"{profile_path(options.identifier)}/consents/receipt"
    with screen.progress("Asking for a receipt"):
        found = _api(options).staff("dpo", "GET", path, purpose=options.purpose, query=query)
    document = contents(found)
    out = options.out or Path(f"consent-receipt-{_name(document)}.json")
    save(out, json.dumps(found, indent=1) + "\n")
    screen.show(shown(document))
    screen.note(f"{out} holds it. It is for the person: it tells what they chose, and not who.")
    screen.answer(found | {"file": str(out)})
    return 0


def verify(options: argparse.Namespace, screen: Screen) -> int:
    return _verify(options, screen, "consent receipt", _is_receipt, shown)


def verify_certificate(options: argparse.Namespace, screen: Screen) -> int:
    return _verify(options, screen, "erasure certificate", _is_certificate, certificate)


def _verify(
    options: argparse.Namespace,
    screen: Screen,
    kind: str,
    is_one: Callable[[Json], bool],
    show: Callable[[Json], Any],
) -> int:
    try:
        key = public_key(_bytes(options.key))
    except Malformed as malformed:
        fix = "Take it from who issued the receipt; of a stack here `candor receipt key` tells it."
        raise Problem(f"{options.key} cannot be used: {malformed}.", fix) from None
    document: Json = {}
    try:
        signed = read(_bytes(options.file))
        verdict = check(signed, key)
        document = contents(signed) if verdict.good else {}
        if verdict.good and not is_one(document):
            raise Malformed(f"the signature fits, but what is signed is no {kind}")
    except Malformed as malformed:
        verdict, document = Verdict("malformed", str(malformed)), {}
    if document:
        screen.show(show(document))
    screen.show(text(f"{verdict.finding.replace('_', ' ')}: {verdict.words}", STYLES[verdict.good]))
    screen.answer({"verdict": verdict.finding, "because": verdict.words, "document": document})
    return CODES[verdict.finding]


def key(options: argparse.Namespace, screen: Screen) -> int:
    pem = _api(options).page("/signing-key")
    try:
        public_key(pem.encode())
    except Malformed as malformed:
        raise Problem(f"What the stack tells is not its key: {malformed}.") from None
    for line in pem.splitlines():
        screen.line(line)
    screen.answer({"public_key": pem})
    return 0


def contents(signed: Mapping[str, Any]) -> Json:
    """What a receipt says, as an object; {} where it is no such thing."""
    try:
        found = json.loads(str(signed.get("document")))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def shown(document: Json) -> Any:
    """A receipt for people: who issued it, when, and each purpose with its state."""
    head, table = facts(), grid("purpose", "state", "because", "choices")
    head.add_row("from", _object(document.get("dpv:hasDataController")).get("dpv:hasName", "?"))
    head.add_row("issued", document.get("dct:created", "?"))
    head.add_row("about", _object(document.get("dpv:hasDataSubject")).get("dct:identifier", "?"))
    for record in _list(document.get("dpv:hasRecordOfActivity")):
        now, *objections = map(_object, _list(record.get("dpv:hasStatus")) or [{}])
        events = _list(record.get("dpv:hasConsentStatus")) or objections
        table.add_row(
            _object(record.get("dpv:hasPurpose")).get("dct:identifier", "?"),
            _words(now.get("@type", "?")),
            now.get("dct:description", "?"),
            len(events),
        )
    from rich.console import Group

    return panel(Group(head, "", table), "consent receipt", "blue")


def certificate(document: Json) -> Any:
    """What a certificate says that was done, store by store, and what remains unreadable."""
    told = {"receipts": document.get("stores"), "horizons": document.get("horizons")}
    head = {"type": document.get("mode"), "id": document.get("request"), "status": "completed"}
    return request({**head, **told})


def save(path: Path, content: str) -> None:
    """A new file that its owner alone may read. Raises Problem, and leaves what is there."""
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w", encoding="ascii") as file:
            file.write(content)
    except FileExistsError:
        if _bytes(path) != content.encode():
            raise Problem(f"{path} is there already, and says something else.") from None
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}.") from None


def _api(options: argparse.Namespace) -> "Api":
    from cli.api import Api
    from cli.target import load_stack

    return Api(load_stack(options.endpoint_url, options.config_env))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}.") from None


def _is_receipt(document: Json) -> bool:
    """Tells it from the certificates and checkpoints that the same key signs."""
    schema = _object(document.get("dct:conformsTo")).get("dct:identifier")
    return document.get("@type") == "dpv:ConsentReceipt" and schema == SCHEMA


def _is_certificate(document: Json) -> bool:
    return document.get("type") == "candor/erasure-certificate/1"


def _name(document: Json) -> str:
    """The receipt's id, which is nobody's name, as far as it is one."""
    id_ = str(document.get("dct:identifier", ""))
    return id_ if re.fullmatch(r"[0-9a-f-]{36}", id_) else "without-id"


def _words(term: Any) -> str:
    """`dpv:ConsentGiven` as consent given."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(term).partition(":")[2] or str(term)).lower()


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    """The objects of what is one or several (JSON-LD 1.1, section 4.3)."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
