"""One small example of every operator of namespace `svf`, with outputs that are neither silent nor saturated."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from svf_edge.packing import pack_weights
from tests.native.cases import FIXED_CONVS, pack_levels, random_spikes

READS_SPIKES = ("spike_conv2d", "spike_conv2d_s8", "hamming_attention", "dot_attention")


def tensors(*arrays: NDArray[np.generic]) -> list[torch.Tensor]:
    """Contiguous torch tensors of numpy arrays."""
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def example(name: str, signed: bool = False, levels: int = 1) -> tuple[list[torch.Tensor], dict[str, int | list[int]]]:
    """Tensors and attributes of an operator, both in the order of its schema.

    `signed`: int8 input for conv2d; `levels`: of the spikes that are read.
    """
    case = FIXED_CONVS["1x1 padded (RepConv)"]
    weight, bias, _ = case.weights()
    rng = np.random.default_rng(0)
    if "conv2d" in name:
        packed = name.startswith("spike")
        x = pack_levels(case.spikes(levels), levels) if packed else case.integers(np.int8 if signed else np.uint8)
        shift = np.full_like(bias, 3 if packed else 10)
        stride, padding, groups = case.arguments
        attributes: dict[str, int | list[int]] = {"stride": stride, "padding": padding, "groups": groups}
        if not packed:
            attributes["zero_point"] = 0 if signed else 128
        return tensors(x, weight, bias, shift), attributes
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
    words = [pack_levels(random_spikes(rng, (2, 9, 45), 0.3, levels), levels) for _ in range(3)]
    return tensors(*words), {"channels": 45, "heads": 3}


def call(name: str, inputs: list[torch.Tensor], attributes: dict[str, int | list[int]]) -> torch.Tensor:
    """The operator through torch."""
    result: torch.Tensor = getattr(torch.ops.svf, name)(*inputs, *attributes.values())
    return result
