"""The API's description for people, from openapi.json: `python -m cli.docs openapi.json docs.html`.

Run when the layer is built. One page without scripts, and without anything from elsewhere.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

Json = dict[str, Any]
BOUNDS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
    "default": "{} unless given",
}
PROOFS = {
    "writeKey": "a write key as Basic user name",
    "writeKeyBearer": "as Bearer",
    "token": "the token of staff as Bearer",
    "": "`writeKey` in the body",
}
FAILURES = "Failures and their codes"
SHAPES = "Shapes of bodies and answers"
STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --link: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --link: #8ab4f8 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: break-word }
a { color: var(--link) }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line) }
h3 { margin: 2.5rem 0 .5rem }
h4 { margin: 1rem 0 .25rem }
code, pre { font: .9em/1.45 ui-monospace, Menlo, Consolas, monospace }
pre, .wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem }
pre { padding: .75rem; background: var(--soft) }
table { border-collapse: collapse; width: 100% }
caption { padding: .35rem .6rem; text-align: left; font-weight: bold }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }
tr:last-child > * { border-bottom: 0 }
nav ul { padding-left: 1.2rem; columns: 20rem }
.skip { position: absolute; left: -99rem }
.skip:focus { position: static }
@media print { nav, .skip { display: none } }
"""


def page(document: Json) -> str:
    """The whole page, as HTML."""
    title = escape("{title} {version}: the API".format(**document["info"]))
    server = document["servers"][0]
    schemas = document["components"]["schemas"].items()
    contents = [
        f"<h2>{escape(tag['description'])}</h2>\n"
        + _list(_link(one["operationId"], _code(call)) for call, one in _tagged(document, tag))
        for tag in document["tags"]
    ]
    calls = [
        f"<h2>{escape(tag['description'])}</h2>\n"
        + "".join(_operation(document, call, one) for call, one in _tagged(document, tag))
        for tag in document["tags"]
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#calls">To the calls</a>
<header>
<h1>{title}</h1>
<p>All paths are below {_code(server["url"])}, where {_code("api_url")} is
{_marked(server["variables"]["api_url"]["description"])}. The examples take it from
{_code("$API_URL")}, a source's key from {_code("$WRITE_KEY")} and the token of staff from
{_code("$TOKEN")}. For programs: <a href="openapi.json">openapi.json</a>.</p>
</header>
<nav aria-label="Contents">
{"".join(contents)}<h2>Reference</h2>
{_list([_link("failures", FAILURES), _link("shapes", SHAPES)])}</nav>
<main id="calls">
{"".join(calls)}<h2 id="failures">{FAILURES}</h2>
{_failures(document)}<h2 id="shapes">{SHAPES}</h2>
{"".join(_shape(name, schema) for name, schema in schemas)}</main>
</body>
</html>
"""


# Operations


def _tagged(document: Json, tag: Json) -> list[tuple[str, Json]]:
    """The operations of a tag, after method and path as people write them."""
    return [
        (f"{method.upper()} {path}", operation)
        for path, verbs in document["paths"].items()
        for method, operation in verbs.items()
        if tag["name"] in operation["tags"]
    ]


def _operation(document: Json, call: str, operation: Json) -> str:
    told = [operation[part] for part in ("summary", "description") if part in operation]
    text = ". ".join(one.rstrip(".") for one in [*told, f"It needs {_proof(operation)}"])
    good, bad = [], []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            bad.append(_link(f"failure-{status}", status))
        else:
            forms = [
                f"{_type(content['schema'])} as {_code(media)}"
                for media, content in response["content"].items()
            ]
            good.append(f"{status}: {', or '.join(forms)}")
    return f"""<section>
<h3 id="{operation["operationId"]}">{_code(call)}</h3>
<p>{_marked(text)}.</p>
{_parameters(document, call, operation)}{_body(operation)}<h4>Answers</h4>
{_list([*good, "or " + ", ".join(bad)])}<h4>Example</h4>
<pre tabindex="0">{_code(curl(document, call, operation))}</pre>
</section>
"""


def _proof(operation: Json) -> str:
    names = [name for way in operation["security"] for name in way or {"": []}]
    return "no key" if names == [""] else ", or ".join(PROOFS[name] for name in names)


def _parameters(document: Json, call: str, operation: Json) -> str:
    rows = [
        [
            _code(one["name"]),
            one["in"],
            _type(one["schema"]),
            _note(one, required=one.get("required", False)),
        ]
        for one in given(document, operation)
    ]
    return _table(f"Parameters of {call}", ["Name", "In", "Type", "Notes"], rows)


def _body(operation: Json) -> str:
    if "requestBody" not in operation:
        return ""
    (content,) = operation["requestBody"]["content"].values()
    return f"<h4>Body</h4>\n<p>JSON: {_type(content['schema'])}</p>\n"


def curl(document: Json, call: str, operation: Json) -> str:
    """A call that works, for a shell."""
    method, _, path = call.partition(" ")
    parameters = given(document, operation)
    query, signed = list[str](), list[str]()
    for one in parameters:
        variable = "$" + re.sub(r"([A-Z])", r"_\1", one["name"]).upper()
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", one.get("example", variable))
        elif one["in"] == "header" and one.get("required"):
            signed.append(f'-H "{one["name"]}: {one["example"]}"')
        elif one.get("required"):
            query.append(f"{'&' if query else '?'}{one['name']}={one.get('example', variable)}")
    verb = "" if method == "GET" else f"-X {method} "
    parts = [f'curl {verb}"$API_URL/v1{path}{"".join(query)}"', *signed]
    ways = [name for way in operation["security"] for name in way]
    if "writeKey" in ways:
        parts.append('-u "$WRITE_KEY:"')
    elif "token" in ways:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    reasons = [one.get("example", "service") for one in parameters if one["name"] == "X-Purpose"]
    parts += [f'-H "X-Purpose: {reason}"' for reason in reasons]
    if "requestBody" in operation:
        ((media, content),) = operation["requestBody"]["content"].items()
        body = json.dumps(content["example"], indent=2, ensure_ascii=False)
        parts += [f'-H "Content-Type: {media}"', f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(parts)


def given(document: Json, operation: Json) -> list[Json]:
    """An operation's parameters, references followed."""
    known = document["components"]["parameters"]
    found = operation.get("parameters", [])
    return [known[_name(one)] if "$ref" in one else one for one in found]


# Failures


def _failures(document: Json) -> str:
    rows = []
    for status, response in document["components"]["responses"].items():
        fields = response["content"]["application/json"]["schema"]["properties"]
        codes = ", ".join(_code(code) for code in fields["code"]["enum"])
        mark = f'<span id="failure-{status}">{status}</span>'
        rows.append([mark, escape(response["description"]), codes])
    form = _code('{"success": false, "code": …, "message": …}')
    heads = ["Status", "Meaning", "Codes"]
    return f"<p>A failure is JSON: {form}.</p>\n" + _table(FAILURES, heads, rows)


# Schemas


def _shape(name: str, schema: Json) -> str:
    fields = schema.get("properties", {})
    required = schema.get("required", [])
    rows = [
        [_code(field), _type(one), _note(one, required=field in required)]
        for field, one in fields.items()
    ]
    about = f"<p>{_marked(schema['description'])}</p>\n" if "description" in schema else ""
    what = "" if fields else f"<p>{_type(schema)}</p>\n"
    table = _table(f"Fields of {name}", ["Field", "Type", "Notes"], rows)
    return f'<section>\n<h3 id="shape-{name}">{name}</h3>\n{about}{what}{table}</section>\n'


def _type(schema: Json) -> str:
    """A schema in words, as HTML."""
    if "$ref" in schema:
        return _link(f"shape-{_name(schema)}", _name(schema))
    one_of = schema.get("anyOf") or schema.get("oneOf")
    if one_of:
        return " or ".join(_type(one) for one in one_of)
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if values:
        return " or ".join(_code(json.dumps(value)) for value in values)
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict):
        return f"object of {_type(inner)}"
    return escape(f"{kind} ({schema['format']})" if "format" in schema else kind)


