"""A step of the shipped stream model, for windows of 8 and of 64 frames, step against step.

python -m benchmarks.streams
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.progress import track

from benchmarks.turns import RESULTS, Run, conditions, store
from svf_edge.data.video import read_clip
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.model_store import load_model
from svf_edge.program import Attention, Program
from svf_edge.program.freeze import freeze
from svf_edge.runtimes.base import Clip
from svf_edge.runtimes.parity import run_parity
from svf_edge.runtimes.registry import find_runtime
from svf_edge.runtimes.stream import StreamSession
from svf_edge.shipped import CHECKPOINT, CLIP, STREAM_CHECKPOINT

RUNTIME = "onnxruntime packed"
WINDOWS = (8, 64)
STEPS = 80  # of the clip on which parity is proven: more than the longest window
PAIRS = 100
WARM_UP = 64  # a turn begins with windows that are full


def main(turns: int = 40) -> None:
    """Measure and write the result file. In every turn new sessions take steps in alternation."""
    model, meta = load_model(STREAM_CHECKPOINT)
    _, clip_meta = load_model(CHECKPOINT)
    program = freeze(model, steps=STEPS)
    clip = read_clip(CLIP, STEPS, program.frames.shape[2:])
    with tempfile.TemporaryDirectory() as folder:
        bundles = {
            f"window {window}": _bundle(with_window(program, window), Path(folder) / str(window), clip)
            for window in WINDOWS
        }
        samples: dict[str, list[list[float]]] = {name: [] for name in bundles}
        for _ in track(range(turns), "turns"):
            for name, times in _turn(bundles, clip).items():
                samples[name].append(times)
    result = {
        **conditions("onnxruntime"),
        "runtime": RUNTIME,
        "frames": list(program.frames.shape),
        "models": {"clip": _reached(clip_meta), "stream": _reached(meta)},
        "samples_ms": samples,
    }
    store(RESULTS / "streams.json", result)


def with_window(program: Program, window: int) -> Program:
    """`program` with causal attention over `window` frames."""
    nodes = (replace(node, window=window) if isinstance(node, Attention) else node for node in program.nodes)
    return replace(program, nodes=tuple(nodes))


def _bundle(program: Program, folder: Path, clip: Clip) -> Bundle:
    """A stream bundle that is exact on `clip`. Raises `SystemExit` otherwise: a time would be worthless."""
    bundle = write_bundle(program, folder, {CLIP.name: clip}, form="stream", targets=["onnx"])
    if not (report := run_parity(bundle, {CLIP.name: clip}, [RUNTIME])):
        raise SystemExit(str(report))
    return bundle


def _turn(bundles: Mapping[str, Bundle], clip: Clip) -> dict[str, list[float]]:
    """Milliseconds of steps of every bundle, each step next to one of every other, first one first and then another."""
    with ExitStack() as stack:
        steps = {name: stack.enter_context(_steps(bundle, clip)) for name, bundle in bundles.items()}
        for step in steps.values():
            for _ in range(WARM_UP):
                step()
        times: dict[str, list[float]] = {name: [] for name in steps}
        for pair in range(PAIRS):
            for name in list(steps)[:: -1 if pair % 2 else 1]:
                began = time.perf_counter_ns()
                steps[name]()
                times[name].append(round((time.perf_counter_ns() - began) / 1e6, 4))
    return times


@contextmanager
def _steps(bundle: Bundle, clip: Clip) -> Iterator[Run]:
    with find_runtime(RUNTIME).open(bundle) as session:
        assert isinstance(session, StreamSession)
        frames = np.split(clip, len(clip))
        turn = iter(range(2**62))
        yield lambda: session.step(frames[next(turn) % len(frames)])


def _reached(meta: dict[str, Any]) -> dict[str, float]:
    return {key: meta["metrics"][key] for key in ("pck@0.1", "pck@0.2", "firing_rate")} | {
        "frames": meta["training"]["model"]["frames"]
    }


if __name__ == "__main__":
    typer.run(main)
