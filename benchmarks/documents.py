"""Write the parts of the documents that hold numbers, from stored result files.

    python -m benchmarks.documents [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. `--check` writes nothing and fails when
a part is out of date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.end_to_end import RESULT
from svf_edge.files import write_text

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/benchmarks.md")


def _load() -> dict[str, Any]:
    return dict(json.loads(RESULT.read_text(encoding="utf-8")))


def _medians(case: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(np.median(values)) for name, values in case["samples_ms"].items()}


def headline() -> str:
    """One sentence with the paired ratio on one thread."""
    result = _load()
    case = next(case for case in result["cases"] if case["threads"] == 1)
    medians = _medians(case)
    return (
        f"On one thread of an {result['machine']['cpu']}, ONNX Runtime with the packed operators runs the shipped "
        f"`{result['model']}` network in **{medians['packed']:.1f} ms** for {result['frames'][0]} frames, "
        f"**{medians['fp32'] / medians['packed']:.1f} times faster** than ONNX Runtime float32 runs the same network "
        f"({medians['fp32']:.1f} ms); medians of {len(case['samples_ms']['fp32'])} interleaved runs on the shipped "
        f"clip, mean firing rate {100 * result['firing_rate']:.1f} %."
    )


def table() -> str:
    """Medians and tails of every variant and thread count."""
    result = _load()
    lines = [
        "| threads | variant | p50 ms | p90 ms | p99 ms | against fp32 |",
        "|---|---|---|---|---|---|",
    ]
    for case in result["cases"]:
        base = _medians(case)["fp32"]
        for name, values in case["samples_ms"].items():
            p50, p90, p99 = np.percentile(values, (50, 90, 99))
            lines.append(f"| {case['threads']} | {name} | {p50:.2f} | {p90:.2f} | {p99:.2f} | {base / p50:.2f}x |")
    machine, versions = result["machine"], result["versions"]
    lines += [
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; kernels {result['kernels']}; onnxruntime "
        f"{versions['onnxruntime']}; {result['date']}; firing rate {100 * result['firing_rate']:.1f} %; "
        f"{len(result['cases'][0]['samples_ms']['fp32'])} interleaved runs.",
    ]
    return "\n".join(lines)


PARTS: Mapping[str, Callable[[], str]] = {"headline": headline, "end_to_end": table}


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
