"""LIF against its recursion written step by step, forward and backward."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from svf_edge.model.neurons import Lif, Reset, Surrogate, lif


class _Step(torch.autograd.Function):
    """Heaviside with the surrogate's derivative: the textbook form."""

    @staticmethod
    def forward(ctx, distance, surrogate, width):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(distance)
        ctx.options = surrogate, width
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (distance,) = ctx.saved_tensors
        surrogate, width = ctx.options
        if surrogate == "sigmoid":
            p = torch.sigmoid(4 / width * distance)
            return grad * 4 / width * p * (1 - p), None, None
        alpha = 2 / width
        return grad * alpha / 2 / (1 + (math.pi / 2 * alpha * distance) ** 2), None, None


def naive(x: Tensor, theta: Tensor, levels: int, reset: Reset, surrogate: Surrogate, width: float) -> Tensor:
    u = torch.zeros_like(x[0])
    spikes = []
    for step in x:
        h = (u + step) / 2
        s = torch.stack([_Step.apply(h / theta - n, surrogate, width) for n in range(1, levels + 1)]).sum(0)
        fired = s.detach()
        u = h * (fired == 0) if reset == "hard" else h - fired * theta
        spikes.append(s)
    return torch.stack(spikes)


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(("surrogate", "width"), [("sigmoid", 1.0), ("atan", 1.0), ("sigmoid", 2.5)])
def test_matches_the_recursion(reset: Reset, levels: int, surrogate: Surrogate, width: float) -> None:
    torch.manual_seed(0)
    x = (3 * torch.randn(6, 2, 4, 3, 3, dtype=torch.float64)).requires_grad_()
    theta = torch.tensor([0.5, 1.0, 1.5, 2.0], dtype=torch.float64)[:, None, None]
    weight = torch.randn_like(x)
    expected = naive(x, theta, levels, reset, surrogate, width)
    (want,) = torch.autograd.grad((expected * weight).sum(), x)
    spikes = lif(x, theta, levels=levels, reset=reset, surrogate=surrogate, width=width)
    (got,) = torch.autograd.grad((spikes * weight).sum(), x)
    assert set(spikes.detach().unique().tolist()) == set(range(levels + 1))
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(got, want)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-4000, 4000), min_size=1, max_size=12),
    st.integers(1, 700),
    st.integers(1, 4),
    st.sampled_from(["hard", "soft"]),
)
def test_on_a_grid_it_is_the_integer_neuron(drive: list[int], theta: int, levels: int, reset: Reset) -> None:
    """With `unit` the float recursion equals the contract's, floor included."""
    unit = 2.0**-8
    x = torch.tensor(drive, dtype=torch.float32)[:, None] * unit
    spikes = lif(x, torch.tensor(theta * unit), unit=unit, levels=levels, reset=reset)
    u = 0
    for step, value in enumerate(drive):
        h = (u + value) >> 1
        s = min(max(h // theta, 0), levels)
        u = h - s * theta if reset == "soft" else (0 if s else h)
        assert spikes[step].item() == s


def test_rate_is_kept_while_tracked_and_carries_gradient() -> None:
    layer = Lif()
    x = torch.full((2, 1, 1, 1, 1), 2.5, requires_grad=True)
    layer(x)
    assert layer.rate is None
    layer.track = True
    layer(x)
    assert layer.rate is not None
    assert layer.rate.item() == 1.0
    layer.rate.backward()
    assert x.grad is not None and x.grad.abs().min() > 0


def test_rate_is_per_level() -> None:
    """Every neuron at 2 of 4 levels: half of what it could fire."""
    layer = Lif(levels=4)
    layer.track = True
    assert (layer(torch.full((1, 1, 1, 1, 3), 4.5)) == 2).all()
    assert layer.rate is not None and layer.rate.item() == 0.5
