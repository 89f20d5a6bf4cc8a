"""Clips to calibrate on, and what speaks against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Subset

from svf_edge.errors import BadFile
from svf_edge.model.config import ModelConfig

Frames = NDArray[np.uint8]

ENOUGH = 32
"""Clips below which unusual ones sway the result."""

_FIRST_SYNTHETIC = 10**6  # training counts its clips from 0
_FLAT = 4.0  # grey levels: a frame with less contrast shows nothing
_ALIKE = 3.0  # grey levels of mean difference between two thumbnails of one scene
_RATE_MARGIN = (0.05, 0.5)  # a layer's rate is off beyond this, absolutely and relatively


def video_clips(folder: str | Path, config: ModelConfig, count: int) -> Tensor:
    """Up to `count` clips uint8 `[N, T, C, H, W]` spread evenly over all videos in `folder` and over each video.

    Raises `BadFile` when there is none, or one cannot be read.
    """
    from svf_edge.data.video import iter_clips

    folder = Path(folder)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".mp4", ".webm", ".avi", ".mov", ".mkv"})
    if not paths:
        raise BadFile(f"{folder}: holds no video; give a folder of .mp4, .webm, .avi, .mov or .mkv files")
    per_video = -(-count // len(paths))
    clips: list[Frames] = []
    for path in paths:
        clips += _spread(iter_clips(path, config.frames, config.frame_size), per_video)
    return torch.from_numpy(np.stack(_spread(clips, count)))


def _spread(clips: Iterable[Frames], count: int) -> list[Frames]:
    """Up to `count` of `clips`, evenly spaced; never holds more than twice as many."""
    kept: list[Frames] = []
    stride = 1
    for place, clip in enumerate(clips):
        if place % stride == 0:
            kept.append(clip)
        if len(kept) > 2 * count:
            kept, stride = kept[::2], 2 * stride
    places = np.unique(np.linspace(0, len(kept) - 1, count).round().astype(int))
    return [kept[place] for place in places]


def synthetic_clips(config: ModelConfig, count: int, seed: int = 0) -> Tensor:
    """`count` synthetic training clips that training does not see before its millionth, uint8 `[N, T, C, H, W]`."""
    from svf_edge.data.sample import stack_samples
    from svf_edge.data.synthetic import SyntheticPoseDataset

    places = range(_FIRST_SYNTHETIC, _FIRST_SYNTHETIC + count)
    data = SyntheticPoseDataset("train", places.stop, config.frames, config.frame_size, seed)
    return stack_samples(Subset(data, places))["frames"]


def complaints(clips: Tensor, rates: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """What makes `clips` uint8 `[N, T, C, H, W]` poor for calibration, a sentence each.

    `rates` are the float model's firing rates on them and `recorded` those its checkpoint remembers, by layer.
    """
    found = []
    count = len(clips)
    if count < ENOUGH:
        found.append(f"only {count} clips: {ENOUGH} or more are needed for units that hold on others")
    flat = (clips.float().flatten(2).std(2) < _FLAT).float().mean()
    if flat > 0.1:
        found.append(f"{100 * flat:.0f} % of the frames are black or of one colour; leave them out")
    alike = _repeated(clips)
    if count > 1 and alike > 0.25:
        found.append(f"{100 * alike:.0f} % of the clips look almost like another; use more scenes")
    off = [name for name in rates if name in recorded and _is_off(rates[name], recorded[name])]
    if rates and len(off) > 0.25 * len(rates):
        worst = max(off, key=lambda name: abs(rates[name] - recorded[name]))
        found.append(
            f"{len(off)} of {len(rates)} layers fire unlike the checkpoint's record (most of all {worst}: "
            f"{rates[worst]:.3f} against {recorded[worst]:.3f}); these clips are not what the model was trained for"
        )
    return found


def _repeated(clips: Tensor) -> float:
    """Share of clips whose middle frame resembles that of an earlier clip."""
    middle = clips[:, clips.shape[1] // 2].float()
    thumbs = F.interpolate(middle, size=(8, 8), mode="area").flatten(1)
    distance = torch.cdist(thumbs, thumbs, p=1) / thumbs.shape[1]
    return float(
        (distance.tril(-1) + distance.new_ones(distance.shape).mul(1e9).triu()).amin(1).lt(_ALIKE).float().mean()
    )


def _is_off(rate: float, recorded: float) -> bool:
    absolute, relative = _RATE_MARGIN
    return abs(rate - recorded) > max(absolute, relative * recorded)
