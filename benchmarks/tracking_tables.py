"""Tables of docs/tracking.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.results import distributions, load, soundness
from svf_edge.runtimes.latency import Distribution

_CASES = {
    "clip": "the shipped clip",
    "fast": "the same, faster than the tracker",
    "rest": "a person at rest",
    "rest smoothed": "a person at rest, smoothed",
}


def tracking() -> str:
    """What a user feels, the parts of it, and under which conditions."""
    result = load("tracking")
    cases = {_CASES[name]: result["cases"][name] for name in _CASES if name in result["cases"]}
    lines = [
        "| source | camera Hz | shown a second | age p50 ms | p99 ms | oldest ms | dropped | jitter px/fr.² | cores |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in cases.items():
        age, summary = case["age_ms"], case["summary"]
        lines.append(
            f"| {name} | {case['rate']:.0f} | {case['shown_per_second']:.1f} | {age['p50']:.1f} | {age['p99']:.1f} | "
            f"{age['max']:.0f} | {summary['dropped']} | {summary['jitter']['shown_px']:.2f} | "
            f"{summary['cpu_cores']:.2f} |"
        )
    stages = {name: case["summary"]["stages_ms"] for name, case in cases.items()}
    names = list(next(iter(stages.values())))
    lines += ["", f"| median ms | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, spreads in stages.items():
        lines.append(f"| {name} | {' | '.join(format(spreads[stage]['p50'], '.2f') for stage in names)} |")
    lines += ["", *_minutes(result["cases"].get("fast")), _conditions(result, cases)]
    return "\n".join(lines)


def _minutes(case: dict[str, Any] | None) -> list[str]:
    if case is None:
        return []
    length = case["summary"]["seconds"] / 60
    whole = case["age_ms_by_minute"][: max(1, int(length))]  # not the frames of a minute that only began
    minutes = ", ".join(format(minute["p99"], ".0f") for minute in whole)
    return [
        f"The fast camera ran for {length:.1f} minutes; p99 of the age in each of them, ms: {minutes}.",
        "",
    ]


def _conditions(result: dict[str, Any], cases: dict[str, Any]) -> str:
    machine = result["machine"]
    runtimes = ", ".join(sorted({case["summary"]["runtime"] for case in cases.values()}))
    loads = "; ".join(
        f"{name}: {case['date']}, {case['load_before'][0]:.1f} at niceness {case['niceness']}"
        for name, case in cases.items()
    )
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {runtimes}, {result['threads']} thread; "
        f"pictures of 256x256 in H.264. When, and the load average before ({loads}). Above {machine['cores']}, other "
        "programs wanted the processor too, and the times are those of a busy machine."
    )


def tracking_peer() -> str:
    """Ours and the peer's in turns on the shipped clip."""
    peer = load("tracking")["cases"].get("peer")
    if peer is None:
        return "Not measured on this machine: `python -m benchmarks.tracking` needs `--peer`."
    lines = [
        "| | runs on | p50 ms | p99 ms | processor ms a frame | peak MiB | measurement |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in peer["models"].items():
        stats = Distribution.model_validate(row["ms"])
        lines.append(
            f"| {name} | {row['version']} | {stats.p50:.1f} | {stats.p99:.1f} | {row['cpu_ms']:.1f} | "
            f"{row['memory'] / 2**20:.0f} | {soundness(stats)} |"
        )
    load_before, when = peer["load_before"][0], peer["date"]
    return "\n".join([*lines, "", f"In turns, each in a fresh process; {when}; load average {load_before:.1f} before."])


def streams() -> str:
    """A step for each window, and what the two shipped models reach."""
    result = load("streams")
    stats = distributions(result["samples_ms"])
    lines = ["| attention over | p50 ms a frame | p90 ms | measurement |", "|---|---|---|---|"]
    for name, of in stats.items():
        lines.append(f"| {name} frames | {of.p50:.3f} | {of.p90:.3f} | {soundness(of)} |")
    short, long = (np.array(samples) for samples in result["samples_ms"].values())
    changes = 100 * (long / short - 1)
    low, high = np.percentile(np.median(changes, axis=1), (25, 75))
    lines += [
        "",
        f"One thread of {result['runtime']}; {changes.size} pairs of steps, one next to the other, in {len(changes)} "
        f"turns; load average {result['load_before'][0]:.1f} before. In the median pair the longer window takes "
        f"{np.median(changes):+.1f} % (quartiles of the turns' medians {low:+.1f} and {high:+.1f} %).",
        "",
        "| model | frames of a validation clip | PCK@0.1 | PCK@0.2 | firing rate per level |",
        "|---|---|---|---|---|",
    ]
    for name, reached in result["models"].items():
        lines.append(
            f"| {name} | {reached['frames']} | {reached['pck@0.1']:.3f} | {reached['pck@0.2']:.3f} | "
            f"{reached['firing_rate']:.3f} |"
        )
    return "\n".join(lines)
