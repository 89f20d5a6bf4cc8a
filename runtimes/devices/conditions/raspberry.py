"""What a Raspberry Pi adds: whether its firmware limited the clock, as `vcgencmd get_throttled` tells it."""

from __future__ import annotations

SCRIPT = "c vcgencmd vcgencmd get_throttled"

# Bits as in the Raspberry Pi documentation of vcgencmd; 16 higher: it happened since the start.
_BITS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}


def throttled(text: str) -> tuple[str, ...] | None:
    """What is wrong in "throttled=0x50005"; empty when nothing is, None for another text."""
    key, _, value = text.partition("=")
    try:
        bits = int(value, 16)
    except ValueError:
        return None
    if key != "throttled":
        return None
    now = [f"{what} now" for bit, what in _BITS.items() if bits >> bit & 1]
    return (*now, *(f"{what} since start" for bit, what in _BITS.items() if bits >> (bit + 16) & 1))
