"""Spike-driven attention in linear order (Zou et al., ICML 2025), and its causal form for streams."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Mode = Literal["hamming", "dot"]
Scope = Literal["joint", "spatial", "temporal", "causal"]


def group_tokens(x: Tensor, heads: int, scope: Scope) -> Tensor:
    """`[T, B, C, H, W]` to token groups `[G, heads, N, d]`; tokens of a group are in (t, h, w) order."""
    steps, batch, channels, height, width = x.shape
    x = x.reshape(steps, batch, heads, channels // heads, height * width)
    match scope:
        case "joint":
            return x.permute(1, 2, 0, 4, 3).reshape(batch, heads, steps * height * width, -1)
        case "spatial" | "causal":
            return x.permute(0, 1, 2, 4, 3).reshape(steps * batch, heads, height * width, -1)
        case "temporal":
            return x.permute(1, 4, 2, 0, 3).reshape(batch * height * width, heads, steps, -1)


def ungroup_tokens(x: Tensor, scope: Scope, shape: tuple[int, ...]) -> Tensor:
    """Inverse of `group_tokens`, back to `shape` = `[T, B, C, H, W]`."""
    steps, batch, channels, height, width = shape
    heads, head_width = x.shape[1], x.shape[3]
    match scope:
        case "joint":
            x = x.reshape(batch, heads, steps, height * width, head_width).permute(2, 0, 3, 1, 4)
        case "spatial" | "causal":
            x = x.reshape(steps, batch, heads, height * width, head_width).permute(0, 1, 3, 2, 4)
        case "temporal":
            x = x.reshape(batch, height * width, heads, steps, head_width).permute(3, 0, 1, 2, 4)
    return x.reshape(steps, batch, height, width, channels).permute(0, 1, 4, 2, 3)


def spike_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mode: Mode, scope: Scope) -> Tensor:
    """Unscaled attention product of spikes `[T, B, C, H, W]`, same shape; integers as long as the inputs are.

    hamming: `O = (2Q - 1)(2K - 1)^T V`. With d-wide heads and the similarity `s = 1 - Hamming(q, k) / d` of the
    paper, `O = 2 d s V - d 1 V`: the scale and the constant part belong to the normalisation that follows.
    dot: `O = Q K^T V`. Both are evaluated as `Q (K^T V)`, linear in the number of tokens.
    """
    shape = tuple(q.shape)
    q, k, v = (group_tokens(x, heads, scope) for x in (q, k, v))
    if mode == "hamming":
        q, k = 2 * q - 1, 2 * k - 1
    return ungroup_tokens(q @ (k.transpose(-1, -2) @ v), scope, shape)


def causal_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, mode: Mode, window: int, before: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`spike_attention` where a frame's tokens see only the last `window` frames, their own included.

    `before` holds the key-value summaries `[n, B, heads, d, d]` of up to window - 1 frames before the first one (None:
    there were none); what is returned with O, detached, are those before the frame that comes next.
    """
    shape = tuple(q.shape)
    q, k, v = (group_tokens(x, heads, "causal") for x in (q, k, v))
    if mode == "hamming":
        q, k = 2 * q - 1, 2 * k - 1
    summaries = (k.transpose(-1, -2) @ v).unflatten(0, shape[:2])
    if before is not None:
        summaries = torch.cat([before, summaries])
    past = len(summaries) - shape[0]
    seen = [summaries[max(past + t + 1 - window, 0) : past + t + 1].sum(0) for t in range(shape[0])]
    kept = summaries[max(len(summaries) - window + 1, 0) :].detach()
    return ungroup_tokens(q @ torch.cat(seen), "causal", shape), kept
