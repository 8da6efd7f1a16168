"""Consent strings for tests: random ones, what they say as plain values, and a writer of its own.

What a string says is a dict of plain values, sets as sorted lists, times in milliseconds, so that
it compares with what IAB's own implementations tell (tests/node/iab.cjs). The writer follows the
specifications and no implementation: it also writes what those never do, such as ranges out of
order, the other fillings, and anything malformed that a test asks for.
"""

import random
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from candor.signals import OptOuts, PublisherTC, TcString, UsNational, Vendors

Json = dict[str, Any]
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
DAY = 86_400_000
LAST_WITHOUT = 1_772_236_800_000
"""Midnight of 28 February 2026, UTC, in milliseconds."""
TYPES = {"disclosed": 1, "allowed": 2, "publisher": 3}
NATIONAL = {  # field of UsNational: its name in GPP
    "sharing_notice": "SharingNotice",
    "sale_opt_out_notice": "SaleOptOutNotice",
    "sharing_opt_out_notice": "SharingOptOutNotice",
    "targeted_advertising_opt_out_notice": "TargetedAdvertisingOptOutNotice",
    "sensitive_data_processing_opt_out_notice": "SensitiveDataProcessingOptOutNotice",
    "sensitive_data_limit_use_notice": "SensitiveDataLimitUseNotice",
    "sale_opt_out": "SaleOptOut",
    "sharing_opt_out": "SharingOptOut",
    "targeted_advertising_opt_out": "TargetedAdvertisingOptOut",
    "sensitive_data_processing": "SensitiveDataProcessing",
    "known_child_sensitive_data_consents": "KnownChildSensitiveDataConsents",
    "personal_data_consents": "PersonalDataConsents",
    "mspa_covered_transaction": "MspaCoveredTransaction",
    "mspa_opt_out_option_mode": "MspaOptOutOptionMode",
    "mspa_service_provider_mode": "MspaServiceProviderMode",
}


# What they say, at random


def chance(seed: int) -> random.Random:
    """What draws the same strings for the same seed."""
    return random.Random(seed)  # noqa: S311


def some(rng: random.Random, greatest: int) -> list[int]:
    """Some ids up to the greatest, from none to all of them."""
    share = rng.choice((0, 0.1, 0.5, 0.9, 1))
    return [one for one in range(1, greatest + 1) if rng.random() < share]


def vendors(rng: random.Random) -> list[int]:
    """Nobody, a crowd, a few far apart, or runs."""
    kind = rng.randrange(4)
    if kind == 0:
        return some(rng, rng.randrange(40))
    if kind == 1:
        return sorted(
            rng.sample(range(1, rng.choice((100, 2_000, 2_000, 65_536))), rng.randrange(1, 9))
        )
    chosen: set[int] = set()
    for _ in range(rng.randrange(kind * 2)):
        start = rng.randrange(1, 1_500)
        chosen.update(range(start, start + rng.randrange(1, 40)))
    return sorted(chosen)


def letters(rng: random.Random) -> str:
    return "".join(rng.choices(DIGITS[:26], k=2))


def restrictions(rng: random.Random) -> list[list[Any]]:
    chosen = {(rng.randrange(1, 25), rng.randrange(3)) for _ in range(rng.choice((0, 0, 1, 4)))}
    made = [[*one, vendors(rng)] for one in sorted(chosen)]
    return [one for one in made if one[2]]


def publisher(rng: random.Random) -> Json:
    custom = rng.choice((0, 1, 5, 63))
    return {
        "consent": some(rng, 24),
        "interest": some(rng, 24),
        "custom": custom,
        "custom_consent": some(rng, custom),
        "custom_interest": some(rng, custom),
    }


def tcf(rng: random.Random, *, order: Sequence[str] | None = None) -> Json:
    """What a valid TC string says, with these segments behind its core, or whichever it draws."""
    recent = order is not None or rng.random() < 0.5
    created = LAST_WITHOUT + DAY * (rng.randrange(1, 900) if recent else -rng.randrange(900))
    if order is None:
        order = rng.sample(sorted(TYPES), rng.randrange(4))
        if recent and "disclosed" not in order:
            order = ["disclosed", *order]
    return {
        "created": created + rng.choice((0, 0, 100 * rng.randrange(864_000))),
        "updated": created + rng.choice((0, 0, 100 * rng.randrange(864_000))),
        "cmp_id": rng.randrange(2, 4096),
        "cmp_version": rng.randrange(4096),
        "screen": rng.randrange(64),
        "language": letters(rng),
        "list_version": rng.randrange(4096),
        "policy_version": rng.choice((4, 5)),
        "non_standard": rng.random() < 0.5,
        "special_features": some(rng, 12),
        "consent": some(rng, 24),
        "interest": some(rng, 24),
        "purpose_one": rng.random() < 0.3,
        "country": letters(rng),
        "vendor_consent": vendors(rng),
        "vendor_interest": vendors(rng),
        "restrictions": restrictions(rng),
        "disclosed": vendors(rng) if "disclosed" in order else None,
        "allowed": vendors(rng) if "allowed" in order else None,
        "publisher": publisher(rng) if "publisher" in order else None,
        "order": order,
    }


