"""Plots of a report, as text to put into HTML."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from svf_edge.errors import MissingPackage
from svf_edge.runtimes.base import Clip
from svf_edge.tasks.decoding import Pose2d
from svf_edge.tasks.drawing import draw_mask, draw_skeleton, draw_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from svf_edge.tasks.decoding import Read

INK = "#1f2933"
FAINT = "#9aa5b1"
ACCENT = "#0b7285"
WARM = "#e8590c"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "svf-edge",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def latency_plot(samples: Mapping[str, Sequence[float]]) -> str:
    """Every run as a dot, with median and p99, one row a runtime, as inline SVG."""
    with _figure(9, 0.6 + 0.5 * len(samples)) as (figure, axes):
        spread = np.random.default_rng(0)
        for row, values in enumerate(samples.values()):
            p50, p99 = np.percentile(values, (50, 99))
            heights = row + spread.uniform(-0.22, 0.22, len(values))
            axes.plot(values, heights, "o", ms=3, mew=0, color=ACCENT, alpha=0.35, rasterized=len(values) > 300)
            axes.plot([p50, p50], [row - 0.34, row + 0.34], color=INK, lw=2, solid_capstyle="butt")
            axes.plot([p99, p99], [row - 0.34, row + 0.34], color=WARM, lw=2, solid_capstyle="butt")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_yticks(range(len(samples)), list(samples))
        axes.set_ylim(len(samples) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e4e7eb", lw=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("ms per clip (log scale); black: median, orange: p99")
        return _svg(figure)


def rates_plot(rates: Mapping[str, float]) -> str:
    """Firing rate of every layer in running order, as inline SVG."""
    with _figure(9, 0.7 + 0.2 * len(rates)) as (figure, axes):
        rows = np.arange(len(rates))
        percent = [100 * rate for rate in rates.values()]
        axes.barh(rows, percent, height=0.7, color=ACCENT)
        for row, value in enumerate(percent):
            axes.annotate(
                f"{value:.1f}", (value, row), (3, 0), textcoords="offset points", va="center", fontsize=8, color=INK
            )
        axes.set_yticks(rows, list(rates), fontsize=8)
        axes.set_ylim(len(rates) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("spikes per neuron and time step, %")
        return _svg(figure)


def frames_image(clip: Clip, seen: Read | None, classes: Sequence[str] = ()) -> str:
    """Frames uint8 `[T, C, H, W]` side by side with what was seen in them, as a PNG in a data URI."""
    steps, channels, height, width = clip.shape
    shown = np.linspace(0, steps - 1, min(steps, 8)).round().astype(int)
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    with _figure(2.4 * columns, 2.4 * rows * height / width, rows, columns) as (figure, axes):
        for axis in np.ravel(axes):
            axis.axis("off")
        for axis, step in zip(np.ravel(axes), shown, strict=False):
            image = clip[step].transpose(1, 2, 0) if channels == 3 else clip[step].max(0)
            axis.imshow(image, extent=(0, width, height, 0), interpolation="nearest", cmap="gray")
            axis.text(1, 1, f"t={step}", va="top", color="white", fontsize=8, backgroundcolor="#00000080")
            if seen is not None:
                _draw(axis, seen, int(step), classes)
            axis.set(xlim=(0, width), ylim=(height, 0))
        figure.tight_layout(pad=0.2)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def _draw(axis: Axes, seen: Read, step: int, classes: Sequence[str]) -> None:
    """A pose, the classes of pixels, or the best class; 3-D joints have no place in the picture."""
    if isinstance(seen, Pose2d):
        draw_skeleton(axis, seen.points[step], confidence=seen.confidence[step])
    elif seen.dtype == np.uint8:
        draw_mask(axis, seen[step])
    elif seen.ndim == 1:
        best = int(seen.argmax())
        draw_text(axis, f"{classes[best] if best < len(classes) else f'class {best}'} {seen[best]:.0%}")


@contextmanager
def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Iterator[tuple[Figure, Any]]:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingPackage("matplotlib", "report") from error
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots(rows, columns)


def _svg(figure: Figure) -> str:
    """The figure as an SVG element for HTML: no prologue, no metadata, no namespaces."""
    data = io.StringIO()
    figure.savefig(data, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = data.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
