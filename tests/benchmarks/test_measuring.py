"""The machinery of each benchmark on a tiny network: it measures what is right and refuses what is wrong."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from benchmarks import end_to_end, kernels, memory, networks, profiles, scaling, sweep
from benchmarks.networks import Network, published
from benchmarks.turns import Pace, Variant, check, store, turn
from svf_edge.export.executorch import export_executorch
from svf_edge.model.config import model_config

QUICK = Pace(turns=2, runs=2, warm_up=1, seconds=0.05)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "CACHE", tmp_path_factory.mktemp("networks"))
        yield published(model_config("tiny", frames=2, frame_size=(32, 32)), 0.1)


def assert_samples(samples: Mapping[str, list[list[float]]], names: set[str]) -> None:
    assert samples.keys() == names
    for turns in samples.values():
        assert len(turns) == QUICK.turns
        assert all(0 < len(one) <= QUICK.runs and min(one) > 0 for one in turns)


def damaged(network: Network) -> Network:
    """A network whose known outputs are not what its program gives."""
    return dataclasses.replace(network, outputs={name: values + 1 for name, values in network.outputs.items()})


def test_end_to_end(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "CACHE", tmp_path)
    # The tool chain of XNNPACK takes long; here a packed program stands where its programs would.
    export_executorch(network.program, "packed", tmp_path / "packed.pte")
    monkeypatch.setattr(
        end_to_end, "xnnpack_twin", lambda program, clips, path, scope: shutil.copy(tmp_path / "packed.pte", path)
    )
    result = end_to_end.measure(network, (1,), QUICK, ["xnnpack"])
    names = {"fp32", "int8 QDQ", "XNNPACK fp32", "XNNPACK int8", "portable", "packed", "packed, ExecuTorch"}
    assert_samples(result["cases"][0]["samples_ms"], names)
    assert result["spikes_per_neuron"] == pytest.approx(0.1, rel=0.1)


def test_profiles(network: Network) -> None:
    """Every layer with products has a time in both forms, and nodes of one kind of work lie under its name."""
    result = profiles.profile(network, turns=2, runs=3)
    layers = {layer["layer"]: layer["kind"] for layer in result["layers"]}
    assert sum(layer["macs"] for layer in result["layers"]) > 0
    for form in result["forms"].values():
        assert len(form["runs_ms"]) == 2 * (3 - 1)
        assert layers.items() <= {(node["layer"], node["kind"]) for node in form["nodes"]}
    kinds = {node["kind"] for node in result["forms"]["int8 QDQ"]["nodes"]}
    assert {profiles.NEURONS, profiles.LAYOUT} < kinds


def test_sweep(network: Network) -> None:
    result = sweep.measure({0.1: network}, QUICK)
    assert_samples(result["samples_ms"], {"10", "fp32", "int8 QDQ"})
    with pytest.raises(SystemExit, match="10: the output"):
        sweep.measure({0.1: damaged(network)}, QUICK)


def test_scaling(network: Network) -> None:
    result = scaling.measure({2: network}, QUICK, "test")
    assert_samples(result["packed"], {"2"})
    assert_samples(result["fp32"], {"2"})
    with pytest.raises(SystemExit, match="packed 2: the output"):
        scaling.measure({2: damaged(network)}, QUICK, "test")


def test_tokens_are_those_of_joint_attention() -> None:
    config = networks.binary(4, 64, "tiny")
    assert scaling.tokens(config) == 4 * config.feature_size[0] * config.feature_size[1]


def test_memory(network: Network, tmp_path: Path) -> None:
    rows = memory.measure(network, tmp_path)
    assert [row["form"] for row in rows] == ["fp32", "int8 QDQ", "packed", "packed, ExecuTorch"]
    for row in rows:
        assert row["working"] > 0 and 0 < row["loaded"] < row["total"]


@pytest.mark.parametrize("kernel", [1, 3])
def test_convolutions(kernel: int) -> None:
    case = kernels.ConvCase("small", 40, 45, kernel, 9)
    (row,) = kernels.convolutions([case], [0.2], QUICK)
    assert_samples(row["samples_ms"], {"ORT fp32", "ORT int8", "event", "dense", "auto", "auto, LIF fused"})
    assert row["macs"] == 4 * 81 * 40 * 45 * kernel**2


def test_depthwise() -> None:
    (row,) = kernels.convolutions([kernels.ConvCase("small", 33, 33, 7, 9, 33)], [0.2], QUICK)
    assert_samples(row["samples_ms"], {"ORT fp32", "ORT int8", "packed"})


def test_lif_and_attention() -> None:
    (row,) = kernels.lifs({"small": 1 << 14}, QUICK)
    assert_samples(row["samples_ms"], {"ORT fp32", "packed"})
    assert row["bytes"] == 1 << 14 and row["bandwidth"] > 0
    (row,) = kernels.attentions([(4 * 25, 36, 4)], QUICK)
    assert_samples(row["samples_ms"], {"ORT fp32", "ORT int8", "packed"})


def test_a_kernel_with_a_wrong_output_is_refused() -> None:
    right = Variant(lambda: nullcontext(lambda: np.ones(3)), lambda y: bool(y.all()))
    check({"kernel": right})
    wrong = Variant(lambda: nullcontext(lambda: np.zeros(3)), lambda y: bool(y.all()))
    with pytest.raises(SystemExit, match="wrong kernel: the output is not what it must be"):
        check({"kernel": right, "wrong kernel": wrong})


def test_a_turn_ends_by_runs_or_by_time() -> None:
    assert len(turn(lambda: None, Pace(runs=7, warm_up=0, seconds=10))) == 7
    assert len(turn(lambda: None, Pace(runs=10**9, warm_up=0, seconds=0))) == 1


def test_results_are_json_with_a_line_an_entry(tmp_path: Path) -> None:
    import json

    result = {"a": [1.5, 2], "b": {"c": "d"}}
    store(tmp_path / "result.json", result)
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text) == result and len(text.splitlines()) == 4