def national(rng: random.Random, *, gpc: bool = True) -> Json:
    """What a US national section says, under the names of GPP. Gpc: None where it does not say."""
    version = rng.choice((1, 2))
    lengths = {"SensitiveDataProcessing": (12, 16), "KnownChildSensitiveDataConsents": (2, 3)}
    what: Json = {"Version": version}
    for name in NATIONAL.values():
        least = 1 if name == "MspaCoveredTransaction" else 0
        if name in lengths:
            what[name] = [rng.randrange(3) for _ in range(lengths[name][version - 1])]
        else:
            what[name] = rng.randrange(least, 3)
    what["Gpc"] = rng.choice((True, False)) if gpc else None
    return what


def us_privacy(rng: random.Random) -> str:
    return rng.choice(["1---", "1" + rng.choice("YN-") + rng.choice("YN") + rng.choice("YN-")])


# What was decoded, as plain values


def told(string: TcString) -> Json:
    """What a decoded TC string says. `order` is not told: it says nothing."""
    core = string.core
    return {
        "created": _milliseconds(core.created),
        "updated": _milliseconds(core.last_updated),
        "cmp_id": core.cmp_id,
        "cmp_version": core.cmp_version,
        "screen": core.consent_screen,
        "language": core.consent_language,
        "list_version": core.vendor_list_version,
        "policy_version": core.policy_version,
        "non_standard": core.use_non_standard_texts,
        "special_features": sorted(core.special_feature_opt_ins),
        "consent": sorted(core.purposes_consent),
        "interest": sorted(core.purposes_legitimate_interest),
        "purpose_one": core.purpose_one_treatment,
        "country": core.publisher_country,
        "vendor_consent": list(core.vendor_consent),
        "vendor_interest": list(core.vendor_legitimate_interest),
        "restrictions": joined(
            [one.purpose, one.kind, list(one.vendors)] for one in core.publisher_restrictions
        ),
        "disclosed": _listed(string.disclosed_vendors),
        "allowed": _listed(string.allowed_vendors),
        "publisher": _told_publisher(string.publisher),
    }


