"""Runs on clips from elsewhere than the generator: through the one door that all data sets share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svf_edge.data.cache import render_cache
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.errors import UnsupportedInput
from svf_edge.model_store import load_model
from svf_edge.training import train
from svf_edge.training.clips import dataset, first_clips, validation_clips
from svf_edge.training_config import load_train_config

CONFIG = """
name: elsewhere
model: {{size: tiny, frames: 1, frame_size: [32, 32], {model}}}
data: {data}
float_phase: {{epochs: 2, clips_per_epoch: 8, learning_rate: 0.003}}
qat_phase: {{epochs: 1, clips_per_epoch: 8, learning_rate: 0.0005}}
batch_size: 4
validation_clips: 6
calibration_clips: 8
workers: 0
pictures: {pictures}
"""


def write(folder: Path, data: str, model: str = "", pictures: bool = False) -> Path:
    path = folder / "run.yaml"
    path.write_text(CONFIG.format(data=data, model=model, pictures=str(pictures).lower()))
    return path


def test_rendered_clips_in_files(tmp_path: Path) -> None:
    """Five training clips, gone through again and again; three validation clips, where six were asked for."""
    for split, length in (("train", 5), ("val", 3)):
        render_cache(tmp_path / "c" / split, SyntheticPoseDataset(split, length, 1, (32, 32)), progress=False)
    config = load_train_config(write(tmp_path, f"{{kind: cached, folder: {tmp_path / 'c'}}}"))
    assert len(dataset("train", 24, config)) == 24  # type: ignore[arg-type]
    two = config.model_copy(update={"devices": 2})
    assert [len(validation_clips(each)) for each in (config, two)] == [3, 2]  # type: ignore[arg-type]
    with pytest.raises(UnsupportedInput, match="3 validation clips for 4 processes"):
        validation_clips(config.model_copy(update={"devices": 4}))
    _, meta = load_model(train(config, tmp_path / "run"))
    assert meta["training"]["data"]["kind"] == "cached"
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"]
    assert [row["step"] for row in rows] == [2, 4, 2] and 0.01 < rows[-1]["rate"] < 0.5


def test_simulated_events(tmp_path: Path) -> None:
    path = write(tmp_path, "{kind: synthetic, events: {}}", "channels: 2, input: events", pictures=True)
    config = load_train_config(path)
    frames = first_clips(config)["frames"]
    assert frames.shape == (8, 1, 2, 32, 32) and 0 < frames.float().mean() < 10
    model, _ = load_model(train(config, tmp_path / "run"))
    assert model.config.input == "events"
    assert (tmp_path / "run" / "examples.png").stat().st_size > 1000


def test_longer_clips_for_chunks(tmp_path: Path) -> None:
    config = load_train_config(write(tmp_path, "{kind: synthetic}"), ["stream_chunks=3"])
    assert dataset("train", 8, config, config.stream_chunks)[0]["frames"].shape[0] == 3
    assert first_clips(config)["frames"].shape[:2] == (8, 1)