def _note(one: Json, *, required: bool) -> str:
    """What else is said of a field or a parameter, as HTML."""
    said = ["required"] if required else []
    for schema in (one, one.get("schema", {}), *one.get("anyOf", [])):
        bounds = ((text, schema[bound]) for bound, text in BOUNDS.items() if bound in schema)
        said += [text.format(json.dumps(value)) for text, value in bounds]
    return _marked("; ".join([*said, *([one["description"]] if "description" in one else [])]))


# HTML


def _table(caption: str, heads: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{one}</td>" for one in rest)}</tr>\n'
        for first, *rest in rows
    )
    return f"""<div class="wide" tabindex="0">
<table>
<caption>{escape(caption)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody>
</table>
</div>
"""


def _list(entries: Iterable[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{one}</li>\n" for one in entries) + "</ul>\n"


def _link(id_: str, text: str) -> str:
    return f'<a href="#{id_}">{text}</a>'


def _code(text: str) -> str:
    return f"<code>{escape(text, quote=False)}</code>"


def _marked(text: str) -> str:
    """Escaped, with what stands between backquotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _name(reference: Json) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


if __name__ == "__main__":
    source, out = sys.argv[1:]
    Path(out).write_text(page(json.loads(Path(source).read_text("utf-8"))), "utf-8")
