"""Registers the operators of namespace `svf` with PyTorch: schemas, CPU kernels through ctypes, shape functions."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from svf_edge.contract import MAX_LEVELS
from svf_edge.export.ops import checks, fused, library
from svf_edge.export.ops.calls import DOT, HAMMING, attention_params, call, contiguous, conv_params
from svf_edge.export.ops.checks import Operator

NAMESPACE = "svf"

_CONV = "Tensor x, Tensor weight, Tensor bias, Tensor shift, int[2] stride, int[2] padding, int groups"
_ATTENTION = "Tensor q, Tensor k, Tensor v, int channels, int heads"
_NEURON = "Tensor gain, Tensor lif_bias, Tensor theta, bool soft_reset, int levels"
OPERATORS = {
    "spike_conv2d": _CONV,
    "spike_conv2d_s8": _CONV,
    "spike_conv2d_lif": f"{_CONV}, Tensor? residual, {_NEURON}, bool keep_sum, int density",
    "conv2d": f"{_CONV}, int zero_point",
    "conv2d_s8": f"{_CONV}, int zero_point",
    "conv2d_lif": f"{_CONV}, int zero_point, Tensor? residual, {_NEURON}, bool keep_sum",
    "lif": "Tensor x, Tensor gain, Tensor bias, Tensor theta, bool soft_reset",
    "integer_lif": "Tensor x, Tensor gain, Tensor bias, Tensor theta, bool soft_reset, int levels",
    "hamming_attention": _ATTENTION,
    "hamming_attention_lif": f"{_ATTENTION}, bool joint, {_NEURON}",
    "dot_attention": _ATTENTION,
    "dot_attention_lif": f"{_ATTENTION}, bool joint, {_NEURON}",
    "channels_last": "Tensor x",
    "unpack_weights": "Tensor packed, int bits, int[4] shape",
}
_TWO_RESULTS = ("spike_conv2d_lif", "conv2d_lif")


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
            call("svf_spike_conv2d", params, x, weight, None, bias, shift, output)
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
            call("svf_conv2d", params, x, weight, None, bias, shift, output)
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
            params = library.LifParams(
                frames=x.shape[0],
                positions=x.shape[1] * x.shape[2],
                channels=x.shape[3],
                soft_reset=int(soft_reset),
                levels=levels or 1,
            )
            call("svf_lif", params, *contiguous(x, gain, bias, theta), output)
        return output

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
            source = packed.contiguous()
            pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (source, output)]
            if library.core().svf_unpack_weights(pointers[0], bits, size, pointers[1]):
                raise ValueError(f"svf: {library.last_error()}")
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
        case "spike_conv2d_lif":
            return fused.spike_conv_lif(run)
        case "conv2d_lif":
            return fused.dense_conv_lif(run)
        case "lif" | "integer_lif":
            return _lif(run)
        case "channels_last":
            return _channels_last(run)
        case "unpack_weights":
            return _unpack_weights(run)
        case other:
            kind = HAMMING if other.startswith("hamming") else DOT
            return fused.attention_lif(kind, run) if other.endswith("_lif") else _attention(kind, run)


def _with_out(kernel: Operator) -> Operator:
    def operator(*args: object, out: Tensor) -> Tensor:
        result = kernel(*args)
        assert isinstance(result, Tensor)
        out.resize_(result.shape)
        return out.copy_(result)

    return operator


def _with_two_outs(kernel: Operator) -> Operator:
    def operator(*args: object, spikes: Tensor, sum: Tensor) -> tuple[Tensor, Tensor]:
        for out, result in zip((spikes, sum), kernel(*args), strict=True):
            out.resize_(result.shape)
            out.copy_(result)
        return spikes, sum

    return operator


_definitions = torch.library.Library(NAMESPACE, "DEF")
for _name, _arguments in OPERATORS.items():
    _two = _name in _TWO_RESULTS
    _results = "(Tensor spikes, Tensor sum)" if _two else "Tensor"
    _outs = "Tensor(a!) spikes, Tensor(b!) sum" if _two else "Tensor(a!) out"
    _written = "(Tensor(a!), Tensor(b!))" if _two else "Tensor(a!)"
    _wrap = _with_two_outs if _two else _with_out
    _definitions.define(f"{_name}({_arguments}) -> {_results}", tags=[torch.Tag.pt2_compliant_tag])
    _definitions.define(f"{_name}.out({_arguments}, *, {_outs}) -> {_written}")
    _definitions.impl(_name, _operator(_name, run=True), "CPU")
    _definitions.impl(f"{_name}.out", _wrap(_operator(_name, run=True)), "CPU")
    torch.library.register_fake(f"{NAMESPACE}::{_name}", _operator(_name, run=False), lib=_definitions)
    torch.library.register_fake(f"{NAMESPACE}::{_name}.out", _wrap(_operator(_name, run=False)), lib=_definitions)
