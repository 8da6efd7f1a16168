"""The policy as a page for the people it concerns: what is kept, why, how long, and their rights.

What GDPR Articles 12 to 14 ask to be told, as far as the policy knows it, in HTML that needs no
script and nothing from elsewhere, and that reads on a phone, in print and by ear (WCAG 2.2 AA).
"""

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --soft: #565656;
  --line: #8a8a8a; --link: #0b4fb3; --shade: #f1f3f5 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e9e9; --paper: #141414; --soft: #b5b5b5; --line: #777777; --link: #9cc3ff;
    --shade: #212427 } }
body { margin: 0 auto; padding: 1rem; max-width: 46rem; font: 1rem/1.55 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2 }
h2 { margin-top: 2.5rem; font-size: 1.25rem; border-bottom: 1px solid var(--line) }
h3 { margin-bottom: 0; font-size: 1.05rem }
a { color: var(--link) }
a:focus-visible, div:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
nav ul { padding: 0; list-style: none }
nav li { padding: .25rem 0 }
.skip { position: absolute; left: -99rem }
.skip:focus { position: static }
.scroll { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-size: .94rem }
caption { padding: .5rem 0; text-align: left; font-weight: 600 }
th, td { padding: .5rem .5rem .5rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }
th[scope=row] { font-weight: 600; width: 45% }
.with { display: block; font-weight: 400; color: var(--soft); font-size: .88rem }
dl { margin: .25rem 0 0 } dt { font-weight: 600 } dd { margin: 0 0 .5rem }
.short { padding: .25rem 1rem; background: var(--shade) }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem }
"""
BASES = {
    "consent": (
        "Your consent (GDPR Article 6(1)(a)).",
        (
            "Yes. We do this only if you agreed. You can take that back at any time, as easily as "
            "you gave it: in our consent settings, or by writing to us. Then we stop; what was "
            "done before stays lawful."
        ),
        "yes: only if you agree",
    ),
    "contract": (
        "The contract with you, or what you asked us to do before one (GDPR Article 6(1)(b)).",
        (
            "No: without it we cannot do what you asked for. You can close your account and ask us "
            "to erase you."
        ),
        "no: it is part of what you asked for",
    ),
    "legal_obligation": (
        "A duty that the law gives us (GDPR Article 6(1)(c)).",
        "No: we have to.",
        "no: the law asks it of us",
    ),
    "legitimate_interest": (
        "Our legitimate interest, weighed against yours (GDPR Article 6(1)(f)).",
        (
            "Yes. We do this unless you object. You can object at any time by writing to us, and "
            "then we stop."
        ),
        "yes: you can object at any time",
    ),
}
"""What a legal basis is, whether one can say no and how, and the same in few words."""

CALLS = {
    "identify": "What you or we say about you",
    "alias": "That two of our ids for you are the same",
    "group": "The company or group that you belong to",
    "page": "Pages of our website that you see",
    "screen": "Screens of our app that you see",
}
IDENTIFIERS = {
    "user_id": "The id of your account with us",
    "crm_id": "Your id in the records of our customer service",
    "email": "Your email address",
    "phone": "Your phone number",
    "device_id": "The id that your device has for our app",
    "anonymous_id": "The id that we give to your browser or to our app on your device",
    "advertising_id": "The advertising id of your device, unless you turned that off",
}
SOURCES = {
    "server": "our own systems, such as the shop and its orders",
    "crm": "our customer service and its records",
    "webhook": "forms and services of others that send us what you gave them",
    "app": "our app on your device",
    "website": "our website in your browser",
}
CONTEXT = {
    "locale": "The language of your device",
    "timezone": "The time zone of your device",
    "campaign": "The advertisement or link that brought you here",
    "ip": "Your network address",
    "userAgent": "Your browser or app",
}
MINIMISED = {
    ("ip", "truncate"): "cut short before it is stored, so that it does not point to your "
    "connection any more",
    ("ip", "keep"): "in full",
    ("userAgent", "family"): "its name and main version only",
    ("userAgent", "keep"): "in full, as it describes itself",
}
RECORDS = {
    "identifier": "Your profile as such, after we last heard of you",
    "link": "Why we believe that two identifiers are the same person",
    "consent": "What you agreed to or refused, as proof",
    "request": "Your privacy requests and our certificates",
    "audit": "Which of our staff looked at your data, and why",
}
RIGHTS = {
    "See it": "Ask what we hold about you, and get a copy (Article 15).",
    "Correct it": "Ask us to put right what is wrong (Article 16).",
    "Erase it": "Ask us to erase you (Article 17). We destroy the key that your data is encrypted "
    "with, at once; then every copy is unreadable. You can have a signed certificate.",
    "Pause it": "Ask us to stop using it while a question about it is open (Article 18).",
    "Take it with you": "Ask for what you gave us in a form that machines read (Article 20).",
    "Object": "Object to what we do for our own interest, and to advertising always (Article 21).",
    "Take consent back": "At any time, for each purpose by itself (Article 7).",
    "Complain": "Turn to the data protection authority where you live or work (Article 77).",
}
# What HTML may not hold: controls, halves of characters, and what Unicode keeps free for ever.
_NEVER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_EMAIL = re.compile(r"[A-Za-z0-9.+_-]+@[A-Za-z0-9.-]+")
_WEB = re.compile(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/-]*)?")


def page(policy: Json) -> str:
    """The page for a compiled policy."""
    sections = {
        "short": ("In short", _short(policy)),
        "purposes": ("Why, and whether you can say no", _purposes(policy)),
        "facts": ("Facts about you", _facts(policy)),
        "events": ("What you do", _events(policy)),
        "device": ("Your device", _device(policy)),
        "identifiers": ("How we recognise you", _identifiers(policy)),
        "records": ("Records that protect you", _records(policy)),
        "sources": ("Where it comes from", _sources(policy)),
        **_destinations(policy),
        "rights": ("Your rights, and how to use them", _rights(policy)),
    }
    links = "".join(
        f'<li><a href="#{id_}">{name}</a></li>\n' for id_, (name, _) in sections.items()
    )
    parts = "".join(
        f'<section id="{id_}" aria-labelledby="{id_}-h">\n<h2 id="{id_}-h">{name}</h2>\n{body}'
        "</section>\n"
        for id_, (name, body) in sections.items()
    )
    title = f"What {_e(policy['organization'])} keeps about you, and why"
    changed = f" Last changed on {_e(policy['changed'])}." if policy.get("changed") else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">To the text</a>\n'
        f"<header>\n<h1>{title}</h1>\n"
        f"<p>{_e(policy['organization'])} is responsible for it. Write to us: {_contact(policy)}."
        f'{changed}</p>\n</header>\n<nav aria-label="On this page">\n<ul>\n{links}</ul>\n</nav>\n'
        f'<main id="main" tabindex="-1">\n{parts}</main>\n'
        "<footer>\n<p>This page is made from the rules that our systems obey: what they do not "
        f"name is not kept. Their version is <code>{_e(policy['hash'])}</code>, and it stands on "
        "every record of your consent.</p>\n</footer>\n</body>\n</html>\n"
    )


def _short(policy: Json) -> str:
    purposes = policy["purposes"].items()
    asked = [label(name) for name, one in purposes if one["basis"] == "consent"]
    others = [label(name) for name, one in purposes if one["basis"] == "legitimate_interest"]
    longest = max(policy["retention"].values())
    said = [
        "We keep what this page names, and nothing else.",
        (
            f"Everything about you has an end: {duration(longest)} after it happened at the "
            "latest, but for the records that protect you."
        ),
        "It is encrypted under a key of your own. Erasing you destroys that key.",
    ]
    if asked:
        said.insert(1, f"We ask you before we use it for: {_listed(asked)}. No answer means no.")
        age = policy["minors_under"]
        said.insert(2, f"If you are under {age}, we ask your parents or guardian instead.")
    if others:
        said.append(f"You can object to: {_listed(others)}.")
    return _list(said, "short")


def _purposes(policy: Json) -> str:
    parts = []
    for name, one in policy["purposes"].items():
        basis, can_refuse, _ = BASES[one["basis"]]
        more = " Who works on this sees everything that we hold about you."
        parts.append(
            f'<h3 data-purpose="{_e(name)}">{_e(label(name))}</h3>\n'
            f"<p>{_e(one['description'])}{more if one['sees_everything'] else ''}</p>\n<dl>\n"
            f"<dt>What allows us to</dt>\n<dd>{basis}</dd>\n"
            f"<dt>Can you say no?</dt>\n<dd>{can_refuse}</dd>\n</dl>\n"
        )
    rows = [
        (f'data-category="{_e(name)}"', _e(label(name)), "", _reasons(policy, purposes))
        for name, purposes in policy["consent_categories"].items()
    ]
    if rows:
        caption = "What the choices in our consent banner stand for"
        parts.append(_table(caption, "Choice", rows, second="Stands for"))
    return "".join(parts)


def _facts(policy: Json) -> str:
    rows = []
    for name, one in policy["traits"].items():
        notes = [_special(one)]
        if one.get("verify_within"):
            days = duration(one["verify_within"])
            notes.append(f"counts as out of date {days} after we last had it confirmed")
        rows.append(_row(policy, "trait", name, label(name), one, notes))
    text = "<p>Each is kept for that time after it was last said.</p>\n"
    return text + _table("Facts about you that may be kept", "What", rows, "How long")


def _events(policy: Json) -> str:
    rows = []
    for name, one in policy["events"].items():
        properties = [label(each).lower() for each in one["properties"]]
        notes = [f"with: {', '.join(properties)}" if properties else "", _special(one)]
        rows.append(_row(policy, "event", name, CALLS.get(name, name), one, notes))
    text = "<p>Each is kept for that time after it happened, with what is named below it.</p>\n"
    return text + _table("What you do that may be kept", "What", rows, "How long")


def _device(policy: Json) -> str:
    how = {"ip": policy["minimise"]["ip"], "userAgent": policy["minimise"]["user_agent"]}
    kept = []
    for name in policy["context"]["keep"]:
        if how.get(name) == "drop":
            continue
        more = MINIMISED.get((name, how.get(name, "")))
        text = CONTEXT.get(name, label(name))
        kept.append(f"{text}: {more}." if more else f"{text}.")
    text = "<p>With what you do, and for as long, we keep of your device:</p>\n"
    return text + _list(kept) if kept else "<p>We keep nothing about your device.</p>\n"


def _identifiers(policy: Json) -> str:
    ranked = sorted(policy["identifiers"].items(), key=lambda one: one[1]["priority"])
    rows = []
    for name, one in ranked:
        text = IDENTIFIERS.get(name, label(name))
        rows.append(_row(policy, "identifier", name, text, one, [_person(one["known"])]))
    text = (
        "<p>These tell us that two visits are from the same person. Each is kept for at most "
        f"{duration(policy['records']['identifier'])} after we last saw it.</p>\n"
    )
    return text + _table("What we recognise you by", "What", [row[:4] for row in rows])


def _records(policy: Json) -> str:
    rows = [
        (f'data-record="{_e(name)}"', _e(RECORDS.get(name, label(name))), "", duration(days))
        for name, days in policy["records"].items()
    ]
    return _table("Records that are kept to protect you", "What", rows, second="How long")


def _sources(policy: Json) -> str:
    told = [f"{SOURCES[kind]}." for kind in policy["sources"]["priority"]]
    order = "<p>Where two of them differ, the one that stands higher here counts.</p>\n"
    return _list([one[0].upper() + one[1:] for one in told]) + order


def _destinations(policy: Json) -> dict[str, tuple[str, str]]:
    """The section about others who get it, where there are any."""
    rows = []
    for name, one in policy["destinations"].items():
        known = (IDENTIFIERS.get(each, label(each)) for each in one["knows"])
        cell = "".join(f"<div>{_e(each)}</div>" for each in known)
        rows.append((f'data-destination="{_e(name)}"', _e(one["name"]), "", cell))
    if not rows:
        return {}
    text = "<p>When we erase you we tell them, and your certificate says what they answered.</p>\n"
    table = _table("Others who get data about you", "Who", rows, second="By what they know you")
    return {"destinations": ("Whom we give it to", text + table)}


def _rights(policy: Json) -> str:
    rights = "".join(f"<dt>{name}</dt>\n<dd>{text}</dd>\n" for name, text in RIGHTS.items())
    return (
        f"<p>Write to {_contact(policy)}. We have to be sure that it is you, we answer within a "
        f"month, and it costs you nothing.</p>\n<dl>\n{rights}</dl>\n"
    )


# Words


def label(name: str) -> str:
    """A name of the policy as people would write it."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").strip()
    return (spaced[:1].upper() + spaced[1:].lower()) if spaced else name


