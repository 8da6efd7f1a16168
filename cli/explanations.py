"""What pydantic finds wrong with a policy, in plain words, with a line and what to do about it."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from cli.places import Mistake, Path, Written

WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of names",
    "model_type": "a mapping of names",
}
WRITE = {
    "text": "Quote it.",
    "a list": "Write it in brackets: [one, another].",
    "a mapping of names": "Write `name: value`, one on a line, indented below it.",
}
ESCAPE = r"Escape what is meant literally: \. \( \[ \+"
SLUG = "Use small letters, digits and `_`, beginning with a letter."
BASES = "consent, contract, legal_obligation or legitimate_interest"
ADD = {
    "sensitivity": "Add `sensitivity: personal` (or special: health, belief, origin …; or none).",
    "erasure": "Add `erasure: shred`, which is how everything here is erased.",
    "properties": "Add `properties: []`, with the names of what may be kept of it.",
    "basis": f"Add `basis:` and {BASES}.",
    "description": "Add `description:` and what it means, in words for the people it concerns.",
    "known": "Add `known: true` if it names a person, `known: false` if it names a device.",
    "priority": "Add `priority:` and a number that no other type has; 1 is the strongest.",
    "limit": "Add `limit:` and how many of them one person may have, 90 at most.",
}


def explain(error: Mapping[str, Any], written: Written, model: type[BaseModel]) -> Mistake:
    """One of pydantic's errors about what is written there, as that model takes it."""
    path: Path = error["loc"]
    kind, given = error["type"], error["input"]
    if path and path[-1] == "[key]":
        path = path[:-1]
        if kind in WORDS:
            place = written.spelling(path[:-1], given)
            message = f"YAML takes this name for {shown(given)}"
            return written.mistake(place, message, "Quote the name.")
    if "properties" in path[:-1]:
        path = path[: path.index("properties") + 1]  # lists within lists count differently
    return written.mistake(path, *_said(error, path, written, model))


def _said(
    error: Mapping[str, Any], path: Path, written: Written, model: type[BaseModel]
) -> tuple[str, str]:
    """What is wrong at that place, and what to do about it."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "missing":
            name = str(path[-1])
            said = f"`{name}` is missing", ADD.get(name) or _add(name, written.value)
        case "extra_forbidden":
            said = f"nothing is called `{path[-1]}` here", nearest(path[-1], fields(model, path))
        case "literal_error":
            said = (
                f"{shown(given)} is not one of {context['expected']}",
                nearest(
                    given, context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
                ),
            )
        case "too_short":
            said = "it is empty", _add(str(path[-1]), written.value)
        case "string_too_short":
            said = "it says nothing", f"Use at least {context['min_length']} characters."
        case "greater_than_equal" | "less_than_equal":
            bound = context.get("ge", context.get("le"))
            least = kind == "greater_than_equal"
            said = (
                f"{shown(given)} is too {'small' if least else 'large'}",
                (f"{'At least' if least else 'At most'} {bound}{' days' if _days(path) else ''}."),
            )
        case "string_pattern_mismatch":
            said = f"{shown(given)} is no name for it", SLUG
        case "value_error":
            regex = "expression" in str(context["error"])
            said = str(context["error"]), ESCAPE if regex else ""
        case _ if kind in WORDS:
            wanted = WORDS[kind]
            said = f"it should be {wanted}, and is {shown(given)}", WRITE.get(wanted, "")
        case _:
            said = error["msg"], ""
    return said


def nearest(given: object, known: Iterable[str]) -> str:
    """The known name that somebody may have meant, else all of them."""
    names = {str(name).lower(): str(name) for name in known}
    close = difflib.get_close_matches(str(given).lower(), names, 1)
    if close:
        return f"Did you mean `{names[close[0]]}`?"
    return f"There is: {', '.join(names.values())}." if names else ""


def shown(value: object) -> str:
    """A value as somebody wrote it, in short."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:39]}…") if isinstance(value, str) else text


def fields(model: type[BaseModel], path: Path) -> list[str]:
    """The names that the model knows beside the last one of a path."""
    here: Any = model
    for step in path[:-1]:
        if get_origin(here) in (dict, list):
            here = get_args(here)[-1]
        elif isinstance(here, type) and issubclass(here, BaseModel):
            here = _annotations(here).get(str(step))
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        return []
    return list(_annotations(here))


def _annotations(model: type[BaseModel]) -> dict[str, Any]:
    return {one.alias or name: one.annotation for name, one in model.model_fields.items()}


def _add(name: str, policy: Any) -> str:
    """What to add for an annotation that names something else of the policy."""
    known = policy.get(name) if isinstance(policy, dict) else None
    if name == "purposes" and isinstance(known, dict):
        return f"Add `purposes: […]` with one or more of {', '.join(map(str, known))}."
    if name == "retention" and isinstance(known, dict):
        return f"Add `retention:` and one of {', '.join(map(str, known))}."
    return f"Add `{name}:`; the policy that Candor ships shows how."


def _days(path: Path) -> bool:
    return path[0] in ("retention", "records") or path[-1] == "verify_within"
