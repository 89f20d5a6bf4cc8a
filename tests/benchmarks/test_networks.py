"""Networks of the benchmarks: exact programs that fire as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import networks
from svf_edge.model.config import ModelConfig, model_config
from svf_edge.program import run
from svf_edge.program.ranges import prove


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(networks, "CACHE", tmp_path)
    return tmp_path


def tiny(**options: object) -> ModelConfig:
    return model_config("tiny", **{"frames": 2, "frame_size": (32, 32), **options})


@pytest.mark.parametrize(("rate", "levels"), [(0.05, 1), (0.5, 1), (0.6, 3)])
def test_every_layer_fires_at_the_wanted_rate(rate: float, levels: int) -> None:
    network = networks.published(tiny(levels=levels), rate)
    assert network.rates.keys() == {node.name for node in network.program.lifs}
    sizes = [int(np.prod(network.program.types[name].shape)) for name in network.rates]
    for found, size in zip(network.rates.values(), sizes, strict=True):
        assert found == pytest.approx(rate, rel=0.1, abs=8 / size)
    prove(network.program, "float32")


def test_outputs_and_rates_are_the_references() -> None:
    network = networks.published(tiny(), 0.2)
    trace = run(network.program, network.clips[0])
    assert {name: values.tolist() for name, values in network.outputs.items()} == {
        name: values.tolist() for name, values in trace.outputs.items()
    }
    assert network.rates == {name: float(values.mean()) for name, values in trace.spikes.items()}


def test_a_kept_network_is_the_same_again(cache: Path) -> None:
    first = networks.published(tiny(), 0.1)
    (path,) = cache.iterdir()
    made = path.stat().st_mtime_ns
    again = networks.published(tiny(), 0.1)
    assert path.stat().st_mtime_ns == made
    assert again.rates == first.rates and again.spikes_per_neuron == first.spikes_per_neuron
    assert (again.clips[0] == first.clips[0]).all()
    assert all((again.outputs[name] == values).all() for name, values in first.outputs.items())


def test_a_clip_longer_than_the_shipped_one_repeats_it() -> None:
    network = networks.published(tiny(frames=40), 0.2)
    assert network.clips[0].shape == (40, 3, 32, 32)
