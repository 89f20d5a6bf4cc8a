"""Quantisation-aware training: the integer contract (docs/contract.md) computed exactly in float.

`quantise` replaces every convolution (BatchNorm folded first) by one with 8-, 4- or 2-bit weights and a power-of-two
scale per output channel, and puts membranes and the residual stream on a grid of `2^-fraction_bits`. Forward values are
integers times powers of two, exact in float32 as long as the program's float32 range proof holds; gradients pass
straight through every rounding. `integers()` of a layer gives the very numbers its forward pass used.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from svf_edge.contract import INT8_MAX, WEIGHT_BITS, weight_limit
from svf_edge.errors import MissingPackage, UnsupportedInput
from svf_edge.model.config import ModelConfig
from svf_edge.model.convolution import convolve
from svf_edge.model.heads import SpatialMean, SpatialSum
from svf_edge.model.layers import AttentionLif, ConvNorm
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model.neurons import Lif

try:
    from brevitas.nn import QuantConv2d
    from brevitas.quant import Int8WeightPerTensorFixedPoint
except ImportError as error:
    raise MissingPackage("brevitas", "train") from error

MAX_SHIFT = 10
"""Accumulators are at most this many bits finer than their output: keeps biases small, costs nothing (the scale of a
channel whose weights are all tiny stops shrinking)."""

_DRIVE_LIMIT = 2**22  # of |gain * O|, |bias| and theta behind attention: the membrane sum then stays below 2^24


class Int8WeightPerChannelPowerOfTwo(Int8WeightPerTensorFixedPoint):
    """int8 in -127..127 with a power-of-two scale per output channel: the smallest that holds it up to 128."""

    scaling_per_output_channel = True


class _Through(torch.autograd.Function):
    """`exact` in the forward pass, the gradient to `smooth` in the backward pass; no arithmetic mixes the two."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.view_as(exact)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def through(smooth: Tensor, exact: Tensor) -> Tensor:
    """Straight-through estimator: the value of `exact`, the gradient of `smooth`."""
    out: Tensor = _Through.apply(smooth, exact.detach())
    return out


@dataclass(frozen=True)
class ConvIntegers:
    """int8 `weight` `[Cout, Cin/groups, kh, kw]`, int32 `bias` and `shift` `[Cout]` of a contract convolution."""

    weight: Tensor
    bias: Tensor
    shift: Tensor


def best_exponents(weight: Tensor, bits: int, finest: int) -> Tensor:
    """int64 `[Cout]`: the units `2^-e` in which rounding `weight` to `bits` bits costs each channel the least error.

    Clipping is allowed where it pays; no exponent is above `finest`.
    """
    flat = weight.detach().flatten(1).double()
    limit = weight_limit(bits)
    largest = flat.abs().amax(1).clamp(min=2.0**-60)
    coarsest = torch.floor(torch.log2(limit / largest)).clamp(max=finest)  # clips nothing
    candidates = torch.stack([(coarsest + finer).clamp(max=finest) for finer in range(-1, 4)])
    scale = 2.0 ** candidates[..., None]
    error = ((flat * scale).round().clamp(-limit, limit) / scale - flat).square().sum(-1)
    return candidates.gather(0, error.argmin(0, keepdim=True))[0].long()


