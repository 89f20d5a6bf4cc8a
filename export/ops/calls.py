"""Calls of the native core: parameters from tensors, pointers, errors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from svf_edge.export.ops import checks, cuda, library

HAMMING, DOT = 0, 1  # svf_attention_kind
_UINT8, _INT8, _INT32 = 0, 1, 2  # svf_type


_Argument = ctypes.Structure | Tensor | int | None


def call(function: str, *arguments: _Argument) -> None:
    """Calls an operator where its tensors lie: in the core on this thread, or on a GPU, on torch's stream.

    `arguments` are those of `function` in svf_core.h but for prepared weights and threads. Tensors must be contiguous;
    None is a null pointer.
    """
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    if cuda.takes(device):
        status, said = cuda.call(function, arguments, device)
    else:
        status, said = _call_core(function, arguments)
    if status:
        raise ValueError(f"svf: {said}")


def _call_core(function: str, arguments: Sequence[_Argument]) -> tuple[int, str]:
    given = list(arguments)
    if "conv2d" in function:
        given.insert(3, None)  # prepared weights, behind the weights
    if function != "svf_unpack_weights":
        given.append(None)  # threads
    status: int = getattr(library.core(), function)(*map(library.passed, given))
    return status, library.last_error() if status else ""


def conv_params(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    *,
    saturate: bool = False,
    zero_point: int | None = None,
    density: int = 0,
) -> library.Conv2dParams:
    """Parameters of a convolution. `zero_point` is None for packed spikes."""
    kernel_h, kernel_w, group_in, out_channels = weight.shape
    return library.Conv2dParams(
        frames=x.shape[-4],
        height=x.shape[-3],
        width=x.shape[-2],
        in_channels=group_in * groups,
        out_channels=out_channels,
        kernel=(kernel_h, kernel_w),
        stride=tuple(stride),
        padding=tuple(padding),
        groups=groups,
        output_type=_INT8 if saturate else _INT32,
        input_type=_INT8 if x.dtype == torch.int8 else _UINT8,
        zero_point=zero_point or 0,
        levels=checks.planes("x", x, 4) if zero_point is None else 1,
        density=density,
    )


def lif_params(x: Tensor, soft_reset: bool, levels: int) -> library.LifParams:
    """Parameters of a LIF that reads `x`, `[T, H, W, C]`."""
    return library.LifParams(
        frames=x.shape[0],
        positions=x.shape[1] * x.shape[2],
        channels=x.shape[3],
        soft_reset=int(soft_reset),
        levels=levels,
    )


def attention_params(
    groups: int, tokens: int, channels: int, heads: int, kind: int, levels: int
) -> library.AttentionParams:
    """Parameters of an attention."""
    return library.AttentionParams(
        groups=groups, tokens=tokens, channels=channels, heads=heads, kind=kind, levels=levels
    )


def contiguous(*tensors: Tensor) -> list[Tensor]:
    """`tensors` as the core reads them."""
    return [tensor.contiguous() for tensor in tensors]
