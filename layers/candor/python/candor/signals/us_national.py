"""The US national section of a GPP string (id 7), versions 1 and 2.

IAB Tech Lab, "Multi-State Privacy Agreement (MSPA) US National Technical Specification", "Section
encoding": a core segment, and behind a dot whether Global Privacy Control was on.
"""

from dataclasses import dataclass

from candor.signals.bits import Bits, InvalidSignal, segments
from candor.signals.opt_outs import OptOuts

CATEGORIES = {1: (12, 2), 2: (16, 3)}
"""By version: how many categories of sensitive data and groups of children it has."""
FILLED_TO = (6, 8)
CORE, GPC = range(2)
"""Types of segments. A core has no field of that name: its version begins with these two bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsNational:
    """Every field of the section. 0 is always: not applicable.

    Notices and MSPA modes: 1 yes, 2 no. Opt-outs: 1 opted out, 2 did not. Consents: 1 no, 2 yes.
    """

    version: int
    sharing_notice: int
    sale_opt_out_notice: int
    sharing_opt_out_notice: int
    targeted_advertising_opt_out_notice: int
    sensitive_data_processing_opt_out_notice: int
    sensitive_data_limit_use_notice: int
    sale_opt_out: int
    sharing_opt_out: int
    targeted_advertising_opt_out: int
    sensitive_data_processing: tuple[int, ...]
    """A consent for each of 12 categories (version 1) or 16 (version 2), in their order."""
    known_child_sensitive_data_consents: tuple[int, ...]
    """A consent for each of 2 groups (13 to 16 years, under 13), in version 2 also 16 to 17."""
    personal_data_consents: int
    mspa_covered_transaction: int
    """Never 0."""
    mspa_opt_out_option_mode: int
    mspa_service_provider_mode: int
    gpc: bool | None
    """None: the section does not say."""


def decode_us_national(text: str) -> UsNational:
    """Raises InvalidSignal where anything of the section is malformed, cut off or unknown."""
    first, *others = segments(text, 2)
    bits = Bits(first, "US national core segment")
    version = bits.integer(6)
    if version not in CATEGORIES:
        raise InvalidSignal("The US national section is of an unknown version.")
    categories, groups = CATEGORIES[version]
    section = UsNational(
        version=version,
        sharing_notice=_answer(bits),
        sale_opt_out_notice=_answer(bits),
        sharing_opt_out_notice=_answer(bits),
        targeted_advertising_opt_out_notice=_answer(bits),
        sensitive_data_processing_opt_out_notice=_answer(bits),
        sensitive_data_limit_use_notice=_answer(bits),
        sale_opt_out=_answer(bits),
        sharing_opt_out=_answer(bits),
        targeted_advertising_opt_out=_answer(bits),
        sensitive_data_processing=tuple(_answer(bits) for _ in range(categories)),
        known_child_sensitive_data_consents=tuple(_answer(bits) for _ in range(groups)),
        personal_data_consents=_answer(bits),
        mspa_covered_transaction=_answer(bits),
        mspa_opt_out_option_mode=_answer(bits),
        mspa_service_provider_mode=_answer(bits),
        gpc=_gpc(others[0]) if others else None,
    )
    bits.end(*FILLED_TO)
    if not section.mspa_covered_transaction:
        raise InvalidSignal("The US national section leaves out whether the agreement covers it.")
    return section


def opt_outs(section: UsNational) -> OptOuts:
    """What the person opted out of.

    Global Privacy Control is an opt-out of sale, sharing and targeted advertising; so is a known
    child without consent. Not having opted out counts with notice, and where the section says that
    Global Privacy Control was off: so what is cut from the end of a section never allows more.
    """
    out = section.gpc or 1 in section.known_child_sensitive_data_consents

    def holds(notice: int, choice: int) -> bool | None:
        if out or choice == 1:
            return True
        return False if (notice, choice, section.gpc) == (1, 2, False) else None

    consents = list(enumerate(section.sensitive_data_processing, 1))
    return OptOuts(
        sale=holds(section.sale_opt_out_notice, section.sale_opt_out),
        sharing=holds(section.sharing_opt_out_notice, section.sharing_opt_out),
        targeted_advertising=holds(
            section.targeted_advertising_opt_out_notice, section.targeted_advertising_opt_out
        ),
        sensitive_refused=frozenset(category for category, consent in consents if consent == 1),
        sensitive_allowed=frozenset(category for category, consent in consents if consent == 2),
        gpc=section.gpc,
    )


def _answer(bits: Bits) -> int:
    answer = bits.integer(2)
    if answer == 3:
        raise InvalidSignal("The US national section has an answer that its version does not know.")
    return answer


def _gpc(text: str) -> bool:
    bits = Bits(text, "US national segment 2")
    if bits.integer(2) != GPC:
        raise InvalidSignal("US national segment 2 does not tell of Global Privacy Control.")
    on = bits.flag()
    bits.end(*FILLED_TO)
    return on