class QuantConv(nn.Module):
    """A contract convolution on `[T, B, C, H, W]`: small integer weights, bias with the rounding half in it, shift,
    floor.

    8-bit weights take the smallest unit that holds the channel's largest weight, anew at every step. Below 8 bits, and
    wherever calibration chose it, the unit of a channel is fixed: `2^-weight_exponent`.
    """

    weight_exponent: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
        in_exponent: int,
        out_exponent: int,
        saturate: bool,
        weight_bits: int = 8,
    ) -> None:
        super().__init__()
        outputs, per_group, *kernel = weight.shape
        finest = out_exponent + MAX_SHIFT - in_exponent
        self.conv = QuantConv2d(
            per_group * groups,
            outputs,
            tuple(kernel),
            stride,
            padding,
            groups=groups,
            bias=False,
            weight_quant=Int8WeightPerChannelPowerOfTwo,
            weight_scaling_min_val=(INT8_MAX + 1) * 2.0**-finest,  # of the largest weight
        )
        with torch.no_grad():
            self.conv.weight.copy_(weight)
        self.bias = nn.Parameter(bias.clone())
        self.stride = stride
        self.padding = padding
        self.groups = groups
        self.in_exponent = in_exponent
        self.out_exponent = out_exponent
        self.saturate = saturate
        self.weight_bits = weight_bits
        self.finest = finest
        self.register_buffer("weight_exponent", None)
        if weight_bits < max(WEIGHT_BITS):
            self.narrow(weight_bits)

    def narrow(self, bits: int) -> None:
        """Give the weights `bits` bits, in the units that `best_exponents` finds."""
        self.weight_bits = bits
        self.fix(best_exponents(self.conv.weight, bits, self.finest))

    def fix(self, exponent: Tensor) -> None:
        """Fix the units of the weights: `exponent` integer `[Cout]`, clamped to what the layer's shift allows.

        Raises `UnsupportedInput` for another shape.
        """
        if exponent.shape != self.bias.shape:
            raise UnsupportedInput(f"{list(exponent.shape)} units of weights for {len(self.bias)} channels")
        self.weight_exponent = exponent.clamp(max=self.finest).to(torch.int8).to(self.bias.device)

    def _weight(self) -> tuple[Tensor, Tensor]:
        """Quantised weight, and the exponent of its unit per output channel (int64)."""
        if self.weight_exponent is not None:
            exponent, limit = self.weight_exponent.long(), weight_limit(self.weight_bits)
            unit = (2.0 ** -exponent.double()).to(self.conv.weight.dtype)[:, None, None, None]
            inside = torch.clamp(self.conv.weight, -limit * unit, limit * unit)
            return through(inside, torch.round(inside.detach() / unit) * unit), exponent
        quantised = self.conv.quant_weight()
        scale = quantised.scale.detach().flatten()
        return quantised.value, 1 - torch.frexp(scale).exponent.long()

    def _bias(self, shift: Tensor) -> Tensor:
        """Integer bias in units of `2^-(out_exponent + max(shift, 0))`, half of the output's unit included."""
        right = shift.clamp(min=0)
        half = torch.where(right > 0, 2.0 ** (right - 1), 0.0)
        return torch.round(self.bias.detach().double() * 2.0 ** (right + self.out_exponent)) + half

    def forward(self, x: Tensor) -> Tensor:
        weight, exponent = self._weight()
        shift = exponent + self.in_exponent - self.out_exponent
        unit = 2.0 ** -(shift.clamp(min=0) + self.out_exponent).double()
        bias = through(self.bias, (self._bias(shift) * unit).to(self.bias.dtype))
        y = convolve(x.flatten(0, 1), weight, None, self.stride, self.padding, self.groups)
        y = y + bias[:, None, None]
        step = 2.0**-self.out_exponent
        floor = torch.floor(y.detach() / step) * step
        if self.saturate:
            limit = INT8_MAX * step
            y, floor = y.clamp(-limit, limit), floor.clamp(-limit, limit)
        return through(y, floor).unflatten(0, (x.shape[0], -1))

    @torch.no_grad()
    def integers(self) -> ConvIntegers:
        """The numbers of the integer program."""
        weight, exponent = self._weight()
        shift = exponent + self.in_exponent - self.out_exponent
        units = weight.double() * 2.0 ** exponent.double()[:, None, None, None]
        return ConvIntegers(units.to(torch.int8), self._bias(shift).to(torch.int32), shift.to(torch.int32))


@dataclass(frozen=True)
class LifIntegers:
    """int32 `gain`, `bias` and `theta`, each `[C]`."""

    gain: Tensor
    bias: Tensor
    theta: Tensor


