"""Units of the int8 intermediates, chosen from the values real clips produce."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from svf_edge.contract import INT8_MAX
from svf_edge.model.layers import ConvNorm

EXPONENT_RANGE = (-4, 14)


@torch.no_grad()
def inner_exponents(model: nn.Module, clips: Iterable[Tensor], quantile: float = 0.9999) -> dict[str, int]:
    """Exponent per int8 intermediate of a float model in eval mode, by module path, as `quant.quantise` takes them.

    The finest power-of-two unit in which the `quantile` of absolute values (the largest over batches) is at most 127;
    the rare larger ones saturate.
    """
    largest: dict[str, float] = {}

    def watch(name: str, value: Tensor) -> None:
        flat = value.abs().flatten()
        rank = max(1, math.ceil(quantile * flat.numel()))
        largest[name] = max(largest.get(name, 0.0), float(flat.kthvalue(rank).values))

    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: watch(name, out))
        for name, module in model.named_modules()
        if isinstance(module, ConvNorm) and module.inner
    ]
    try:
        for batch in clips:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _exponent(value) for name, value in largest.items()}


def _exponent(largest: float) -> int:
    low, high = EXPONENT_RANGE
    if largest <= 0:
        return high
    return min(high, max(low, math.floor(math.log2(INT8_MAX / largest))))
