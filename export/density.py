"""How a spike convolution is to be computed, chosen from how often its input fires."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Density = Literal["auto", "event", "dense"]
DENSITIES: tuple[Density, ...] = get_args(Density)
"""In the order of the core's `svf_density`. A density never changes a result."""

Rates = Mapping[str, float]
"""Spikes per neuron and step by LIF name, all levels counted, as measured on typical clips."""

NO_RATES: Rates = MappingProxyType({})

EVENT_BELOW = 0.05
DENSE_ABOVE = 0.6
"""Spikes per neuron and step. Where adding rows and multiplying everything cost the same depends on the kernel set
(docs/kernels.md): every set agrees outside these two where an output has hundreds of inputs, and between them it
decides itself, tile by tile."""


def choose(spikes_per_neuron: float | None) -> Density:
    """The density for an input that fires so often, or `auto` where that is not known."""
    if spikes_per_neuron is None or EVENT_BELOW <= spikes_per_neuron <= DENSE_ABOVE:
        return "auto"
    return "event" if spikes_per_neuron < EVENT_BELOW else "dense"
