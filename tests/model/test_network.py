"""The whole network: sizes, live neurons, gradients, configuration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from svf_edge.errors import UnsupportedInput
from svf_edge.model.blocks import RepConv
from svf_edge.model.config import ModelConfig, model_config, parse_config
from svf_edge.model.layers import AttentionLif, ConvNorm
from svf_edge.model.network import SpikeVideoFormer, parameter_count, tracked_rates
from svf_edge.quant import quantise
from tests.models import float_model, quantised_model, random_clips

PUBLISHED = {"15M": 15_116_720, "31M": 31_340_392, "55M": 55_358_952}


@pytest.mark.parametrize(("size", "count"), PUBLISHED.items())
def test_published_parameter_counts(size: str, count: int) -> None:
    with torch.device("meta"):
        head = {"kind": "classification", "pool": "membrane"}  # the authors'
        model = SpikeVideoFormer(model_config(size, head=head, frame_size=(224, 224)))
    assert parameter_count(model) == count


@pytest.mark.parametrize(
    ("space_time", "squares"), [("joint", 4), ("spatial", 4), ("factorised", 7), ("hierarchical", 8)]
)
def test_space_time_forms_cost_what_they_say(space_time: str, squares: int) -> None:
    """Parameters of plain 1x1 attention in units of D^2, norms left out."""
    config = model_config("mobile-s", space_time=space_time)
    block = SpikeVideoFormer(config).get_submodule("backbone.6.attention")
    weights = sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Conv2d))
    assert weights == squares * config.embed[2] ** 2


@pytest.mark.parametrize("size", ["15M", "mobile-s", "mobile-m", "tiny"])
def test_every_layer_fires_at_initialisation(size: str) -> None:
    """And every parameter gets a gradient: nothing is silent, nothing is cut off."""
    torch.manual_seed(0)
    config = model_config(size, frames=2)
    model = SpikeVideoFormer(config)
    with tracked_rates(model):
        scores = model(random_clips(config, 2, 0))
        rates = {name: float(lif.rate.detach()) for name, lif in model.lifs().items() if lif.rate is not None}
    assert len(rates) == len(model.lifs())
    assert {name: rate for name, rate in rates.items() if not 0.02 < rate < 0.5} == {}
    assert scores.shape == (2, 2, 13 * 2 * 64) and scores.detach().std() > 0.05
    (scores * torch.randn_like(scores)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_without_attention_the_rest_of_a_block_stays() -> None:
    with_it, without = (SpikeVideoFormer(model_config("tiny", space_time=kind)) for kind in ("joint", "none"))
    names = {name for name in with_it.state_dict() if ".attention." in name}
    assert names and with_it.state_dict().keys() - without.state_dict().keys() == names
    assert without.lifs().keys() == {name for name in with_it.lifs() if ".attention." not in name}


@pytest.mark.parametrize("levels", [1, 4])
def test_dot_products_of_several_levels_are_normalised(levels: int) -> None:
    """Products of binary spikes are scaled by a constant, as the authors do; those of more would saturate."""
    torch.manual_seed(0)
    config = model_config("tiny", frames=2, attention="dot", levels=levels)
    model = SpikeVideoFormer(config)
    (lif, *_) = [m for m in model.modules() if isinstance(m, AttentionLif)]
    assert (lif.norm is None) == (levels == 1) and lif.theta == (0.5 if levels == 1 else 1.0)
    with tracked_rates(model), torch.no_grad():
        model(random_clips(config, 2, 0))
        rates = [float(m.rate) for m in model.modules() if isinstance(m, AttentionLif) and m.rate is not None]
    assert len(rates) == 2 and min(rates) > 0.001 and max(rates) < 0.9


def test_the_dense_twin_learns_everywhere_and_has_no_integers() -> None:
    torch.manual_seed(0)
    config = model_config("tiny", frames=2, neuron="relu")
    model = SpikeVideoFormer(config)
    spiking = SpikeVideoFormer(model_config("tiny", frames=2))
    assert {name: p.shape for name, p in model.named_parameters()} == {
        name: p.shape for name, p in spiking.named_parameters()
    }
    values: list[torch.Tensor] = []
    for lif in model.lifs().values():
        lif.register_forward_hook(lambda _, __, out: values.append(out.detach()))
    scores = model(random_clips(config, 2, 0))
    assert len(values) == len(model.lifs())
    assert all((out >= 0).all() and (out != out.round()).any() and (out == 0).any() for out in values)
    (scores * torch.randn_like(scores)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    with pytest.raises(UnsupportedInput, match=r"relu.*no integer program.*neuron: lif"):
        quantise(model, {})


def test_batch_items_do_not_mix() -> None:
    model = float_model(model_config("tiny"))
    clips = random_clips(model.config, 3, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(clips)[1:2], model(clips[1:2]), atol=1e-5, rtol=1e-4)


def test_mid_grey_is_zero_and_events_are_counts() -> None:
    for kind, neutral in (("pixels", 128), ("events", 0)):
        config = model_config("tiny", input=kind)
        model = float_model(config)
        seen: list[torch.Tensor] = []
        model.backbone[0].register_forward_hook(lambda _, args, __, seen=seen: seen.append(args[0]))
        frames = torch.full((1, 1, 3, 64, 64), neutral, dtype=torch.uint8)
        frames[0, 0, 0, 0, 0] += 64
        model(frames)
        assert seen[0].count_nonzero() == 1 and seen[0].max() == (0.5 if kind == "pixels" else 64)


def test_repconv_border_holds_the_zero_response() -> None:
    """Folding RepConv's first norm into a convolution with padding 1 reproduces the border rule."""
    torch.manual_seed(0)
    layer = RepConv(4, 2.0).eval().enter
    (norm,) = layer.norms
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 1, 4, 5, 5)
    weight, bias = layer.folded()
    folded = nn.functional.conv2d(x.flatten(0, 1), weight, bias, padding=1)
    out = layer(x).flatten(0, 1)
    torch.testing.assert_close(out, folded)
    torch.testing.assert_close(out[:, :, 0, 0], layer.zero_response().expand(2, 4))


