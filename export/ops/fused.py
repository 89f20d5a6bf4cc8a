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
        checks.shaped("residual", residual, sizes)
    if not 0 <= density < len(DENSITIES):
        raise ValueError(f"density={density} is outside 0..{len(DENSITIES) - 1} ({', '.join(DENSITIES)})")


def _stage(
    vectors: Sequence[Tensor],
    residual: Tensor | None,
    kept: Tensor | None,
    spikes: Tensor,
    soft_reset: bool,
    levels: int,
    before: Tensor | None = None,
    after: Tensor | None = None,
) -> library.LifStage:
    """Pointers to tensors that the caller keeps alive."""
    tensors = (*vectors, residual, kept, spikes, before, after)
    *pointers, first, last = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
    return library.LifStage(*pointers, int(soft_reset), levels, first, last)


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
    before: Tensor | None,
    run: bool,
) -> tuple[Tensor, ...]:
    """Spikes, the sum, which is empty if it is not kept, and from membranes `before` those after.

    `zero_point` is None for packed spikes.
    """
    packed = zero_point is None
    sizes = checks.conv(x, *constants, stride, padding, groups, packed)
    gain, lif_bias, theta = vectors
    spikes = x.new_empty(checks.spikes(sizes, gain, lif_bias, theta, levels), dtype=torch.int32)
    kept = x.new_empty(sizes if keep_sum else (0,), dtype=torch.int32)
    _check_fused(sizes, residual, density)
    if before is not None:
        checks.shaped("before", before, sizes[1:])
    after = None if before is None else x.new_empty(sizes[1:], dtype=torch.int32)
    if run:
        params = conv_params(x, constants[0], stride, padding, groups, zero_point=zero_point, density=density)
        x, weight, bias, shift, *held = contiguous(x, *constants, *vectors)
        added = None if residual is None else residual.contiguous()
        membranes = None if before is None else before.contiguous()
        stage = _stage(held, added, kept if keep_sum else None, spikes, soft_reset, levels, membranes, after)
        function = "svf_spike_conv2d_lif" if packed else "svf_conv2d_lif"
        call(function, params, x, weight, bias, shift, stage)
    return (spikes, kept) if after is None else (spikes, kept, after)


def spike_conv_lif(run: bool) -> checks.Operator:
    """`svf::spike_conv2d_lif`, and `svf::spike_conv2d_lif_from` with `before`; the shape functions without `run`."""

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
        before: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        where = (x, (weight, bias, shift), stride, padding, groups, None)
        neuron = ((gain, lif_bias, theta), soft_reset, levels)
        return _conv_lif(*where, residual, *neuron, keep_sum, density, before, run)

    return operator


def dense_conv_lif(run: bool) -> checks.Operator:
    """`svf::conv2d_lif`, and `svf::conv2d_lif_from` with `before`; the shape functions without `run`."""

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
        before: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        where = (x, (weight, bias, shift), stride, padding, groups, zero_point)
        neuron = ((gain, lif_bias, theta), soft_reset, levels)
        return _conv_lif(*where, residual, *neuron, keep_sum, 0, before, run)

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


def causal_attention_lif(kind: int, run: bool) -> checks.Operator:
    """`svf::hamming_causal_attention_lif` or `svf::dot_causal_attention_lif`, or the shape function without `run`."""

    def operator(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        channels: int,
        heads: int,
        window: int,
        gain: Tensor,
        lif_bias: Tensor,
        theta: Tensor,
        soft_reset: bool,
        levels: int,
    ) -> Tensor:
        neuron = ((gain, lif_bias, theta), soft_reset, levels)
        return _causal_attention_lif(kind, (q, k, v), channels, heads, window, *neuron, None, None, run)[0]

    return operator


def attention_lif_step(kind: int, run: bool) -> checks.Operator:
    """`svf::hamming_attention_lif_step` or `svf::dot_attention_lif_step`, or the shape function without `run`."""

    def operator(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        channels: int,
        heads: int,
        gain: Tensor,
        lif_bias: Tensor,
        theta: Tensor,
        soft_reset: bool,
        levels: int,
        summaries: Tensor | None,
        before: Tensor,
    ) -> tuple[Tensor, ...]:
        if q.shape[-4:-3] != (1,):
            raise ValueError(f"q has sizes {tuple(q.shape)}; a step takes one frame")
        neuron = ((gain, lif_bias, theta), soft_reset, levels)
        return _causal_attention_lif(kind, (q, k, v), channels, heads, 1, *neuron, summaries, before, run)

    return operator


def _causal_attention_lif(
    kind: int,
    words: tuple[Tensor, Tensor, Tensor],
    channels: int,
    heads: int,
    window: int,
    vectors: tuple[Tensor, Tensor, Tensor],
    soft_reset: bool,
    levels: int,
    summaries: Tensor | None,
    before: Tensor | None,
    run: bool,
) -> tuple[Tensor, ...]:
    """Spikes and, from membranes `before`, the frame's own summary, empty without `summaries`, and membranes after."""
    q, k, v = words
    read = checks.attention(q, k, v, channels, heads, 4)
    frames, height, width = q.shape[-4:-1]
    sizes = (frames, height, width, channels)
    spikes = q.new_empty(checks.spikes(sizes, *vectors, levels))
    matrix = (heads, channels // heads, channels // heads)
    if summaries is not None:
        checks.shaped("summaries", summaries, matrix)
    if before is not None:
        checks.shaped("before", before, sizes[1:])
    summary = q.new_empty((0,) if summaries is None else matrix)
    after = q.new_empty(() if before is None else sizes[1:])
    if run:
        q, k, v, *held = contiguous(*words, *vectors)
        earlier, membranes = (None if tensor is None else tensor.contiguous() for tensor in (summaries, before))
        stage = _stage(held, None, None, spikes, soft_reset, levels, membranes, None if before is None else after)
        own = None if summaries is None else summary
        params = attention_params(frames, height * width, channels, heads, kind, read)
        call("svf_causal_attention", params, window, q, k, v, earlier, own, None, stage)
    return spikes, summary, after
