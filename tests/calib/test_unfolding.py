"""Unfolded networks compute what the quantised ones round, and train on."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from svf_edge.calib.exponents import inner_exponents
from svf_edge.calib.unfolding import unfold
from svf_edge.errors import UnsupportedInput
from svf_edge.model.config import ModelConfig, model_config
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import FixedAttentionLif, QuantConv, quantise
from tests.models import float_model, random_clips

CONFIGS: dict[str, dict[str, Any]] = {
    "pose": {"levels": 4, "reset": "soft"},
    "RepConv": {"rep_conv": True},
    "RepConv merged": {"rep_conv": "merged"},
    "classes of spikes": {"head": {"kind": "classification", "classes": 5}, "frame_size": (40, 24)},
    "classes of membranes": {"head": {"kind": "classification", "classes": 5, "pool": "membrane"}},
    "masks": {"head": {"kind": "segmentation"}},
}


def configuration(**changes: Any) -> ModelConfig:
    return model_config("tiny", **({"frames": 2, "frame_size": (32, 32)} | changes))


def trained(config: ModelConfig) -> tuple[SpikeVideoFormer, torch.Tensor]:
    """A quantised network whose every parameter moved after folding, and clips."""
    clips = random_clips(config, 4, 1)
    plain = float_model(config)
    model = quantise(plain, inner_exponents(plain, iter([clips])))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator))
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    return model.eval(), clips


def affine(layer: QuantConv) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.conv.weight.detach().double(), layer.bias.detach().double()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_is_the_map_that_quantisation_rounds(name: str) -> None:
    model, clips = trained(configuration(**CONFIGS[name]))
    got = quantise(unfold(model, [clips]), {k: m.out_exponent for k, m in model.named_modules() if inner(m)})
    moved = torch.zeros(0)
    for path, layer in model.named_modules():
        again = dict(got.named_modules()).get(path)
        if isinstance(layer, QuantConv):
            assert isinstance(again, QuantConv)
            weight, bias = affine(layer)
            if len(moved):  # the bias that a layer without one could not keep
                bias = bias + weight.flatten(1) @ moved
            found = affine(again)
            moved = bias - found[1] if not found[1].any() and bias.any() else torch.zeros(0)
            torch.testing.assert_close(found[0], weight, rtol=1e-5, atol=1e-6)
            if not len(moved):
                torch.testing.assert_close(found[1], bias, rtol=1e-4, atol=1e-5)
        elif isinstance(layer, FixedAttentionLif):
            assert isinstance(again, FixedAttentionLif)
            torch.testing.assert_close(again.a, layer.a, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(again.b, layer.b, rtol=1e-4, atol=1e-5)
    assert not len(moved)


def inner(module: nn.Module) -> bool:
    return isinstance(module, QuantConv) and module.saturate


@pytest.mark.parametrize("name", ["pose", "RepConv", "classes of spikes"])
def test_training_finds_the_statistics_that_are_stored(name: str) -> None:
    """One batch for both: in training mode every BatchNorm then answers as it does in eval mode."""
    model, clips = trained(configuration(**CONFIGS[name]))
    plain = unfold(model, [clips]).double()
    scores = plain(clips)
    training = copy.deepcopy(plain).train()
    for norm in training.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 0.0  # a RepConv's border reads what is stored
    assert scores.std() > 0
    torch.testing.assert_close(training(clips), scores, rtol=1e-6, atol=1e-6)


def test_a_dot_product_without_a_norm_is_refused() -> None:
    model, clips = trained(configuration(attention="dot"))
    with pytest.raises(UnsupportedInput, match=r"attention\.lif: has no BatchNorm to go back to"):
        unfold(model, [clips])
