"""Clips for golden vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import UnsupportedInput
from svf_edge.program import Frames


def golden_clips(frames: Frames, videos: Sequence[Path]) -> dict[str, NDArray[np.uint8]]:
    """The first frames of each video by file name, or seeded noise when there is none, in the program's input shape.

    Raises `BadFile` for an unreadable video, and `UnsupportedInput` for two of the same name or a program that does not
    take RGB frames.
    """
    steps, channels, height, width = frames.shape
    if not videos:
        return {"seeded noise": np.random.default_rng(0).integers(0, 256, frames.shape, dtype=np.uint8)}
    if channels != 3:
        raise UnsupportedInput(f"the program takes {channels} channels, a video has 3; export without --clip")
    from svf_edge.data.video import read_clip

    clips: dict[str, NDArray[np.uint8]] = {}
    for video in videos:
        if video.name in clips:
            raise UnsupportedInput(f"two videos are called '{video.name}'; golden vectors go by file name, rename one")
        clips[video.name] = read_clip(video, steps, (height, width))
    return clips
