"""Write the parts of the documents that hold numbers, from stored result files.

    python -m benchmarks.documents [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; plots are files in `docs/plots`.
`--check` writes nothing and fails when a part or a plot is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import paper_tables, plots, profile_tables, speed_tables, task_tables, tracking_tables
from benchmarks.results import NotMeasured, load
from svf_edge.files import write_text

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "docs/benchmarks.md",
    "docs/calibration.md",
    "docs/energy.md",
    "docs/experiments.md",
    "docs/profiles.md",
    "docs/runner.md",
    "docs/scaling.md",
    "docs/spacetime.md",
    "docs/tasks/classification.md",
    "docs/tasks/segmentation.md",
    "docs/tracking.md",
)


def demo() -> str:
    """The demo's table."""
    result = load("demo")
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
    result = load("calibration")
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


def runner_sizes() -> str:
    """What a kit for a device weighs."""
    kits = load("runner")["kits"]
    lines = [f"| file | {' | '.join(f'{kit}, kB' for kit in kits)} |", "|---|" + "---|" * len(kits)]
    for name in sorted({name for sizes in kits.values() for name in sizes}):
        cells = (f"{sizes[name] / 1e3:,.0f}" if name in sizes else "" for sizes in kits.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def runner_start() -> str:
    """From the start of svf-run to the first pose."""
    result = load("runner")
    lines = [
        "| runtime | open and check ms | libraries ms | graph ms | first run ms | first pose ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        steps = ("open_ms", "library_ms", "load_ms", "first_run_ms", "first_pose_ms")
        quickest = min(row["starts"], key=lambda start: start["first_pose_ms"])
        cells = " | ".join(f"{quickest[step]:.0f}" for step in steps)
        lines.append(f"| {row['runtime']} | {cells} |")
    starts, machine = len(result["rows"][0]["starts"]), result["machine"]
    busiest = max(row["load"] for row in result["rows"])
    lines += [
        "",
        f"The quickest of {starts} starts, files in the page cache, on {machine['cores']} cores of an {machine['cpu']} "
        f"with a load average of up to {busiest:.1f}.",
    ]
    return "\n".join(lines)


def study(group: str) -> str:
    """The runs of one group beside the network they differ from: means over seeds, and the seeds' least and most."""
    result = load("study")
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


def full_twin() -> str:
    """The spiking network and its dense twin at equal budgets."""
    result = load("pose_runs")
    lines = ["| network | frames seen | float PCK@0.1 | float PCK@0.2 | integer PCK@0.2 |", "|---|---|---|---|---|"]
    for run in result["runs"]:
        if run["name"] in (result["spiking"], result["twin"]):
            seen = sum(row["frames"] for row in run["curve"] if row["phase"] != "qat")
            fine, coarse = (f"{run['float'][f'pck@{t}']:.3f}" for t in ("0.1", "0.2"))
            integer = f"{run['model']['pck@0.2']:.3f}" if "model" in run else ""
            lines.append(f"| {run['name']} | {seen:,} | {fine} | {coarse} | {integer} |")
    return "\n".join(lines)


def full_rates() -> str:
    """What each target of the firing rate costs."""
    result = load("pose_runs")
    lines = [
        "| charge | firing rate per level | float PCK@0.1 | float PCK@0.2 | lost PCK@0.2 |",
        "|---|---|---|---|---|",
    ]
    charged = [run for run in result["runs"] if run["name"] not in (result["spiking"], result["twin"])]
    for run in charged:
        reached = run["float"]
        lost = charged[0]["float"]["pck@0.2"] - reached["pck@0.2"]
        fine, coarse = (f"{reached[f'pck@{t}']:.3f}" for t in ("0.1", "0.2"))
        lines.append(f"| {run['name']} | {reached['firing_rate']:.3f} | {fine} | {coarse} | {lost:.3f} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    """Mean, and the range where there are several."""
    if not values:
        return ""
    mean = sum(values) / len(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"


END_TO_END = ("end_to_end", "mobile_10", "published_10", "published_20", "end_to_end_amx", "published_10_amx")

PARTS: Mapping[str, Callable[[], str]] = {
    "demo": demo,
    "headline": speed_tables.headline,
    "tracking": tracking_tables.tracking,
    "tracking_peer": tracking_tables.tracking_peer,
    "streams": tracking_tables.streams,
    **{name: partial(speed_tables.end_to_end, name) for name in END_TO_END},
    **{
        part.__name__: part
        for part in (
            speed_tables.convolutions,
            speed_tables.other_kernels,
            speed_tables.roofline,
            speed_tables.sweep,
            speed_tables.scaling,
            speed_tables.memory,
        )
    },
    "instructions": speed_tables.instructions,
    **{
        f"profile_{name}_{part.__name__}": partial(part, index)
        for index, name in enumerate(("shipped", "mobile_10", "published_10"))
        for part in (profile_tables.by_kind, profile_tables.slowest)
    },
    **{
        part.__name__: part
        for part in (
            paper_tables.spacetime,
            paper_tables.energy_shipped,
            paper_tables.energy_sizes,
            paper_tables.energy_published,
            paper_tables.kinetics,
        )
    },
    "calibration": calibration,
    "full_twin": full_twin,
    "full_rates": full_rates,
    "task_classification": partial(task_tables.reached, "action-small"),
    "task_segmentation": partial(task_tables.reached, "parts-small"),
    "runner_sizes": runner_sizes,
    "runner_start": runner_start,
    **{f"study_{group}": partial(study, group) for group in ("attention", "twin", "levels", "optimiser", "rate")},
}


def render(text: str) -> str:
    """`text` with every generated part made anew. Raises `KeyError` for an unknown part."""
    return re.sub(
        r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{_part(match[2])}\n{match[3]}",
        text,
        flags=re.DOTALL,
    )


def _part(name: str) -> str:
    make = PARTS[name]
    try:
        return make()
    except NotMeasured as missing:
        return f"Not measured yet: there is no `benchmarks/results/{missing}.json`."


def main() -> None:
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if render(text) != text:
            stale.append(name)
            if "--check" not in sys.argv:
                write_text(path, render(text))
    for name in plots.stale():
        path = plots.FOLDER / f"{name}.svg"
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv:
            write_text(path, plots.draw(name))
    print("out of date: " + ", ".join(stale) if stale else "up to date")
    if stale and "--check" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()