def duration(days: int) -> str:
    """30 days, 1 year, 3 years."""
    number, unit = (days // 365, "year") if days % 365 == 0 else (days, "day")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _person(known: bool) -> str:
    return "names you" if known else "names a browser or an app"


def _special(attribute: Json) -> str:
    special = "a special category of data, which the law protects more (Article 9)"
    return special if attribute["sensitivity"] == "special" else ""


def _reasons(policy: Json, purposes: Iterable[str]) -> str:
    found = []
    for name in purposes:
        short = BASES[policy["purposes"][name]["basis"]][2]
        found.append(f'{_e(label(name))} <span class="with">({short})</span>')
    return "".join(f"<div>{one}</div>" for one in found)


def _contact(policy: Json) -> str:
    contact = policy["contact"]
    if _EMAIL.fullmatch(contact):
        return f'<a href="mailto:{_e(contact)}">{_e(contact)}</a>'
    return f'<a href="{_e(contact)}">{_e(contact)}</a>' if _WEB.fullmatch(contact) else _e(contact)


# HTML

Row = tuple[str, ...]
"""Attributes, what it is, what is said below that, then the other cells; all but words as HTML."""


def _row(
    policy: Json, kind: str, name: str, shown: str, attribute: Json, notes: Iterable[str]
) -> Row:
    below = "; ".join(filter(None, notes))
    why = _reasons(policy, attribute["purposes"])
    how_long = duration(policy["retention"][attribute["retention"]])
    return f'data-{kind}="{_e(name)}"', _e(shown), _e(below), why, how_long


def _table(caption: str, first: str, rows: Iterable[Row], *more: str, second: str = "Why") -> str:
    heads = "".join(f'<th scope="col">{one}</th>' for one in (first, second, *more))
    body = "".join(
        f'<tr {attributes}><th scope="row">{shown}'
        + (f'<span class="with">{below}</span>' if below else "")
        + "</th>"
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>\n"
        for attributes, shown, below, *cells in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">\n<table>\n'
        f"<caption>{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )


def _list(texts: Iterable[str], class_: str = "") -> str:
    items = "".join(f"<li>{_e(text)}</li>\n" for text in texts)
    lists = f"<ul>\n{items}</ul>\n"
    return f'<div class="{class_}">\n{lists}</div>\n' if class_ else lists


def _listed(names: list[str]) -> str:
    return ", ".join(name.lower() for name in names)


def _e(text: object) -> str:
    return escape(_NEVER.sub("�", str(text)))
