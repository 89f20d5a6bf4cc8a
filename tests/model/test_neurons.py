"""LIF against its recursion written step by step, forward and backward, compiled or not; its dense twin."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from svf_edge.model import neurons
from svf_edge.model.convolution import channels_last
from svf_edge.model.neurons import Lif, Reset, Surrogate, fused_neurons, lif, lif_from


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


def test_the_rate_is_the_mean_of_the_spikes_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    x = (3 * torch.randn(3, 2, 4, 5, 5)).requires_grad_()
    theta, weight = torch.tensor(1.0), torch.randn(3, 2, 4, 5, 5)
    spikes, _, mean = lif_from(x, None, theta, None, 4, "soft", "sigmoid", 1.0)
    torch.testing.assert_close(mean, spikes.mean())
    (got,) = torch.autograd.grad((spikes * weight).sum() + 7 * mean, x, retain_graph=True)
    (want,) = torch.autograd.grad((spikes * weight).sum() + 7 * spikes.mean(), x)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("before", [False, True])
def test_memory_layout_changes_nothing(before: bool) -> None:
    torch.manual_seed(0)
    x, weight = 3 * torch.randn(3, 2, 4, 5, 6), torch.randn(3, 2, 4, 5, 6)
    membrane = torch.rand(2, 4, 5, 6) if before else None
    results = []
    for laid in (x, channels_last(x)):
        leaf = laid.detach().requires_grad_()
        spikes, after, mean = lif_from(leaf, membrane, torch.tensor(1.0), None, 4, "soft", "sigmoid", 1.0)
        assert spikes.stride() == laid.stride()
        (gradient,) = torch.autograd.grad((spikes * weight).sum() + mean, leaf)
        results.append((spikes.detach(), after, mean.detach(), gradient))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_rate_is_per_level() -> None:
    """Every neuron at 2 of 4 levels: half of what it could fire."""
    layer = Lif(levels=4)
    layer.track = True
    assert (layer(torch.full((1, 1, 1, 1, 3), 4.5)) == 2).all()
    assert layer.rate is not None and layer.rate.item() == 0.5


@pytest.fixture
def compiled() -> Iterator[None]:
    """Compilers with nothing in them, which raise where they would give up and run the plain function."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, suppress_errors=False):
        yield


@pytest.mark.slow  # the compiler takes seconds for each
@pytest.mark.parametrize(
    ("levels", "reset", "unit", "steps"),
    [(4, "soft", 2.0**-8, 4), (1, "hard", None, 4), (4, "hard", 2.0**-8, 1)],
)
def test_fused_neurons_spike_the_same(
    compiled: None, levels: int, reset: Reset, unit: float | None, steps: int
) -> None:
    """Bit for bit, membranes as well, on values that hit the thresholds exactly; gradients up to rounding."""
    torch.manual_seed(0)
    x = torch.round(4 * torch.randn(steps, 2, 5, 3, 3) * 64) / 64
    x[0, :, :, 0] = 2.0 * torch.arange(1, 4)  # H = theta, 2 theta, 3 theta
    x.requires_grad_()
    weight = torch.randn_like(x)

    def compute() -> tuple[Tensor, Tensor, Tensor]:
        spikes, membrane, _ = lif_from(x, None, torch.tensor(1.0), unit, levels, reset, "sigmoid", 1.0)
        (gradient,) = torch.autograd.grad((spikes * weight).sum(), x)
        return spikes.detach(), membrane, gradient

    spikes, membrane, gradient = compute()
    with fused_neurons():
        assert neurons._kernel(neurons._recursion) is not neurons._recursion
        fused_spikes, fused_membrane, fused_gradient = compute()
    assert neurons._kernel(neurons._recursion) is neurons._recursion
    assert set(spikes.unique().tolist()) == set(range(levels + 1))
    assert torch.equal(fused_spikes, spikes) and torch.equal(fused_membrane, membrane)
    assert gradient.abs().max() > 0.1
    torch.testing.assert_close(fused_gradient, gradient, atol=1e-6, rtol=1e-5)


def test_neurons_are_plain_again_after_an_error() -> None:
    def fail() -> None:
        with fused_neurons():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert neurons._kernel(neurons._gradient) is neurons._gradient


def test_the_dense_twin_of_a_neuron_is_a_relu() -> None:
    """Its rate is the share of positive values and carries no gradient: firing costs a dense network nothing."""
    layer = Lif(levels=4, dense=True)
    layer.track = True
    x = torch.tensor([-1.0, -0.5, 0.0, 0.25, 7.0]).view(1, 1, 1, 1, 5).requires_grad_()
    values = layer(x)
    assert values.flatten().tolist() == [0, 0, 0, 0.25, 7]
    values.sum().backward()
    assert x.grad is not None and x.grad.flatten().tolist() == [0, 0, 0, 1, 1]
    assert layer.rate is not None and layer.rate.item() == pytest.approx(0.4) and not layer.rate.requires_grad
    layer.track = False
    layer(x)
    assert layer.rate is None
