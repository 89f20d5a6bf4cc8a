"""Versions and limits of the numeric contract (docs/contract.md)."""

from __future__ import annotations

from pathlib import Path

from svf_edge.errors import ContractMismatch

NUMERIC_VERSION = 1
PACKING_VERSION = 1

INT8_MAX = 127
MAX_LEVELS = 15
"""Most levels of a LIF that the packed operators take (`SVF_MAX_LEVELS` of the native core)."""

WEIGHT_BITS = (8, 4, 2)
"""Widths that weights may have."""

INT32_LIMIT = 2**31 - 1
FLOAT32_LIMIT = 2**24
"""Sums of integers are exact in float32, in any order, while the sum of absolute values stays below this."""


def weight_limit(bits: int) -> int:
    """Largest absolute value of a weight of `bits` bits: 127, 7 or 1."""
    return (1 << (bits - 1)) - 1


def check_version(name: str, found: object, expected: int, path: str | Path) -> None:
    """Raise `ContractMismatch` unless `found` is the version this release implements."""
    if found != expected:
        raise ContractMismatch(
            f"{path}: {name} contract version is {found!r}, this release reads {expected}; "
            "export or freeze again with the release you run"
        )
