"""The skeleton and the numbers, drawn onto a frame. Needs Pillow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from svf_edge.data.skeleton import JOINT_NAMES, SKELETON
from svf_edge.errors import MissingPackage
from svf_edge.runtimes.tracking.crop import Box
from svf_edge.runtimes.tracking.measures import Glance

LEFT, RIGHT, MIDDLE, FAINT, PAPER = (255, 159, 28), (46, 196, 222), (240, 240, 240), (130, 130, 130), (0, 0, 0)
SURE = 0.35
"""Joints below this score are drawn faint."""


def side_colour(*joints: int) -> tuple[int, int, int]:
    """Colour of a joint, or of the limb between joints: one for each side of the body."""
    sides = {JOINT_NAMES[joint].partition("_")[0] for joint in joints}
    return LEFT if sides == {"left"} else RIGHT if sides == {"right"} else MIDDLE


def draw(
    frame: NDArray[np.uint8],
    points: NDArray[np.float32],
    scores: NDArray[np.float32],
    *,
    box: Box,
    found: bool,
    lines: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """A copy of `frame` (RGB uint8 `[H, W, 3]`) with joints `[J, 2]`, the box around the person, and text.

    Nothing is drawn but the box (dim) while nobody is found.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "track") from error
    image = Image.fromarray(np.ascontiguousarray(frame))
    canvas = ImageDraw.Draw(image)
    unit = max(1, round(min(frame.shape[:2]) / 240))
    corner = (box.left, box.top, box.left + box.width - 1, box.top + box.height - 1)
    canvas.rectangle(corner, outline=MIDDLE if found else FAINT, width=unit)
    if found:
        for start, end in SKELETON:
            sure = bool(min(scores[start], scores[end]) >= SURE)
            ends = [(float(x), float(y)) for x, y in points[[start, end]]]
            canvas.line(ends, fill=side_colour(start, end) if sure else FAINT, width=(2 if sure else 1) * unit)
        for joint, (x, y) in enumerate(points):
            radius = 2 * unit
            colour = side_colour(joint) if scores[joint] >= SURE else FAINT
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=PAPER)
    if lines:
        font = ImageFont.load_default(max(10, 6 * unit))
        canvas.multiline_text(
            (3 * unit, 2 * unit), "\n".join(lines), fill=MIDDLE, font=font, stroke_width=1, stroke_fill=PAPER
        )
    return np.asarray(image)


def caption(glance: Glance, found: bool) -> list[str]:
    """The numbers as two short lines."""
    return [
        f"{glance.frames_per_second:.0f} frames/s  age {glance.age_p50:.0f} ms, p99 {glance.age_p99:.0f}",
        f"network {glance.network_ms:.1f} ms  dropped {glance.dropped}  {glance.cpu_cores:.1f} cores"
        + ("" if found else "  searching"),
    ]
