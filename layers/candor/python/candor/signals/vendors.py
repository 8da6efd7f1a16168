"""Sets of vendors, as the Global Vendor List numbers them, and how strings list them."""

from collections.abc import Iterator
from dataclasses import dataclass

from candor.signals.bits import Bits, InvalidSignal

GREATEST = 65_535
"""A vendor id has 16 bits."""
Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Vendors:
    """A set of vendor ids: `in`, iteration and `len` are about ids.

    Kept as ranges, because a string of a few kilobytes can name all 65,535 ids hundreds of times.
    """

    max_id: int
    """The greatest id that the list could name, as announced; in a restriction, that it names."""
    ranges: Ranges
    """First and last id of every range: ascending, and apart from each other."""

    def __contains__(self, vendor: object) -> bool:
        return isinstance(vendor, int) and any(
            first <= vendor <= last for first, last in self.ranges
        )

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(last + 1 - first for first, last in self.ranges)


def read_vendors(bits: Bits) -> Vendors:
    """MaxVendorId, IsRangeEncoding, and then a bit for every id or a list of ranges."""
    max_id = bits.integer(16)
    ranges = read_ranges(bits, max_id) if bits.flag() else bits.runs(max_id)
    return Vendors(max_id, ranges)


def read_ranges(bits: Bits, greatest: int = GREATEST) -> Ranges:
    """NumEntries and that many single ids or ranges of ids, in any order."""
    entries = []
    for _ in range(bits.integer(12)):
        is_range = bits.flag()
        first = bits.integer(16)
        last = bits.integer(16) if is_range else first
        if not 1 <= first <= last <= greatest:
            raise InvalidSignal(
                "A list of vendors has a range that starts at 0, ends before it starts, or ends "
                "beyond the greatest vendor that the list announces."
            )
        entries.append((first, last))
    return _joined(entries)


def _joined(entries: list[tuple[int, int]]) -> Ranges:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(entries):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return tuple(joined)
