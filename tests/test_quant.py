"""Quantised layers against the contract's formulas, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svf_edge.contract import WEIGHT_BITS, weight_limit
from svf_edge.errors import UnsupportedInput
from svf_edge.model.config import model_config
from svf_edge.model.layers import AttentionLif
from svf_edge.model.neurons import Lif
from svf_edge.program import interpret, ir
from svf_edge.quant import MAX_SHIFT, FixedAttentionLif, QuantConv, attention_fraction, through
from tests.models import float_model, quantised_model, random_clips, spikes_of


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    magnitude=st.integers(-14, 3),
    in_exponent=st.integers(0, 7),
    out_exponent=st.integers(0, 8),
    saturate=st.booleans(),
    groups=st.sampled_from([1, 3]),
    bits=st.sampled_from(WEIGHT_BITS),
)
def test_convolution_is_the_contracts(
    seed: int, magnitude: int, in_exponent: int, out_exponent: int, saturate: bool, groups: int, bits: int
) -> None:
    """Forward in float == the interpreter's convolution of `integers()`, for left and right shifts, bit for bit."""
    torch.manual_seed(seed)
    weight = torch.randn(6, 3 // groups, 3, 3) * 2.0**magnitude
    weight[0] = 0
    layer = QuantConv(
        weight,
        torch.randn(6),
        stride=(2, 1),
        padding=(1, 0),
        groups=groups,
        in_exponent=in_exponent,
        out_exponent=out_exponent,
        saturate=saturate,
        weight_bits=bits,
    )
    numbers = layer.integers()
    assert int(numbers.shift.max()) <= MAX_SHIFT
    assert int(numbers.weight.abs().max()) <= weight_limit(bits)
    x = torch.randint(-127, 128, (2, 1, 3, 7, 5))
    out = layer(x * 2.0**-in_exponent)
    node = ir.Conv(
        "conv",
        "x",
        numbers.weight.numpy(),
        numbers.bias.numpy(),
        numbers.shift.numpy(),
        out_exponent,
        (2, 1),
        (1, 0),
        groups,
        "int8" if saturate else "fixed",
    )
    expected = interpret.conv(node, x[:, 0].numpy().astype(np.int64))
    np.testing.assert_array_equal(out[:, 0].detach().numpy() * 2.0**out_exponent, expected)


def test_narrow_weights_learn_and_stop_at_the_range() -> None:
    layer = QuantConv(
        torch.tensor([3.0, -0.4, 0.6]).reshape(1, 3, 1, 1),
        torch.zeros(1),
        stride=(1, 1),
        padding=(0, 0),
        groups=1,
        in_exponent=0,
        out_exponent=8,
        saturate=False,
        weight_bits=2,
    )
    with pytest.raises(UnsupportedInput, match=r"\[2\] units of weights for 1 channels"):
        layer.fix(torch.tensor([0, 0]))
    layer.fix(torch.tensor([0]))
    assert layer.integers().weight.flatten().tolist() == [1, 0, 1]
    layer(torch.ones(1, 1, 3, 1, 1)).sum().backward()
    assert layer.conv.weight.grad is not None
    assert layer.conv.weight.grad.flatten().tolist() == [0.0, 1.0, 1.0], "beyond the range there is nothing to gain"


def test_rounding_is_to_the_nearest_with_halves_up() -> None:
    layer = QuantConv(
        torch.full((1, 1, 1, 1), 0.75 * 2.0**-8),
        torch.zeros(1),
        stride=(1, 1),
        padding=(0, 0),
        groups=1,
        in_exponent=0,
        out_exponent=8,
        saturate=False,
    )
    x = torch.tensor([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]).reshape(7, 1, 1, 1, 1)
    assert (layer(x).flatten() * 256).tolist() == [-2.0, -1.0, -1.0, 0.0, 1.0, 2.0, 2.0]  # of x * 0.75


def test_saturation_stops_the_gradient() -> None:
    layer = QuantConv(
        torch.ones(1, 1, 1, 1) * 0.75,
        torch.zeros(1),
        stride=(1, 1),
        padding=(0, 0),
        groups=1,
        in_exponent=0,
        out_exponent=6,
        saturate=True,
    )
    x = torch.tensor([1.0, 100.0]).reshape(2, 1, 1, 1, 1).requires_grad_()
    y = layer(x)
    assert (y.flatten() * 64).tolist() == [48.0, 127.0]
    y.sum().backward()
    assert x.grad is not None and x.grad.flatten().tolist() == [0.75, 0.0]


def test_straight_through_is_exact() -> None:
    """`smooth + (exact - smooth)` would round; the estimator must not."""
    smooth = torch.tensor([1e-8, 3.0], requires_grad=True)
    exact = torch.tensor([16777215.0, 1 / 3])
    out = through(smooth, exact)
    assert torch.equal(out, exact)
    out.sum().backward()
    assert smooth.grad is not None and smooth.grad.tolist() == [1.0, 1.0]


def test_attention_neuron_follows_the_normalised_float_neuron() -> None:
    """Same spikes as scale, BatchNorm and LIF in float, except where the membrane is within rounding of threshold."""
    torch.manual_seed(0)
    layer = AttentionLif(16, 1 / 32, True, 2.0, Lif()).eval()
    assert layer.norm is not None and layer.norm.running_mean is not None and layer.norm.running_var is not None
    product = torch.randint(-400, 400, (6, 2, 16, 5, 5)).float()
    layer.norm.running_mean.normal_(0, 3)
    layer.norm.running_var.uniform_(20, 60)
    with torch.no_grad():
        layer.norm.weight.mul_(torch.where(torch.arange(16) % 3 == 0, -1.0, 1.0))
        layer.norm.bias.normal_(0, 0.3)
    a, b = layer.affine()
    fixed = FixedAttentionLif(a.float(), b.float(), 8, layer)
    expected, spikes = layer(product), fixed(product)
    assert 0.05 < expected.mean() < 0.5
    assert (expected != spikes).float().mean() < 2e-3
    gradient = torch.autograd.grad(fixed(product).sum(), [fixed.a, fixed.b])
    assert all((g != 0).all() for g in gradient)


@pytest.mark.parametrize(("frames", "levels"), [(1, 1), (8, 1), (32, 1), (8, 3)])
def test_attention_fraction_leaves_room(frames: int, levels: int) -> None:
    config = model_config("15M", frames=frames, frame_size=(224, 224), levels=levels)
    fraction = attention_fraction(config, 360)
    bound = frames * 14 * 14 * 45 * levels * max(1, 2 * levels - 1) ** 2
    assert 0 <= fraction <= 8
    assert bound << fraction <= 2**22 or fraction == 0
    assert fraction == 8 or bound << (fraction + 1) > 2**22


def test_quantisation_stays_near_the_float_model() -> None:
    """Few spikes differ in the first layers (a random network amplifies each of them on its way), rates stay."""
    config = model_config("tiny")
    clip = random_clips(config, 1, 7)[0].numpy()
    _, expected = spikes_of(float_model(config), clip)
    _, spikes = spikes_of(quantised_model(config), clip)
    assert np.mean(spikes["backbone.1.lif"] != expected["backbone.1.lif"]) < 0.005
    assert np.mean(spikes["backbone.2.mixer.lif1"] != expected["backbone.2.mixer.lif1"]) < 0.02
    for name, values in expected.items():
        assert spikes[name].mean() == pytest.approx(values.mean(), rel=0.35), name


def test_every_parameter_of_the_quantised_model_learns() -> None:
    model = quantised_model(model_config("15M", frames=2, frame_size=(48, 48), transformer_blocks=(1, 1))).train()
    scores = model(random_clips(model.config, 2, 3))
    (scores * torch.randn_like(scores)).sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []
