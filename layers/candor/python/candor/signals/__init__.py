"""Consent strings of the advertising industry, read strictly.

For a service that receives such strings and must not take more from one than the person gave. Pure
Python, no I/O, no dependency; usable without the rest of Candor:

    decode_tcf, decode_gpp, decode_us_privacy    every field, as frozen dataclasses
    tcf_grants, gpp_grants, us_privacy_opt_outs  what it allows or forbids; never raise for a string

`decode_…` raises InvalidSignal, and only that, for a string that is malformed, cut off, of an
unknown version or no longer valid; the message says why and never quotes it. The others turn that
into an answer that allows nothing. docs/signals.md has the rules and examples.
"""

from candor.signals.bits import InvalidSignal
from candor.signals.gpp import GppGrants, GppString, decode_gpp, gpp_grants
from candor.signals.opt_outs import OptOuts
from candor.signals.tcf import (
    Core,
    Grants,
    PublisherTC,
    Restriction,
    TcString,
    decode_tcf,
    tcf_grants,
)
from candor.signals.us_national import UsNational
from candor.signals.us_privacy import UsPrivacy, decode_us_privacy, us_privacy_opt_outs
from candor.signals.vendors import Vendors

__all__ = [
    "Core",
    "GppGrants",
    "GppString",
    "Grants",
    "InvalidSignal",
    "OptOuts",
    "PublisherTC",
    "Restriction",
    "TcString",
    "UsNational",
    "UsPrivacy",
    "Vendors",
    "decode_gpp",
    "decode_tcf",
    "decode_us_privacy",
    "gpp_grants",
    "tcf_grants",
    "us_privacy_opt_outs",
]
