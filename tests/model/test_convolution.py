"""Faster ways to train: against `conv2d` itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from svf_edge.model.convolution import channels_last, convolve

CASES = {
    "depthwise": ((3, 6, 9, 11), (6, 1, 7, 5), (1, 1), (3, 2), 6),
    "depthwise without padding": ((2, 4, 6, 5), (4, 1, 3, 3), (1, 1), (0, 0), 4),
    "depthwise with a stride": ((2, 4, 6, 6), (4, 1, 3, 3), (2, 2), (1, 1), 4),
    "whole frame in groups": ((3, 6, 4, 5), (9, 2, 4, 5), (1, 1), (0, 0), 3),
    "whole frame": ((3, 6, 1, 1), (9, 6, 1, 1), (1, 1), (0, 0), 1),
    "plain": ((3, 6, 7, 7), (4, 6, 3, 3), (2, 2), (1, 1), 1),
}


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_those_of_conv2d(case: str, with_bias: bool, last: bool) -> None:
    """In whole numbers, which no order of summation rounds."""
    shape, filters, stride, padding, groups = CASES[case]
    generator = torch.Generator().manual_seed(0)

    def integers(*size: int) -> Tensor:
        return torch.randint(-8, 9, size, generator=generator).float()

    x, weight, bias = integers(*shape), integers(*filters), integers(filters[0])
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    leaves = [tensor.requires_grad_() for tensor in ((x, weight, bias) if with_bias else (x, weight))]
    used = bias if with_bias else None
    want = F.conv2d(x, weight, used, stride, padding, 1, groups)
    got = convolve(x, weight, used, stride, padding, groups)
    assert want.abs().max() > 0 and torch.equal(got, want)
    grad = integers(*want.shape)
    for mine, theirs in zip(
        torch.autograd.grad(got, leaves, grad), torch.autograd.grad(want, leaves, grad), strict=True
    ):
        assert mine.dtype == theirs.dtype and torch.equal(mine, theirs)


def test_autocast_lowers_depthwise_operands_as_it_does_those_of_conv2d() -> None:
    x, weight = torch.randn(2, 4, 6, 6), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = convolve(x, weight, None, (1, 1), (1, 1), 4)
        want = F.conv2d(x, weight, None, 1, 1, 1, 4)
    assert got.dtype == want.dtype == torch.bfloat16 and torch.equal(got, want)
    got.sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32


def test_channels_last_moves_memory_and_nothing_else() -> None:
    x = torch.arange(2 * 3 * 4 * 5 * 6).view(2, 3, 4, 5, 6)
    moved = channels_last(x)
    assert torch.equal(moved, x) and moved.stride()[2] == 1
    assert moved.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
