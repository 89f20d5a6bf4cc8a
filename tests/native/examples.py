"""One small example of every operator of namespace `svf`, with outputs that are neither silent nor saturated."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from svf_edge.packing import pack_last
from tests.native.cases import FIXED_CONVS


def tensors(*arrays: NDArray[np.generic]) -> list[torch.Tensor]:
    """Contiguous torch tensors of numpy arrays."""
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def example(name: str, signed: bool = False) -> tuple[list[torch.Tensor], dict[str, int | list[int]]]:
    """Tensors and attributes of an operator, both in the order of its schema. `signed`: int8 input for conv2d."""
    case = FIXED_CONVS["1x1 padded (RepConv)"]
    weight, bias, _ = case.weights()
    rng = np.random.default_rng(0)
    if "conv2d" in name:
        packed = name.startswith("spike")
        x = pack_last(case.spikes()) if packed else case.integers(np.int8 if signed else np.uint8)
        shift = np.full_like(bias, 3 if packed else 10)
        stride, padding, groups = case.arguments
        attributes: dict[str, int | list[int]] = {"stride": stride, "padding": padding, "groups": groups}
        if not packed:
            attributes["zero_point"] = 0 if signed else 128
        return tensors(x, weight, bias, shift), attributes
    if name == "lif":
        x = rng.integers(-99, 99, (3, 2, 2, 40), dtype=np.int32)
        ones = np.ones(40, np.int32)
        return tensors(x, ones, ones, 20 * ones), {"soft_reset": 1}
    words = pack_last((rng.random((3, 2, 9, 45)) < 0.3).astype(np.uint8))
    return tensors(*words), {"channels": 45, "heads": 3}


def call(name: str, inputs: list[torch.Tensor], attributes: dict[str, int | list[int]]) -> torch.Tensor:
    """The operator through torch."""
    result: torch.Tensor = getattr(torch.ops.svf, name)(*inputs, *attributes.values())
    return result
