"""Leaky integrate-and-fire neurons with a surrogate gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Reset = Literal["hard", "soft"]
Surrogate = Literal["sigmoid", "atan"]


_STEEPEST: Final = 80.0
"""Largest argument of an exponential that float32 holds."""


class _LifFunction(torch.autograd.Function):
    """The recursion over time in one autograd node: it keeps only membrane potentials and spikes.

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
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x.detach()
        ctx.last = x.ndim == 5 and theta.ndim == 0 and not x.is_contiguous()
        x = _dense(x, ctx.last)  # one layout, or every other one is compiled for
        before = None if membrane is None else _dense(membrane, ctx.last)
        potentials, spikes, membrane, mean = _kernel(_recursion)(x, before, theta, unit, levels, reset)
        ctx.save_for_backward(potentials, spikes, theta)
        ctx.options = (levels, reset, surrogate, width)
        spikes, membrane = _given(spikes, ctx.last), _given(membrane, ctx.last)
        ctx.mark_non_differentiable(membrane)
        return spikes, membrane, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor, grad_mean: Tensor) -> tuple[Tensor | None, ...]:
        grad_x = _kernel(_gradient)(_dense(grad, ctx.last), grad_mean, *ctx.saved_tensors, *ctx.options)
        return _given(grad_x, ctx.last), None, None, None, None, None, None, None


def _dense(x: Tensor, last: bool) -> Tensor:
    """`x` without gaps; with `last` its channels moved behind the positions, as they lie in memory."""
    return (x.movedim(-3, -1) if last else x).contiguous()


def _given(x: Tensor, last: bool) -> Tensor:
    """The inverse of `_dense`, as a view."""
    return x.movedim(-1, -3) if last else x


def _recursion(
    x: Tensor, membrane: Tensor | None, theta: Tensor, unit: float | None, levels: int, reset: Reset
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Potentials and spikes of all steps, the membrane after the last, and the mean of all spikes."""
    potentials, spikes = [], []
    for drive in x.unbind(0):
        h = drive if membrane is None else membrane + drive
        h = h * 0.5 if unit is None else torch.floor(h * (0.5 / unit)) * unit
        fired = (h >= theta).to(x.dtype)
        for level in range(2, levels + 1):
            fired = fired + (h >= level * theta).to(x.dtype)
        membrane = torch.where(fired > 0, 0.0, h) if reset == "hard" else h - fired * theta
        potentials.append(h)
        spikes.append(fired)
    assert membrane is not None  # x has at least one step
    fired = torch.stack(spikes)
    return torch.stack(potentials), fired, membrane, fired.mean(dtype=torch.float32)


def _gradient(
    grad: Tensor,
    grad_mean: Tensor,
    potentials: Tensor,
    spikes: Tensor,
    theta: Tensor,
    levels: int,
    reset: Reset,
    surrogate: Surrogate,
    width: float,
) -> Tensor:
    """Gradient to the input: through the smoothed steps at every threshold, and back along the membrane."""
    excess = potentials / theta - 1
    slope = torch.zeros_like(potentials)
    if surrogate == "sigmoid":
        alpha = 4.0 / width
        # The same exponential for every level, but for a factor; beyond the bounds no slope is left.
        odds = torch.exp((excess * alpha).clamp(-_STEEPEST, _STEEPEST))
        for level in range(levels):
            p = 1 / (1 + odds * math.exp(-level * alpha))
            slope = slope + alpha * p * (1 - p)
    else:
        alpha = 2.0 / width
        for level in range(levels):
            slope = slope + (alpha / 2) / (1 + ((excess - level) * (math.pi / 2 * alpha)) ** 2)
    direct = (grad + grad_mean * (1 / grad.numel())) * slope * (0.5 / theta)
    steps = [direct[-1]]
    for step in reversed(range(grad.shape[0] - 1)):
        later = 0.5 * steps[-1]
        if reset == "hard":
            later = torch.where(spikes[step] > 0, 0.0, later)
        steps.append(direct[step] + later)
    return torch.stack(steps[::-1])


_fusing = False


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    return _fused(function) if _fusing else function


@lru_cache(maxsize=2)
def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


@contextmanager
def fused_neurons() -> Iterator[None]:
    """Within the block the recursion over time is compiled to one pass over memory, which a CPU runs 4 to 8 times
    faster; gradients may differ in their last bits. Needs a C++ compiler, as `torch.compile` does."""
    global _fusing
    import torch._dynamo.config as dynamo

    before, _fusing = _fusing, True
    try:
        # One kernel per precision, grid, number of steps and kind of threshold: more than the usual limit.
        with dynamo.patch(recompile_limit=64):
            yield
    finally:
        _fusing = before


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
) -> tuple[Tensor, Tensor, Tensor]:
    """`lif` from the membrane potential `membrane` `[...]` (None: 0) before the first step; also gives the last one,
    and the mean of all spikes.

    No gradient passes through either membrane.
    """
    result: tuple[Tensor, Tensor, Tensor] = _LifFunction.apply(
        x, membrane, theta, unit, levels, reset, surrogate, width
    )
    return result


class Lif(nn.Module):
    """LIF layer on `[T, B, C, H, W]`.

    `unit` is None in the float phase; quantisation sets it to `2^-fraction_bits`, and the membrane then lives on that
    grid. `rate`, the mean of the last output per level (0..1), carries gradient; it is kept while `track` is true.
    With `dense` it is a ReLU instead, and `rate` the share of positive values, without gradient.
    While `carry` is true, U starts where the last call left it (`membrane`) instead of at 0 (see `carried_state`).
    """

    def __init__(
        self,
        theta: float = 1.0,
        *,
        levels: int = 1,
        reset: Reset = "hard",
        surrogate: Surrogate = "sigmoid",
        width: float = 1.0,
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.dense = dense
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
        if self.dense:
            values = torch.relu(x)
            self.rate = values.detach().count_nonzero() / values.numel() if self.track else None
            return values
        spikes, membrane, mean = lif_from(
            x, self.membrane, theta, unit, self.levels, self.reset, self.surrogate, self.width
        )
        self.membrane = membrane if self.carry else None
        self.rate = mean / self.levels if self.track else None
        return spikes

    def forward(self, x: Tensor) -> Tensor:
        return self.fire(x, x.new_tensor(self.theta), self.unit)
