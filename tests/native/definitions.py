"""The operators as plain numpy formulas on unpacked tensors (docs/contract.md, "Nodes"), in int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def conv2d(
    x: NDArray[np.generic],
    weight: NDArray[np.int8],
    bias: NDArray[np.int32],
    shift: NDArray[np.int32],
    stride: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> Integers:
    """x `[T, H, W, Cin]` (less its zero point), weight `[kh, kw, Cin / groups, Cout]` to `[T, Ho, Wo, Cout]`."""
    x, weights = x.astype(np.int64), weight.astype(np.int64)
    kernel_h, kernel_w, group_in, out_channels = weights.shape
    x = np.pad(x, ((0, 0), (padding[0], padding[0]), (padding[1], padding[1]), (0, 0)))
    height = (x.shape[1] - kernel_h) // stride[0] + 1
    width = (x.shape[2] - kernel_w) // stride[1] + 1
    group_out = out_channels // groups
    acc = np.zeros((x.shape[0], height, width, out_channels), np.int64)
    for ky in range(kernel_h):
        for kx in range(kernel_w):
            seen = x[:, ky : ky + height * stride[0] : stride[0], kx : kx + width * stride[1] : stride[1]]
            seen = seen[:, :height, :width]
            for group in range(groups):
                out = slice(group * group_out, (group + 1) * group_out)
                acc[..., out] += seen[..., group * group_in : (group + 1) * group_in] @ weights[ky, kx, :, out]
    return ((acc << np.maximum(-shift, 0)) + bias) >> np.maximum(shift, 0)


def saturate(y: Integers) -> Integers:
    """The int8 output of a Conv node."""
    return np.clip(y, -127, 127)


def lif(
    x: NDArray[np.int32],
    gain: NDArray[np.int32],
    bias: NDArray[np.int32],
    theta: NDArray[np.int32],
    soft_reset: bool,
    levels: int = 1,
) -> Integers:
    """x `[T, ..., C]` to spikes 0..levels of the same shape."""
    spikes = np.zeros(x.shape, np.int64)
    u = np.zeros(x.shape[1:], np.int64)
    for t, frame in enumerate(x.astype(np.int64)):
        h = (u + gain * frame + bias) >> 1
        spikes[t] = np.clip(h // theta, 0, levels)
        u = h - spikes[t] * theta if soft_reset else np.where(spikes[t] > 0, 0, h)
    return spikes


def attention(
    q: NDArray[np.generic], k: NDArray[np.generic], v: NDArray[np.generic], heads: int, hamming: bool
) -> Integers:
    """Spikes `[G, N, C]` to `[G, N, C]`, in the quadratic form: every pair of tokens compared."""
    groups, tokens, channels = q.shape

    def split(x: NDArray[np.generic], signed: bool) -> Integers:
        x = x.astype(np.int64).reshape(groups, tokens, heads, channels // heads).transpose(0, 2, 1, 3)
        return 2 * x - 1 if signed else x

    scores = split(q, hamming) @ split(k, hamming).transpose(0, 1, 3, 2)
    return (scores @ split(v, False)).transpose(0, 2, 1, 3).reshape(groups, tokens, channels)
