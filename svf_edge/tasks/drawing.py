"""Predictions and labels drawn onto a picture with matplotlib, without PyTorch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from svf_edge.data.skeleton import SKELETON

LABEL: Final = "#ffd43b"
PREDICTED: Final = "#e8590c"

_COLOURS: Final = np.array(
    [[31, 119, 180], [255, 127, 14], [44, 160, 44], [214, 39, 40], [148, 103, 189], [140, 86, 75], [227, 119, 194]]
)
"""Of classes from 1 on, over and over; 0 is transparent."""


def draw_skeleton(
    axes: Any,
    points: NDArray[Any],
    shown: NDArray[np.bool_] | None = None,
    confidence: NDArray[Any] | None = None,
    *,
    label: bool = False,
) -> None:
    """Joints `[J, 2]` (px) and the bones between those that are `shown`, the surer the stronger."""
    colour = LABEL if label else PREDICTED
    there = np.ones(len(points), dtype=bool) if shown is None else shown
    sure = np.ones(len(points)) if confidence is None else confidence
    for start, end in SKELETON:
        if max(start, end) < len(points) and there[start] and there[end]:
            alpha = 0.25 + 0.75 * float(min(sure[start], sure[end]))
            axes.plot(*points[[start, end]].T, color=colour, lw=1.6, alpha=alpha, solid_capstyle="round")
    axes.scatter(*points[there].T, s=9, color=colour, edgecolors="black", linewidths=0.4, zorder=3)


def draw_mask(axes: Any, mask: NDArray[np.uint8], *, label: bool = False) -> None:
    """Classes `[H, W]`: a prediction as colours over the picture, a label as outlines."""
    height, width = mask.shape
    if label:
        known = np.where(mask == 255, 0, mask)
        if known.any():
            across, down = np.arange(width) + 0.5, np.arange(height) + 0.5
            axes.contour(across, down, known, levels=np.arange(known.max()) + 0.5, colors=LABEL, linewidths=0.6)
        return
    colours = np.zeros((height, width, 4))
    colours[..., :3] = _COLOURS[(mask.astype(int) - 1) % len(_COLOURS)] / 255
    colours[..., 3] = np.where((mask > 0) & (mask != 255), 0.55, 0)
    axes.imshow(colours, extent=(0, width, height, 0), interpolation="nearest")


def draw_text(axes: Any, text: str, *, label: bool = False) -> None:
    """A class: the label at the top, a prediction at the bottom."""
    place, colour = (0.97, LABEL) if label else (0.03, "white")
    where: dict[str, Any] = {"va": "top" if label else "bottom", "transform": axes.transAxes}
    axes.text(0.03, place, text, color=colour, fontsize=8, backgroundcolor="#000000a0", **where)
