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


def test_exponents_have_the_smallest_squared_error() -> None:
    model = float_model(model_config("15M", frames=1, frame_size=(48, 48), transformer_blocks=(1, 1)))
    batches = list(random_clips(model.config, 2, 3).split(1))
    exponents = inner_exponents(model, batches)
    inner = {name: m for name, m in model.named_modules() if isinstance(m, ConvNorm) and m.inner}
    assert exponents.keys() == inner.keys() and len(inner) > 10
    values: dict[str, list[torch.Tensor]] = {name: [] for name in inner}
    for name, module in inner.items():
        module.register_forward_hook(lambda _, __, out, name=name: values[name].append(out))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    saturating = 0
    for name, found in values.items():
        flat = torch.cat([value.flatten() for value in found])

        def error(exponent: int, flat: torch.Tensor = flat) -> float:
            unit = 2.0**-exponent
            return float(((flat / unit).round().clamp(-127, 127) * unit - flat).square().sum())

        chosen = exponents[name]
        assert error(chosen) <= min(error(chosen - 1), error(chosen + 1)), name
        saturating += bool((flat.abs() * 2.0**chosen > 127.5).any())
    assert saturating, "no layer shows that saturating can pay"
