"""State carried from chunk to chunk: two chunks of 4 frames are one clip of 8."""

from __future__ import annotations

import pytest
import torch

from svf_edge.model.config import model_config
from svf_edge.model.network import SpikeVideoFormer, carried_state, tracked_rates
from tests.models import float_model, quantised_model, random_clips


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reset": "soft", "levels": 3},
        {"space_time": "causal", "window": 3},
        {"space_time": "causal", "window": 6, "attention": "dot"},
    ],
    ids=["hard", "soft", "causal", "causal, longer than a chunk"],
)
def test_two_chunks_are_one_clip(quantised: bool, options: dict[str, object]) -> None:
    config = model_config("tiny", frames=8, frame_size=(32, 32), **{"space_time": "spatial", **options})
    # Quantised arithmetic is exact; elsewhere float64 keeps the order of a convolution's sums from moving spikes.
    model = quantised_model(config) if quantised else float_model(config).double()
    clips = random_clips(config, 3, 1)
    with torch.no_grad(), tracked_rates(model):
        whole = model(clips)
        rates = [float(lif.rate) for lif in model.lifs().values() if lif.rate is not None]
        assert len(rates) == len(model.lifs()) and all(0 < rate < 1 for rate in rates)
        with carried_state(model):
            chunks = torch.cat([model(chunk) for chunk in clips.split(4, 1)], 1)
        torch.testing.assert_close(chunks, whole, rtol=0, atol=0 if quantised else 1e-9)
        apart = torch.cat([model(chunk) for chunk in clips.split(4, 1)], 1)
    assert (apart - whole)[:, 4:].abs().max() > 0.1


def test_no_gradient_passes_between_chunks() -> None:
    config = model_config("tiny", frames=2, frame_size=(32, 32), space_time="spatial")
    model = float_model(config).train()

    def gradient(carry: bool) -> torch.Tensor:
        clips = random_clips(config.model_copy(update={"frames": 4}), 2, 0)
        model.zero_grad()
        with torch.no_grad():
            state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        first, second = clips.split(2, 1)
        if carry:
            with carried_state(model):
                model(first)
                model(second).square().mean().backward()
        else:
            model(first)
            model(second).square().mean().backward()
        model.load_state_dict(state)
        weight = model.get_parameter("head.read.conv.weight").grad
        assert weight is not None
        return weight.clone()

    assert not gradient(True).equal(gradient(False))
    assert gradient(True).equal(gradient(True))  # nothing is left of the chunk before
    assert all(lif.membrane is None for lif in SpikeVideoFormer(config).lifs().values())
