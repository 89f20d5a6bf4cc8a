"""Convolution as layers call it, with faster ways for the two kinds that a CPU trains slowly, and the memory layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Pair = tuple[int, int]


def channels_last(x: Tensor) -> Tensor:
    """`[T, B, C, H, W]` with the channels of a position side by side in memory."""
    return x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, groups: int) -> Tensor:
    """`conv2d` of `[N, C, H, W]`; filters as large as the frame and depthwise ones go their own way while a CPU trains.

    Sums are taken in another order there, which changes no sum of integers.
    """
    if x.device.type == "cpu" and torch.is_grad_enabled():
        if weight.shape[-2:] == x.shape[-2:] and padding == (0, 0):
            return _whole(x, weight, bias, groups)
        if groups > 1 and weight.shape[1] == 1 and weight.shape[0] == groups and stride == (1, 1):
            y: Tensor = _Depthwise.apply(*_lowered(x, weight), padding)
            return y if bias is None else y + bias[:, None, None]
    return F.conv2d(x, weight, bias, stride, padding, 1, groups)


def _lowered(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What autocast makes of the operands of a convolution, which it does not see inside of an autograd function."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors)


def _whole(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """A filter over the whole frame is a matrix for each group; `conv2d` takes seven times as long backward."""
    rows = x.unflatten(1, (groups, -1)).flatten(2).transpose(0, 1)  # [G, N, K]
    y = torch.bmm(rows, weight.unflatten(0, (groups, -1)).flatten(2).transpose(1, 2))
    y = y.transpose(0, 1).flatten(1)[..., None, None]
    return y if bias is None else y + bias[:, None, None]


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of stride 1 whose weight gradient is a few matrix products.

    With the padded input P and the output's gradient G, the gradient of weight (ky, kx) of a channel is the sum of
    P[y + ky, x + kx] G[y, x]: the kx-th diagonal of a matrix product over the rows y of all pictures.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return _depthwise(x, weight, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        height, width = weight.shape[-2:]
        above, left = ctx.padding
        grad_x = _depthwise(grad, weight.flip(-2, -1), (height - 1 - above, width - 1 - left))
        rows, count = grad.shape[-2], len(weight)
        padded = F.pad(x.permute(2, 1, 0, 3), (left, left, 0, 0, 0, 0, above, above)).contiguous()  # [H, C, N, W]
        out = grad.permute(2, 1, 3, 0).flatten(0, 1)  # [H C, W, N]
        grads = []
        for y in range(height):
            products = torch.bmm(out, padded[y : y + rows].flatten(0, 1))
            product = products.unflatten(0, (rows, count)).sum(0, dtype=torch.promote_types(out.dtype, torch.float32))
            grads.append([product.diagonal(x, 1, 2).sum(-1) for x in range(width)])
        grad_weight = torch.stack([torch.stack(row, -1) for row in grads], -2)
        return grad_x, grad_weight[:, None].to(weight.dtype), None


def _depthwise(x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
    last = torch.channels_last
    x, weight = x.contiguous(memory_format=last), weight.contiguous(memory_format=last)
    return F.conv2d(x, weight, None, 1, padding, 1, len(weight))
