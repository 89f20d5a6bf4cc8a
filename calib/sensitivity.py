"""What it costs to give one layer fewer bits, all others left as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from svf_edge.calib.compare import Reference
from svf_edge.contract import WEIGHT_BITS
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import QuantConv


@dataclass(frozen=True)
class Cost:
    """One layer at `bits`: divergence from the float model and mean spike flips with it, and the bytes it takes.

    `accuracy` is what the given measure says of the model then, None without one.
    """

    layer: str
    bits: int
    bytes: int
    divergence: float
    flip_rate: float
    accuracy: float | None


def layer_bytes(layer: QuantConv, bits: int) -> int:
    """Stored size of a layer with `bits`-bit weights: packed weights, int32 bias and shift."""
    return -(-layer.conv.weight.numel() * bits // 8) + 8 * len(layer.bias)


def sensitivity(
    model: SpikeVideoFormer,
    reference: Reference,
    *,
    bits: Iterable[int] = WEIGHT_BITS,
    accuracy: Callable[[SpikeVideoFormer], float] | None = None,
    advance: Callable[[str], None] = lambda layer: None,
) -> list[Cost]:
    """The cost of every layer of a quantised `model` (all 8 bits, eval mode; left as it was) at each of `bits`.

    Weights are rounded to the nearest integer in their best unit, so costs are upper bounds of what reconstruction
    leaves. `advance` is told each layer as it is done.
    """

    def measured(name: str, layer: QuantConv, width: int) -> Cost:
        found = reference.compare(model)
        reached = None if accuracy is None else accuracy(model)
        return Cost(name, width, layer_bytes(layer, width), found.divergence, found.flip_rate, reached)

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, QuantConv)]
    widest = max(WEIGHT_BITS)
    base = measured(*layers[0], widest)
    costs = []
    for name, layer in layers:
        before = layer.weight_bits, layer.weight_exponent
        for width in bits:
            if width == widest:
                costs.append(
                    Cost(name, width, layer_bytes(layer, width), base.divergence, base.flip_rate, base.accuracy)
                )
                continue
            layer.narrow(width)
            try:
                costs.append(measured(name, layer, width))
            finally:
                layer.weight_bits, layer.weight_exponent = before
        advance(name)
    return costs
