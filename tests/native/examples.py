"""One small example of every operator of namespace `svf`, with outputs that are neither silent nor saturated."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from svf_edge.export import ops
from svf_edge.packing import pack_weights
from tests.native.cases import FIXED_CONVS, pack_levels, random_spikes

READS_SPIKES = tuple(name for name in ops.OPERATORS if name.startswith(("spike_conv2d", "hamming", "dot")))
ADDS = ("spike_conv2d_lif", "conv2d_lif", "spike_conv2d_lif_from", "conv2d_lif_from")
VARIANTS = (
    [(name, 1, False) for name in ops.OPERATORS]
    + [(name, 3, False) for name in (*READS_SPIKES, "lif_from")]
    + [(name, 2, True) for name in ADDS]
)
"""Operator, `levels` and `residual` of examples that together cover every form of every operator."""

Attribute = int | list[int] | None


def tensors(*arrays: NDArray[np.generic]) -> list[torch.Tensor]:
    """Contiguous torch tensors of numpy arrays."""
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def example(
    name: str, signed: bool = False, levels: int = 1, residual: bool = False
) -> tuple[list[torch.Tensor], dict[str, Attribute]]:
    """Tensors of an operator in the order of its schema, and its other arguments by name.

    `signed`: int8 input for conv2d; `levels`: of the spikes that are read, and that fused operators make; `residual`:
    fused convolutions add a tensor and keep the sum.
    """
    case = FIXED_CONVS["1x1 padded (RepConv)"]
    weight, bias, _ = case.weights()
    rng = np.random.default_rng(0)
    if "conv2d" in name:
        packed = name.startswith("spike")
        x = pack_levels(case.spikes(levels), levels) if packed else case.integers(np.int8 if signed else np.uint8)
        shift = np.full_like(bias, 3 if packed else 10)
        stride, padding, groups = case.arguments
        attributes: dict[str, Attribute] = {"stride": stride, "padding": padding, "groups": groups}
        if not packed:
            attributes["zero_point"] = 0 if signed else 128
        inputs = [x, weight, bias, shift]
        if "_lif" in name:
            if residual:
                inputs.append(rng.integers(-99, 99, (case.frames, 7, 7, len(bias)), dtype=np.int32))
            else:
                attributes["residual"] = None
            inputs += neuron(rng, len(bias))
            attributes |= {"soft_reset": 1, "levels": levels, "keep_sum": int(residual)}
            if packed:
                attributes["density"] = 0
            if name.endswith("_from"):
                inputs.append(rng.integers(-40, 40, (7, 7, len(bias)), dtype=np.int32))
        return tensors(*inputs), attributes
    if name == "channels_last":
        return tensors(rng.integers(0, 256, (2, 3, 71, 67), dtype=np.uint8)), {}
    if name == "unpack_weights":
        return tensors(pack_weights(rng.integers(-7, 8, (3, 3, 2, 5), dtype=np.int8), 4)), {
            "bits": 4,
            "shape": [3, 3, 2, 5],
        }
    if name in ("lif", "integer_lif"):
        x = rng.integers(-99, 99, (3, 2, 2, 40), dtype=np.int32)
        ones = np.ones(40, np.int32)
        theta = (20 if name == "lif" else 10) * ones
        return tensors(x, ones, ones, theta), {"soft_reset": 1} | ({"levels": 3} if name == "integer_lif" else {})
    if name == "lif_from":
        x, before = (rng.integers(-99, 99, shape, dtype=np.int32) for shape in ((3, 2, 2, 40), (2, 2, 40)))
        return tensors(x, *neuron(rng, 40), before), {"soft_reset": 1, "levels": levels}
    fused, step = "_lif" in name, name.endswith("_step")
    shape = (1 if step else 2, 3, 3, 45) if fused else (2, 9, 45)
    words = [pack_levels(random_spikes(rng, shape, 0.3, levels), levels) for _ in range(3)]
    attributes = {"channels": 45, "heads": 3}
    if not fused:
        return tensors(*words), attributes
    inputs = [*words, *neuron(rng, 45)]
    attributes |= {"soft_reset": 0, "levels": levels}
    if step:
        inputs += [rng.integers(-9, 9, shape, dtype=np.int32) for shape in ((3, 15, 15), (3, 3, 45))]
    elif "causal" in name:
        attributes["window"] = 2
    else:
        attributes["joint"] = 1
    return tensors(*inputs), attributes


def neuron(rng: np.random.Generator, channels: int) -> list[NDArray[np.int32]]:
    """Gain of both signs, bias and theta of a LIF."""
    gain = rng.choice(np.array([-2, -1, 1, 2], np.int32), channels)
    return [gain, rng.integers(-9, 9, channels, dtype=np.int32), rng.integers(4, 30, channels, dtype=np.int32)]


def arguments(name: str, inputs: list[torch.Tensor], attributes: dict[str, Attribute]) -> list[Any]:
    """All arguments of the operator in the order of its schema."""
    rest = iter(inputs)
    schema = getattr(torch.ops.svf, name).default._schema
    return [attributes[key] if (key := argument.name) in attributes else next(rest) for argument in schema.arguments]


def call(name: str, inputs: list[torch.Tensor], attributes: dict[str, Attribute]) -> list[torch.Tensor]:
    """The results of the operator through torch."""
    result = getattr(torch.ops.svf, name)(*arguments(name, inputs, attributes))
    return list(result) if isinstance(result, tuple) else [result]
