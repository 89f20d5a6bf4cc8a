"""Plots of docs/benchmarks.md as SVG, from stored results. Each file ends with a digest of what it shows."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import RESULTS, Line, NotMeasured, distributions, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "docs" / "plots"


def firing_rates(figure: Figure) -> None:
    """The 15M size over firing rates, with the alternatives as level lines."""
    result = load("sweep")
    stats = distributions(result["samples_ms"])
    axes = figure.subplots()
    rates = list(result["spikes_per_neuron"])
    axes.plot([float(rate) for rate in rates], [stats[rate].p50 for rate in rates], "o-", label="packed")
    for name, style in (("int8 QDQ", "--"), ("fp32", ":")):
        axes.axhline(stats[name].p50, color="gray", linestyle=style, label=f"ORT {name}")
    axes.set(xlabel="firing rate, %", ylabel="ms", ylim=(0, None), title=f"{result['model']}, one thread")
    axes.legend()


def scaling(figure: Figure) -> None:
    """Cost over clip length and over tokens with the fitted lines."""
    result = load("scaling")
    for axes, over in zip(figure.subplots(1, 2), ("frames", "tokens"), strict=True):
        for form, samples in result[over].items():
            points = {float(number): one.p50 for number, one in distributions(samples).items()}
            line = Line.fit(points)
            (drawn,) = axes.plot(list(points), list(points.values()), "o", label=form)
            ends = [0.0, max(points)]
            axes.plot(ends, [line.intercept + line.slope * x for x in ends], color=drawn.get_color(), linewidth=1)
        axes.set(xlabel="frames in a clip" if over == "frames" else "tokens in a clip", ylabel="ms", ylim=(0, None))
        axes.legend()


def convolutions(figure: Figure) -> None:
    """Speed of the spike convolutions against ONNX Runtime's int8 over firing rates."""
    rows = load("kernels")["convolutions"]
    axes = figure.subplots()
    for name in dict.fromkeys(row["name"] for row in rows):
        same = [row for row in rows if row["name"] == name]
        stats = [distributions(row["samples_ms"]) for row in same]
        rates = [100 * row["rate"] for row in same]
        (drawn,) = axes.plot(rates, [one["ORT int8"].p50 / one["auto"].p50 for one in stats], "o-", label=name)
        event = [one["ORT int8"].p50 / one["event"].p50 for one in stats]
        axes.plot(rates, event, color=drawn.get_color(), linestyle=":")
    axes.axhline(1.0, color="gray", linewidth=1)
    axes.set(xlabel="firing rate, %", ylabel="times faster than ORT int8 (dotted: event)", ylim=(0, None))
    axes.legend(fontsize="small")


def spacetime(figure: Figure) -> None:
    """Cost of every form of attention over clip length with the fitted lines."""
    rows = load("spacetime")["rows"]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    for axes, mode in zip(figure.subplots(1, len(modes), sharey=True), modes, strict=True):
        for row in (row for row in rows if row["mode"] == mode):
            points = {float(number): one.p50 for number, one in distributions(row["samples_ms"]).items()}
            line = Line.fit(points)
            (drawn,) = axes.plot(list(points), list(points.values()), "o", label=row["form"])
            ends = [0.0, max(points)]
            axes.plot(ends, [line.intercept + line.slope * x for x in ends], color=drawn.get_color(), linewidth=1)
        axes.set(xlabel="frames in a clip", ylabel="ms of CPU time", ylim=(0, None), title=mode)
        axes.legend()


def tasks(figure: Figure) -> None:
    """Each task's metric on validation clips over the steps of a run, with the best guess that looks at no frame."""
    runs = load("tasks")["runs"]
    recipes = list(dict.fromkeys(run["recipe"] for run in runs))
    for axes, recipe in zip(figure.subplots(1, len(recipes), squeeze=False).flat, recipes, strict=True):
        same = [run for run in runs if run["recipe"] == recipe]
        metric = same[0]["headline"]
        for run in same:
            before: dict[str, int] = {}
            for row in run["curve"]:  # a phase counts its own steps
                before[row["phase"]] = row["step"]
            ends = dict(zip(before, [0, *itertools.accumulate(before.values())], strict=False))
            steps = [ends[row["phase"]] + row["step"] for row in run["curve"]]
            axes.plot(steps, [row["reached"] for row in run["curve"]], "o-", label=run["variant"])
        guess = max(values[metric] for values in same[0]["baselines"].values())
        axes.axhline(guess, color="gray", linestyle=":", label="best guess without a frame")
        axes.set(xlabel="steps", ylabel=metric, ylim=(0, None), title=recipe)
        axes.legend(fontsize="small")


def learning(figure: Figure) -> None:
    """PCK of the spiking network and its dense twin over the frames they saw, and PCK over firing rates."""
    result = load("pose_runs")
    curves, rates = figure.subplots(1, 2)
    for run in result["runs"]:
        if run["name"] in (result["spiking"], result["twin"]):
            seen = [frames / 1000 for frames in itertools.accumulate(row["frames"] for row in run["curve"])]
            for metric, style in (("pck@0.2", "o-"), ("pck@0.1", "o:")):
                colour = "C0" if run["name"] == result["spiking"] else "C1"
                label = f"{run['name']}, {metric}"
                curves.plot(seen, [row[metric] for row in run["curve"]], style, color=colour, label=label, markersize=3)
        else:
            rates.plot(run["float"]["firing_rate"], run["float"]["pck@0.2"], "o", label=run["name"])
    curves.set(xlabel="thousand frames seen", ylabel="share of joints", title="unseen synthetic motions")
    curves.legend(fontsize="small")
    rates.set(xlabel="firing rate per level", ylabel="pck@0.2", title="what fewer spikes cost", xlim=(0, None))
    rates.legend(fontsize="small")


PLOTS: Mapping[str, tuple[str, Callable[[Any], None], tuple[float, float]]] = {
    "firing_rates": ("sweep", firing_rates, (6, 3.6)),
    "scaling": ("scaling", scaling, (9, 3.6)),
    "spacetime": ("spacetime", spacetime, (9, 3.6)),
    "convolutions": ("kernels", convolutions, (7, 4)),
    "tasks": ("tasks", tasks, (9, 3.6)),
    "learning": ("pose_runs", learning, (9, 3.6)),
}
"""File name, result file, drawing, size in inches."""


def stale() -> list[str]:
    """Plots whose file does not show the stored result."""
    return [name for name in PLOTS if (FOLDER / f"{name}.svg").is_file() and not _fresh(name)] + [
        name for name in PLOTS if not (FOLDER / f"{name}.svg").is_file() and _measured(name)
    ]


def draw(name: str) -> str:
    """The SVG of one plot. Raises `NotMeasured`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    source, drawing, size = PLOTS[name]
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        drawing(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join([*lines, _mark(source)]) + "\n"


def _mark(source: str) -> str:
    """A comment that changes with the result file."""
    try:
        data = (RESULTS / f"{source}.json").read_bytes()
    except FileNotFoundError as error:
        raise NotMeasured(source) from error
    return f"<!-- {source}.json: {hashlib.sha256(data).hexdigest()} -->"


def _measured(name: str) -> bool:
    return (RESULTS / f"{PLOTS[name][0]}.json").is_file()


def _fresh(name: str) -> bool:
    text = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    return _measured(name) and text.endswith(_mark(PLOTS[name][0]) + "\n")
