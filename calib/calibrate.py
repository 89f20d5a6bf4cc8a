"""Post-training quantisation: a float model and a few unlabelled clips in, the integer contract out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from svf_edge.calib.batchnorm import reestimate
from svf_edge.calib.bitwidths import assign
from svf_edge.calib.compare import Difference, Reference
from svf_edge.calib.exponents import inner_exponents
from svf_edge.calib.reconstruct import reconstruct
from svf_edge.calib.sensitivity import Cost, layer_bytes, sensitivity
from svf_edge.errors import UnsupportedInput
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import QuantConv, expand_weight_bits, is_quantised, quantise

BATCH = 16
FRACTION_BITS = range(4, 13)
TOLERANCE = 0.1
"""Growth of the divergence (relative) that fewer fraction bits may cost."""

Advance = Callable[[str, int, int], None]
"""Told what is being done, how many steps of it are done and how many there are."""


@dataclass(frozen=True)
class Calibrated:
    """The quantised `model` in eval mode and how it came about.

    `costs` is the sensitivity of layers where bits were chosen by it; `errors` the reconstruction error by layer.
    """

    model: SpikeVideoFormer
    bits: Mapping[str, int]
    exponents: Mapping[str, int]
    difference: Difference
    float_rates: Mapping[str, float]
    costs: Sequence[Cost]
    errors: Mapping[str, float]

    @property
    def bytes(self) -> int:
        """Stored size of weights, biases and shifts."""
        return model_bytes(self.model)


def model_bytes(model: SpikeVideoFormer) -> int:
    """Stored size of a quantised model's weights, biases and shifts."""
    return sum(layer_bytes(m, m.weight_bits) for m in model.modules() if isinstance(m, QuantConv))


def calibrate(
    model: SpikeVideoFormer,
    clips: Tensor,
    *,
    bits: Mapping[str, int] | int = 8,
    budget: int | None = None,
    fraction_bits: int | None = None,
    smallest_fraction: bool = False,
    reestimate_norms: bool = False,
    accuracy: Callable[[SpikeVideoFormer], float] | None = None,
    advance: Advance = lambda what, done, of: None,
) -> Calibrated:
    """Quantise a float `model` (eval mode; left as it was) on `clips` uint8 `[N, T, C, H, W]`, without labels.

    Units of int8 intermediates by squared error, then the weights: 8-bit ones to the nearest integer, narrower ones
    by `reconstruct`. `bits` is one width, or widths by pattern of module path (8 elsewhere); with a `budget` in bytes
    they are chosen by `sensitivity` and `assign` instead. Membranes have the configuration's fraction bits unless
    `fraction_bits` gives others, or `smallest_fraction` asks for the fewest that change the answers by no more than
    `TOLERANCE` of what quantisation changes anyway. `reestimate_norms` first takes the BatchNorm statistics from the
    clips (training leaves them well estimated; clips from another camera may want their own). `accuracy`, where given,
    is measured along with sensitivity.

    Raises `UnsupportedInput` for a quantised model, and for bits or a budget that do not fit it.
    """
    if is_quantised(model):
        raise UnsupportedInput("the model is quantised already; calibrate the float checkpoint of its run")
    batches = list(clips.split(BATCH))
    if reestimate_norms:
        model = copy.deepcopy(model)
        reestimate(model, batches)
    advance("float model", 0, 1)
    reference = Reference(model, batches)
    exponents = inner_exponents(model, batches)
    advance("float model", 1, 1)
    if fraction_bits is not None:
        model = with_fraction_bits(model, fraction_bits)
    elif smallest_fraction:
        model = with_fraction_bits(model, _smallest_fraction(model, exponents, reference, advance))

    costs: list[Cost] = []
    if budget is not None:
        whole = quantise(model, exponents).eval()
        done = 0
        total = sum(isinstance(module, QuantConv) for module in whole.modules())

        def one_more(_: str) -> None:
            nonlocal done
            done += 1
            advance("sensitivity", done, total)

        costs = sensitivity(whole, reference, accuracy=accuracy, advance=one_more)
        chosen = assign(costs, budget)
    else:
        chosen = expand_weight_bits(model, bits) if isinstance(bits, int) else expand_weight_bits(model, 8, bits)

    quantised = quantise(model, exponents, chosen).eval()
    narrow = [name for name, width in chosen.items() if width < 8]
    errors: dict[str, float] = {}
    for done, name in enumerate(narrow, start=1):
        errors |= reconstruct(model, quantised, batches, layers=[name])
        advance("reconstruction", done, len(narrow))
    return Calibrated(quantised, chosen, exponents, reference.compare(quantised), reference.rates, costs, errors)


def with_fraction_bits(model: SpikeVideoFormer, bits: int) -> SpikeVideoFormer:
    """`model` (weights shared) with membranes of `bits` fraction bits once it is quantised.

    Raises `UnsupportedInput` for bits out of range.
    """
    from svf_edge.model.config import parse_config

    other = SpikeVideoFormer(parse_config({**model.config.model_dump(), "fraction_bits": bits}))
    other.load_state_dict(model.state_dict())
    return other.train(model.training)


@torch.no_grad()
def _smallest_fraction(
    model: SpikeVideoFormer, exponents: Mapping[str, int], reference: Reference, advance: Advance
) -> int:
    """The fewest fraction bits whose divergence is within `TOLERANCE` of that of the configuration's."""
    usual = model.config.fraction_bits

    def divergence(bits: int) -> float:
        return reference.compare(quantise(with_fraction_bits(model, bits), exponents).eval()).divergence

    limit = (1 + TOLERANCE) * divergence(usual)
    best = usual
    for done, bits in enumerate(range(usual - 1, FRACTION_BITS.start - 1, -1), start=1):
        advance("fraction bits", done, usual - FRACTION_BITS.start)
        if divergence(bits) > limit:
            break
        best = bits
    return best
