"""Runs that are killed anywhere, again and again, end with the very weights of one that is not."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from svf_edge.checkpoint import Checkpoint
from svf_edge.training.run import stages
from svf_edge.training_config import TrainConfig, load_train_config

pytestmark = pytest.mark.slow

CONFIG = """
name: killed
model: {size: tiny, frames: 2, frame_size: [32, 32]}
image_phase: {epochs: 2, clips_per_epoch: 16, learning_rate: 0.003}
float_phase: {epochs: 2, clips_per_epoch: 16, learning_rate: 0.003}
qat_phase: {epochs: 2, clips_per_epoch: 8, learning_rate: 0.0005}
batch_size: 8
optimiser: muon
validation_clips: 4
calibration_clips: 8
ema_decay: 0.9
precision: bf16-mixed
rate_warmup: 0.5
stream_chunks: 2
workers: 0
pictures: false
"""


def _train(config: TrainConfig, folder: Path, doomed_write: int) -> None:
    """A run that dies inside its n-th write (0: not at all): written beside its place, not yet moved there."""
    from svf_edge.training import train

    torch.set_num_threads(1)
    fsync, left = os.fsync, doomed_write

    def write(handle: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(handle)

    os.fsync = write
    train(config, folder)


def _start(config: TrainConfig, folder: Path, doomed_write: int = 0) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["svf_edge.training"])
    process = context.Process(target=_train, args=(config, folder, doomed_write))
    process.start()
    return process


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    config = TrainConfig.model_validate_json((folder / "config.json").read_text())
    return {
        f"{stage.name}/{name}": tensor
        for stage in stages(config)
        for name, tensor in Checkpoint.load(folder / f"{stage.name}.safetensors").state.items()
    }


def _assert_same(folder: Path, other: Path) -> None:
    weights, expected = _weights(folder), _weights(other)
    assert weights.keys() == expected.keys() and len(weights) > 100
    assert [name for name in weights if not weights[name].equal(expected[name])] == []
    assert not list(folder.rglob(".*"))  # nor is anything left of a write that was cut off


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Path, float]:
    """A run in one go: configuration, folder, seconds."""
    folder = tmp_path_factory.mktemp("killed")
    path = folder / "killed.yaml"
    path.write_text(CONFIG)
    config = load_train_config(path)
    started = time.monotonic()
    process = _start(config, folder / "run")
    process.join()
    assert process.exitcode == 0
    return config, folder / "run", time.monotonic() - started


def test_killed_inside_its_writes(unbroken: tuple[TrainConfig, Path, float], tmp_path: Path) -> None:
    """Every session dies one write later than the one before, so every kind of write is hit."""
    config, expected, _ = unbroken
    kills = 0
    while not (tmp_path / "model.safetensors").exists():
        process = _start(config, tmp_path, kills + 1)
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        kills += process.exitcode != 0
        assert kills < 20
    assert kills >= 4
    _assert_same(tmp_path, expected)


def test_killed_at_random_moments(unbroken: tuple[TrainConfig, Path, float], tmp_path: Path) -> None:
    config, expected, seconds = unbroken
    chance = random.Random(0)
    kills = 0
    for share in (0.3, 0.5, 0.7, 1.0):
        process = _start(config, tmp_path)
        process.join(seconds * chance.uniform(0.5, 1) * share)
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert kills
    process = _start(config, tmp_path)
    process.join()
    assert process.exitcode == 0
    _assert_same(tmp_path, expected)
