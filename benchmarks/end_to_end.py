"""The shipped network on the shipped clip: our packed operators against float32 and int8, all in ONNX Runtime.

    python -m benchmarks.end_to_end

All variants run in one process and take short turns, so that they share every condition of the machine. Medians are
compared. The result file holds the raw samples and the load of the machine before them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import typer
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from svf_edge.data.video import iter_clips
from svf_edge.export.libraries import find_library
from svf_edge.export.onnx import packed_model, portable_model
from svf_edge.export.ops.library import current_isa
from svf_edge.files import write_text
from svf_edge.model_store import load_model
from svf_edge.program import Program, run
from svf_edge.program.freeze import freeze
from svf_edge.runtimes.machine import machine
from svf_edge.shipped import CHECKPOINT, CLIP

RESULT = Path(__file__).parent / "results" / "end_to_end.json"
WARM_UP = 10
RUNS = 30

Run = Callable[[], NDArray[np.int32]]


def session(model: onnx.ModelProto, clip: NDArray[np.uint8], threads: int, library: Path | None = None) -> Run:
    """A run of `model` on `clip` in a session of its own; denormals are flushed, which favours float networks."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if library is not None:
        options.register_custom_ops_library(str(library))
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: made.run(None, {"frames": clip})[0]


def take_turns(sessions: Mapping[str, Callable[[], Run]], turns: int, label: str) -> dict[str, list[list[float]]]:
    """Milliseconds of `RUNS` runs of every variant in each of `turns` turns.

    A turn opens a session, warms up, measures and lets it go, so that no idle session's threads use the machine.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in sessions}
    for _ in track(range(turns), label):
        for name, open_session in sessions.items():
            go = open_session()
            for _ in range(WARM_UP):
                go()
            turn = []
            for _ in range(RUNS):
                start = time.perf_counter_ns()
                go()
                turn.append((time.perf_counter_ns() - start) / 1e6)
            samples[name].append(turn)
    return samples


def measure(program: Program, clips: Sequence[NDArray[np.uint8]], turns: int) -> dict[str, Any]:
    """Cases of one and two threads. Raises `SystemExit` when a packed or portable output is not exact."""
    clip = clips[0]
    trace = run(program, clip)
    (expected,) = trace.outputs.values()
    twin = float_twin(program)
    models = {
        "fp32": twin,
        "int8 QDQ": int8_twin(twin, clips),
        "portable": portable_model(program),
        "packed": packed_model(program),
    }
    cases = []
    for threads in (1, 2):
        sessions = {
            name: partial(session, model, clip, threads, find_library("svf_ort") if name == "packed" else None)
            for name, model in models.items()
        }
        for name in ("packed", "portable"):
            if not np.array_equal(sessions[name]()(), expected):
                raise SystemExit(f"{name}: outputs differ from the reference; a time would be worthless")
        samples = take_turns(sessions, turns, f"{threads} thread{'s' if threads > 1 else ''}")
        cases.append({"threads": threads, "samples_ms": samples})
    spikes = sum(int(values.sum()) for values in trace.spikes.values())
    return {"spikes_per_neuron": spikes / sum(values.size for values in trace.spikes.values()), "cases": cases}


def main(
    turns: Annotated[int, typer.Option(min=2, help=f"Turns of {RUNS} runs for every variant.")] = 10,
    output: Annotated[Path, typer.Option("--output", "-o", help="Result file.")] = RESULT,
) -> None:
    """Measure and write the result file. Example: python -m benchmarks.end_to_end --turns 20"""
    model, meta = load_model(CHECKPOINT)
    program = freeze(model, meta=meta)
    steps, _, height, width = program.frames.shape
    clips = list(iter_clips(CLIP, steps, (height, width)))
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine().model_dump(mode="json"),
        "versions": {name: version(name) for name in ("svf-edge", "onnxruntime", "numpy")},
        "load_before": os.getloadavg(),
        "kernels": current_isa(),
        "model": model.config.size,
        "frames": list(program.frames.shape),
        "clip": CLIP.name,
        **measure(program, clips, turns),
    }
    write_text(output, json.dumps(result, indent=1) + "\n")
    for case in result["cases"]:
        medians = {name: float(np.median(values)) for name, values in case["samples_ms"].items()}
        print(case["threads"], {name: f"{value:.2f} ms" for name, value in medians.items()})
    print(output)


if __name__ == "__main__":
    typer.run(main)
