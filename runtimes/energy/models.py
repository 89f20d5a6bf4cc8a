"""From counts to energy. Every constant has its source beside it; energies are in picojoules.

The first model is the convention of the spiking literature, and of the paper: only arithmetic, in 32-bit floating point
at 45 nm. The second has the arithmetic that the integer program really does, and what it moves in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.energy.counts import Counts, LayerWork, NeuronWork

# Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, 45 nm at 0.9 V.
FLOAT_MULTIPLY: Final = 3.7
FLOAT_ADD: Final = 0.9
INT8_MULTIPLY: Final = 0.2
INT32_ADD: Final = 0.1
SRAM_8K: Final = 10 / 8
"""A byte of a cache of 8 KB (10 pJ for 64 bits): operands of the arithmetic."""
SRAM_1M: Final = 100 / 8
"""A byte of a cache of 1 MB (100 pJ for 64 bits): activations and membranes between layers."""
DRAM: Final = 1300 / 8
"""A byte of DRAM (1.3 to 2.6 nJ for 64 bits; the lower end): weights, once a clip."""

E_MAC: Final = 4.6
"""FLOAT_MULTIPLY + FLOAT_ADD, as the literature rounds and quotes it."""
E_AC: Final = FLOAT_ADD

SHARED: Final = 16
"""Multiply-accumulates that one operand fetched from the small cache serves in a dense array of 16 x 16 units. A row of
weights that a spike selects serves no other position."""
MEMBRANE_BYTES: Final = 4


class Share(Result):
    """Energy of one clip, by what it goes into."""

    arithmetic: float
    operands: float = 0.0
    activations: float = 0.0
    membranes: float = 0.0
    weights: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return math.fsum((self.arithmetic, self.operands, self.activations, self.membranes, self.weights))


class Comparison(Result):
    """A spiking network beside its dense twin (the same shapes, activations instead of spikes) under one model.

    `even_rate` is the spikes per neuron and step, layers in the proportions of this clip, at which both cost the same;
    None where the spiking one costs less even if every neuron fired at every level, or more even if none did.
    """

    spiking: Share
    dense: Share
    even_rate: float | None

    @property
    def gain(self) -> float:
        """How many times less the spiking network costs."""
        return self.dense.total / self.spiking.total


def operations(counts: Counts) -> Comparison:
    """The paper's count: `E_MAC` for what is multiplied, `E_AC` for additions that spikes call for, nothing else."""
    return _compare(
        counts,
        spiking=lambda layer: Share(arithmetic=E_MAC * _multiplied(layer) + E_AC * layer.additions),
        neuron=lambda neuron: Share(arithmetic=0.0),
        dense=lambda layer: Share(arithmetic=E_MAC * layer.macs),
        dense_neuron=lambda neuron: Share(arithmetic=0.0),
    )


def with_memory(counts: Counts) -> Comparison:
    """Integer arithmetic, and bytes that move: operands, activations, membranes, weights.

    Both networks have int8 weights, read from DRAM once a clip. A multiplication of the dense one (and of layers that
    read int8) shares its operands in an array; an addition fetches its own weight. Activations lie in the large cache:
    written once and read once, a bit per level and neuron if they are spikes, a byte if they are not. A membrane is
    read and written at every step.
    """

    def multiplied(layer: LayerWork, macs: int) -> Share:
        return Share(
            arithmetic=(INT8_MULTIPLY + INT32_ADD) * macs,
            operands=2 * SRAM_8K * macs / SHARED,
            weights=DRAM * layer.weights * layer.weight_bits / 8,
        )

    def spiking(layer: LayerWork) -> Share:
        if layer.kind in ("frames", "int8"):
            share = multiplied(layer, layer.macs)
            return share.model_copy(update={"activations": SRAM_1M * layer.inputs})
        return Share(
            arithmetic=INT32_ADD * layer.additions,
            operands=SRAM_8K * layer.additions,
            activations=SRAM_1M * layer.inputs * layer.levels / 8,
            weights=DRAM * layer.weights * layer.weight_bits / 8,
        )

    def neuron(neuron: NeuronWork) -> Share:
        return Share(
            arithmetic=2 * INT32_ADD * neuron.updates,  # one addition, one comparison
            activations=SRAM_1M * neuron.updates * neuron.levels / 8,
            membranes=2 * MEMBRANE_BYTES * SRAM_1M * neuron.updates,
        )

    def dense(layer: LayerWork) -> Share:
        return multiplied(layer, layer.macs).model_copy(update={"activations": SRAM_1M * layer.inputs})

    def dense_neuron(neuron: NeuronWork) -> Share:
        return Share(arithmetic=INT32_ADD * neuron.updates, activations=SRAM_1M * neuron.updates)

    return _compare(counts, spiking, neuron, dense, dense_neuron)


def layer_energy(layer: LayerWork) -> tuple[float, float]:
    """Energy of one layer by the paper's count: spiking, dense."""
    return E_MAC * _multiplied(layer) + E_AC * layer.additions, E_MAC * layer.macs


def _multiplied(layer: LayerWork) -> int:
    return layer.macs if layer.kind in ("frames", "int8") else 0


def _compare(
    counts: Counts,
    spiking: Callable[[LayerWork], Share],
    neuron: Callable[[NeuronWork], Share],
    dense: Callable[[LayerWork], Share],
    dense_neuron: Callable[[NeuronWork], Share],
) -> Comparison:
    ours = _sum([*map(spiking, counts.layers), *map(neuron, counts.neurons)])
    theirs = _sum([*map(dense, counts.layers), *map(dense_neuron, counts.neurons)])
    still = [layer.model_copy(update={"additions": layer.macs if layer.every_bit else 0.0}) for layer in counts.layers]
    silent = _sum([*map(spiking, still), *map(neuron, counts.neurons)]).total
    # Energy is linear in the number of spikes: `silent` without any, `ours` at the measured rate.
    growth = (ours.total - silent) / counts.rate if counts.rate else 0.0
    even = (theirs.total - silent) / growth if growth else None
    most = max((n.levels for n in counts.neurons), default=1)
    return Comparison(spiking=ours, dense=theirs, even_rate=even if even is not None and 0 <= even <= most else None)


def _sum(shares: Sequence[Share]) -> Share:
    return Share(**{name: math.fsum(getattr(share, name) for share in shares) for name in Share.model_fields})
