"""Units of the int8 intermediates, chosen from the values real clips produce."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from svf_edge.contract import INT8_MAX
from svf_edge.model.layers import ConvNorm

EXPONENT_RANGE = (-4, 14)
_FINER = 4
"""How many finer units than the one that holds the largest value are tried."""


@torch.no_grad()
def inner_exponents(model: nn.Module, clips: Iterable[Tensor]) -> dict[str, int]:
    """Exponent per int8 intermediate of a float model in eval mode, by module path, as `quant.quantise` takes them.

    The power-of-two unit in which rounding and saturating the values at 127 units cost the smallest squared error over
    all clips: rare large values saturate where that is cheaper than a coarser unit for all.
    """
    low, high = EXPONENT_RANGE
    errors: dict[str, Tensor] = {}
    largest: dict[str, float] = {}

    def watch(name: str, value: Tensor) -> None:
        largest[name] = max(largest.get(name, 0.0), float(value.abs().max()))
        found = errors.setdefault(name, torch.zeros(high - low + 1, dtype=torch.float64))
        start = _exponent(float(value.abs().max()))
        for index, exponent in enumerate(range(low, high + 1)):
            # What is far finer than this batch needs is not tried; the same unit is then as bad for every batch.
            if exponent > start + _FINER:
                found[index] = math.inf
                continue
            unit = 2.0**-exponent
            if exponent < start - _FINER:  # nothing saturates: the error of uniform rounding
                found[index] += value.numel() * unit**2 / 12
                continue
            rounded = (value / unit).round().clamp(-INT8_MAX, INT8_MAX) * unit
            found[index] += (rounded - value).double().square().sum()

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
    return {name: low + int(error.argmin()) if largest[name] > 0 else high for name, error in errors.items()}


def _exponent(largest: float) -> int:
    low, high = EXPONENT_RANGE
    if largest <= 0:
        return high
    return min(high, max(low, math.floor(math.log2(INT8_MAX / largest))))
