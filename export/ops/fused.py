"""The fused operators: a convolution or an attention and the LIF behind it in one pass over the result."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from svf_edge.export.density import DENSITIES
from svf_edge.export.ops import checks, library
from svf_edge.export.ops.calls import attention_params, call, contiguous, conv_params


def _check_fused(sizes: tuple[int, ...], residual: Tensor | None, density: int) -> None:
    if residual is not None:
        checks.require("residual", residual, [torch.int32], 4)
        if tuple(residual.shape) != sizes:
            raise ValueError(f"residual has sizes {tuple(residual.shape)}, the convolution's result {sizes}")
    if not 0 <= density < len(DENSITIES):
        raise ValueError(f"density={density} is outside 0..{len(DENSITIES) - 1} ({', '.join(DENSITIES)})")


def _stage(
    vectors: Sequence[Tensor],
    residual: Tensor | None,
    kept: Tensor | None,
    spikes: Tensor,
    soft_reset: bool,
    levels: int,
) -> library.LifStage:
    """Pointers to tensors that the caller keeps alive."""
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in (*vectors, residual, kept, spikes)]
    return library.LifStage(*pointers, int(soft_reset), levels)


def _conv_lif(
    x: Tensor,
    constants: tuple[Tensor, Tensor, Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    zero_point: int | None,
    residual: Tensor | None,
    vectors: Sequence[Tensor],
    soft_reset: bool,
    levels: int,
    keep_sum: bool,
    density: int,
    run: bool,
) -> tuple[Tensor, Tensor]:
    """Spikes and sum, which is empty if it is not kept. `zero_point` is None for packed spikes."""
    packed = zero_point is None
    sizes = checks.conv(x, *constants, stride, padding, groups, packed)
    gain, lif_bias, theta = vectors
    spikes = x.new_empty(checks.spikes(sizes, gain, lif_bias, theta, levels), dtype=torch.int32)
    kept = x.new_empty(sizes if keep_sum else (0,), dtype=torch.int32)
    _check_fused(sizes, residual, density)
    if run:
        params = conv_params(x, constants[0], stride, padding, groups, zero_point=zero_point, density=density)
        x, weight, bias, shift, *held = contiguous(x, *constants, *vectors)
        added = None if residual is None else residual.contiguous()
        stage = _stage(held, added, kept if keep_sum else None, spikes, soft_reset, levels)
        function = "svf_spike_conv2d_lif" if packed else "svf_conv2d_lif"
        call(function, params, x, weight, None, bias, shift, stage)
    return spikes, kept


def spike_conv_lif(run: bool) -> checks.Operator:
    """`svf::spike_conv2d_lif`, or its shape function without `run`."""

    def operator(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shift: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        groups: int,
        residual: Tensor | None,
        gain: Tensor,
        lif_bias: Tensor,
        theta: Tensor,
        soft_reset: bool,
        levels: int,
        keep_sum: bool,
        density: int,
    ) -> tuple[Tensor, Tensor]:
        constants, vectors = (weight, bias, shift), (gain, lif_bias, theta)
        return _conv_lif(
            x, constants, stride, padding, groups, None, residual, vectors, soft_reset, levels, keep_sum, density, run
        )

    return operator


def dense_conv_lif(run: bool) -> checks.Operator:
    """`svf::conv2d_lif`, or its shape function without `run`."""

    def operator(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shift: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        groups: int,
        zero_point: int,
        residual: Tensor | None,
        gain: Tensor,
        lif_bias: Tensor,
        theta: Tensor,
        soft_reset: bool,
        levels: int,
        keep_sum: bool,
    ) -> tuple[Tensor, Tensor]:
        constants, vectors = (weight, bias, shift), (gain, lif_bias, theta)
        return _conv_lif(
            x, constants, stride, padding, groups, zero_point, residual, vectors, soft_reset, levels, keep_sum, 0, run
        )

    return operator


def attention_lif(kind: int, run: bool) -> checks.Operator:
    """`svf::hamming_attention_lif` or `svf::dot_attention_lif`, or its shape function without `run`."""

    def operator(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        channels: int,
        heads: int,
        joint: bool,
        gain: Tensor,
        lif_bias: Tensor,
        theta: Tensor,
        soft_reset: bool,
        levels: int,
    ) -> Tensor:
        read = checks.attention(q, k, v, channels, heads, 4)
        frames, height, width = q.shape[-4:-1]
        sizes = checks.spikes((frames, height, width, channels), gain, lif_bias, theta, levels)
        spikes = q.new_empty(sizes)
        if run:
            groups = 1 if joint else frames
            tokens = frames * height * width // groups
            q, k, v, *vectors = contiguous(q, k, v, gain, lif_bias, theta)
            params = attention_params(groups, tokens, channels, heads, kind, read)
            stage = _stage(vectors, None, None, spikes, soft_reset, levels)
            call("svf_attention_lif", params, frames, q, k, v, stage)
        return spikes

    return operator
