"""Tracking end to end, measured with a camera that stamps its pictures, and beside a peer.

    python3.11 -m venv peer && peer/bin/pip install mediapipe==0.10.21
    python -m benchmarks.tracking --peer peer/bin/python

Cases: the shipped clip at its own rate; a camera faster than the tracker for minutes, whose pictures must not grow old;
a subject at rest, with and without smoothing. Ages are read off what was shown: the window's pixels say which picture
it is, the camera knows when it was captured. The window is real, on SDL's dummy screen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import typer

from benchmarks.stamped_camera import Pixels, StampedCamera, StampedScreen, stamped, still
from svf_edge.errors import SvfError
from svf_edge.export.bundle import Bundle
from svf_edge.files import write_text
from svf_edge.runtimes.latency import Distribution
from svf_edge.runtimes.machine import machine
from svf_edge.runtimes.tracking import PoseTracker
from svf_edge.runtimes.tracking.capture import Capture
from svf_edge.runtimes.tracking.pipeline import Outputs, Run
from svf_edge.runtimes.tracking.shipped_bundle import shipped_bundle
from svf_edge.runtimes.tracking.smoothing import OneEuro
from svf_edge.runtimes.tracking.window import Window
from svf_edge.shipped import CLIP

RESULT = Path(__file__).parent / "results" / "tracking.json"
RATE = 30.0
FAST = 240.0
NOISE = 3.0
TURNS, PASSES = 3, 3
COMPLEXITIES = {"BlazePose full": 1}
"""The one that comes inside the package; the others would be downloaded."""


def case(
    bundle: Bundle, pictures: Sequence[Pixels], rate: float, seconds: float, threads: int, smoothing: OneEuro | None
) -> dict[str, Any]:
    """One run: what the user would feel, by the stamps, and the run's own summary."""
    load = os.getloadavg()
    camera = StampedCamera(pictures, rate, seconds)
    screen = StampedScreen(Window("benchmark"), camera)
    with PoseTracker(bundle, threads=threads) as tracker:
        run = Run(tracker, Capture(camera, every=False), threads, False, smoothing, Outputs(window=screen))
        summary = run.until_the_end()
    screen.close()
    times, ages = np.array(screen.times), np.array(screen.ages_ms)
    minute = ((times - times[0]) // 60).astype(int)
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "rate": rate,
        "load_before": load,
        "niceness": os.nice(0),
        "shown_per_second": (len(times) - 1) / float(times[-1] - times[0]),
        "unreadable": screen.unreadable,
        "age_ms": Distribution.of(screen.ages_ms).model_dump(),
        "age_ms_by_minute": [Distribution.of(list(ages[minute == m])).model_dump() for m in range(minute[-1] + 1)],
        "summary": summary.model_dump(mode="json", exclude={"bundle"}),
    }


def side_by_side(bundle: Bundle, peer: Path, threads: int) -> dict[str, Any]:
    """Ours and the peer's on the shipped clip, in turns, each turn in a fresh process."""
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.npy"
        with av.open(str(CLIP)) as video:
            np.save(frames, np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]))
        ours = [sys.executable, "-m", "benchmarks.tracker_worker", str(frames), str(bundle.folder)]
        worker = Path(__file__).with_name("blazepose_worker.py")
        commands = {"svf-edge": [*ours, str(threads), str(PASSES)]}
        for name, complexity in COMPLEXITIES.items():
            commands[name] = [str(peer), str(worker), str(frames), str(complexity), str(PASSES)]
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for _ in range(TURNS):
            for name, command in commands.items():
                done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
                if done.returncode:
                    raise SvfError(f"{name}: its turn failed ({done.stderr.strip().splitlines()[-1]})")
                turns[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "load_before": load,
        "niceness": os.nice(0),
        "models": {
            name: {
                "ms": Distribution.of([sample for part in parts for sample in part["ms"]]).model_dump(),
                "cpu_ms": float(np.median([part["cpu_ms"] for part in parts])),
                "found": float(np.mean([part["found"] for part in parts])),
                "memory": max(part["memory"] for part in parts),
                "version": parts[0]["version"],
            }
            for name, parts in turns.items()
        },
    }


def _kept(path: Path) -> dict[str, Any]:
    """Cases of an earlier run on this machine: each says when and under which load it was measured."""
    if not path.exists():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    same = all(before["machine"][key] == value for key, value in machine().model_dump(include={"cpu", "cores"}).items())
    return dict(before["cases"]) if same else {}


def main(
    peer: Annotated[Path | None, typer.Option(help="Python of an environment with mediapipe 0.10.21.")] = None,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long the fast camera runs.")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long the other cases run.")] = 30.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A case (clip, fast, rest, rest smoothed, peer); the others stay."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Result file.")] = RESULT,
) -> None:
    """Measure and write the result file. Example: python -m benchmarks.tracking --minutes 1"""
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    bundle = shipped_bundle()
    clip = stamped(CLIP)
    rest = still(clip[0], NOISE, 300)
    plan: dict[str, Callable[[], dict[str, Any]]] = {
        "clip": lambda: case(bundle, clip, RATE, seconds, threads, None),
        "fast": lambda: case(bundle, clip, FAST, 60 * minutes, threads, None),
        "rest": lambda: case(bundle, rest, RATE, seconds, threads, None),
        "rest smoothed": lambda: case(bundle, rest, RATE, seconds, threads, OneEuro()),
    }
    if peer is not None:
        plan["peer"] = lambda: side_by_side(bundle, peer, threads)
    chosen = plan if only is None else {name: plan[name] for name in only}
    cases = _kept(output)
    for name, measure in chosen.items():
        cases[name] = measure()
        result = {
            "machine": machine().model_dump(mode="json"),
            "versions": {name: version(name) for name in ("svf-edge", "onnxruntime", "numpy", "av")},
            "threads": threads,
            "noise": NOISE,
            "cases": cases,
        }
        write_text(output, json.dumps(result, indent=1) + "\n")
        print(f"{name}: done")
    print(output)


if __name__ == "__main__":
    typer.run(main)
