"""Registers the operators of namespace `svf` with PyTorch: schemas, kernels for CPUs and CUDA GPUs through
ctypes, shape functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from svf_edge.contract import MAX_LEVELS
from svf_edge.export.ops import checks, cuda, fused
from svf_edge.export.ops.calls import DOT, HAMMING, attention_params, call, contiguous, conv_params, lif_params
from svf_edge.export.ops.checks import Operator

NAMESPACE = "svf"

_CONV = "Tensor x, Tensor weight, Tensor bias, Tensor shift, int[2] stride, int[2] padding, int groups"
_ATTENTION = "Tensor q, Tensor k, Tensor v, int channels, int heads"
_NEURON = "Tensor gain, Tensor lif_bias, Tensor theta, bool soft_reset, int levels"
OPERATORS = {
    "spike_conv2d": _CONV,
    "spike_conv2d_s8": _CONV,
    "spike_conv2d_lif": f"{_CONV}, Tensor? residual, {_NEURON}, bool keep_sum, int density",
    "spike_conv2d_lif_from": f"{_CONV}, Tensor? residual, {_NEURON}, bool keep_sum, int density, Tensor before",
    "conv2d": f"{_CONV}, int zero_point",
    "conv2d_s8": f"{_CONV}, int zero_point",
    "conv2d_lif": f"{_CONV}, int zero_point, Tensor? residual, {_NEURON}, bool keep_sum",
    "conv2d_lif_from": f"{_CONV}, int zero_point, Tensor? residual, {_NEURON}, bool keep_sum, Tensor before",
    "lif": "Tensor x, Tensor gain, Tensor bias, Tensor theta, bool soft_reset",
    "integer_lif": "Tensor x, Tensor gain, Tensor bias, Tensor theta, bool soft_reset, int levels",
    "lif_from": "Tensor x, Tensor gain, Tensor bias, Tensor theta, bool soft_reset, int levels, Tensor before",
    "hamming_attention": _ATTENTION,
    "hamming_attention_lif": f"{_ATTENTION}, bool joint, {_NEURON}",
    "hamming_causal_attention_lif": f"{_ATTENTION}, int window, {_NEURON}",
    "hamming_attention_lif_step": f"{_ATTENTION}, {_NEURON}, Tensor? summaries, Tensor before",
    "dot_attention": _ATTENTION,
    "dot_attention_lif": f"{_ATTENTION}, bool joint, {_NEURON}",
    "dot_causal_attention_lif": f"{_ATTENTION}, int window, {_NEURON}",
    "dot_attention_lif_step": f"{_ATTENTION}, {_NEURON}, Tensor? summaries, Tensor before",
    "channels_last": "Tensor x",
    "unpack_weights": "Tensor packed, int bits, int[4] shape",
}
RESULTS = {
    "spike_conv2d_lif": ("spikes", "sum"),
    "spike_conv2d_lif_from": ("spikes", "sum", "after"),
    "conv2d_lif": ("spikes", "sum"),
    "conv2d_lif_from": ("spikes", "sum", "after"),
    "lif_from": ("spikes", "after"),
    "hamming_attention_lif_step": ("spikes", "summary", "after"),
    "dot_attention_lif_step": ("spikes", "summary", "after"),
}
"""Names of what an operator returns, where that is not one tensor."""


def _spike_conv(dtype: torch.dtype, run: bool) -> Operator:
    def operator(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shift: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        groups: int,
    ) -> Tensor:
        output = x.new_empty(checks.conv(x, weight, bias, shift, stride, padding, groups, True), dtype=dtype)
        if run:
            params = conv_params(x, weight, stride, padding, groups, saturate=dtype == torch.int8)
            x, weight, bias, shift = contiguous(x, weight, bias, shift)
            call("svf_spike_conv2d", params, x, weight, bias, shift, output)
        return output

    return operator


def _dense_conv(dtype: torch.dtype, run: bool) -> Operator:
    def operator(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shift: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        groups: int,
        zero_point: int,
    ) -> Tensor:
        output = x.new_empty(checks.conv(x, weight, bias, shift, stride, padding, groups, False), dtype=dtype)
        if run:
            saturate = dtype == torch.int8
            params = conv_params(x, weight, stride, padding, groups, saturate=saturate, zero_point=zero_point)
            x, weight, bias, shift = contiguous(x, weight, bias, shift)
            call("svf_conv2d", params, x, weight, bias, shift, output)
        return output

    return operator


def _lif(run: bool) -> Operator:
    def operator(
        x: Tensor, gain: Tensor, bias: Tensor, theta: Tensor, soft_reset: bool, levels: int | None = None
    ) -> Tensor:
        """Words of binary spikes for `levels` None, else with a leading axis of planes."""
        checks.require("x", x, [torch.int32], 4)
        if levels is not None and not 2 <= levels <= MAX_LEVELS:
            raise ValueError(f"levels={levels} is outside 2..{MAX_LEVELS}")
        output = x.new_empty(checks.spikes(x.shape, gain, bias, theta, levels or 1))
        if run:
            call("svf_lif", lif_params(x, soft_reset, levels or 1), *contiguous(x, gain, bias, theta), output)
        return output

    return operator


def _lif_from(run: bool) -> Operator:
    def operator(
        x: Tensor, gain: Tensor, bias: Tensor, theta: Tensor, soft_reset: bool, levels: int, before: Tensor
    ) -> tuple[Tensor, Tensor]:
        checks.require("x", x, [torch.int32], 4)
        spikes = x.new_empty(checks.spikes(x.shape, gain, bias, theta, levels))
        checks.shaped("before", before, x.shape[1:])
        after = torch.empty_like(before, memory_format=torch.contiguous_format)
        if run:
            params = lif_params(x, soft_reset, levels)
            call("svf_lif_from", params, *contiguous(x, gain, bias, theta, before), after, spikes)
        return spikes, after

    return operator


def _attention(kind: int, run: bool) -> Operator:
    def operator(q: Tensor, k: Tensor, v: Tensor, channels: int, heads: int) -> Tensor:
        levels = checks.attention(q, k, v, channels, heads, 3)
        groups, tokens = q.shape[-3:-1]
        output = q.new_empty((groups, tokens, channels))
        if run:
            params = attention_params(groups, tokens, channels, heads, kind, levels)
            call("svf_attention", params, *contiguous(q, k, v), output)
        return output

    return operator


def _unpack_weights(run: bool) -> Operator:
    def operator(packed: Tensor, bits: int, shape: Sequence[int]) -> Tensor:
        checks.require("packed", packed, [torch.uint8], 1)
        if bits not in (2, 4) or len(shape) != 4 or min(shape) < 1:
            raise ValueError(f"bits={bits} must be 2 or 4, and shape {list(shape)} four positive sizes")
        size = math.prod(shape)
        if packed.shape[0] != -(-size * bits // 8):
            raise ValueError(f"{packed.shape[0]} bytes do not hold weights of {bits} bits and shape {list(shape)}")
        output = packed.new_empty(tuple(shape), dtype=torch.int8)
        if run:
            call("svf_unpack_weights", packed.contiguous(), bits, size, output)
        return output

    return operator


def _channels_last(run: bool) -> Operator:
    def operator(x: Tensor) -> Tensor:
        checks.require("x", x, [torch.uint8], 4)
        frames, channels, height, width = x.shape
        output = x.new_empty((frames, height, width, channels))
        if run:
            call("svf_channels_last", frames, channels, height * width, x.contiguous(), output)
        return output

    return operator


def _operator(name: str, run: bool) -> Operator:
    dtype = torch.int8 if name.endswith("_s8") else torch.int32
    match name.removesuffix("_s8"):
        case "spike_conv2d":
            return _spike_conv(dtype, run)
        case "conv2d":
            return _dense_conv(dtype, run)
        case "spike_conv2d_lif" | "spike_conv2d_lif_from":
            return fused.spike_conv_lif(run)
        case "conv2d_lif" | "conv2d_lif_from":
            return fused.dense_conv_lif(run)
        case "lif" | "integer_lif":
            return _lif(run)
        case "lif_from":
            return _lif_from(run)
        case "channels_last":
            return _channels_last(run)
        case "unpack_weights":
            return _unpack_weights(run)
        case other:
            mode, _, form = other.partition("_")
            makers = {
                "attention": _attention,
                "attention_lif": fused.attention_lif,
                "causal_attention_lif": fused.causal_attention_lif,
                "attention_lif_step": fused.attention_lif_step,
            }
            return makers[form](HAMMING if mode == "hamming" else DOT, run)


def _with_outs(kernel: Operator, names: Sequence[str]) -> Operator:
    """`kernel` writing its results into tensors of those names, which it returns."""

    def operator(*args: object, **outs: Tensor) -> Tensor | tuple[Tensor, ...]:
        results = kernel(*args)
        written = [outs[name] for name in names]
        for out, result in zip(written, (results,) if isinstance(results, Tensor) else results, strict=True):
            out.resize_(result.shape)
            out.copy_(result)
        return written[0] if len(written) == 1 else tuple(written)

    return operator


def _listed(types: Sequence[str]) -> str:
    """The results of a schema: one has no brackets."""
    return types[0] if len(types) == 1 else f"({', '.join(types)})"


_definitions = torch.library.Library(NAMESPACE, "DEF")
for _name, _arguments in OPERATORS.items():
    _names = RESULTS.get(_name, ("out",))
    _results = _listed([f"Tensor {name}" for name in _names] if _name in RESULTS else ["Tensor"])
    _written = [f"Tensor({alias}!)" for alias, _ in zip("abc", _names, strict=False)]
    _outs = ", ".join(f"{kind} {name}" for kind, name in zip(_written, _names, strict=True))
    _definitions.define(f"{_name}({_arguments}) -> {_results}", tags=[torch.Tag.pt2_compliant_tag])
    _definitions.define(f"{_name}.out({_arguments}, *, {_outs}) -> {_listed(_written)}")
    for _run in (True, False):
        _kernel = _operator(_name, _run)
        for _overload, _implementation in ((_name, _kernel), (f"{_name}.out", _with_outs(_kernel, _names))):
            if _run:
                _definitions.impl(_overload, _implementation, "CPU")
                _definitions.impl(_overload, cuda.on_one_device(_implementation), "CUDA")
            else:
                torch.library.register_fake(f"{NAMESPACE}::{_overload}", _implementation, lib=_definitions)
