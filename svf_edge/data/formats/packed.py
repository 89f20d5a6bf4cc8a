"""Binary event frames packed eight to a byte, as MMHPSD stores them, and a test of the bit order."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

BitOrder = Literal["big", "little"]

SIDE: Final = 256
CHANNELS: Final = 4
PACKED_BYTES: Final = SIDE * SIDE * CHANNELS // 8

_CERTAIN: Final = 5.0
"""Standard errors between the two orders' coincidences from which on the order counts as known."""


def pack(frame: NDArray[np.uint8], order: BitOrder = "big") -> NDArray[np.uint8]:
    """Bytes uint8 `[32768]` of a binary frame `[4, 256, 256]`: rows, then columns, then channels, `order` in a byte."""
    return np.packbits(np.ascontiguousarray(frame.transpose(1, 2, 0)).reshape(-1), bitorder=order)


def unpack(packed: NDArray[np.uint8], order: BitOrder = "big") -> NDArray[np.uint8]:
    """The binary frame uint8 `[4, 256, 256]` in 32768 bytes; undoes `pack`."""
    bits = np.unpackbits(packed, bitorder=order).reshape(SIDE, SIDE, CHANNELS)
    return np.ascontiguousarray(bits.transpose(2, 0, 1))


def detect_order(packed: NDArray[np.uint8]) -> BitOrder | None:
    """The bit order of frames uint8 `[N, 32768]` as the data show it, or None when they do not.

    A byte is two neighbouring columns of four channels, so the wrong order swaps columns 2k and 2k + 1. Events
    lie along moving edges: columns 2k + 1 and 2k + 2 coincide often when decoded in the right order, and seldom in
    the wrong one, which puts columns 2k and 2k + 3 there. The order is named only if the coincidences differ by five
    standard errors (taking them as Poisson counts). Limits: frames with few events, evenly spread noise and patterns
    symmetric about the seams (such as edges wider than four pixels everywhere) leave it open, and vertical
    stripes with a period of three columns would mislead it.
    """
    # Bits of a byte, most significant first: the left column's channels 0-3, then the right column's.
    bytes_ = packed.reshape(-1, SIDE, SIDE // 2)
    left, right = bytes_ >> 4, bytes_ & 15
    big = int(np.bitwise_count(right[:, :, :-1] & left[:, :, 1:]).sum(dtype=np.int64))
    little = int(np.bitwise_count(left[:, :, :-1] & right[:, :, 1:]).sum(dtype=np.int64))
    if abs(big - little) <= _CERTAIN * math.sqrt(big + little):
        return None
    return "big" if big > little else "little"
