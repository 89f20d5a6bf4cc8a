"""A program's numbers as an ordinary float network would hold them, for the alternatives that are built from it.

All potentials (what a LIF or a residual sum reads) are in units of two thresholds of 2^-exponent form: the halving of
`H = (U + X) / 2` then lies in the weights, and a time step costs one addition, no rounding and no product more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from svf_edge.program import Attention, Conv, Lif, Program

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FloatConv:
    """float32 `weight` `[Cout, Cin/groups, kh, kw]` and `bias` `[Cout]`."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, eq=False)
class FloatLif:
    """`H = U/2 + scale * x + bias` against `theta`; each float32 `[1, C, 1, 1]`, or None where it does nothing."""

    scale: Floats | None
    bias: Floats | None
    theta: Floats


def conv_numbers(program: Program, node: Conv) -> FloatConv:
    """Weights between real units: 2^-exponent of what is read, and of what is made (half of it for potentials)."""
    fixed = node.out == "fixed"
    out = -(program.types[node.name].exponent + fixed)
    into = program.types[node.source].exponent
    weight = node.weight * np.exp2(into + out - node.shift.astype(np.float64))[:, None, None, None]
    bias = node.bias * np.exp2(out - np.maximum(node.shift, 0).astype(np.float64))
    return FloatConv(weight.astype(np.float32), bias.astype(np.float32))


def lif_numbers(program: Program, node: Lif) -> FloatLif:
    """The neuron in the units of its source; behind attention its normalisation is one product and one sum."""
    one = 2.0 ** program.types[node.source].exponent
    if (node.gain == 1).all() and not node.bias.any():
        return FloatLif(None, None, _per_channel(node.theta / one))
    # Gain, bias and threshold carry one common scale, here taken so that the threshold is 1.
    attends = any(isinstance(other, Attention) and other.name == node.source for other in program.nodes)
    potential = 0.5 if attends else one  # what stands for 1/2 in the units of the source
    return FloatLif(
        _per_channel(node.gain * potential / node.theta),
        _per_channel(node.bias / node.theta / 2),
        _per_channel(np.ones(1)),
    )


def _per_channel(values: NDArray[np.float64]) -> Floats:
    """`[1, C, 1, 1]`, or `[1, 1, 1, 1]` where all channels are alike."""
    same = np.unique(values).size == 1
    return (values[:1] if same else values).astype(np.float32).reshape(1, -1, 1, 1)
