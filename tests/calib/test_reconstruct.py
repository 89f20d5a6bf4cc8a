"""Reconstruction leaves a smaller output error than rounding to the nearest."""

from __future__ import annotations

import torch
from torch import Tensor

from svf_edge.calib.compare import Reference
from svf_edge.calib.exponents import inner_exponents
from svf_edge.calib.reconstruct import Moments, fit, moments, reconstruct
from svf_edge.contract import weight_limit
from svf_edge.model.config import parse_config
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import QuantConv, expand_weight_bits, quantise
from tests.calib.conftest import SMALL
from tests.models import float_model, random_clips


def correlated_layer(bits: int, groups: int = 1) -> tuple[QuantConv, Tensor]:
    """A 1x1 layer of 8 outputs a group and 4000 strongly correlated inputs for it, `[G, K, n]`."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8 * groups, 12, 1, 1, generator=generator) / 4
    layer = QuantConv(
        weight,
        torch.zeros(8 * groups),
        stride=(1, 1),
        padding=(0, 0),
        groups=groups,
        in_exponent=0,
        out_exponent=8,
        saturate=False,
        weight_bits=bits,
    )
    mixing = torch.randn(groups, 12, 4, generator=generator)
    x = mixing @ torch.randn(groups, 4, 4000, generator=generator) + 0.1 * torch.randn(
        groups, 12, 4000, generator=generator
    )
    return layer, x.double() + 0.5


def exact_moments(x: Tensor, y: Tensor) -> Moments:
    """Moments of columns `x` `[G, K, n]` and targets `y` `[G, O, n]`."""
    x_mean, y_mean = x.mean(2), y.mean(2)
    x0, y0 = x - x_mean[..., None], y - y_mean[..., None]
    count = x.shape[2]
    return Moments(x0 @ x0.transpose(1, 2) / count, y0 @ x0.transpose(1, 2) / count, x_mean, y_mean, count)


def test_a_fitted_layer_beats_rounding_and_keeps_the_mean() -> None:
    for bits, groups in ((4, 1), (2, 1), (4, 3)):
        layer, x = correlated_layer(bits, groups)
        shape = layer.conv.weight.shape
        target = layer.conv.weight.detach().double().reshape(groups, 8, 12) @ x

        def error(layer: QuantConv = layer, x: Tensor = x, target: Tensor = target, groups: int = groups) -> float:
            weight, _ = layer._weight()
            y = weight.double().reshape(groups, 8, 12) @ x + layer.bias.double().reshape(groups, 8, 1)
            return float((y - target).square().mean().detach())

        nearest = error()
        fit(layer, exact_moments(x, target))
        assert error() < 0.6 * nearest
        integers = layer.integers().weight
        assert integers.shape == shape and int(integers.abs().max()) <= weight_limit(bits)
        y = layer.conv.weight.double().reshape(groups, 8, 12) @ x
        means = y.mean(2).flatten() + layer.bias.double()
        torch.testing.assert_close(means, target.mean(2).flatten(), atol=1e-5, rtol=0)


def test_moments_follow_the_layer(small_model: SpikeVideoFormer, small_clips: Tensor) -> None:
    """With the float network on both sides the targets are what the weights make of the columns."""
    exponents = inner_exponents(small_model, [small_clips])
    quantised = quantise(small_model, exponents).eval()
    name = "backbone.2.conv1"
    found = moments(small_model, quantised, name, [small_clips])
    layer = quantised.get_submodule(name)
    assert isinstance(layer, QuantConv)
    weight = layer.conv.weight.detach().double().flatten(1)[None]
    assert found.gram.shape == (1, 8 * 9, 8 * 9) and found.count > 1000
    predicted = weight @ found.gram
    assert float((predicted - found.cross).norm() / found.cross.norm()) < 0.15


def test_a_reconstructed_network_answers_more_like_the_float_one(
    small_model: SpikeVideoFormer, small_clips: Tensor
) -> None:
    exponents = inner_exponents(small_model, [small_clips])
    reference = Reference(small_model, [random_clips(small_model.config, 12, 7)])
    assert all(0.005 < rate < 0.95 for rate in reference.rates.values()), "a silent network proves nothing"
    quantised = quantise(small_model, exponents, expand_weight_bits(small_model, 2)).eval()
    before = reference.compare(quantised)
    errors = reconstruct(small_model, quantised, [small_clips])
    after = reference.compare(quantised)
    assert errors.keys() == expand_weight_bits(small_model, 2).keys()
    assert after.divergence < before.divergence and after.flip_rate < before.flip_rate


def test_a_projection_that_runs_twice_is_fitted_to_both_inputs() -> None:
    config = parse_config({**SMALL, "space_time": "factorised", "conv_blocks": (0, 0, 0)})
    model = float_model(config)
    clips = random_clips(config, 4, 1)
    quantised = quantise(model, inner_exponents(model, [clips]), expand_weight_bits(model, 4)).eval()
    name = next(n for n in expand_weight_bits(model, 4) if n.endswith("attention.project.leave"))
    both = moments(model, quantised, name, [clips])
    other = moments(model, quantised, name.replace("project", "temporal.query"), [clips])
    assert both.count == 2 * other.count
