"""The shipped checkpoint and program: they belong together, they are bit equal, and they are of some use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svf_edge.data.sample import stack_samples
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model
from svf_edge.program import Program, load_program, run
from svf_edge.program.freeze import freeze
from svf_edge.program.ir import Conv
from svf_edge.program.ranges import prove
from svf_edge.program.stream import state_tensors
from svf_edge.shipped import NARROW_PROGRAM, STREAM_CHECKPOINT
from svf_edge.tasks.evaluation import evaluate
from svf_edge.training_config import TrainConfig, load_train_config, recipe_path
from tests.models import ADVERSARIAL, adversarial_clip, spikes_of

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "svf_edge" / "assets" / "models"
NAME = "pose-mobile-s"


@pytest.fixture(scope="module")
def shipped() -> tuple[SpikeVideoFormer, dict[str, Any]]:
    return load_model(MODELS / f"{NAME}.safetensors")


@pytest.fixture(scope="module")
def program() -> Program:
    return load_program(MODELS / f"{NAME}.program.safetensors")


def test_the_program_is_the_frozen_checkpoint(
    shipped: tuple[SpikeVideoFormer, dict[str, Any]], program: Program
) -> None:
    again = freeze(shipped[0])
    assert again.frames == program.frames and again.outputs == program.outputs
    assert [type(node) for node in again.nodes] == [type(node) for node in program.nodes]
    for new, old in zip(again.nodes, program.nodes, strict=True):
        np.testing.assert_equal(vars(new), vars(old), err_msg=old.name)
    assert program.meta["metrics"] == shipped[1]["metrics"]
    prove(program, "float32")


@pytest.mark.parametrize("name", ["validation", *ADVERSARIAL])
def test_model_and_program_are_bit_equal(
    shipped: tuple[SpikeVideoFormer, dict[str, Any]], program: Program, name: str
) -> None:
    if name == "validation":
        clip = SyntheticPoseDataset("val", 1, program.frames.shape[0], program.frames.shape[2:])[0]["frames"].numpy()
    else:
        clip = adversarial_clip(name, program.frames.shape)
    scores, spikes = spikes_of(shipped[0], clip)
    trace = run(program, clip)
    for layer, expected in trace.spikes.items():
        np.testing.assert_array_equal(spikes[layer], expected, err_msg=layer)
    np.testing.assert_array_equal(scores.numpy() * 256, trace.outputs["pose"][:, :, 0, 0])
    if name == "validation":
        assert all(0 < s.mean() < shipped[0].config.levels for s in trace.spikes.values())


def test_its_record_is_honest(shipped: tuple[SpikeVideoFormer, dict[str, Any]]) -> None:
    """Recorded metrics are reproduced on a part of the clips, beat the mean pose, and quantisation cost little."""
    model, meta = shipped
    assert TrainConfig.model_validate(meta["training"]).same_run(load_train_config(recipe_path(NAME)))
    assert meta["integer_program"] == {name: meta["metrics"][name] for name in meta["integer_program"]}
    assert meta["metrics"]["pck@0.2"] > meta["mean_pose"]["pck@0.2"] + 0.1
    assert meta["integer_program"]["pck@0.2"] > meta["float"]["pck@0.2"] - 0.005
    assert meta["narrow_program"]["pck@0.2"] > meta["float"]["pck@0.2"] - 0.02
    assert meta["metrics"]["firing_rate"] <= 0.10
    clips = stack_samples(SyntheticPoseDataset("val", 48, model.config.frames, model.config.frame_size))
    measured = evaluate(model, clips)
    assert measured.metrics["pck@0.2"] == pytest.approx(meta["metrics"]["pck@0.2"], abs=0.08)
    assert measured.metrics["firing_rate"] == pytest.approx(meta["metrics"]["firing_rate"], abs=0.01)


def test_the_narrow_program_has_weights_of_4_bits(program: Program) -> None:
    narrow = load_program(NARROW_PROGRAM)
    assert [type(node) for node in narrow.nodes] == [type(node) for node in program.nodes]
    assert {node.weight_bits for node in narrow.nodes if isinstance(node, Conv)} == {4}
    assert NARROW_PROGRAM.stat().st_size < 0.55 * (MODELS / f"{NAME}.program.safetensors").stat().st_size


def test_the_model_for_streams_comes_from_its_recipe_and_runs_frame_by_frame() -> None:
    model, meta = load_model(STREAM_CHECKPOINT)
    assert TrainConfig.model_validate(meta["training"]).same_run(load_train_config(recipe_path("pose-mobile-s-stream")))
    program = freeze(model, steps=1)
    assert program.streams and state_tensors(program)
    prove(program.for_steps(8), "float32")
