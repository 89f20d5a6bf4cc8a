"""Two processes: what each of them sees, and that together they make one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from svf_edge.data.sample import chosen, stack_samples
from svf_edge.data.shards import Description, write_shards
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.model_store import load_model
from svf_edge.tasks.evaluation import evaluate
from svf_edge.tasks.registry import make_task
from svf_edge.training import dataset, start_model
from svf_edge.training.clips import NewClips
from svf_edge.training_config import load_train_config

pytestmark = pytest.mark.slow

CONFIG = """
name: two
model: {size: tiny, frames: 1, frame_size: [32, 32]}
float_phase: {epochs: 1, clips_per_epoch: 8, learning_rate: 0.003}
qat_phase: {epochs: 2, clips_per_epoch: 16, learning_rate: 0.0005}
batch_size: 8
validation_clips: 6
calibration_clips: 8
ema_decay: 0.9
workers: 0
pictures: false
accelerator: cpu
devices: 2
strategy: ddp
"""

SHARDS = "data: {kind: shards, folder: FOLDER, vary: false}\n"

SCRIPT = """
import sys
from svf_edge.training import train
from svf_edge.training_config import load_train_config
train(load_train_config(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_every_step_without_overlap(world: int) -> None:
    samplers = [NewClips(24, 100, rank, world) for rank in range(world)]
    for epoch in (0, 3):
        shares = []
        for sampler in samplers:
            sampler.set_epoch(epoch)
            shares.append(list(sampler))
            assert len(shares[-1]) == len(sampler)
        local = 8 // world
        for step in range(3):
            seen = [clip for share in shares for clip in share[step * local : (step + 1) * local]]
            start = 100 + epoch * 24 + step * 8
            assert sorted(seen) == list(range(start, start + 8))


def test_two_processes_make_one_run_from_shards(tmp_path: Path) -> None:
    path, script, folder = tmp_path / "two.yaml", tmp_path / "two.py", tmp_path / "run"
    made = {split: SyntheticPoseDataset(split, 12, 1, (32, 32), 0) for split in ("train", "val")}
    counts: dict[str, int] = dict.fromkeys(made, 12)
    cut = {"per_shard": 5, "quality": 90, "clips": counts, "source": {"kind": "synthetic"}}
    about = {"frames": 1, "height": 32, "width": 32, **cut}
    write_shards(made, tmp_path / "shards", Description.model_validate(about))
    path.write_text(CONFIG + SHARDS.replace("FOLDER", str(tmp_path / "shards")))
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(path), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1/3 float training") == 1
    config = load_train_config(path)
    rows = json.loads((folder / "metrics.json").read_text())["epochs"]
    assert [(row["phase"], row["epoch"], row["step"]) for row in rows] == [
        ("float", 1, 1),
        ("qat", 1, 2),
        ("qat", 2, 4),
    ]

    # The first step's loss is the mean over both halves of the clips, dealt out in turn.
    model, task = start_model(config), make_task(config.model, sigma=config.sigma)
    clips = stack_samples(dataset("train", 8, config))
    halves = []
    for first in (0, 1):
        half = chosen(clips, torch.arange(first, 8, 2))
        halves.append(task.loss(model(half["frames"]), half))
    assert rows[0]["loss/pose"] == pytest.approx(float(torch.stack(halves).mean().detach()), rel=1e-4)

    # The last epoch's metrics, put together from two processes, are those of the result on all clips.
    trained, meta = load_model(folder / "model.safetensors")
    result = evaluate(trained, stack_samples(dataset("val", 6, config)))
    for name, value in meta["metrics"].items():
        if f"val/{name}" in rows[-1]:
            assert rows[-1][f"val/{name}"] == pytest.approx(value, rel=1e-5), name
    rates = {name: rows[-1][f"rate/{name}"] for name in result.rates}
    assert rates == pytest.approx(dict(result.rates), rel=1e-4) and 0.01 < result.metrics["firing_rate"] < 0.5
