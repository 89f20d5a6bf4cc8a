"""What the operators refuse, and the sizes of what they return. Every function raises `ValueError`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from svf_edge.contract import MAX_LEVELS
from svf_edge.packing import word_count

Operator = Callable[..., Tensor | tuple[Tensor, ...]]


def require(name: str, tensor: Tensor, dtypes: Sequence[torch.dtype], rank: int) -> None:
    """Refuse another dtype or rank."""
    if tensor.dtype not in dtypes or tensor.dim() != rank:
        wanted = " or ".join(str(dtype) for dtype in dtypes)
        raise ValueError(f"{name} must be {wanted} of rank {rank}, not {tensor.dtype} {tuple(tensor.shape)}")


def planes(name: str, words: Tensor, rank: int) -> int:
    """Number of thermometer planes of `words`, which have `rank` axes or, with planes, one more in front."""
    if words.dtype != torch.int32 or words.dim() not in (rank, rank + 1):
        raise ValueError(
            f"{name} must be torch.int32 of rank {rank}, or {rank + 1} with a leading axis of planes, "
            f"not {words.dtype} {tuple(words.shape)}"
        )
    return words.shape[0] if words.dim() > rank else 1


def vectors(channels: int, **tensors: Tensor) -> None:
    """Refuse anything but int32 `[channels]`."""
    for name, vector in tensors.items():
        require(name, vector, [torch.int32], 1)
        if vector.shape[0] != channels:
            raise ValueError(f"{name} must have {channels} entries, not {vector.shape[0]}")


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    shift: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    packed: bool,
) -> tuple[int, int, int, int]:
    """The output's sizes `[T, Ho, Wo, Cout]`."""
    if packed:
        planes("x", x, 4)
    else:
        require("x", x, [torch.uint8, torch.int8], 4)
    require("weight", weight, [torch.int8], 4)
    kernel_h, kernel_w, group_in, out_channels = weight.shape
    vectors(out_channels, bias=bias, shift=shift)
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
    return steps, height, width, out_channels


def spikes(shape: Sequence[int], gain: Tensor, bias: Tensor, theta: Tensor, levels: int) -> tuple[int, ...]:
    """Sizes of the words of a LIF that reads `shape` `[T, H, W, C]`, with an axis of planes in front for levels > 1."""
    *positions, channels = shape
    vectors(channels, gain=gain, bias=bias, theta=theta)
    if not 1 <= levels <= MAX_LEVELS:
        raise ValueError(f"levels={levels} is outside 1..{MAX_LEVELS}")
    words = (*positions, word_count(channels))
    return words if levels == 1 else (levels, *words)


def shaped(name: str, tensor: Tensor, sizes: Sequence[int]) -> None:
    """Refuse anything but int32 of these sizes."""
    require(name, tensor, [torch.int32], len(sizes))
    if tuple(tensor.shape) != tuple(sizes):
        raise ValueError(f"{name} has sizes {tuple(tensor.shape)}, not {tuple(sizes)}")


def attention(q: Tensor, k: Tensor, v: Tensor, channels: int, heads: int, rank: int) -> int:
    """The levels of `q`, `k` and `v`, words of `rank` axes or, with planes, one more in front."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        planes(name, tensor, rank)
        if tensor.shape[-1] != word_count(channels):
            raise ValueError(
                f"{name} has {tensor.shape[-1]} words per token; {channels} channels take {word_count(channels)}"
            )
        if tensor.shape[:-1] != q.shape[:-1]:
            raise ValueError(f"{name} has sizes {tuple(tensor.shape[:-1])}, q has {tuple(q.shape[:-1])}")
    if heads < 1 or channels % heads:
        raise ValueError(f"heads={heads} must divide channels={channels}")
    return planes("q", q, rank)
