"""Registers the operators of namespace `svf` with PyTorch: schemas, CPU kernels through ctypes, shape functions."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from svf_edge.contract import MAX_LEVELS
from svf_edge.export.ops import library
from svf_edge.packing import word_count

Operator = Callable[..., Tensor]

NAMESPACE = "svf"

_CONV = "Tensor x, Tensor weight, Tensor bias, Tensor shift, int[2] stride, int[2] padding, int groups"
_ATTENTION = "Tensor q, Tensor k, Tensor v, int channels, int heads"
OPERATORS = {
    "spike_conv2d": _CONV,
    "spike_conv2d_s8": _CONV,
    "conv2d": f"{_CONV}, int zero_point",
    "conv2d_s8": f"{_CONV}, int zero_point",
    "lif": "Tensor x, Tensor gain, Tensor bias, Tensor theta, bool soft_reset",
    "integer_lif": "Tensor x, Tensor gain, Tensor bias, Tensor theta, bool soft_reset, int levels",
    "hamming_attention": _ATTENTION,
    "dot_attention": _ATTENTION,
    "unpack_weights": "Tensor packed, int bits, int[4] shape",
}

_UINT8, _INT8, _INT32 = 0, 1, 2  # svf_type
_HAMMING, _DOT = 0, 1  # svf_attention_kind


def _require(name: str, tensor: Tensor, dtypes: Sequence[torch.dtype], rank: int) -> None:
    if tensor.dtype not in dtypes or tensor.dim() != rank:
        wanted = " or ".join(str(dtype) for dtype in dtypes)
        raise ValueError(f"{name} must be {wanted} of rank {rank}, not {tensor.dtype} {tuple(tensor.shape)}")


def _planes(name: str, words: Tensor, rank: int) -> int:
    """Number of thermometer planes of `words`, which have `rank` axes or, with planes, one more in front."""
    if words.dtype != torch.int32 or words.dim() not in (rank, rank + 1):
        raise ValueError(
            f"{name} must be torch.int32 of rank {rank}, or {rank + 1} with a leading axis of planes, "
            f"not {words.dtype} {tuple(words.shape)}"
        )
    return words.shape[0] if words.dim() > rank else 1


def _check_vectors(channels: int, **vectors: Tensor) -> None:
    for name, vector in vectors.items():
        _require(name, vector, [torch.int32], 1)
        if vector.shape[0] != channels:
            raise ValueError(f"{name} must have {channels} entries, not {vector.shape[0]}")


def _conv_output(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    shift: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    packed: bool,
    dtype: torch.dtype,
) -> Tensor:
    """Checks the arguments and allocates the output `[T, Ho, Wo, Cout]`."""
    if packed:
        _planes("x", x, 4)
    else:
        _require("x", x, [torch.uint8, torch.int8], 4)
    _require("weight", weight, [torch.int8], 4)
    kernel_h, kernel_w, group_in, out_channels = weight.shape
    _check_vectors(out_channels, bias=bias, shift=shift)
    if groups < 1 or out_channels % groups:
        raise ValueError(f"groups={groups} must divide the {out_channels} output channels")
    if len(stride) != 2 or len(padding) != 2 or min(stride) < 1 or min(padding) < 0:
        raise ValueError(f"stride {list(stride)} must be two positive ints, padding {list(padding)} two ints >= 0")
    expected = word_count(group_in * groups) if packed else group_in * groups
    steps, rows, columns, last = x.shape[-4:]
    if last != expected:
        raise ValueError(
            f"x has {last} {'words' if packed else 'channels'} per position, but weight "
            f"{tuple(weight.shape)} with groups={groups} needs {expected}"
        )
    height = (rows + 2 * padding[0] - kernel_h) // stride[0] + 1
    width = (columns + 2 * padding[1] - kernel_w) // stride[1] + 1
    if height < 1 or width < 1:
        raise ValueError(
            f"kernel {(kernel_h, kernel_w)} is larger than the frame {(rows, columns)} padded by {list(padding)}"
        )
    return x.new_empty((steps, height, width, out_channels), dtype=dtype)


def _lif_output(x: Tensor, gain: Tensor, bias: Tensor, theta: Tensor, levels: int | None) -> Tensor:
    """Words of binary spikes for `levels` None, else with a leading axis of planes."""
    _require("x", x, [torch.int32], 4)
    channels = x.shape[3]
    _check_vectors(channels, gain=gain, bias=bias, theta=theta)
    words = (*x.shape[:3], word_count(channels))
    if levels is None:
        return x.new_empty(words)
    if not 2 <= levels <= MAX_LEVELS:
        raise ValueError(f"levels={levels} is outside 2..{MAX_LEVELS}")
    return x.new_empty((levels, *words))


def _attention_output(q: Tensor, k: Tensor, v: Tensor, channels: int, heads: int) -> Tensor:
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        _planes(name, tensor, 3)
        if tensor.shape[-1] != word_count(channels):
            raise ValueError(
                f"{name} has {tensor.shape[-1]} words per token; {channels} channels take {word_count(channels)}"
            )
        if tensor.shape[:-1] != q.shape[:-1]:
            raise ValueError(
                f"{name} has (planes, groups, tokens) {tuple(tensor.shape[:-1])}, q has {tuple(q.shape[:-1])}"
            )
    if heads < 1 or channels % heads:
        raise ValueError(f"heads={heads} must divide channels={channels}")
    return q.new_empty((*q.shape[-3:-1], channels))


def _call(function: str, params: ctypes.Structure, *tensors: Tensor | None) -> None:
    """Calls an operator of the core on the calling thread. Tensors must be contiguous; None is a null pointer."""
    pointers = [None if tensor is None else ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    if getattr(library.core(), function)(ctypes.byref(params), *pointers, None):
        raise ValueError(f"svf: {library.last_error()}")


def _run_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    shift: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    output: Tensor,
    zero_point: int | None,
) -> Tensor:
    kernel_h, kernel_w, group_in, out_channels = weight.shape
    params = library.Conv2dParams(
        frames=x.shape[-4],
        height=x.shape[-3],
        width=x.shape[-2],
        in_channels=group_in * groups,
        out_channels=out_channels,
        kernel=(kernel_h, kernel_w),
        stride=tuple(stride),
        padding=tuple(padding),
        groups=groups,
        output_type=_INT8 if output.dtype == torch.int8 else _INT32,
        input_type=_INT8 if x.dtype == torch.int8 else _UINT8,
        zero_point=zero_point or 0,
        levels=_planes("x", x, 4) if zero_point is None else 1,
    )
    function = "svf_spike_conv2d" if zero_point is None else "svf_conv2d"
    x, weight, bias, shift = (tensor.contiguous() for tensor in (x, weight, bias, shift))
    _call(function, params, x, weight, None, bias, shift, output)
    return output


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
        output = _conv_output(x, weight, bias, shift, stride, padding, groups, True, dtype)
        return _run_conv(x, weight, bias, shift, stride, padding, groups, output, None) if run else output

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
        output = _conv_output(x, weight, bias, shift, stride, padding, groups, False, dtype)
        return _run_conv(x, weight, bias, shift, stride, padding, groups, output, zero_point) if run else output

    return operator


def _lif(run: bool) -> Operator:
    def operator(
        x: Tensor, gain: Tensor, bias: Tensor, theta: Tensor, soft_reset: bool, levels: int | None = None
    ) -> Tensor:
        output = _lif_output(x, gain, bias, theta, levels)
        if run:
            params = library.LifParams(
                frames=x.shape[0],
                positions=x.shape[1] * x.shape[2],
                channels=x.shape[3],
                soft_reset=int(soft_reset),
                levels=levels or 1,
            )
            _call("svf_lif", params, *[t.contiguous() for t in (x, gain, bias, theta)], output)
        return output

    return operator


def _attention(kind: int, run: bool) -> Operator:
    def operator(q: Tensor, k: Tensor, v: Tensor, channels: int, heads: int) -> Tensor:
        output = _attention_output(q, k, v, channels, heads)
        if run:
            params = library.AttentionParams(
                groups=q.shape[-3],
                tokens=q.shape[-2],
                channels=channels,
                heads=heads,
                kind=kind,
                levels=_planes("q", q, 3),
            )
            _call("svf_attention", params, *[t.contiguous() for t in (q, k, v)], output)
        return output

    return operator


def _unpack_weights(run: bool) -> Operator:
    def operator(packed: Tensor, bits: int, shape: Sequence[int]) -> Tensor:
        _require("packed", packed, [torch.uint8], 1)
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


def _operator(name: str, run: bool) -> Operator:
    dtype = torch.int8 if name.endswith("_s8") else torch.int32
    if name.startswith("spike_conv2d"):
        return _spike_conv(dtype, run)
    if name.startswith("conv2d"):
        return _dense_conv(dtype, run)
    if name in ("lif", "integer_lif"):
        return _lif(run)
    if name == "unpack_weights":
        return _unpack_weights(run)
    return _attention(_HAMMING if name == "hamming_attention" else _DOT, run)


def _with_out(kernel: Operator) -> Operator:
    def operator(*args: object, out: Tensor) -> Tensor:
        result = kernel(*args)
        out.resize_(result.shape)
        return out.copy_(result)

    return operator


_definitions = torch.library.Library(NAMESPACE, "DEF")
for _name, _arguments in OPERATORS.items():
    _definitions.define(f"{_name}({_arguments}) -> Tensor", tags=[torch.Tag.pt2_compliant_tag])
    _definitions.define(f"{_name}.out({_arguments}, *, Tensor(a!) out) -> Tensor(a!)")
    _definitions.impl(_name, _operator(_name, run=True), "CPU")
    _definitions.impl(f"{_name}.out", _with_out(_operator(_name, run=True)), "CPU")
    torch.library.register_fake(f"{NAMESPACE}::{_name}", _operator(_name, run=False), lib=_definitions)
    torch.library.register_fake(f"{NAMESPACE}::{_name}.out", _with_out(_operator(_name, run=False)), lib=_definitions)