def test_folding_two_norms_and_a_bias() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(3, 5, 3, padding=1, bias=True, norms=2).eval()
    for norm in layer.norms:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, 1, 3, 6, 6)
    weight, bias = layer.folded()
    torch.testing.assert_close(layer(x)[:, 0], nn.functional.conv2d(x[:, 0], weight, bias, padding=1))


def test_folding_stays_on_the_device_of_the_weights() -> None:
    layer = ConvNorm(3, 5, 3, padding=1, border=1).to("meta").eval()
    assert all(values.device.type == "meta" for values in layer.folded())
    assert layer(torch.zeros(2, 1, 3, 6, 6, device="meta")).device.type == "meta"


def test_configuration_survives_json() -> None:
    config = model_config("15M", head={"kind": "classification", "classes": 5}, space_time="factorised")
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    assert parse_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("size", "changes", "words"),
    [
        ("15m", {}, "did you mean '15M'"),
        ("mobile", {}, "did you mean 'mobile-s'"),
        ("tiny", {"levels": 0}, "levels"),
        ("tiny", {"attention": "softmax"}, "attention"),
        ("tiny", {"embed": [16, 32, 32, 40]}, "40 does not divide"),
        ("tiny", {"heads": 2}, "either heads or head_width"),
        ("tiny", {"colour": 1}, "colour"),
    ],
)
def test_bad_configurations_are_named(size: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedInput, match=words):
        model_config(size, **changes)


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(UnsupportedInput, match=r"takes \[B, T, 3, 64, 64\]"):
        SpikeVideoFormer(model_config("tiny"))(torch.zeros(1, 4, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("pool", ["spikes", "membrane"])
def test_a_quantised_mean_over_space_lets_the_gradient_through(pool: str) -> None:
    head = {"kind": "classification", "classes": 5, "pool": pool}
    model = quantised_model(model_config("tiny", head=head, frame_size=(48, 64), norm_gain=6.0)).train()
    model(random_clips(model.config, 2, 3)).square().mean().backward()
    stem = model.get_parameter("backbone.0.conv.conv.weight")
    assert stem.grad is not None and stem.grad.abs().max() > 0
