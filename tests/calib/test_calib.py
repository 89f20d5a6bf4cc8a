"""Calibration: BatchNorm statistics and int8 units."""

from __future__ import annotations

import torch
from torch import nn

from svf_edge.calib.batchnorm import reestimate
from svf_edge.calib.exponents import inner_exponents
from svf_edge.model.config import model_config
from svf_edge.model.layers import ConvNorm
from svf_edge.model.network import SpikeVideoFormer
from tests.models import float_model, random_clips


def test_reestimation_is_the_plain_mean_and_restores_the_model() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3, momentum=0.3)
    model = nn.Sequential(norm).eval()
    batches = [torch.randn(4, 3, 5, 5) + shift for shift in (0.0, 3.0, 5.0)]
    reestimate(model, batches)
    expected = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, expected)
    assert norm.momentum == 0.3 and not norm.training


def test_reestimation_wakes_an_untrained_network() -> None:
    """With the initial statistics (mean 0, variance 1) deep layers are silent in eval mode."""
    torch.manual_seed(0)
    model = SpikeVideoFormer(model_config("tiny")).eval()
    clips = random_clips(model.config, 4, 0)

    def rate() -> float:
        spikes: list[torch.Tensor] = []
        handle = model.head.lif.register_forward_hook(lambda _, __, out: spikes.append(out))
        with torch.no_grad():
            model(clips)
        handle.remove()
        return float(spikes[0].mean())

    assert rate() < 0.02
    reestimate(model, [clips])
    assert 0.05 < rate() < 0.5


def test_exponents_use_the_range_and_clip_little() -> None:
    model = float_model(model_config("15M", frames=1, frame_size=(48, 48), transformer_blocks=(1, 1)))
    clips = random_clips(model.config, 2, 3)
    exponents = inner_exponents(model, [clips])
    inner = {name: m for name, m in model.named_modules() if isinstance(m, ConvNorm) and m.inner}
    assert exponents.keys() == inner.keys() and len(inner) > 10
    largest: dict[str, torch.Tensor] = {}
    for name, module in inner.items():
        module.register_forward_hook(lambda _, __, out, name=name: largest.update({name: out.abs()}))
    with torch.no_grad():
        model(clips)
    for name, exponent in exponents.items():
        units = largest[name] * 2.0**exponent
        assert (units > 127).float().mean() <= 1e-4 + 1e-6
        assert units.max() > 63, "a finer unit would do"
