"""US Privacy strings, such as `1YNN`: out of use since January 2024, and still sent.

IAB Tech Lab, "US Privacy String", version 1.0 of March 2020, "U.S. Privacy String Format". Letters
of either case count, as in IAB Tech Lab's own script of that time.
"""

from dataclasses import dataclass

from candor.signals.bits import InvalidSignal
from candor.signals.opt_outs import OptOuts

ANSWERS = {"Y": True, "y": True, "N": False, "n": False, "-": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsPrivacy:
    """None stands for unknown, and in all three for a person whom the law does not protect."""

    version: int
    notice: bool | None
    """The person was told of the sale and could opt out."""
    opt_out_sale: bool | None
    limited_service_provider: bool | None
    """The transaction is covered by IAB's Limited Service Provider Agreement."""


def decode_us_privacy(text: str) -> UsPrivacy:
    """Raises InvalidSignal for anything but version 1 and its three answers."""
    if len(text) != 4:
        raise InvalidSignal("A US Privacy string has four characters.")
    if text[0] != "1":
        raise InvalidSignal("The US Privacy string is not of version 1.")
    if not ANSWERS.keys() >= set(text[1:]):
        raise InvalidSignal("The US Privacy string has an answer other than Y, N and -.")
    notice, opt_out, covered = (ANSWERS[answer] for answer in text[1:])
    if opt_out is None and (notice, covered) != (None, None):
        raise InvalidSignal("The US Privacy string leaves out whether the person opted out.")
    return UsPrivacy(
        version=1, notice=notice, opt_out_sale=opt_out, limited_service_provider=covered
    )


def us_privacy_opt_outs(text: str) -> OptOuts:
    """What the person opted out of. A string that cannot be relied on is out of everything."""
    try:
        return opt_outs(decode_us_privacy(text))
    except InvalidSignal as why:
        return OptOuts(denied=str(why))


def opt_outs(string: UsPrivacy) -> OptOuts:
    """An opt-out of sale holds for sharing too, which the law named only later; the string has
    nothing else to say. Not having opted out counts with notice."""
    sale = string.opt_out_sale if string.opt_out_sale or string.notice else None
    return OptOuts(
        sale=sale,
        sharing=sale or None,
        targeted_advertising=None,
        sensitive_refused=frozenset(),
    )
