"""The rates of `rates.toml`, as they are written and with one of them changed."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

WRITTEN: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("rates.toml").read_text()
)


@dataclass(frozen=True, slots=True)
class Rates:
    """`rates["order"]` is the rate of that name, in the unit that the file gives."""

    values: dict[str, float]
    household_sizes: tuple[float, ...]
    """The share of households with one person, two, …"""
    junk_ids: tuple[str, ...]

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def times(self, name: str, factor: float) -> "Rates":
        """With one rate changed; a share stays one."""
        value = self.values[name] * factor
        if self.values[name] <= 1:
            value = min(value, 1.0)
        return replace(self, values=self.values | {name: value})

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)


RATES = Rates(
    {name: one["value"] for name, one in WRITTEN.items() if "value" in one},
    tuple(WRITTEN["household_sizes"]["shares"]),
    tuple(WRITTEN["junk_ids"]["values"]),
)
