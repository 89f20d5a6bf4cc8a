"""Quantised model in eval mode == integer program, bit for bit, on the spikes of every LIF and on the output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from svf_edge.errors import UnsupportedInput
from svf_edge.model.config import ModelConfig, model_config, parse_config
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.program.freeze import freeze
from svf_edge.program.interpret import run
from svf_edge.program.ranges import prove
from tests.models import ADVERSARIAL, adversarial_clip, float_model, quantised_model, random_clips, spikes_of

SMALL: dict[str, Any] = {
    "embed": (8, 16, 24, 24),
    "conv_blocks": (1, 0, 1),
    "transformer_blocks": (1, 1),
    "heads": 2,
    "conv_ratio": 2,
    "mlp_ratio": 2,
    "head": {"kind": "pose", "joints": 3, "bins": 10, "maps": 2},
    "frames": 2,
    "frame_size": (32, 32),
}


def small(**changes: Any) -> ModelConfig:
    return parse_config({**SMALL, **changes})


def compare(model: SpikeVideoFormer, clip: NDArray[np.uint8]) -> float:
    """Assert equality on `clip`; returns the share of all neuron outputs that are spikes."""
    program = freeze(model, steps=len(clip))
    prove(program, "float32")
    scores, spikes = spikes_of(model, clip)
    trace = run(program, clip)
    assert spikes.keys() == trace.spikes.keys()
    for name, expected in trace.spikes.items():
        np.testing.assert_array_equal(spikes[name], expected, err_msg=name)
    (output,) = trace.outputs.values()
    unit = 2.0**-model.config.fraction_bits
    np.testing.assert_array_equal(scores.numpy(), output.reshape(scores.shape) * np.float32(unit))
    return float(np.mean([np.mean(s > 0) for s in trace.spikes.values()]))


def compare_alive(config: ModelConfig, seed: int = 0) -> None:
    """`compare` on a natural clip, with the assurance that the network did something."""
    model = quantised_model(config, seed)
    clip = random_clips(config, 1, seed + 1)[0].numpy()
    _, spikes = spikes_of(model, clip)
    for name, values in spikes.items():
        assert 0 < np.mean(values > 0) < 1, f"{name} is silent or saturated: the comparison would show nothing"
    assert 0.02 < compare(model, clip) < 0.6


@pytest.mark.parametrize(
    ("size", "head"),
    [
        ("15M", {"kind": "classification", "classes": 20}),
        ("15M", {"kind": "segmentation", "classes": 19}),
        ("31M", {"kind": "classification", "classes": 20}),
        ("31M", {"kind": "segmentation", "classes": 19}),
        ("55M", {"kind": "classification", "classes": 20}),
        ("55M", {"kind": "segmentation", "classes": 19}),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value["kind"]),
)
def test_published_sizes(size: str, head: dict[str, Any]) -> None:
    compare_alive(model_config(size, head=head, frames=1, frame_size=(48, 48), transformer_blocks=(1, 1)))


def test_published_size_in_full() -> None:
    config = model_config("15M", frames=2, frame_size=(48, 48))
    compare_alive(config)
    assert config.embed[3] // config.heads_at(config.embed[3]) == 45


@pytest.mark.parametrize("size", ["mobile-s", "mobile-m", "tiny"])
def test_mobile_family(size: str) -> None:
    compare_alive(model_config(size))


@pytest.mark.parametrize("space_time", ["joint", "causal", "spatial", "factorised", "hierarchical"])
@pytest.mark.parametrize("attention", ["hamming", "dot"])
@pytest.mark.parametrize("rep_conv", [True, False])
def test_attention_forms(space_time: str, attention: str, rep_conv: bool) -> None:
    # An untrained dot product of sparse spikes rarely reaches its threshold: livelier neurons and more tokens.
    lively: dict[str, Any] = {"norm_gain": 6.0, "frames": 4, "frame_size": (64, 64)} if attention == "dot" else {}
    compare_alive(small(space_time=space_time, window=3, attention=attention, rep_conv=rep_conv, **lively))


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("levels", [1, 3])
def test_neurons(reset: str, levels: int) -> None:
    compare_alive(small(reset=reset, levels=levels))


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_clip_lengths(frames: int) -> None:
    compare_alive(small(frames=frames))


@pytest.mark.parametrize("frame_size", [(33, 47), (50, 17), (64, 31)])
def test_odd_frame_sizes(frame_size: tuple[int, int]) -> None:
    compare_alive(small(frame_size=frame_size))


@pytest.mark.parametrize("fraction_bits", [6, 12])
def test_membrane_grids(fraction_bits: int) -> None:
    compare_alive(small(fraction_bits=fraction_bits))


def test_event_counts() -> None:
    compare_alive(small(input="events", channels=2))


@pytest.mark.parametrize("levels", [1, 3])
def test_classification(levels: int) -> None:
    compare_alive(small(head={"kind": "classification", "classes": 7}, frame_size=(48, 80), levels=levels))


def test_classification_by_neurons_behind_the_mean() -> None:
    head = {"kind": "classification", "classes": 7, "pool": "membrane"}
    compare_alive(small(head=head, frame_size=(32, 32), norm_gain=6.0))


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(
    "head",
    [{"kind": "segmentation", "classes": 5, "cell": 3, "width": 40}, {"kind": "pose3d", "bins": 10, "maps": 2}],
    ids=lambda head: str(head["kind"]),
)
def test_masks_and_3d_joints(head: dict[str, Any], levels: int) -> None:
    compare_alive(small(head=head, frame_size=(48, 80), levels=levels, norm_gain=2 * levels))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_inputs(name: str) -> None:
    model = quantised_model(small())
    compare(model, adversarial_clip(name, (2, 3, 32, 32)))


def test_channels_without_gain() -> None:
    """A channel whose attention gain is (almost) 0 decides by its bias alone, at any size of the bias."""
    model = quantised_model(small())
    lif = model.get_submodule("backbone.6.attention.attention.lif")
    with torch.no_grad():
        lif.a[:4] = torch.tensor([0.0, 1e-30, -1e-9, -1e9])
        lif.b[:4] = torch.tensor([3.0, -3.0, 1e6, 0.0])
    compare(model, random_clips(model.config, 1, 3)[0].numpy())


def test_the_numbers_survive_training_mode() -> None:
    """One optimiser step later the program follows the model."""
    model = quantised_model(small())
    clips = random_clips(model.config, 2, 4)
    before = freeze(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.train()(clips).square().mean().backward()
    optimizer.step()
    compare(model.eval(), clips[0].numpy())
    after = freeze(model)
    assert any(
        not np.array_equal(a.weight, b.weight)
        for a, b in zip(before.nodes, after.nodes, strict=True)
        if hasattr(a, "weight") and hasattr(b, "weight")
    )


def test_a_float_model_is_refused() -> None:
    with pytest.raises(UnsupportedInput, match="not quantised"):
        freeze(float_model(small()))


def test_weights_beyond_the_contract_name_their_layer() -> None:
    model = quantised_model(small())
    with torch.no_grad():
        model.get_parameter("backbone.0.conv.conv.weight").fill_(1e30)
    with pytest.raises(UnsupportedInput, match=r"backbone\.0\.conv: a shift is outside"):
        freeze(model)
