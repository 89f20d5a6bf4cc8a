"""Leaky integrate-and-fire neurons with a surrogate gradient."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Reset = Literal["hard", "soft"]
Surrogate = Literal["sigmoid", "atan"]


class _LifFunction(torch.autograd.Function):
    """The recursion over time in one autograd node: it keeps only the membrane potentials.

    The gradient takes the reset as a constant (as the field trains it) and floors as the identity.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        membrane: Tensor | None,
        theta: Tensor,
        unit: float | None,
        levels: int,
        reset: Reset,
        surrogate: Surrogate,
        width: float,
    ) -> tuple[Tensor, Tensor]:
        potentials = torch.empty_like(x)
        spikes = torch.empty_like(x)
        for step in range(x.shape[0]):
            h, fired = potentials[step], spikes[step]
            h.copy_(x[step]) if membrane is None else torch.add(membrane, x[step], out=h)
            if unit is None:
                h.mul_(0.5)
            else:
                h.mul_(0.5 / unit).floor_().mul_(unit)
            torch.ge(h, theta, out=fired)
            for level in range(2, levels + 1):
                fired.add_(h >= level * theta)
            membrane = h.masked_fill(fired > 0, 0.0) if reset == "hard" else h - fired * theta
        ctx.save_for_backward(potentials, spikes, theta)
        ctx.options = (levels, reset, surrogate, width)
        assert membrane is not None  # x has at least one step
        ctx.mark_non_differentiable(membrane)
        return spikes, membrane

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        potentials, spikes, theta = ctx.saved_tensors
        levels, reset, surrogate, width = ctx.options
        grad_x = _times_slope(grad, potentials - theta, theta, surrogate, width)
        for level in range(2, levels + 1):
            grad_x += _times_slope(grad, potentials - level * theta, theta, surrogate, width)
        grad_x *= 0.5 / theta
        kept = (spikes == 0).to(grad.dtype) if reset == "hard" else None
        for step in reversed(range(grad.shape[0] - 1)):
            if kept is None:
                grad_x[step].add_(grad_x[step + 1], alpha=0.5)
            else:
                grad_x[step].addcmul_(grad_x[step + 1], kept[step], value=0.5)
        return grad_x, None, None, None, None, None, None, None


def _times_slope(grad: Tensor, excess: Tensor, theta: Tensor, surrogate: Surrogate, width: float) -> Tensor:
    """`grad` times the derivative of the smoothed step by `excess / theta`; overwrites `excess`."""
    if surrogate == "sigmoid":
        alpha = 4.0 / width
        p = excess.mul_(alpha / theta).sigmoid_()
        return torch.ops.aten.sigmoid_backward(grad, p).mul_(alpha)
    alpha = 2.0 / width
    return grad * (alpha / 2) / excess.mul_(math.pi / 2 * alpha / theta).square_().add_(1)


def lif(
    x: Tensor,
    theta: Tensor,
    *,
    unit: float | None = None,
    levels: int = 1,
    reset: Reset = "hard",
    surrogate: Surrogate = "sigmoid",
    width: float = 1.0,
) -> Tensor:
    """LIF over the leading time axis with tau = 2, decaying input, and U = 0 before the first step.

    `x` is `[T, ...]`; `theta` broadcasts against one step. `H = (U + X) / 2`, rounded down to a multiple of `unit`
    where one is given; spikes count the thresholds `theta, 2 theta, ... levels * theta` that H reaches; a spike
    resets U to 0 (hard) or takes `S * theta` from it (soft). Returns spikes 0..levels in the dtype of `x`.
    """
    return lif_from(x, None, theta, unit, levels, reset, surrogate, width)[0]


def lif_from(
    x: Tensor,
    membrane: Tensor | None,
    theta: Tensor,
    unit: float | None,
    levels: int,
    reset: Reset,
    surrogate: Surrogate,
    width: float,
) -> tuple[Tensor, Tensor]:
    """`lif` from the membrane potential `membrane` `[...]` (None: 0) before the first step; also gives the last one.

    No gradient passes through either membrane.
    """
    result: tuple[Tensor, Tensor] = _LifFunction.apply(x, membrane, theta, unit, levels, reset, surrogate, width)
    return result


class Lif(nn.Module):
    """LIF layer on `[T, B, C, H, W]`.

    `unit` is None in the float phase; quantisation sets it to `2^-fraction_bits`, and the membrane then lives on that
    grid. `rate`, the mean of the last output per level (0..1), carries gradient; it is kept while `track` is true.
    While `carry` is true, U starts where the last call left it (`membrane`) instead of at 0 (see `carried_membranes`).
    """

    def __init__(
        self,
        theta: float = 1.0,
        *,
        levels: int = 1,
        reset: Reset = "hard",
        surrogate: Surrogate = "sigmoid",
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.theta = theta
        self.levels = levels
        self.reset = reset
        self.surrogate = surrogate
        self.width = width
        self.unit: float | None = None
        self.track = False
        self.rate: Tensor | None = None
        self.carry = False
        self.membrane: Tensor | None = None

    def fire(self, x: Tensor, theta: Tensor, unit: float | None) -> Tensor:
        """Spikes of `x` for a threshold `theta` that broadcasts to `[B, C, H, W]`, on a grid of `unit`."""
        spikes, membrane = lif_from(x, self.membrane, theta, unit, self.levels, self.reset, self.surrogate, self.width)
        self.membrane = membrane if self.carry else None
        self.rate = spikes.mean() / self.levels if self.track else None
        return spikes

    def forward(self, x: Tensor) -> Tensor:
        return self.fire(x, x.new_tensor(self.theta), self.unit)