class FixedAttentionLif(Lif):
    """The neuron behind attention with the normalisation in its gain, bias and threshold: `a * O + b` against 1.

    `fraction` is the number of extra fraction bits of its membrane.
    """

    def __init__(self, a: Tensor, b: Tensor, fraction: int, like: Lif) -> None:
        super().__init__(1.0, levels=like.levels, reset=like.reset, surrogate=like.surrogate, width=like.width)
        self.a = nn.Parameter(a.clone())
        self.b = nn.Parameter(b.clone())
        self.fraction = fraction

    @torch.no_grad()
    def _numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        """gain, bias and theta as float64. A channel with (almost) no gain gets the smallest gain that still fits."""
        size = self.a.double().abs().clamp(min=2.0**-60)
        one = 2.0**self.fraction
        limit = min(_DRIVE_LIMIT, 4 * _DRIVE_LIMIT // self.levels)
        theta = torch.round(one / size).clamp(1, limit)
        bias = torch.round(self.b.double() / size * one).clamp(-_DRIVE_LIMIT, _DRIVE_LIMIT)
        return torch.where(self.a < 0, -one, one), bias, theta

    def forward(self, x: Tensor) -> Tensor:
        gain, bias, theta = (v.to(x.dtype)[:, None, None] for v in self._numbers())
        smooth = (x * self.a[:, None, None] + self.b[:, None, None]) * theta
        return self.fire(through(smooth, gain * x.detach() + bias), theta, 1.0)

    def integers(self) -> LifIntegers:
        """The numbers of the integer program."""
        gain, bias, theta = (v.to(torch.int32) for v in self._numbers())
        return LifIntegers(gain, bias, theta)


def attention_fraction(config: ModelConfig, width: int) -> int:
    """Extra fraction bits behind attention on `width` channels: as many as fit the longest sum, 8 at most."""
    height, across = config.feature_size
    tokens = config.frames * height * across
    factor = max(1, 2 * config.levels - 1)
    bound = tokens * config.levels * factor**2 * (width // config.heads_at(width))
    return max(0, min(8, _DRIVE_LIMIT.bit_length() - 1 - (bound - 1).bit_length()))


def weight_layers(model: nn.Module) -> tuple[str, ...]:
    """Module paths of the layers that hold quantised weights (or will: a float model's), in running order."""
    return tuple(name for name, module in model.named_modules() if isinstance(module, ConvNorm | QuantConv))


def expand_weight_bits(model: nn.Module, default: int, overrides: Mapping[str, int] | None = None) -> dict[str, int]:
    """Bits of every weight layer of `model`: of the first pattern in `overrides` that fits its path, else `default`.

    Patterns are shell patterns over module paths: `{"backbone.0.*": 8, "*.mlp.*": 2}`. Raises `UnsupportedInput` for
    a number of bits that the contract lacks and for a pattern that fits no layer.
    """
    layers = weight_layers(model)
    bits: dict[str, int] = {}
    for pattern, width in (overrides or {}).items():
        fitting = [name for name in layers if fnmatchcase(name, pattern)]
        if not fitting:
            close = difflib.get_close_matches(pattern, layers, n=1, cutoff=0.0)
            raise UnsupportedInput(f"weight_bits: no layer is called '{pattern}'; the closest is '{close[0]}'")
        bits = dict.fromkeys(fitting, width) | bits
    bits = {name: bits.get(name, default) for name in layers}
    for name, width in bits.items():
        if width not in WEIGHT_BITS:
            raise UnsupportedInput(f"{name}: weights of {width!r} bits; use one of {', '.join(map(str, WEIGHT_BITS))}")
    return bits


def quantise(
    model: SpikeVideoFormer, exponents: Mapping[str, int], weight_bits: Mapping[str, int] | None = None
) -> SpikeVideoFormer:
    """A copy of a float model that computes the integer contract, for QAT, evaluation and freezing.

    `exponents` gives the unit `2^-exponent` of every int8 intermediate by module path (`calib.exponents` finds them),
    `weight_bits` the bits of weights by module path (`expand_weight_bits`), 8 where it is silent.
    Raises `KeyError` for a missing exponent and `UnsupportedInput` for one outside -30..30 or for bits of no layer or
    other than 8, 4 and 2.
    """
    for name, exponent in exponents.items():
        if type(exponent) is not int or not -30 <= exponent <= 30:
            raise UnsupportedInput(f"{name}: exponent {exponent!r} is not an integer in -30..30")
    weight_bits = weight_bits or {}
    layers = weight_layers(model)
    for name, bits in weight_bits.items():
        if name not in layers or type(bits) is not int or bits not in WEIGHT_BITS:
            raise UnsupportedInput(
                f"{name}: {bits!r}-bit weights; give {', '.join(map(str, WEIGHT_BITS))} for a layer of the model"
            )
    if model.config.neuron != "lif":
        raise UnsupportedInput(f"neuron: {model.config.neuron}; a dense twin has no integer program, train neuron: lif")
    model = copy.deepcopy(model)
    config = model.config
    source = config.input_exponent  # modules are registered in running order: an int8 output feeds the next layer
    correction = 1.0
    fraction_bits = config.fraction_bits  # of what the next neuron reads
    for name, module in list(model.named_modules()):
        if isinstance(module, ConvNorm):
            out = exponents[name] if module.inner else config.fraction_bits
            weight, bias = module.folded()
            quantised = QuantConv(
                weight * correction,
                bias,
                stride=module.stride,
                padding=(module.padding[0] + module.border, module.padding[1] + module.border),
                groups=module.conv.groups,
                in_exponent=source,
                out_exponent=out,
                saturate=module.inner,
                weight_bits=weight_bits.get(name, 8),
            )
            _replace(model, name, quantised)
            source, correction = out if module.inner else 0, 1.0
        elif isinstance(module, SpatialMean):
            module.quantised = True
            source, correction = module.out_exponent, module.correction
        elif isinstance(module, SpatialSum):
            fraction_bits = config.fraction_bits - module.shift
            module.unit = 2.0**-fraction_bits
        elif isinstance(module, AttentionLif):
            a, b = module.affine()
            fraction = attention_fraction(config, module.channels)
            _replace(model, name, FixedAttentionLif(a.float(), b.float(), fraction, module))
        elif isinstance(module, Lif):
            module.unit, fraction_bits = 2.0**-fraction_bits, config.fraction_bits
    return model


def is_quantised(model: nn.Module) -> bool:
    """Whether `quantise` made this model."""
    return any(isinstance(module, QuantConv) for module in model.modules())


def inner_exponents(model: nn.Module) -> dict[str, int]:
    """The exponents of a quantised model's int8 intermediates, as `quantise` takes them."""
    return {
        name: module.out_exponent
        for name, module in model.named_modules()
        if isinstance(module, QuantConv) and module.saturate
    }


def weight_bits_of(model: nn.Module) -> dict[str, int]:
    """Bits of every weight layer of a quantised model, by module path, as `quantise` takes them."""
    return {name: module.weight_bits for name, module in model.named_modules() if isinstance(module, QuantConv)}


def fix_weight_exponents(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give every layer whose fixed units are in `state` a place to load them into."""
    for name, module in model.named_modules():
        stored = state.get(f"{name}.weight_exponent")
        if isinstance(module, QuantConv) and stored is not None:
            module.fix(stored)


def _parent(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name.rpartition(".")[0])


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    setattr(_parent(model, name), name.rpartition(".")[2], module)
