"""Strings of IAB Tech Lab's Global Privacy Platform.

"Global Privacy Platform String", version 1.0, "GPP String Format": a header that lists section ids,
and the sections behind it, each after a `~`. Known are TCF EU (2), US Privacy (6) and US national
(7). Another section may hold a refusal that nothing here can read, so a string with one allows
nothing at all; `GppString.unknown` tells which it was.
"""

from dataclasses import dataclass

from candor.signals import tcf, us_national, us_privacy
from candor.signals.bits import LONGEST, Bits, InvalidSignal
from candor.signals.opt_outs import OptOuts
from candor.signals.tcf import Grants, TcString
from candor.signals.us_national import UsNational
from candor.signals.us_privacy import UsPrivacy

TYPE, VERSION = 3, 1
TCF_EU, US_PRIVACY, US_NATIONAL = 2, 6, 7
KNOWN = frozenset({TCF_EU, US_PRIVACY, US_NATIONAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class GppString:
    """A GPP string. None stands for a section that it does not have."""

    section_ids: tuple[int, ...]
    """As the header lists them: ascending."""
    tcf_eu: TcString | None = None
    us_privacy: UsPrivacy | None = None
    us_national: UsNational | None = None

    @property
    def unknown(self) -> tuple[int, ...]:
        """Ids of the sections that were not read."""
        return tuple(one for one in self.section_ids if one not in KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class GppGrants:
    """What the sections of a GPP string allow and forbid. None stands for a section that it does
    not have, except where the string is denied: then all of them allow nothing."""

    tcf_eu: Grants | None
    us_privacy: OptOuts | None
    us_national: OptOuts | None
    unknown: tuple[int, ...] = ()
    denied: str | None = None
    """Why nothing is allowed, in a sentence without personal data; None where the string counts."""


def decode_gpp(text: str) -> GppString:
    """Every field of the known sections. Raises InvalidSignal, and gives no part of them, where the
    header or a known section is malformed, cut off or of an unknown version."""
    if len(text) > LONGEST:
        raise InvalidSignal(f"The string is longer than {LONGEST} characters.")
    header, *sections = text.split("~")
    ids = _section_ids(header, len(sections))
    if not all(sections):
        raise InvalidSignal("A section of the GPP string is empty.")
    by_id = dict(zip(ids, sections, strict=True))
    eu, privacy, national = (by_id.get(one) for one in (TCF_EU, US_PRIVACY, US_NATIONAL))
    return GppString(
        section_ids=ids,
        tcf_eu=None if eu is None else tcf.decode_tcf(eu),
        us_privacy=None if privacy is None else us_privacy.decode_us_privacy(privacy),
        us_national=None if national is None else us_national.decode_us_national(national),
    )


def gpp_grants(text: str, *, vendor: int | None = None) -> GppGrants:
    """What a GPP string allows, its TCF section in general or to one vendor. One that cannot be
    relied on, or has an unknown section, allows nothing, and the answer says why."""
    try:
        string = decode_gpp(text)
    except InvalidSignal as why:
        return _nothing(str(why))
    if string.unknown:
        return _nothing("The GPP string has a section that is not known here.", string.unknown)
    eu, privacy, national = string.tcf_eu, string.us_privacy, string.us_national
    return GppGrants(
        tcf_eu=None if eu is None else tcf.granted(eu, vendor),
        us_privacy=None if privacy is None else us_privacy.opt_outs(privacy),
        us_national=None if national is None else us_national.opt_outs(national),
    )


def _nothing(why: str, unknown: tuple[int, ...] = ()) -> GppGrants:
    out = OptOuts(denied=why)
    return GppGrants(
        tcf_eu=Grants(denied=why), us_privacy=out, us_national=out, unknown=unknown, denied=why
    )


def _section_ids(header: str, sections: int) -> tuple[int, ...]:
    """The ids that a header lists, one for each section that follows.

    "Range (Fibonacci)" under "Section Encoding": every number is the distance to the one before.
    """
    bits = Bits(header, "GPP header")
    if bits.integer(6) != TYPE:
        raise InvalidSignal("The string is no GPP string.")
    if bits.integer(6) != VERSION:
        raise InvalidSignal("The GPP string is of an unknown version.")
    ids: list[int] = []
    last = 0
    for _ in range(bits.integer(12)):
        is_range = bits.flag()
        first = last + bits.fibonacci()
        last = first + bits.fibonacci() if is_range else first
        if len(ids) + last + 1 - first > sections:
            break
        ids.extend(range(first, last + 1))
    else:
        bits.end(6, 8)
        if len(ids) == sections:
            return tuple(ids)
    raise InvalidSignal("The GPP header lists other sections than follow it.")
