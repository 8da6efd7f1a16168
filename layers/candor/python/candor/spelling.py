"""One spelling for each identifier's value, by the normaliser that the policy names.

Nothing is folded that two people may differ by: `ß` is not `ss`, `ann+shop` not `ann`, and a value
that `trim` gets keeps its case. What nobody can see is no difference: the ends of every value lose
blanks and invisible characters, and the same letters in Unicode's NFC and NFD are the same value.
A normal form is its own normal form, because what is stored is looked for by it.
"""

import re
import unicodedata
from typing import Literal

Normaliser = Literal["trim", "lower", "email", "phone"]
NO_REGION = "none"
"""The region of those who take only phone numbers that begin with their country's code."""

_JOINERS = "\u200c\u200d"
# Unicode's Default_Ignorable_Code_Point (UAX #44, Unicode 16) but for the joiners: soft hyphens,
# zero widths, marks of direction, fillers, variation selectors, tags. Joiners shape words in
# Persian and in Indic scripts, and tell two domains apart (RFC 5892, Appendix A).
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_BLANK = re.compile(rf"[\s{_UNSEEN}{_JOINERS}]*")
_INVISIBLE = re.compile(f"[{_UNSEEN}]+")
_LOCAL = re.compile(r'[^\s@<>()\[\],;:\\"]+')
"""What may stand before the `@` unquoted (RFC 5322, section 3.2.3; RFC 6531 for its letters)."""
_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def spell(text: str, normaliser: Normaliser, region: str | None = None) -> str | None:
    """The one spelling of a value; None where the normaliser can make nothing of it.

    `trim` is for ids that a system made, whose case counts. `lower` is for those whose case does
    not. `email` writes the domain as DNS knows it (IDNA 2008, UTS #46). `phone` writes E.164;
    numbers without their country's code are read as those of `region` (ISO 3166, or `none`).
    """
    bare = _without_blank_ends(text)
    match normaliser:
        case "trim":
            return _composed(bare)
        case "lower":
            return _lower(bare)
        case "email":
            return _email(bare)
        case "phone":
            return _phone(bare, None if region == NO_REGION else region)


def _without_blank_ends(text: str) -> str:
    if text.isascii():
        return text.strip()
    # From the end too, because a search for blanks that end the text is slow in many blanks.
    return text[_blank(text) : len(text) - _blank(text[::-1])]


def _blank(text: str) -> int:
    """How many characters in a row are blank, from the beginning."""
    found = _BLANK.match(text)
    return found.end() if found else 0


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _lower(text: str) -> str:
    """Lower-case, and no more: Unicode's case folding would make `ss` of `ß`."""
    return _composed(text.lower())


def _email(text: str) -> str | None:
    """The whole address in lower case; no mailbox that matters tells people apart by case."""
    local, _, domain = _lower(_INVISIBLE.sub("", text)).rpartition("@")
    if not _LOCAL.fullmatch(local):
        return None
    if not domain.isascii():
        import idna  # most domains need none of it

        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            return None
    domain = domain.removesuffix(".")
    return f"{local}@{domain}" if _DOMAIN.fullmatch(domain) else None


def _phone(text: str, region: str | None) -> str | None:
    """As E.164, where that is one telephone's number.

    Letters are refused: they spell a company's number, or an extension, behind which a colleague
    has another one. So is what reads differently a second time, such as a trunk prefix too many.
    """
    text = re.sub(f"{_INVISIBLE.pattern}|[{_JOINERS}]", "", text)
    text = text[4:] if text[:4].lower() == "tel:" else text
    if any(character.isalpha() for character in text):
        return None
    number = _e164(text, region)
    return number if number is None or _e164(number, None) == number else None


def _e164(text: str, region: str | None) -> str | None:
    """None where the country has no numbers of that length.

    Whether a number is in use would be asked too much: that changes with each release of the
    library's data, and somebody who could not be spelled any more could not be erased either.
    """
    import phonenumbers  # 15 ms, and most messages hold no phone number

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    length = phonenumbers.is_possible_number_with_reason(number)
    if number.extension or length != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
