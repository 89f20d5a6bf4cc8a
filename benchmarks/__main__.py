"""Run all benchmarks, or some of them, one after the other in processes of their own.

    python -m benchmarks [PART ...] [--resume]

Each part writes its result file when it is done. `--resume` leaves out the parts that the last run finished.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

DONE = Path("out/benchmarks/done")
PARTS: Mapping[str, Sequence[str]] = {
    "prepare": ("benchmarks.prepare",),
    "shipped": ("benchmarks.end_to_end", "shipped"),
    "mobile_10": ("benchmarks.end_to_end", "mobile"),
    "published_10": ("benchmarks.end_to_end", "10"),
    "published_20": ("benchmarks.end_to_end", "20"),
    "shipped_amx": ("benchmarks.end_to_end", "shipped", "--amx"),
    "published_10_amx": ("benchmarks.end_to_end", "10", "--amx"),
    "profiles": ("benchmarks.profiles",),
    "kernels": ("benchmarks.kernels",),
    "sweep": ("benchmarks.sweep",),
    "scaling": ("benchmarks.scaling",),
    "memory": ("benchmarks.memory",),
    "spacetime": ("benchmarks.spacetime",),
    "energy": ("benchmarks.energy",),
    "kinetics": ("benchmarks.kinetics",),
    "streams": ("benchmarks.streams",),
    "tracking": ("benchmarks.tracking",),
    "instructions": ("benchmarks.instructions",),
    "documents": ("benchmarks.documents",),
}


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(PARTS)}; all by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what the last run finished.")] = False,
) -> None:
    """Run benchmarks. Example: python -m benchmarks kernels documents"""
    chosen = parts or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        raise typer.BadParameter(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    DONE.mkdir(parents=True, exist_ok=True)
    for part in chosen:
        mark = DONE / part
        if resume and mark.exists():
            print(f"{part}: done by the last run")
            continue
        mark.unlink(missing_ok=True)
        start = time.monotonic()
        print(f"{part} ...", flush=True)
        if code := subprocess.run([sys.executable, "-m", *PARTS[part]]).returncode:
            raise typer.Exit(code)
        mark.touch()
        print(f"{part}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    typer.run(main)
