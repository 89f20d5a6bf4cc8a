"""Tables of docs/tasks from the stored results of `benchmarks.tasks`."""

from __future__ import annotations

from typing import Any

from benchmarks.results import load

_METRICS = {
    "action-small": ("top1", "top5"),
    "parts-small": ("miou", "pixel_accuracy", "vc4"),
}


def reached(recipe: str) -> str:
    """What a recipe's variants reach beside guesses that look at no frame, and what a clip costs."""
    runs = [run for run in load("tasks")["runs"] if run["recipe"] == recipe]
    metrics = _METRICS[recipe]
    lines = [
        f"| | {' | '.join(metrics)} | spikes per neuron and step | additions a clip, M | minutes of training |",
        "|---|" + "---|" * (len(metrics) + 3),
    ]
    for run in runs:
        cells = " | ".join(_bounded(run["scores"][name]) for name in metrics)
        cost = f"{run['spikes_per_neuron']:.3f} | {run['additions'] / 1e6:.1f} | {run['seconds'] / 60:.1f}"
        lines.append(f"| {run['variant']} | {cells} | {cost} |")
    for name, values in runs[0]["baselines"].items():
        lines.append(f"| {name} | {' | '.join(f'{values[metric]:.3f}' for metric in metrics)} | | | |")
    first = runs[0]
    lines += [
        "",
        f"Integer programs on ONNX Runtime, {first['clips']} {first['description']}; in brackets 95 % bootstrap "
        f"intervals over clips. The same programs in float before quantisation: "
        + ", ".join(f"{run['variant']} {run['float'][run['headline']]:.3f}" for run in runs)
        + f" ({first['headline']}, on the run's own validation clips). Dense, a clip takes "
        f"{first['macs'] / 1e6:.0f} M multiply-accumulates.",
        "",
        "![Validation metric over steps](../plots/tasks.svg)",
        "",
        "All points but the last two or three of a curve are of single frames, which the first phase is trained on.",
    ]
    return "\n".join(lines)


def _bounded(score: dict[str, Any]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
