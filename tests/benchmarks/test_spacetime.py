"""Space-time designs: their parameters and their cost over time, from modules and counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.networks import random_program
from benchmarks.spacetime import FORMS, MODES, WIDTH, configuration, projection_weights
from svf_edge.model.blocks import space_time_attention
from svf_edge.model.config import SpaceTime
from svf_edge.runtimes.energy.counts import count

PARAMETERS = {"joint": 4, "causal": 4, "spatial": 4, "hierarchical": 8, "factorised": 7}


@pytest.mark.parametrize("form", FORMS)
def test_parameters_in_units_of_d_squared(form: SpaceTime) -> None:
    assert projection_weights(configuration(form, "hamming", 1), WIDTH) == PARAMETERS[form] * WIDTH**2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_operations_are_linear_in_time(form: SpaceTime, mode: str) -> None:
    one, eight = (random_program(configuration(form, mode, frames), 0) for frames in (1, 8))
    silent = [count(program, {lif.name: 0 for lif in program.lifs}) for program in (one, eight)]
    assert silent[1].macs == 8 * silent[0].macs
    attention = [counts.of_kind("attention") for counts in silent]
    assert attention[1] == 8 * attention[0] > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains(form: SpaceTime, mode: str) -> None:
    """Every projection of the attention gets a gradient, and a few steps bring its output nearer to a target."""
    torch.manual_seed(0)
    config = configuration(form, mode, 3).model_copy(update={"norm_gain": 6.0})
    attention = space_time_attention(config, 32)
    x, target = 2 * torch.randn(3, 2, 32, 6, 6), torch.randn(3, 2, 32, 6, 6)
    optimiser = torch.optim.Adam(attention.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        loss = (attention(x) - x - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if len(losses) == 1:
            for name, module in attention.named_modules():
                if isinstance(module, nn.Conv2d):
                    assert module.weight.grad is not None and module.weight.grad.abs().max() > 0, name
        optimiser.step()
    assert losses[-1] < 0.97 * losses[0]
