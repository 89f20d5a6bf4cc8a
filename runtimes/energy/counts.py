"""Operations of a clip by layer: what a dense network of this shape multiplies, and what a run's spikes call for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from svf_edge.program import Attention, Conv, Lif, Program
from svf_edge.runtimes.base import Result

LayerKind = Literal["frames", "spikes", "int8", "attention"]

Spikes = Mapping[str, float]
"""Spikes of a clip, or of the mean of several, by LIF name: sums of its output, so a neuron at level 3 counts three
times."""


class LayerWork(Result):
    """One layer with multiply-accumulates, for one clip.

    `macs` are those of a dense network. `additions` are what spikes leave of them: weights times spikes that meet them,
    in expectation (macs times spikes per neuron); 0 where the layer reads numbers, which are multiplied. `rate` is the
    spikes per neuron and step of what it reads, and `levels` the most there can be. `weights` and `inputs` count
    elements.
    """

    name: str
    kind: LayerKind
    macs: int
    additions: float
    rate: float
    levels: int
    weights: int
    weight_bits: int
    inputs: int
    every_bit: bool = False
    """Whether it adds for every bit, set or not: Q M of Hamming attention."""


class NeuronWork(Result):
    """One LIF for one clip: neurons times steps, its levels, and spikes per neuron and step."""

    name: str
    updates: int
    levels: int
    rate: float


@dataclass(frozen=True)
class Counts:
    """The work of one clip."""

    layers: tuple[LayerWork, ...]
    neurons: tuple[NeuronWork, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a dense network of this shape."""
        return sum(layer.macs for layer in self.layers)

    def of_kind(self, *kinds: LayerKind) -> int:
        """Multiply-accumulates of layers that read `kinds`."""
        return sum(layer.macs for layer in self.layers if layer.kind in kinds)

    @property
    def packed_share(self) -> float:
        """Part of the work that operators on packed spikes do."""
        return self.of_kind("spikes", "attention") / self.macs

    @property
    def multiplied(self) -> int:
        """Multiply-accumulates that no spike replaces: of layers that read frames or int8."""
        return self.of_kind("frames", "int8")

    @property
    def additions(self) -> float:
        """Additions that the spikes call for."""
        return math.fsum(layer.additions for layer in self.layers)

    @property
    def rate(self) -> float:
        """Spikes per neuron and step, over all neurons."""
        updates = sum(neuron.updates for neuron in self.neurons)
        return math.fsum(neuron.rate * neuron.updates for neuron in self.neurons) / updates


def count(program: Program, spikes: Spikes) -> Counts:
    """The work of `program` on a clip that made it fire `spikes`.

    Attention is two layers, `NAME:kv` (K^T V, one row of width d added or subtracted per spike of V) and `NAME:qm`
    (Q M; by dot products one row per spike of Q, in Hamming form one per bit of Q: a 0 subtracts).
    """
    layers: list[LayerWork] = []
    for node in program.nodes:
        if isinstance(node, Conv):
            source, result = program.types[node.source], program.types[node.name]
            macs = math.prod(result.shape) * math.prod(node.weight.shape[1:])
            assert source.kind != "fixed"  # a program's convolutions read none
            rate = _rate(program, spikes, node.source) if source.kind == "spikes" else Fraction(0)
            layers.append(
                LayerWork(
                    name=node.name,
                    kind=source.kind,
                    macs=macs,
                    additions=float(macs * rate),
                    rate=float(rate),
                    levels=source.levels,
                    weights=node.weight.size,
                    weight_bits=node.weight_bits,
                    inputs=math.prod(source.shape),
                )
            )
        elif isinstance(node, Attention):
            source = program.types[node.query]
            size = math.prod(source.shape)
            macs = size * (source.shape[1] // node.heads)
            for part, read in (("kv", node.value), ("qm", node.query)):
                rate = _rate(program, spikes, read)
                every_bit = part == "qm" and node.mode == "hamming"
                layers.append(
                    LayerWork(
                        name=f"{node.name}:{part}",
                        kind="attention",
                        macs=macs,
                        additions=float(macs if every_bit else macs * rate),
                        rate=float(rate),
                        levels=source.levels,
                        weights=0,
                        weight_bits=0,
                        inputs=2 * size if part == "kv" else size,
                        every_bit=every_bit,
                    )
                )
    neurons = tuple(
        NeuronWork(
            name=node.name,
            updates=math.prod(program.types[node.name].shape),
            levels=node.levels,
            rate=float(_rate(program, spikes, node.name)),
        )
        for node in program.nodes
        if isinstance(node, Lif)
    )
    return Counts(tuple(layers), neurons)


def spikes_at(program: Program, rates: Mapping[str, float]) -> dict[str, float]:
    """Spikes of a clip whose neurons fire at `rates` (spikes per neuron, step and level) by LIF name."""
    return {
        node.name: rates[node.name] * node.levels * math.prod(program.types[node.name].shape) for node in program.lifs
    }


def spikes_of(program: Program, clip: np.ndarray) -> dict[str, int]:
    """Spikes that uint8 frames `[T, C, H, W]` call forth, by the reference interpreter."""
    from svf_edge.program import run

    return {name: int(values.sum(dtype=np.int64)) for name, values in run(program, clip).spikes.items()}


def _rate(program: Program, spikes: Spikes, name: str) -> Fraction:
    return Fraction(spikes[name]) / math.prod(program.types[name].shape)
