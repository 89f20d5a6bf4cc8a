"""Every task on every runtime: trained networks, and every published size with every head."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from svf_edge.export.torch_graph import TorchDialect
from svf_edge.model.config import model_config
from svf_edge.program import Program, load_program
from svf_edge.runtimes.clips import GENERATORS
from svf_edge.runtimes.evaluation_model import open_subject
from tests.every_head import HEADS, every_head
from tests.models import random_clips
from tests.runtimes.bundles import assert_on_executorch, assert_on_onnxruntime, needs_library
from tests.trained import TRAINED, held_out

pytestmark = [needs_library("svf_ort"), needs_library("svf_executorch")]

EXHAUSTIVE: Final = pytest.mark.exhaustive
PAPER: Final = [name for name in TRAINED if "3 levels" in name]
"""With the levels that the paper has."""
OFTEN: Final = (*PAPER, "pose, weights of 4 bits")
"""A network of each task; the pose network with weights of 8 bits is what most other tests run."""
SIZES: Final = ("15M", pytest.param("31M", marks=EXHAUSTIVE), pytest.param("55M", marks=EXHAUSTIVE))
DIALECTS: Final = ("packed", pytest.param("portable", marks=EXHAUSTIVE))


@pytest.mark.parametrize("name", PAPER)
def test_trained_networks_have_learnt(name: str) -> None:
    """They reach a quarter more than the best that can be said of these clips without looking at them.

    What the shipped model reaches is checked with its record.
    """
    clips = held_out(load_program(TRAINED[name]), 200)
    with open_subject(TRAINED[name], "onnxruntime packed") as subject:
        task, found = subject.task, subject.predict(clips["frames"], lambda _: None)
    reached = task.metrics(found.values, clips)[task.headline]
    guess = next(iter(task.baselines(clips, clips).values()))
    assert reached > 1.25 * task.metrics(guess, clips)[task.headline]


@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks_on_onnxruntime(name: str, tmp_path: Path) -> None:
    program = load_program(TRAINED[name])
    clips = {"held out": clip_for(program), "noise": GENERATORS["noise"](program.frames.shape)}
    assert_on_onnxruntime(program, clips, tmp_path / "bundle")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", [name if name in OFTEN else pytest.param(name, marks=EXHAUSTIVE) for name in TRAINED])
def test_trained_networks_on_executorch(name: str, dialect: TorchDialect, tmp_path: Path) -> None:
    program = load_program(TRAINED[name])
    assert_on_executorch(program, clip_for(program), dialect, tmp_path)


def clip_for(program: Program) -> NDArray[np.uint8]:
    return held_out(program, 1)["frames"][0].numpy()


@pytest.mark.parametrize("dialect", get_args(TorchDialect))
def test_every_head_on_executorch(dialect: TorchDialect, tmp_path: Path) -> None:
    """One block: exporting is what takes long."""
    blocks: dict[str, Any] = {"conv_blocks": (0, 0, 0), "transformer_blocks": (1, 0)}
    program = every_head("tiny", frames=1, frame_size=(32, 32), levels=2, norm_gain=4, **blocks)
    clip = random_clips(model_config("tiny", frames=1, frame_size=(32, 32)), 1, 5)[0].numpy()
    assert_on_executorch(program, clip, dialect, tmp_path)


@cache
def published(size: str) -> Program:
    """All blocks at full width, and every head."""
    return every_head(size, frames=2, frame_size=(32, 32))


def published_clip(size: str) -> NDArray[np.uint8]:
    return random_clips(model_config(size, frames=2, frame_size=(32, 32)), 1, 5)[0].numpy()


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes_on_onnxruntime(size: str, tmp_path: Path) -> None:
    program = published(size)
    assert [output.name for output in program.outputs] == list(HEADS)
    assert_on_onnxruntime(program, {"natural": published_clip(size)}, tmp_path / "bundle")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("size", SIZES)
def test_published_sizes_on_executorch(size: str, dialect: TorchDialect, tmp_path: Path) -> None:
    assert_on_executorch(published(size), published_clip(size), dialect, tmp_path)
