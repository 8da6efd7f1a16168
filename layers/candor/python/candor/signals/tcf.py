"""TC strings of IAB Europe's Transparency and Consent Framework, versions 2.2 and 2.3.

The format is IAB Tech Lab's "Transparency and Consent String with Global Vendor & CMP List
Formats", "TC String Format": a core segment, and after it, in any order, at most one each of
disclosed vendors, allowed vendors and publisher TC. Beyond the format, these make a string invalid:

- a policy version other than 4 and 5, which TCF 2.2 to 2.4 have used (5 since July 2024);
- IsServiceSpecific = 0: since global scope ended, "considered invalid" (same document, core
  string);
- no disclosed vendors in a string of 1 March 2026 or later. IAB Europe, "All you need to know
  about the transition to TCF v2.3": strings created after 28 February 2026 without that segment
  are invalid, earlier ones stay valid. Created and LastUpdated are to be the same; the later one
  counts;
- CMP ids 0 and 1, which nobody has and @iabtcf/core refuses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from candor.signals.bits import Bits, InvalidSignal, segments
from candor.signals.vendors import Vendors, read_ranges, read_vendors

VERSION = 2
POLICY_VERSIONS = frozenset({4, 5})
DISCLOSURE_REQUIRED = datetime(2026, 3, 1, tzinfo=UTC)
PURPOSES = frozenset(range(1, 12))
"""What policy versions 4 and 5 define; a string has bits for 24."""
INTEREST_PURPOSES = PURPOSES - {1, 3, 4, 5, 6}
"""Those that a legitimate interest may be the basis of: TCF Policies, Appendix A, since TCF 2.2."""
SPECIAL_FEATURES = frozenset({1, 2})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FILLED_TO: Final = (6, 8, 24)

NOT_ALLOWED, REQUIRE_CONSENT, REQUIRE_LEGITIMATE_INTEREST = range(3)


@dataclass(frozen=True, slots=True)
class Restriction:
    """What the publisher allows some vendors for one purpose, whatever else the string says."""

    purpose: int
    """1 to 24."""
    kind: int
    """NOT_ALLOWED, REQUIRE_CONSENT or REQUIRE_LEGITIMATE_INTEREST."""
    vendors: Vendors


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The core segment. Sets of purposes and special features hold ids from 1."""

    version: int
    created: datetime
    """UTC, to a tenth of a second; as `last_updated`. Both are to be full days."""
    last_updated: datetime
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    """ISO 639-1, two capital letters."""
    vendor_list_version: int
    policy_version: int
    is_service_specific: bool
    use_non_standard_texts: bool
    """Before TCF 2.2: use_non_standard_stacks."""
    special_feature_opt_ins: frozenset[int]
    purposes_consent: frozenset[int]
    purposes_legitimate_interest: frozenset[int]
    """Transparency is established and the person has not objected."""
    purpose_one_treatment: bool
    """Purpose 1 was not disclosed."""
    publisher_country: str
    """ISO 3166-1 alpha-2, two capital letters; "AA" is unknown."""
    vendor_consent: Vendors
    vendor_legitimate_interest: Vendors
    publisher_restrictions: tuple[Restriction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherTC:
    """What the person allows the publisher itself. Custom purposes are numbered from 1."""

    purposes_consent: frozenset[int]
    purposes_legitimate_interest: frozenset[int]
    custom_purposes: int
    """How many the publisher has: 0 to 63."""
    custom_consent: frozenset[int]
    custom_legitimate_interest: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcString:
    """A TC string. None stands for a segment that it does not have."""

    core: Core
    disclosed_vendors: Vendors | None = None
    allowed_vendors: Vendors | None = None
    """Out of use since global scope and out-of-band consent ended."""
    publisher: PublisherTC | None = None


@dataclass(frozen=True, slots=True)
class Grants:
    """What a TC string allows, by purpose. Grants() allows nothing."""

    consent: frozenset[int] = frozenset()
    legitimate_interest: frozenset[int] = frozenset()
    special_features: frozenset[int] = frozenset()
    denied: str | None = None
    """Why nothing is allowed, in a sentence without personal data; None where the string counts."""


def decode_tcf(text: str) -> TcString:
    """Every field of a TC string. Raises InvalidSignal, and gives no part of it, where any of it is
    malformed, cut off, unknown or against the rules above.

    Trailing zeros are taken as encoders write them (`Bits.end`), so two spellings of a segment that
    differ in these alone are one. A whole segment cut from the end is noticed only where it is
    required, since the others may be missing.
    """
    first, *others = segments(text, 4)
    found: dict[str, Vendors | PublisherTC] = {}
    core = _core(Bits(first, "core segment"))
    for number, one in enumerate(others, 2):
        bits = Bits(one, f"segment {number}")
        known = SEGMENTS.get(bits.integer(3))
        if known is None:
            raise InvalidSignal(f"Segment {number} is of an unknown type.")
        name, read = known
        if name in found:
            raise InvalidSignal(f"Segment {number} is of a type that was there before.")
        found[name] = read(bits)
        bits.end(*FILLED_TO)
    string = TcString(core=core, **found)  # type: ignore[arg-type] # each name with its reader
    if string.disclosed_vendors is None and _must_disclose(core):
        raise InvalidSignal("The segment of disclosed vendors is missing: TCF 2.3 requires it.")
    return string


def tcf_grants(text: str, *, vendor: int | None = None) -> Grants:
    """What a TC string allows in general, or to one vendor. A string that cannot be relied on
    allows nothing, and the answer says why. See `granted`."""
    try:
        return granted(decode_tcf(text), vendor)
    except InvalidSignal as why:
        return Grants(denied=str(why))


def granted(string: TcString, vendor: int | None = None) -> Grants:
    """The purposes from 1 to 11 with consent or an established legitimate interest, and special
    features 1 and 2; only where disclosed.

    Purpose 1 is left out where PurposeOneTreatment says that it was not disclosed, and legitimate
    interest where the policies do not let it be the basis. A string that discloses no vendor
    allows nothing. For a vendor, consent needs the vendor's own bit too, and the same for
    legitimate interest; the vendor must be among the disclosed ones where there is such a segment;
    and what the publisher restricts is taken away.
    """
    core, disclosed = string.core, string.disclosed_vendors
    if disclosed is not None and not disclosed.ranges:
        return Grants(denied="No vendor was disclosed.")
    consent = core.purposes_consent & PURPOSES
    if core.purpose_one_treatment:
        consent -= {1}
    interest = core.purposes_legitimate_interest & INTEREST_PURPOSES
    features = core.special_feature_opt_ins & SPECIAL_FEATURES
    if vendor is None:
        return Grants(consent, interest, features)
    if disclosed is not None and vendor not in disclosed:
        return Grants(denied="The vendor was not disclosed.")
    if vendor not in core.vendor_consent:
        consent = frozenset()
    if vendor not in core.vendor_legitimate_interest:
        interest = frozenset()
    for one in core.publisher_restrictions:
        if vendor in one.vendors and one.kind != REQUIRE_CONSENT:
            consent -= {one.purpose}
        if vendor in one.vendors and one.kind != REQUIRE_LEGITIMATE_INTEREST:
            interest -= {one.purpose}
    return Grants(consent, interest, features if consent or interest else frozenset())


def _core(bits: Bits) -> Core:
    """The fields in the order of the document. Each argument takes its bits as it is evaluated."""
    _known(bits.integer(6) == VERSION, "The TC string is not of version 2.")
    core = Core(
        version=VERSION,
        created=_time(bits),
        last_updated=_time(bits),
        cmp_id=bits.integer(12),
        cmp_version=bits.integer(12),
        consent_screen=bits.integer(6),
        consent_language=bits.letters(),
        vendor_list_version=bits.integer(12),
        policy_version=bits.integer(6),
        is_service_specific=bits.flag(),
        use_non_standard_texts=bits.flag(),
        special_feature_opt_ins=bits.positions(12),
        purposes_consent=bits.positions(24),
        purposes_legitimate_interest=bits.positions(24),
        purpose_one_treatment=bits.flag(),
        publisher_country=bits.letters(),
        vendor_consent=read_vendors(bits),
        vendor_legitimate_interest=read_vendors(bits),
        publisher_restrictions=tuple(_restriction(bits) for _ in range(bits.integer(12))),
    )
    bits.end(*FILLED_TO)
    _known(core.policy_version in POLICY_VERSIONS, "The TC string is of an unknown policy version.")
    _known(core.is_service_specific, "The TC string is of global scope, which no longer counts.")
    _known(core.cmp_id > 1, "The TC string names no consent management platform.")
    return core


def _restriction(bits: Bits) -> Restriction:
    purpose, kind = bits.integer(6), bits.integer(2)
    _known(1 <= purpose <= 24, "A publisher restriction is for no purpose.")
    _known(kind <= REQUIRE_LEGITIMATE_INTEREST, "A publisher restriction is of an unknown type.")
    ranges = read_ranges(bits)
    return Restriction(purpose, kind, Vendors(ranges[-1][1] if ranges else 0, ranges))


def _publisher(bits: Bits) -> PublisherTC:
    consent, interest = bits.positions(24), bits.positions(24)
    custom = bits.integer(6)
    return PublisherTC(
        purposes_consent=consent,
        purposes_legitimate_interest=interest,
        custom_purposes=custom,
        custom_consent=bits.positions(custom),
        custom_legitimate_interest=bits.positions(custom),
    )


SEGMENTS: dict[int, tuple[str, Callable[[Bits], Vendors | PublisherTC]]] = {
    1: ("disclosed_vendors", read_vendors),
    2: ("allowed_vendors", read_vendors),
    3: ("publisher", _publisher),
}


def _must_disclose(core: Core) -> bool:
    return max(core.created, core.last_updated) >= DISCLOSURE_REQUIRED


def _time(bits: Bits) -> datetime:
    """Tenths of a second since 1970, which 36 bits hold until the year 2187."""
    return EPOCH + timedelta(milliseconds=100 * bits.integer(36))


def _known(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidSignal(otherwise)
