"""What a change of policy means for people and for what is stored of them, in plain words.

It goes by what the code does with a policy: whether data may be used is decided at each read, and
so is that a trait ends sooner; when anything ends is written with it, and stays so until a renewal.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from candor.notice import duration

Json = Mapping[str, Any]
Grade = Literal["widens", "breaks", "changes", "narrows"]
GRADES: dict[Grade, str] = {
    "widens": "More is done with people's data",
    "breaks": "Something that is stored cannot be used or found any more",
    "changes": "Something is different",
    "narrows": "Less is done with people's data",
}
ASKED = {"consent": 0, "legitimate_interest": 1, "contract": 2, "legal_obligation": 2}
"""How little people are asked, by legal basis."""
IP = ("drop", "truncate", "keep")
USER_AGENT = ("drop", "family", "keep")


@dataclass(frozen=True, slots=True)
class Change:
    grade: Grade
    paths: tuple[str, ...]
    people: str
    """What it means for the people it concerns."""
    data: str = ""
    """What it means for data that is stored already."""


def compare(old: Json, new: Json) -> list[Change]:
    """What the step from one compiled policy to another means; what widens comes first."""
    found = [
        *_purposes(old, new),
        *_traits(old, new),
        *_events(old, new),
        *_identifiers(old, new),
        *_blocked(old, new),
        *_classes(old, new),
        *_records(old, new),
        *_categories(old, new),
        *_signals(old, new),
        *_opt_outs(old, new),
        *_surroundings(old, new),
        *_destinations(old, new),
        *_rest(old, new),
    ]
    alike: dict[tuple[Grade, str, str], list[str]] = {}
    for grade, path, people, *data in found:
        alike.setdefault((grade, people, "".join(data)), []).append(path)
    changes = [Change(grade, tuple(paths), *said) for (grade, *said), paths in alike.items()]
    order = list(GRADES)
    return sorted(changes, key=lambda one: order.index(one.grade))


Told = tuple[Grade, str, str] | tuple[Grade, str, str, str]
"""Grade, path, and what it means for people and, where it does, for what is stored."""


# Purposes


def _purposes(old: Json, new: Json) -> Iterator[Told]:
    for name, was, now in _pairs(old["purposes"], new["purposes"]):
        path = f"purposes.{name}"
        if was is None:
            if now["basis"] == "consent":
                told = "A new purpose: nothing is used for it until people agree to it."
                yield ("changes", path, told, "Nobody has agreed to it yet.")
            else:
                told = f"A new purpose that nobody is asked about: its basis is {now['basis']}."
                yield ("widens", path, told, _at_once("Everything that names it"))
            continue
        if now is None:
            told = "Nothing is used for this any more."
            data = (
                "From the next read on. Choices about it stay on record until their own end; "
                "tokens that were issued for it alone can read nothing."
            )
            yield ("narrows", path, told, data)
            continue
        yield from _basis(path, was["basis"], now["basis"])
        if was["sees_everything"] != now["sees_everything"]:
            if now["sees_everything"]:
                told = "Who reads for it now sees everything, whatever people chose."
                yield ("widens", f"{path}.sees_everything", told, _at_once("All that is stored"))
            else:
                told = "Who reads for it sees only what is kept for it."
                yield ("narrows", f"{path}.sees_everything", told, "From the next read on.")
        if was["description"] != now["description"]:
            told = "People are told other words than those they agreed to or could object to."
            data = "A consent given to the old words may not cover the new ones: ask again if not."
            yield ("changes", f"{path}.description", told, data)


def _basis(path: str, was: str, now: str) -> Iterator[Told]:
    if was == now:
        return
    path = f"{path}.basis"
    begin = f"{was} → {now}. "
    at_once = _at_once("What is stored and names this purpose")
    match was, now:
        case "consent", "legitimate_interest":
            told = (
                "People who never answered are included from now on. A refusal in the consent "
                "settings still counts; a refusal that was only a choice in a banner does not."
            )
            yield ("widens", path, f"{begin}{told} Tell them, and that they can object.", at_once)
        case "consent", _:
            told = "People are not asked any more, and no refusal counts, those on record neither."
            yield ("widens", path, begin + told, at_once)
        case "legitimate_interest", "consent":
            told = "Only who agrees is included; who never answered is left out."
            yield ("narrows", path, begin + told, _left_out())
        case "legitimate_interest", _:
            told = "Objections do not count any more, those on record neither."
            yield ("widens", path, begin + told, at_once)
        case _, "consent":
            told = "People are asked; only who agrees is included."
            yield ("narrows", path, begin + told, _left_out())
        case _, "legitimate_interest":
            told = "People can object; refusals in the consent settings that are on record count."
            yield ("narrows", path, begin + told, "From the next read on.")
        case _:
            told = "People still cannot refuse; what they are told about why is different."
            yield ("changes", path, begin + told)


def _at_once(what: str) -> str:
    return (
        f"{what} can be used at once, also what was collected before: that is decided at each read."
    )


def _left_out() -> str:
    return (
        "What is stored of the others is not used from the next read on; it ends when it would "
        "have ended. New data of theirs is not stored, unless another purpose allows it."
    )


# What is kept


def _traits(old: Json, new: Json) -> Iterator[Told]:
    for name, was, now in _pairs(old["traits"], new["traits"]):
        path = f"traits.{name}"
        if now is None:
            told = "It is not kept any more: it is stripped when it comes in."
            data = (
                "What is stored is hidden at once from every read, and ends with its identifier: "
                f"{duration(new['records']['identifier'])} after that was last seen, or by erasure."
            )
            yield ("narrows", path, told, data)
            continue
        if was is None:
            yield _collected(path, new, now)
            continue
        yield from _attribute(path, new, was, now)
        if was["retention"] != now["retention"]:
            yield from _kept(f"{path}.retention", "It", _days(old, was), _days(new, now), TRAITS)
        yield from _verified(path, was.get("verify_within"), now.get("verify_within"))


def _verified(path: str, was: int | None, now: int | None) -> Iterator[Told]:
    if was != now:
        words = [f"after {_time(one)}" if one else "never" for one in (was, now)]
        told = f"It is shown as stale {words[1]} without confirmation, and was {words[0]}."
        yield ("changes", f"{path}.verify_within", told, "From the next read on.")


def _events(old: Json, new: Json) -> Iterator[Told]:
    for name, was, now in _pairs(old["events"], new["events"]):
        path = f"events.{name}"
        if now is None:
            told = "It is not kept any more."
            data = (
                "What is stored is hidden at once from every read, and ends on the day that was "
                f"written with it, at most {_time(_days(old, was))} after it happened."
            )
            yield ("narrows", path, told, data)
            continue
        if was is None:
            yield _collected(path, new, now)
            continue
        yield from _attribute(path, new, was, now)
        if was["retention"] != now["retention"]:
            yield from _kept(f"{path}.retention", "It", _days(old, was), _days(new, now), EVENTS)
        more, less = _sets(was["properties"], now["properties"])
        if more:
            told = f"With it is kept from now on: {_listed(more)}."
            yield ("widens", f"{path}.properties", told, "Nothing of it is stored yet.")
        if less:
            told = f"With it is not kept any more: {_listed(less)}."
            data = (
                "What is stored is hidden at once from every read, and ends with its event, at "
                f"most {_time(_days(old, was))} after that happened."
            )
            yield ("narrows", f"{path}.properties", told, data)


def _collected(path: str, policy: Json, entry: Json) -> Told:
    purposes = policy["purposes"]
    asked = [one for one in entry["purposes"] if purposes[one]["basis"] == "consent"]
    others = [one for one in entry["purposes"] if one not in asked]
    told = f"It is collected from now on and kept {_time(_days(policy, entry))}"
    if others:
        told += f", of everybody for {_listed(others)}"
    if asked:
        told += f"{', and' if others else ','} of who agreed for {_listed(asked)}"
    return ("widens", path, f"{told}.", "Nothing of it is stored yet.")


def _attribute(path: str, new: Json, was: Json, now: Json) -> Iterator[Told]:
    more, less = _sets(was["purposes"], now["purposes"])
    for name in more:
        basis = new["purposes"][name]["basis"]
        who = "of everybody"
        if basis == "consent":
            who = "of people who agreed to that"
        elif basis == "legitimate_interest":
            who = "of everybody who did not object"
        told = f"It is used for `{name}` too, {who}."
        if basis == "consent":
            told += " Did what they agreed to say so? If not, ask again."
        data = f"Also what was collected before, for {_listed(was['purposes'])}: {_DECIDED}"
        yield ("widens", f"{path}.purposes", told, data)
    for name in less:
        gone = name not in new["purposes"]
        told = f"It is not used for `{name}` any more{', which is no purpose now' if gone else ''}."
        data = (
            "From the next read on. What is stored only because of that purpose is not used, and "
            "ends when it would have ended."
        )
        yield ("narrows", f"{path}.purposes", told, data)
    if was["sensitivity"] != now["sensitivity"]:
        told = f"Its sensitivity is said to be {now['sensitivity']}, and was {was['sensitivity']}."
        yield ("changes", f"{path}.sensitivity", told)


_DECIDED = "whether data may be used is decided at each read."


# Who is who


def _identifiers(old: Json, new: Json) -> Iterator[Told]:
    for name, was, now in _pairs(old["identifiers"], new["identifiers"]):
        path = f"identifiers.{name}"
        if now is None:
            told = f"People are not recognised by `{name}` any more."
            data = (
                "People who are stored are not found by it any more, not for an erasure either. "
                "Those that are stored are shown to nobody but who sees everything, and end "
                f"{_time(old['records']['identifier'])} after they were last seen."
            )
            yield ("breaks", path, told, data)
            continue
        if was is None:
            told = f"People are recognised by `{name}` too, {now['limit']} of them a profile."
            yield ("widens", path, told, "What is stored is joined when such an event comes.")
            continue
        yield from _attribute(path, new, was, now)
        yield from _rule(path, name, was, now)


def _rule(path: str, name: str, was: Json, now: Json) -> Iterator[Told]:
    if now["limit"] > was["limit"]:
        told = f"Up to {now['limit']} `{name}` can be one person, instead of {was['limit']}."
        data = "Links that were refused are not tried again until they are seen again."
        yield ("widens", f"{path}.limit", told, data)
    elif now["limit"] < was["limit"]:
        told = f"At most {now['limit']} `{name}` can be one person, instead of {was['limit']}."
        data = "Profiles that hold more keep them, and get no further one."
        yield ("narrows", f"{path}.limit", told, data)
    yield from _sharing(f"{path}.shared_after", name, was, now)
    if was["normaliser"] != now["normaliser"]:
        how = f"{was['normaliser']} → {now['normaliser']}"
        told = f"`{name}` is spelled otherwise from now on: {how}."
        data = (
            "What is stored under the old spelling is not found by it any more: not for a read, a "
            "refusal or an erasure. Who comes again is another person."
        )
        yield ("breaks", f"{path}.normaliser", told, data)
    region_was, region_now = was.get("region"), now.get("region")
    if region_was != region_now:
        countries = f"{region_now or 'nobody'}, and were {region_was or 'nobody'}"
        told = f"Numbers without their country's code are those of {countries}."
        data = "Who is stored by such a number is found by it with its country's code only."
        yield ("breaks", f"{path}.region", told, data)
    proof_was, proof_now = was.get("needs_proof", False), now["needs_proof"]
    if proof_was != proof_now:
        if proof_now:
            told = f"Browsers and apps are not believed a `{name}` any more without a proof."
            yield ("narrows", f"{path}.needs_proof", told, "Links that came of it stay.")
        else:
            told = (
                f"Whoever has the public key of a browser or an app may say whose `{name}` it is."
            )
            data = "What was left out till now is not stored, and not joined later."
            yield ("widens", f"{path}.needs_proof", told, data)
    if was["known"] != now["known"]:
        told = "It names a person now." if now["known"] else "It names a device now, and no person."
        data = "What is stored stays where it is; who may speak for it is decided anew from now on."
        yield ("changes", f"{path}.known", told, data)
    if was["priority"] != now["priority"]:
        told = f"Its rank is {now['priority']}, and was {was['priority']} (1 is the strongest)."
        data = "What is stored is not moved; new data goes to the strongest one of its event."
        yield ("changes", f"{path}.priority", told, data)
    more, less = _sets(was["from"], now["from"])
    if more:
        told = f"It is taken from {_listed(more)} too."
        yield ("widens", f"{path}.from", told, "Nothing changes for what is stored.")
    if less:
        told = f"It is not taken from {_listed(less)} any more."
        yield ("narrows", f"{path}.from", told, "Links that came of it stay.")
    yield from _never(f"{path}.never", f"`{name}`", was["never"], now["never"])


def _sharing(path: str, name: str, was: Json, now: Json) -> Iterator[Told]:
    # A policy that is in force may be older than this rule.
    many_was, many_now = was.get("shared_after", 10), now["shared_after"]
    if many_now > many_was:
        told = f"A `{name}` counts as shared when it met more than {many_now}, not {many_was}."
        data = "What is in quarantine stays there until it is released."
        yield ("widens", path, told, data)
    elif many_now < many_was:
        told = f"A `{name}` counts as shared when it met more than {many_now} already."
        data = "What has met more is quarantined when it is seen again, and whom it joined part."
        yield ("narrows", path, told, data)


def _blocked(old: Json, new: Json) -> Iterator[Told]:
    was, now = old["never_identifiers"], new["never_identifiers"]
    yield from _never("never_identifiers", "an identifier", was, now)


def _never(path: str, what: str, was: list[str], now: list[str]) -> Iterator[Told]:
    more, less = _sets(was, now)
    if more:
        told = f"Values like {_listed(more)} name nobody any more as {what}."
        data = (
            "People who are stored under such a value are not found by it any more, not for an "
            "erasure either: look before you deploy."
        )
        yield ("breaks", path, told, data)
    if less:
        told = f"Values like {_listed(less)} can name people as {what} from now on."
        data = "If strangers share such a value, they become one profile."
        yield ("widens", path, told, data)


# Times


TRAITS = "traits"
EVENTS = "events"
REACH = "`candor retention apply` lets it reach what is stored."


def _kept(path: str, what: str, before: int, after: int, *parts: str) -> Iterator[Told]:
    """That traits, events or both are kept for another time."""
    if before == after:
        return
    shorter = after < before
    traits = (
        "Traits: values that were said longer ago are hidden from the next read on."
        if shorter
        else f"Traits: those from now on; what is stored ends {_time(before)} after it was said."
    )
    events = (
        "Events: those from now on; what is stored ends on the day that was written with it, "
        f"{_time(before)} after it happened."
    )
    data = " ".join([*({TRAITS: traits, EVENTS: events}[part] for part in parts), REACH])
    told = f"{what} is kept {_time(after)} instead of {_time(before)}."
    yield "narrows" if shorter else "widens", path, told, data


def _classes(old: Json, new: Json) -> Iterator[Told]:
    for name, was, now in _pairs(old["retention"], new["retention"]):
        if now is None:
            told = f"There is no class `{name}` any more."
            data = (
                "What is stored of it ends on the day that was written with it, at most "
                f"{_time(was)} after it happened."
            )
            yield "changes", f"retention.{name}", told, data
        elif was is not None:
            of_class = {
                part: [one for one, entry in new[part].items() if entry["retention"] == name]
                for part in (TRAITS, EVENTS)
            }
            names = [one for part in of_class.values() for one in part]
            what = f"What is of class `{name}` ({_listed(names) or 'nothing, now'})"
            parts = [part for part, listed in of_class.items() if listed]
            yield from _kept(f"retention.{name}", what, was, now, *parts)


def _records(old: Json, new: Json) -> Iterator[Told]:
    told = {
        "identifier": "A profile that is not seen again",
        "link": "Why two identifiers belong together",
        "consent": "The proof of a choice",
        "request": "A privacy request with its certificate",
        "audit": "Who read what",
    }
    for name, was, now in _pairs(old["records"], new["records"]):
        if was == now or was is None or now is None:
            continue
        said = f"{told[name]} is kept {_time(now)} instead of {_time(was)}."
        data = "Those written from now on; those that are stored end as it was written with them."
        if name == "identifier":
            data = "From when it is seen the next time; till then its end is the one it had."
        if name != "audit":
            data = f"{data} {REACH}"
        yield ("widens" if now > was else "narrows", f"records.{name}", said, data)


# What people are asked, and what devices say


def _categories(old: Json, new: Json) -> Iterator[Told]:
    was_all, now_all = (
        {name.lower(): purposes for name, purposes in one["consent_categories"].items()}
        for one in (old, new)
    )
    stored = "Choices on record were stored for each purpose, and do not change."
    for name, was, now in _pairs(was_all, now_all):
        path = f"consent_categories.{name}"
        more, less = _sets(was or [], now or [])
        if more:
            told = f"A yes to `{name}` in a banner is a yes to {_listed(more)} too, and so is a no."
            yield ("widens", path, f"{told} Does the banner say so?", stored)
        if less:
            told = f"A choice of `{name}` in a banner does not stand for {_listed(less)} any more."
            told += " That is so for a yes, and for a no."
            yield ("changes", path, told, stored)


SIGNALS = {"consent_mode": "Consent Mode", "tcf": "TCF"}
OPT_OUTS = "us_opt_outs"


def _signals(old: Json, new: Json) -> Iterator[Told]:
    """What stands for a purpose that needs a yes of all that stand for it."""
    stored = "Choices on record were stored for each purpose, and do not change."
    for section, tool in SIGNALS.items():
        was_all, now_all = (one.get(section, {}) for one in (old, new))
        before, after = ({p for part in one.values() for p in part} for one in (was_all, now_all))
        for name, was, now in _pairs(was_all, now_all):
            path = f"{section}.{name}"
            more, less = _sets(was or [], now or [])
            for told, purposes in (
                ("is heard", [one for one in more if one not in before]),
                ("needs one yes less", [one for one in less if one in after]),
            ):
                if purposes:
                    yield ("widens", path, f"In {tool} {_listed(purposes)} {told}.", stored)
            for told, purposes in (
                ("needs this yes too", [one for one in more if one in before]),
                ("is not heard any more", [one for one in less if one not in after]),
            ):
                if purposes:
                    yield ("narrows", path, f"In {tool} {_listed(purposes)} {told}.", stored)


def _opt_outs(old: Json, new: Json) -> Iterator[Told]:
    """What ends with an opt-out, Global Privacy Control among them."""
    was_all, now_all = (
        {"gpc": one.get("gpc", [])}
        | {f"{OPT_OUTS}.{name}": listed for name, listed in one.get(OPT_OUTS, {}).items()}
        for one in (old, new)
    )
    for path, was, now in _pairs(was_all, now_all):
        more, less = _sets(was or [], now or [])
        if more:
            told = f"Who sends this signal ends {_listed(more)} too."
            yield ("narrows", path, told, "Signals that came before end nothing more.")
        if less:
            told = f"Who sends this signal does not end {_listed(less)} any more."
            yield ("widens", path, told, "What ended by it stays ended.")


def _surroundings(old: Json, new: Json) -> Iterator[Told]:
    stays = "What is stored stays with its events as it is, until they end."
    hidden = "What is stored is hidden at once from every read, and ends with its event."
    for field, ranks, what in (
        ("ip", IP, "network address"),
        ("user_agent", USER_AGENT, "browser"),
    ):
        was, now = old["minimise"][field], new["minimise"][field]
        if was != now:
            told = f"The {what} of people is treated otherwise: {was} → {now}."
            wider = ranks.index(now) > ranks.index(was)
            yield ("widens" if wider else "narrows", f"minimise.{field}", told, stays)
    more, less = _sets(old["context"]["keep"], new["context"]["keep"])
    if more:
        told = f"Of their devices is kept with each event from now on: {_listed(more)}."
        yield ("widens", "context.keep", told, "Nothing of it is stored yet.")
    if less:
        told = f"Of their devices is not kept any more: {_listed(less)}."
        yield ("narrows", "context.keep", told, hidden)
    more, less = _sets(old["context"]["use"], new["context"]["use"])
    if more or less:
        told = " ".join(
            f"{word}: {_listed(names)}."
            for word, names in (("Read now", more), ("Not read now", less))
            if names
        )
        yield ("changes", "context.use", told, "Nothing of it is stored.")
    was, now = (one["sources"]["priority"] for one in (old, new))
    if was != now:
        told = f"Where two sources said something at once, the order is: {', '.join(now)}."
        data = "The value that is shown may change where a trait is said or read again."
        yield ("changes", "sources.priority", told, data)


NOTHING_WAITED_FOR = {"waiting_days": 0, "second_person": False}


def _destinations(old: Json, new: Json) -> Iterator[Told]:
    for name, was, now in _pairs(old.get("destinations", {}), new["destinations"]):
        path = f"destinations.{name}"
        if was is None:
            told = f"Data of people goes to {now['name']!r}; it is told when they are erased."
            data = "Of erasures that were asked for before, it is told nothing."
            yield ("widens", path, told, data)
            continue
        if now is None:
            told = f"{was['name']!r} is not told any more when people are erased."
            data = "It may still hold what it was given. Erasures that wait for it stay partial."
            yield ("changes", path, told, data)
            continue
        if was["name"] != now["name"]:
            told = f"People read that their data goes to {now['name']!r}, not {was['name']!r}."
            yield ("changes", f"{path}.name", told)
        if was["url"] != now["url"]:
            yield ("changes", f"{path}.url", "It is told of erasures at another address.")
        more, less = _sets(was["knows"], now["knows"])
        if more:
            told = f"It is told {_listed(more)} too of who is erased."
            yield ("widens", f"{path}.knows", told, "In erasures from now on.")
        if less:
            told = f"It is not told {_listed(less)} any more of who is erased."
            yield ("narrows", f"{path}.knows", told, "What it holds by these alone stays there.")
        hours = was["answer_within_hours"], now["answer_within_hours"]
        if hours[0] != hours[1]:
            told = f"An erasure waits for its answer for {hours[1]} hours, and not {hours[0]}."
            yield ("changes", f"{path}.answer_within_hours", told)


def _rest(old: Json, new: Json) -> Iterator[Told]:
    for field in ("organization", "contact"):
        if old[field] != new[field]:
            told = f"People read {new[field]!r} instead of {old[field]!r}."
            yield ("changes", field, told)
    if (was := old.get("minors_under", 16)) != (now := new["minors_under"]):
        told = f"People read that a guardian answers for who is under {now}, and not under {was}."
        data = "Who is marked as a minor stays so until it is said otherwise."
        yield ("changes", "minors_under", told, data)
    was, now = (one.get("erasure", NOTHING_WAITED_FOR) for one in (old, new))
    if was != now:
        days, second = now["waiting_days"], now["second_person"]
        told = f"An erasure destroys after {days} days" + (" and a second person's yes." * second)
        data = "Requests that wait already go on as they began."
        yield ("changes", "erasure", told, data)
    same = old.get("changed") == new.get("changed")
    if same and new.get("changed") and old["hash"] != new["hash"]:
        told = f"People still read that this was last changed on {new['changed']}: set the date."
        yield ("changes", "changed", told)


# Words and sets


def _pairs(old: Json, new: Json) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys([*old, *new]):
        was, now = old.get(name), new.get(name)
        if was != now or isinstance(now, dict):
            yield name, was, now


def _sets(was: Iterable[str], now: Iterable[str]) -> tuple[list[str], list[str]]:
    """What came and what went."""
    before, after = list(was), list(now)
    return [x for x in after if x not in before], [x for x in before if x not in after]


def _days(policy: Json, entry: Json) -> int:
    days: int = policy["retention"][entry["retention"]]
    return days


_time: Callable[[int], str] = duration


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
