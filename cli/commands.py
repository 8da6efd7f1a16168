"""Every command and its options. The modules behind them are imported when they run."""

import argparse
from importlib import import_module
from pathlib import Path

from cli.main import Command
from cli.screen import Screen

ROLES = ("admin", "dpo", "steward", "analyst", "marketer")
READERS = ("dpo", "steward", "analyst", "marketer")
"""Whose tokens `candor up` issues."""
STEWARDS = ("dpo", "steward")
"""Who may change who belongs together."""
SHARED = ("shared_device", "shared_address", "test_value", "other")
TAIL = "Show what becomes of each event, live (emulators only); --json: a document a line."
IMPORT = "Send the events of a file, or its rows as events; goes on where it stopped."
VERIFY = "Check a receipt, offline. Answers 0 valid, 3 altered, 4 of another key, 5 malformed."
GROUNDS = (
    "identity_not_verified",
    "manifestly_unfounded",
    "excessive",
    "freedom_of_expression",
    "legal_obligation",
    "public_interest",
    "legal_claims",
)
"""As `candor.requests.Ground` has them; importing it would cost every command its start."""
VACUUM = "Drop records that nobody can read any more now, and not in the night."
MODES = ("erase", "erase_and_suppress")


def _run(module: str, function: str) -> Command:
    def run(options: argparse.Namespace, screen: Screen) -> int:
        command: Command = getattr(import_module(f"cli.{module}"), function)
        return command(options, screen)

    return run


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="candor",
        description="Runs Candor on this machine and talks to it. `make demo` is the first step.",
        epilog="Each command has --help; all of them take --json for programs.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="one JSON document instead of text")
    common.add_argument(
        "--endpoint-url", metavar="URL", help="an emulator that runs already, instead of our own"
    )
    common.add_argument(
        "--config-env",
        default="local",
        choices=("local", "dev", "prod"),
        help="local (default): an emulator; dev, prod: the AWS account of your credentials",
    )
    groups = top.add_subparsers(metavar="command", required=True)

    def add(name: str, help_: str, module: str, function: str) -> argparse.ArgumentParser:
        made = groups.add_parser(name, help=help_, description=help_, parents=[common])
        made.set_defaults(run=_run(module, function))
        return made

    add("demo", "Bring the stack up and play a customer's journey through it.", "demo", "run")
    add("up", "Start the emulator, deploy what changed, write .local/stack.json.", "stack", "up")
    add("down", "Stop the emulator; its state is kept.", "stack", "down")
    add("reset", "Stop the emulator and forget its state.", "stack", "reset")
    add("status", "Show what runs, what waits and what failed.", "status", "run")
    tail = add("tail", TAIL, "tail", "run")
    tail.add_argument("--since", type=int, default=0, metavar="SECONDS", help="start that long ago")
    tail.add_argument(
        "--seconds", type=int, metavar="SECONDS", help="stop after that long (default: never)"
    )

    imported = add("import", IMPORT, "importing", "run")
    imported.add_argument("file", metavar="FILE", help="NDJSON or CSV, gzipped or not")
    imported.add_argument(
        "--mapping", metavar="NAME", help="of CSV: an entry of policy.yaml's imports"
    )
    imported.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=TARGET",
        help="of CSV: where a column goes, like Email=traits.email or Age=traits.age:number",
    )
    imported.add_argument("--event", metavar="NAME", help="of CSV: each row is this event")
    imported.add_argument("--format", choices=("csv", "ndjson"), help="default: by the name")
    imported.add_argument("--delimiter", metavar="C", help="of CSV (default: found out)")
    imported.add_argument("--encoding", metavar="NAME", help="of CSV (default: utf-8)")
    imported.add_argument(
        "--as-of",
        metavar="TIME",
        help="since when what the file says of people holds (default: when it was written)",
    )
    imported.add_argument("--write-key", metavar="KEY", help="default: that of the CRM")
    imported.add_argument("--dry-run", action="store_true", help="only say what would become of it")
    imported.add_argument("--restart", action="store_true", help="from the beginning again")

    def family(name: str, help_: str) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
        made = groups.add_parser(name, help=help_, description=help_)
        return made.add_subparsers(metavar="action", required=True)

    def action(
        where: "argparse._SubParsersAction[argparse.ArgumentParser]",
        name: str,
        help_: str,
        module: str,
    ) -> argparse.ArgumentParser:
        made = where.add_parser(name, help=help_, description=help_, parents=[common])
        made.set_defaults(run=_run(module, name))
        return made

    keys = family("keys", "Write keys of sources and tokens of staff.")
    create = action(keys, "create", "Issue a key; it is shown this once.", "keys")
    create.add_argument("name", help="what or whom it is for, like 'web shop' or 'Ann'")
    kind = create.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--source",
        choices=("website", "app", "crm", "server", "webhook"),
        help="a write key for a source",
    )
    kind.add_argument("--role", choices=ROLES, help="a token for a person or their program")
    create.add_argument(
        "--trust",
        choices=("client", "server"),
        help="client: the key is public (default for website and app); server: it is secret",
    )
    create.add_argument(
        "--mapping", metavar="NAME", help="of a webhook: an entry of policy.yaml's webhooks"
    )
    create.add_argument(
        "--purposes", default="", metavar="P,…", help="what the token may read for, like analytics"
    )
    action(keys, "list", "List the keys, without their secrets.", "keys")
    secret = action(keys, "secret", "Share a secret with a source; it is shown this once.", "keys")
    secret.add_argument("id", help="as `candor keys list` shows it")
    secret.add_argument(
        "--value",
        help="one that the source has already, such as an app secret; of 16 characters or more",
    )
    revoke = action(keys, "revoke", "Make a key invalid.", "keys")
    revoke.add_argument("id", help="as `candor keys list` shows it")

    policy = family("policy", "What may be held about people, why and how long: policy.yaml.")
    check = action(policy, "check", "Explain every mistake in a policy.", "policy_commands")
    check.add_argument("file", nargs="?", metavar="FILE", help="instead of policy.yaml")

    action(policy, "suggest", "Propose entries for what was seen and stripped.", "policy_commands")

    diff = action(
        policy, "diff", "Say what a change means for people and for stored data.", "policy_commands"
    )
    diff.add_argument("old", nargs="?", help="a file or a commit (default: what is deployed)")
    diff.add_argument("new", nargs="?", help="a file or a commit (default: policy.yaml here)")

    profile = family("profile", "One person's profile.")
    show = action(profile, "show", "Show a profile, and what was withheld and why.", "profile")
    show.add_argument("identifier", help="type and value, like user_id:42")
    show.add_argument("--purpose", help="why you read it (default: the token's first purpose)")
    show.add_argument("--as", dest="role", choices=READERS, default="analyst", help="who reads it")
    show.add_argument("--why", action="store_true", help="also show what links the identifiers")

    identity = family("identity", "Who belongs together, why, and what to do where it is wrong.")

    def told(name: str, help_: str, roles: tuple[str, ...]) -> argparse.ArgumentParser:
        made = action(identity, name, help_, "identity")
        made.add_argument("--as", dest="role", choices=roles, default="dpo", help="default: dpo")
        return made

    why = told("why", "Explain why two identifiers are one person's, or are not.", READERS)
    split = told("split", "Separate two identifiers until that is lifted.", STEWARDS)
    for one in (why, split):
        one.add_argument("a", metavar="A", help="type and value, like user_id:42")
        one.add_argument("b", metavar="B", help="type and value")
        one.add_argument("--purpose", help="why you read it (default: the token's first purpose)")
    split.add_argument("--reason", metavar="TEXT", help="why, in your words; kept, and sealed")
    how = split.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only show what would become of them")
    how.add_argument("--yes", action="store_true", help="without asking")
    how.add_argument("--lift", action="store_true", help="let evidence join them again")
    quarantine = told("quarantine", "Show or put what many share and joins nobody.", STEWARDS)
    quarantine.add_argument("identifier", nargs="?", help="type and value; none: show all")
    quarantine.add_argument("--reason", choices=SHARED, help="why it is nobody's")
    release = told("release", "Let what was in quarantine join others again.", STEWARDS)
    release.add_argument("identifier", help="type and value, like anonymous_id:till-3")
    told("stats", "Count refused links by rule, source and day.", STEWARDS)
    picture = told("picture", "Draw a profile's graph: here, and as an SVG.", READERS)
    picture.add_argument("identifier", help="type and value, like user_id:42")
    picture.add_argument("--purpose", help="why you read it (default: the token's first purpose)")
    picture.add_argument("--svg", metavar="FILE", type=Path, help="draw it there too")

    consent = family("consent", "What a person agreed to.")
    set_ = action(consent, "set", "Record a person's choices, as the shop's server.", "consent")
    set_.add_argument("identifier", help="user_id:… or anonymous_id:…")
    set_.add_argument("choices", nargs="+", metavar="PURPOSE=granted|denied")
    set_.add_argument("--language", metavar="TAG", help="of the text they were shown, like de-DE")
    set_.add_argument("--text-version", metavar="NAME", help="of the text they were shown")
    explain = action(
        consent, "explain", "Explain which records decided on a purpose, as of a time.", "consent"
    )
    explain.add_argument("identifier", help="type and value, like user_id:42")
    explain.add_argument("about", metavar="PURPOSE", help="the purpose that is explained")
    explain.add_argument(
        "--at",
        metavar="TIME",
        help="like 2026-03-31T12:00Z; of a day its beginning, UTC (default: now)",
    )
    explain.add_argument("--as", dest="role", choices=READERS, default="dpo", help="default: dpo")
    rebuild = action(
        consent, "rebuild", "Hold consent registers against their records, and mend.", "consent"
    )
    rebuild.add_argument("identifier", nargs="?", help="type and value, like user_id:42")
    rebuild.add_argument(
        "--file", metavar="FILE", help="of many: an identifier a line; - is standard input"
    )
    rebuild.add_argument(
        "--from", dest="begin", type=int, default=1, metavar="LINE", help="go on at this line"
    )
    rebuild.add_argument("--dry-run", action="store_true", help="only show what differs")
    rebuild.set_defaults(role="dpo")
    for one in (explain, rebuild):
        one.add_argument("--purpose", help="why you read it (default: the token's first purpose)")

    receipt = family("receipt", "Signed receipts of what a person chose.")
    download = action(receipt, "download", "Save a receipt to hand to the person.", "receipt")
    download.add_argument("identifier", help="type and value, like user_id:42")
    download.add_argument("--only", metavar="PURPOSE", help="of one purpose (default: of all)")
    download.add_argument(
        "--out", metavar="FILE", type=Path, help="default: consent-receipt-ID.json, here"
    )
    download.add_argument(
        "--purpose",
        default="privacy_rights",
        help="why you read it: one that sees everything (default: privacy_rights)",
    )
    verify = action(receipt, "verify", VERIFY, "receipt")
    verify.add_argument("file", metavar="FILE", type=Path)
    verify.add_argument(
        "--key", metavar="KEY.pem", type=Path, required=True, help="the issuer's public key"
    )
    action(receipt, "key", "Tell the public key that checks a stack's receipts.", "receipt")

    dlq = family("dlq", "Messages that failed for good.")
    action(dlq, "list", "Show what waits in the dead-letter queues, and why.", "dlq")
    redrive = action(dlq, "redrive", "Move failed messages back to their queue.", "dlq")
    redrive.add_argument("queue", nargs="?", default="events", help="events (default), audit, drop")
    redrive.add_argument("--limit", type=int, metavar="N", help="at most so many messages")
    redrive.add_argument("--dry-run", action="store_true", help="only say how many would move")
    redrive.add_argument(
        "--wait",
        type=int,
        default=300,
        metavar="SECONDS",
        help="wait at most that long until they are through (default: 300; 0: not at all)",
    )

    archive = family("archive", "The archive of sealed events.")
    vacuum = action(archive, "vacuum", VACUUM, "archive")
    vacuum.add_argument("--no-wait", action="store_true", help="return as soon as it runs")
    action(archive, "status", "Show the last runs of the vacuum, and how far they are.", "archive")

    restore = family("restore", "After tables were restored from a backup.")
    action(restore, "replay", "Erase again who was erased since, before any traffic.", "restore")

    retention = family("retention", "How long what is stored is kept.")
    applied = action(
        retention, "apply", "Let the deployed policy's times reach what is stored.", "retention"
    )
    how = applied.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only say what would change")
    how.add_argument("--yes", action="store_true", help="without asking")
    told_of = action(retention, "status", "Show how far the latest change is.", "retention")
    for one in (applied, told_of):
        one.add_argument("--as", dest="role", choices=("admin", "dpo"), default="dpo")

    privacy = family("privacy", "Privacy requests.")
    verified = argparse.ArgumentParser(add_help=False)
    verified.add_argument(
        "--verified-by", default="staff: at the command line", help="how the requester was verified"
    )

    def right(name: str, help_: str, function: str | None = None) -> argparse.ArgumentParser:
        made = privacy.add_parser(name, help=help_, description=help_, parents=[common, verified])
        made.set_defaults(run=_run("privacy", function or name))
        many = "?" if name == "erase" else None
        help_ = "type and value, like email:ann@example.com"
        made.add_argument("identifier", nargs=many, help=help_)
        return made

    erase = right("erase", "Erase a person and show the certificate.")
    erase.add_argument(
        "--mode", choices=MODES, default="erase", help="suppress: accept no new data"
    )
    erase.add_argument("--dry-run", action="store_true", help="only say what would be erased")
    erase.add_argument(
        "--file", metavar="FILE", type=Path, help="of many: type,value or type:value a line"
    )
    erase.add_argument("--no-wait", action="store_true", help="return as soon as it runs")
    right("restrict", "Keep a person's data and use it for nothing.")
    right("object", "Record an objection.", "object_").add_argument(
        "purposes", nargs="*", help="default: all that rest on a legitimate interest"
    )
    right("rectify", "Correct traits of a person.").add_argument(
        "traits", nargs="+", metavar="NAME=VALUE", help="text; NAME:=JSON for anything else"
    )
    for name, help_ in (
        ("approve", "Approve a request that waits for a second person."),
        ("cancel", "Take back a request before it destroys, or lift a restriction."),
        ("refuse", "Refuse a request, and say on what ground."),
    ):
        made = action(privacy, name, help_, "privacy")
        made.add_argument("id")
        if name == "refuse":
            made.add_argument("ground", choices=GROUNDS)
    status = action(privacy, "status", "Show one request, or the last ones.", "privacy")
    status.add_argument("id", nargs="?")
    certificate = action(privacy, "certificate", "Show and check a certificate.", "privacy")
    certificate.add_argument("id")
    certificate.add_argument("--out", metavar="FILE", type=Path, help="save it there, to hand on")

    hold = family("hold", "Legal holds.")
    place = action(hold, "place", "Keep a person's data from ending.", "privacy")
    place.add_argument("identifier", help="type and value, like email:ann@example.com")
    place.add_argument("--reason", required=True, help="kept, and sealed")
    place.add_argument("--until", required=True, metavar="DATE", help="like 2027-12-31")
    action(hold, "list", "Show all holds.", "privacy").set_defaults(run=_run("privacy", "holds"))
    action(hold, "release", "Let what fell due go.", "privacy").add_argument("id")

    fence = family("fence", "What keeps erased people out.")
    lift = action(fence, "lift", "Accept data of an identifier again.", "privacy")
    lift.add_argument("identifier", help="type and value, like email:ann@example.com")

    checked = family("certificate", "Certificates of erasures.")
    verify = action(checked, "verify", VERIFY.replace("receipt", "certificate"), "receipt")
    verify.set_defaults(run=_run("receipt", "verify_certificate"))
    verify.add_argument("file", metavar="FILE", type=Path)
    verify.add_argument(
        "--key", metavar="KEY.pem", type=Path, required=True, help="the issuer's public key"
    )
    return top
