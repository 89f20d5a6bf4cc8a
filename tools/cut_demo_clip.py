"""Cuts the shipped demo clip out of the demo video of the PyPI package sports2d 0.8.34 (BSD-3-Clause).

Usage: pip download --no-deps sports2d==0.8.34; unzip the wheel; then
    python tools/cut_demo_clip.py <wheel>/Sports2D/Demo/demo.mp4 svf_edge/assets/clips/walk.mp4

The video shows a person walking through the lower half of a still scene. They are found as what differs from the
median frame, a smooth path is fitted to them, and a square window that follows the path is scaled down.
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

from svf_edge.files import atomic_write

FIRST, LAST = 66, 162  # frames, the last one excluded
WINDOW = 560  # pixels of the source
TOP = 994 - WINDOW
SIZE = 256
SEARCH = slice(500, 960)  # rows of the source where the walking person is the only thing that moves
DIFFERENCE = 30  # grey levels


def person_path(frames: list[np.ndarray]) -> np.ndarray:
    """Horizontal centre of the walking person in every frame, from a cubic fit."""
    grey = np.stack([f[SEARCH].mean(axis=2) for f in frames])
    still = np.median(grey[::8], axis=0)
    centres = np.array([np.median(np.nonzero(np.abs(g - still) > DIFFERENCE)[1]) for g in grey])
    index = np.arange(len(frames))
    return np.polynomial.Polynomial.fit(index, centres, 3)(index)


def main(source: Path, target: Path) -> None:
    with av.open(str(source)) as video:
        decoded = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
    path = person_path(decoded[FIRST:LAST])
    with atomic_write(target) as temporary, av.open(str(temporary), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "23", "preset": "veryslow"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame, centre in zip(decoded[FIRST:LAST], path, strict=True):
            left = int(np.clip(round(centre - WINDOW / 2), 0, frame.shape[1] - WINDOW))
            window = Image.fromarray(frame[TOP : TOP + WINDOW, left : left + WINDOW])
            small = window.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            out.mux(stream.encode(av.VideoFrame.from_image(small)))
        out.mux(stream.encode(None))
    print(f"{target}: {LAST - FIRST} frames, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
