"""Event-camera frames from ordinary frames, and any pose data set seen through an event camera.

A pixel of an event camera remembers a level of log intensity and fires whenever the present one has left it by a
threshold, moving the level by that threshold (Rebecq et al., "ESIM: an Open Event Camera Simulator", CoRL 2018).
Between two frames the log intensity is taken to change linearly. Intensities below 20 of 255 are mapped linearly and
not by the logarithm, as otherwise one grey level of sensor noise in the dark would be many events; thresholds differ
from pixel to pixel (both: Hu et al., "v2e: From Video Frames to Realistic DVS Events", CVPRW 2021). Refractory periods,
leak and shot noise are not simulated, and 8-bit frames are used as they are, without undoing their gamma.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.data import Dataset

from svf_edge.data.sample import Sample, stretch
from svf_edge.errors import UnsupportedInput

Frames = NDArray[np.uint8]

_LINEAR_BELOW: Final = 20.0
_LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601
_SMALLEST_THRESHOLD: Final = 0.01


class EventCamera(BaseModel):
    """What a simulated sensor does; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: Annotated[float, Field(ge=_SMALLEST_THRESHOLD)] = 0.15
    """Change of log intensity (natural logarithm) that makes an event."""
    threshold_noise: Annotated[float, Field(ge=0)] = 0.03
    """Standard deviation of a pixel's thresholds, drawn once per clip."""
    polarity: bool = True
    """Count ON and OFF events in channels of their own; without it in one."""
    slices: Annotated[int, Field(ge=1, le=32)] = 1
    """Equal parts of a frame interval, each counted in channels of its own."""
    binary: bool = False
    """Say only whether there was an event, not how many."""

    @property
    def channels(self) -> int:
        """Channels of an event frame: slice by slice, in each ON before OFF."""
        return self.slices * (2 if self.polarity else 1)


MMHPSD_CAMERA: Final = EventCamera(polarity=False, slices=4, binary=True)
"""Four binary channels, one for each quarter of the interval: frames like those of MMHPSD."""


def log_intensity(frames: Frames) -> NDArray[np.float32]:
    """Lin-log intensity float32 `[T, H, W]` of RGB (or single-channel) frames uint8 `[T, 3 or 1, H, W]`."""
    if frames.shape[1] == 3:
        grey = np.tensordot(frames.astype(np.float32), np.array(_LUMA, dtype=np.float32), axes=(1, 0))
    else:
        grey = frames[:, 0].astype(np.float32)
    linear = grey * np.float32(np.log(_LINEAR_BELOW) / _LINEAR_BELOW)
    return np.where(grey < _LINEAR_BELOW, linear, np.log(np.maximum(grey, 1.0))).astype(np.float32)


def simulate_events(frames: Frames, camera: EventCamera, rng: np.random.Generator) -> Frames:
    """Event counts uint8 `[T, C, H, W]` of the T intervals between T + 1 frames uint8 `[T + 1, 3 or 1, H, W]`.

    Counts above 255 stay at 255. Raises UnsupportedInput for other shapes or dtypes, or fewer than two frames.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1] not in (1, 3) or len(frames) < 2:
        raise UnsupportedInput(
            f"events need at least two frames uint8 [T, 3 or 1, H, W], not {frames.dtype} {list(frames.shape)}; "
            f"ask the data set for one frame more than event frames are wanted"
        )
    level = log_intensity(frames)
    noise = rng.standard_normal((2, *level.shape[1:]), dtype=np.float32) * np.float32(camera.threshold_noise)
    on_threshold, off_threshold = np.maximum(np.float32(camera.threshold) + noise, np.float32(_SMALLEST_THRESHOLD))
    reference = level[0].copy()
    counts = np.zeros((len(level) - 1, camera.slices, 2, *level.shape[1:]), dtype=np.uint8)
    for interval, (before, after) in enumerate(pairwise(level)):
        for part in range(camera.slices):
            change = before + (after - before) * np.float32((part + 1) / camera.slices) - reference
            on = np.floor(np.maximum(change, 0) / on_threshold)
            off = np.floor(np.maximum(-change, 0) / off_threshold)
            reference += on * on_threshold - off * off_threshold
            counts[interval, part] = np.minimum(np.stack([on, off]), 255)
    if not camera.polarity:
        counts = np.minimum(counts.sum(axis=2, keepdims=True, dtype=np.uint16), 255).astype(np.uint8)
    if camera.binary:
        counts = np.minimum(counts, 1)
    return counts.reshape(len(counts), camera.channels, *level.shape[1:])


class EventClips(Dataset[Sample]):
    """A pixel data set of T + 1 frames as an event data set of T, labels being those at the end of each interval.

    `frames` of a sample become uint8 `[T, camera.channels, H, W]`, for a model with `input: events` and as many
    channels. Item i depends on (seed, i) and item i of `clips` alone.
    """

    def __init__(self, clips: Dataset[Sample], camera: EventCamera | None = None, seed: int = 0) -> None:
        self.clips, self.camera, self.seed = clips, camera or EventCamera(), seed

    def __len__(self) -> int:
        return len(self.clips)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        clip = self.clips[index]
        rng = np.random.default_rng([self.seed, index])
        events = simulate_events(clip["frames"].numpy(), self.camera, rng)
        return {**stretch(clip, 1, len(clip["frames"])), "frames": torch.from_numpy(events)}
