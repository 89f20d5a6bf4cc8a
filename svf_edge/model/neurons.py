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
        theta: Tensor,
        unit: float | None,
        levels: int,
        reset: Reset,
        surrogate: Surrogate,
        width: float,
    ) -> Tensor:
        potentials = torch.empty_like(x)
        spikes = torch.empty_like(x)
        membrane: Tensor | None = None
        for step in range(x.shape[0]):
            h = x[step] if membrane is None else membrane + x[step]
            h = h * 0.5 if unit is None else torch.floor(h * (0.5 / unit)) * unit
            potentials[step] = h
            fired = (h >= theta).to(x.dtype)
            for level in range(2, levels + 1):
                fired = fired + (h >= level * theta).to(x.dtype)
            spikes[step] = fired
            membrane = torch.where(fired > 0, torch.zeros_like(h), h) if reset == "hard" else h - fired * theta
        ctx.save_for_backward(potentials, spikes, theta)
        ctx.options = (levels, reset, surrogate, width)
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        potentials, spikes, theta = ctx.saved_tensors
        levels, reset, surrogate, width = ctx.options
        ratio = potentials / theta
        slope = _slope(ratio - 1, surrogate, width)
        for level in range(2, levels + 1):
            slope += _slope(ratio - level, surrogate, width)
        grad_h = grad * slope / theta
        carried: Tensor | None = None
        for step in reversed(range(grad.shape[0])):
            if carried is not None:
                kept = carried * (spikes[step] == 0) if reset == "hard" else carried
                grad_h[step] += kept
            grad_h[step] *= 0.5
            carried = grad_h[step]
        return grad_h, None, None, None, None, None, None


def _slope(distance: Tensor, surrogate: Surrogate, width: float) -> Tensor:
    """Derivative of the smoothed step at `distance` (in thresholds) from the threshold."""
    if surrogate == "sigmoid":
        alpha = 4.0 / width
        p = torch.sigmoid(alpha * distance)
        return alpha * p * (1 - p)
    alpha = 2.0 / width
    return (alpha / 2) / (1 + (math.pi / 2 * alpha * distance).square_())


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
    spikes: Tensor = _LifFunction.apply(x, theta, unit, levels, reset, surrogate, width)
    return spikes


class Lif(nn.Module):
    """LIF layer on `[T, B, C, H, W]`.

    `unit` is None in the float phase; quantisation sets it to `2^-fraction_bits`, and the membrane then lives on that
    grid. `rate`, the mean of the last output, carries gradient; it is kept while `track` is true.
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

    def fire(self, x: Tensor, theta: Tensor, unit: float | None) -> Tensor:
        """Spikes of `x` for a threshold `theta` that broadcasts to `[B, C, H, W]`, on a grid of `unit`."""
        spikes = lif(
            x,
            theta,
            unit=unit,
            levels=self.levels,
            reset=self.reset,
            surrogate=self.surrogate,
            width=self.width,
        )
        self.rate = spikes.mean() if self.track else None
        return spikes

    def forward(self, x: Tensor) -> Tensor:
        return self.fire(x, x.new_tensor(self.theta), self.unit)