def joined(restrictions: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """In order, and those that say the same of other vendors as one."""
    vendors_of: dict[tuple[int, int], set[int]] = {}
    for purpose, kind, ids in restrictions:
        vendors_of.setdefault((purpose, kind), set()).update(ids)
    return [[*one, sorted(ids)] for one, ids in sorted(vendors_of.items())]


def _told_publisher(segment: PublisherTC | None) -> Json | None:
    if segment is None:
        return None
    return {
        "consent": sorted(segment.purposes_consent),
        "interest": sorted(segment.purposes_legitimate_interest),
        "custom": segment.custom_purposes,
        "custom_consent": sorted(segment.custom_consent),
        "custom_interest": sorted(segment.custom_legitimate_interest),
    }


def told_national(section: UsNational) -> Json:
    what: Json = {"Version": section.version, "Gpc": section.gpc}
    for field, name in NATIONAL.items():
        value = getattr(section, field)
        what[name] = list(value) if isinstance(value, tuple) else value
    return what


def _listed(some: Vendors | None) -> list[int] | None:
    return None if some is None else list(some)


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


# Writing them


def encoded(bits: str, *blocks: int) -> str:
    """base64url of bits, filled up with zeros to every block in turn, and to full characters."""
    for block in (*blocks, 6):
        bits += "0" * (-len(bits) % block)
    return "".join(DIGITS[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def number(value: int, width: int) -> str:
    return format(value, f"0{width}b")


def field(ids: Iterable[int], width: int) -> str:
    chosen = set(ids)
    return "".join("1" if one in chosen else "0" for one in range(1, width + 1))


def word(two_letters: str) -> str:
    return "".join(number(DIGITS.index(letter), 6) for letter in two_letters)


def entries(ranges: Sequence[tuple[int, int]]) -> str:
    """NumEntries, and single ids or ranges as they come."""
    bits = number(len(ranges), 12)
    for first, last in ranges:
        bits += number(int(first != last), 1) + number(first, 16)
        bits += number(last, 16) if first != last else ""
    return bits


def ranges(ids: Sequence[int], rng: random.Random) -> list[tuple[int, int]]:
    """Ranges that cover the ids, cut anywhere and in any order."""
    made: list[tuple[int, int]] = []
    for one in ids:
        if made and made[-1][1] == one - 1 and rng.random() < 0.9:
            made[-1] = made[-1][0], one
        else:
            made.append((one, one))
    rng.shuffle(made)
    return made


def vendor_list(ids: Sequence[int], rng: random.Random) -> str:
    """A list of vendors either way, sometimes announcing a greatest id that is not in it."""
    greatest = min(65_535, max(ids, default=0) + rng.choice((0, 0, 3)))
    parts = ranges(ids, rng)
    if len(parts) < 4_000 and (greatest > 3_000 or rng.random() < 0.5):
        return number(greatest, 16) + "1" + entries(parts)
    return number(greatest, 16) + "0" + field(ids, greatest)


def core_bits(what: Json, rng: random.Random, *, version: int = 2, service: bool = True) -> str:
    bits = number(version, 6)
    bits += number(what["created"] // 100, 36) + number(what["updated"] // 100, 36)
    bits += number(what["cmp_id"], 12) + number(what["cmp_version"], 12)
    bits += number(what["screen"], 6) + word(what["language"]) + number(what["list_version"], 12)
    bits += number(what["policy_version"], 6)
    bits += number(service, 1) + number(what["non_standard"], 1)
    bits += field(what["special_features"], 12)
    bits += field(what["consent"], 24) + field(what["interest"], 24)
    bits += number(what["purpose_one"], 1) + word(what["country"])
    bits += vendor_list(what["vendor_consent"], rng) + vendor_list(what["vendor_interest"], rng)
    bits += number(len(what["restrictions"]), 12)
    for purpose, kind, ids in what["restrictions"]:
        bits += number(purpose, 6) + number(kind, 2) + entries(ranges(ids, rng))
    return bits


def segment_bits(name: str, what: Json, rng: random.Random) -> str:
    bits = number(TYPES[name], 3)
    if name != "publisher":
        return bits + vendor_list(what[name], rng)
    said = what["publisher"]
    bits += field(said["consent"], 24) + field(said["interest"], 24) + number(said["custom"], 6)
    return bits + "".join(
        field(said[one], said["custom"]) for one in ("custom_consent", "custom_interest")
    )


def write_tcf(what: Json, rng: random.Random, *blocks: int) -> str:
    bits = [core_bits(what, rng), *(segment_bits(name, what, rng) for name in what["order"])]
    return ".".join(encoded(one, *blocks) for one in bits)


def write_national(what: Json, *blocks: int) -> str:
    bits = number(what["Version"], 6)
    for name in NATIONAL.values():
        answers = what[name] if isinstance(what[name], list) else [what[name]]
        bits += "".join(number(one, 2) for one in answers)
    segments = [bits] if what["Gpc"] is None else [bits, f"01{what['Gpc']:b}"]
    return ".".join(encoded(one, *blocks) for one in segments)


def fibonacci(value: int) -> str:
    numbers = [1, 2]
    while numbers[-1] <= value:
        numbers.append(numbers[-1] + numbers[-2])
    bits = ""
    for one in reversed(numbers[:-1]):
        bits = ("1" if one <= value else "0") + bits
        value -= one if one <= value else 0
    return bits.rstrip("0") + "1"


def header_bits(ids: Sequence[int], *, kind: int = 3, version: int = 1) -> str:
    """The header that lists these ids, runs of them as ranges."""
    runs: list[list[int]] = []
    for one in ids:
        if runs and runs[-1][-1] == one - 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    bits, last = number(kind, 6) + number(version, 6) + number(len(runs), 12), 0
    for first, *more in runs:
        bits += ("1" if more else "0") + fibonacci(first - last)
        bits += fibonacci(more[-1] - first) if more else ""
        last = more[-1] if more else first
    return bits


def write_gpp(sections: dict[int, str], *blocks: int) -> str:
    ids = sorted(sections)
    return "~".join([encoded(header_bits(ids), *blocks), *(sections[one] for one in ids)])


# Damaging them


def damaged(text: str, rng: random.Random) -> str:
    """The text with one to three accidents: bits, characters and segments lost, added, changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(ACCIDENTS)(text, rng) or "A"
    return text


def _bit(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    if text[at] not in DIGITS:
        return text
    flipped = DIGITS[DIGITS.index(text[at]) ^ 1 << rng.randrange(6)]
    return text[:at] + flipped + text[at + 1 :]


def _insert(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(DIGITS + ".~AAAA") + text[at:]


def _delete(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + text[at + rng.choice((1, 1, 4, 8)) :]


def _swap(text: str, rng: random.Random) -> str:
    one, other = sorted(rng.choices(range(len(text)), k=2))
    if one == other:
        return text
    return text[:one] + text[other] + text[one + 1 : other] + text[one] + text[other + 1 :]


def _strange(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice("é×Ａ😀+/= \n\0\ud800") + text[at + 1 :]


def _segment(text: str, rng: random.Random) -> str:
    """One segment gone, twice, or elsewhere."""
    parts = text.split(".")
    one = parts.pop(rng.randrange(len(parts)))
    for _ in range(rng.randrange(3)):
        parts.insert(rng.randrange(len(parts) + 1), one)
    return ".".join(parts)


ACCIDENTS = (_bit, _bit, _bit, _insert, _delete, _swap, _strange, _segment)


# Comparing what they allow


def allowed(out: OptOuts | None) -> set[object]:
    """What nobody opted out of, and was told of."""
    if out is None:
        return set()
    names = ("sale", "sharing", "targeted_advertising")
    return {name for name in names if getattr(out, name) is False} | set(out.sensitive_allowed)
