"""What a person in the United States opted out of, as a string says it."""

from dataclasses import dataclass

SENSITIVE = frozenset(range(1, 17))
"""Categories of sensitive data, as the US national section numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOuts:
    """What must not happen. Of each: True, the person opted out; False, the person was told and
    did not; None, the string does not say, which by itself allows nothing.

    OptOuts() is out of everything: what a string that cannot be relied on comes to.
    """

    sale: bool | None = True
    sharing: bool | None = True
    """For advertising across contexts."""
    targeted_advertising: bool | None = True
    sensitive_refused: frozenset[int] = SENSITIVE
    """Categories of sensitive data without consent where consent is due."""
    sensitive_allowed: frozenset[int] = frozenset()
    """Categories with consent."""
    gpc: bool | None = None
    """Global Privacy Control, as the string tells of it."""
    denied: str | None = None
    """Why the string does not count, in a sentence without personal data; None where it does."""
