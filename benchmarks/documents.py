"""Write the parts of the documents that hold numbers, from stored result files.

    python -m benchmarks.documents [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. `--check` writes nothing and fails when
a part is out of date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from svf_edge.files import write_text
from svf_edge.runtimes.latency import NOISY_TAIL, NOISY_VARIATION, Distribution

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
DOCUMENTS = ("README.md", "docs/benchmarks.md", "docs/calibration.md", "docs/experiments.md")


def _load(name: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def _distributions(case: Mapping[str, Any]) -> dict[str, Distribution]:
    return {
        name: Distribution.of([run for turn in turns for run in turn]) for name, turns in case["samples_ms"].items()
    }


def _soundness(stats: Distribution) -> str:
    """A verdict on the measurement itself, by the rule of `svf-edge bench`."""
    return "noisy" if stats.variation > NOISY_VARIATION or stats.p99 > NOISY_TAIL * stats.p50 else "good"


def headline() -> str:
    """One sentence with the paired ratio on one thread."""
    result = _load("end_to_end")
    case = next(case for case in result["cases"] if case["threads"] == 1)
    stats = _distributions(case)
    packed, fp32, int8 = (stats[name].p50 for name in ("packed", "fp32", "int8 QDQ"))
    worst = "noisy" if "noisy" in map(_soundness, stats.values()) else "good"
    return (
        f"On one thread of an {result['machine']['cpu']}, ONNX Runtime with the packed operators runs the shipped "
        f"`{result['model']}` network in **{packed:.1f} ms** for {result['frames'][0]} frames: "
        f"**{fp32 / packed:.1f} times faster** than ONNX Runtime runs the same network in float32 ({fp32:.1f} ms), and "
        f"{int8 / packed:.1f} times faster than its own int8 form of it ({int8:.1f} ms). Medians of "
        f"{stats['fp32'].count} runs in turns on the shipped clip, {result['spikes_per_neuron']:.2f} "
        f"spikes per neuron and frame; the measurement judged itself {worst}."
    )


def table() -> str:
    """Medians and tails of every variant and thread count."""
    result = _load("end_to_end")
    lines = [
        "| threads | variant | p50 ms | p90 ms | p99 ms | vary | measurement | against fp32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in result["cases"]:
        distributions = _distributions(case)
        for name, stats in distributions.items():
            lines.append(
                f"| {case['threads']} | {name} | {stats.p50:.2f} | {stats.p90:.2f} | {stats.p99:.2f} | "
                f"{stats.variation:.0%} | {_soundness(stats)} | {distributions['fp32'].p50 / stats.p50:.2f}x |"
            )
    machine, versions = result["machine"], result["versions"]
    lines += [
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; kernels {result['kernels']}; onnxruntime "
        f"{versions['onnxruntime']}; {result['date']}; {result['spikes_per_neuron']:.2f} spikes per neuron and "
        f"frame; load average {result['load_before'][0]:.1f} before the measurement.",
    ]
    return "\n".join(lines)


def demo() -> str:
    """The demo's table."""
    result = _load("demo")
    lines = [
        "| runtime | spikes compared | differing | outputs | p50 ms | p90 ms | p99 ms | file kB | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        if "p50" not in row:
            lines.append(f"| {row['runtime']} | {row['verdict']} | | | | | | | |")
            continue
        lines.append(
            f"| {row['runtime']} | {row['compared'] / 1e6:.2f} M | **{row['differing']}** | "
            f"{'exact' if row['exact'] else 'differ'} | {row['p50']:.2f} | {row['p90']:.2f} | {row['p99']:.2f} | "
            f"{row['file_bytes'] / 1e3:.0f} | {row['peak_memory'] / 2**20:.0f} |"
        )
    return "\n".join([*lines, "", *result["remarks"]])


def calibration() -> str:
    """What integers cost the shipped model."""
    result = _load("calibration")
    lines = [
        "| weights | PCK@0.1 | PCK@0.2 | MPJPE px | firing rate | stored kB | seconds to calibrate |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        metrics = row["metrics"]
        size = "" if row["bytes"] is None else f"{row['bytes'] / 1e3:.0f}"
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        lines.append(
            f"| {row['name']} | {metrics['pck@0.1']:.4f} | {metrics['pck@0.2']:.4f} | {metrics['mpjpe_px']:.2f} | "
            f"{metrics['firing_rate']:.4f} | {size} | {seconds} |"
        )
    machine = result["machine"]
    lines += [
        "",
        f"The shipped model on {result['labelled']} synthetic clips of unseen motions; calibrated on {result['clips']} "
        f"clips without labels, on one thread of an {machine['cpu']}.",
    ]
    return "\n".join(lines)


def study(group: str) -> str:
    """The runs of one group beside the network they differ from: means over seeds, and the seeds' least and most."""
    result = _load("study")
    base = [run for run in result["runs"] if run["variant"] == result["base"]]
    runs = [run for run in result["runs"] if run["group"] == group and run["variant"] != result["base"]]
    lines = [
        "| network | seeds | float PCK@0.1 | float PCK@0.2 | integer PCK@0.2 | firing rate per level | minutes a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant in dict.fromkeys(run["variant"] for run in (*base, *runs)):
        same = [run for run in (*base, *runs) if run["variant"] == variant]
        integer = _spread([run["integer"]["pck@0.2"] for run in same if run["integer"]])
        rate = _spread([run["firing_rate"] for run in same if run["integer"]])
        fine, coarse = (_spread([run["float"][f"pck@{t}"] for run in same]) for t in ("0.1", "0.2"))
        minutes = sum(run["seconds"] for run in same) / len(same) / 60
        lines.append(f"| {variant} | {len(same)} | {fine} | {coarse} | {integer} | {rate} | {minutes:.1f} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    """Mean, and the range where there are several."""
    if not values:
        return ""
    mean = sum(values) / len(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"


PARTS: Mapping[str, Callable[[], str]] = {
    "demo": demo,
    "headline": headline,
    "end_to_end": table,
    "calibration": calibration,
    **{f"study_{group}": partial(study, group) for group in ("attention", "twin", "levels", "optimiser", "rate")},
}


def render(text: str) -> str:
    """`text` with every generated part made anew. Raises `KeyError` for an unknown part."""
    return re.sub(
        r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}",
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if render(text) != text:
            stale.append(name)
            if "--check" not in sys.argv:
                write_text(path, render(text))
    print("out of date: " + ", ".join(stale) if stale else "up to date")
    if stale and "--check" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()
