"""Paired timing: variants take short turns in one process, so that they share every condition of the machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from rich.progress import track

from benchmarks import amx
from svf_edge.export.libraries import find_library
from svf_edge.export.ops.library import current_isa
from svf_edge.files import write_text
from svf_edge.runtimes.machine import machine

Run = Callable[[], Any]
Inputs = Mapping[str, NDArray[Any]]
Judge = Callable[[Any], bool]
Clock = Callable[[], int]
"""Nanoseconds since some moment."""

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Pace:
    """How long a variant's turn is: `runs` runs or `seconds`, whichever ends first, after `warm_up` runs."""

    turns: int = 8
    runs: int = 30
    warm_up: int = 5
    seconds: float = 1.0


@dataclass(frozen=True)
class Variant:
    """Something to time: `open` gives a run for the length of a turn; `right` judges its output, where one is due."""

    open: Callable[[], AbstractContextManager[Run]]
    right: Judge | None = None


def take_turns(
    variants: Mapping[str, Variant], pace: Pace, label: str, clock: Clock = time.perf_counter_ns
) -> dict[str, list[list[float]]]:
    """Milliseconds of every run of every variant in each turn, by `clock`.

    A turn opens a session, warms up, measures and lets it go, so that no idle session's threads use the machine.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in variants}
    for _ in track(range(pace.turns), label):
        for name, variant in variants.items():
            with variant.open() as run:
                samples[name].append(turn(run, pace, clock))
    return samples


def turn(run: Callable[[], object], pace: Pace, clock: Clock = time.perf_counter_ns) -> list[float]:
    """Milliseconds of the runs of one turn, at least one.

    With `time.process_time_ns` they are of CPU time: what a run on one thread takes when it is left alone, also on a
    machine that others use.
    """
    end = time.perf_counter() + pace.seconds / 3
    for _ in range(pace.warm_up):
        run()
        if time.perf_counter() > end:
            break
    taken: list[float] = []
    end = time.perf_counter() + pace.seconds
    while len(taken) < pace.runs:
        start = clock()
        run()
        taken.append(round((clock() - start) / 1e6, 4))
        if time.perf_counter() > end:
            break
    return taken


def check(variants: Mapping[str, Variant]) -> None:
    """Run every variant once. Raises `SystemExit` when an output is not right."""
    for name, variant in variants.items():
        with variant.open() as run:
            output = run()
            if variant.right is not None and not variant.right(output):
                raise SystemExit(f"{name}: the output is not what it must be; a time would be worthless")


def onnx_session(
    model: onnx.ModelProto, threads: int, *, ours: bool = False, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """`model` in ONNX Runtime; with our operators where `ours`, profiled into a file that begins with `profile`.

    Graph optimisations are all on (the default); denormals are flushed, which favours float networks.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if ours:
        options.register_custom_ops_library(str(find_library("svf_ort")))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_variant(
    model: onnx.ModelProto,
    inputs: Inputs,
    threads: int,
    *,
    ours: bool = False,
    right: Judge | None = None,
) -> Variant:
    """A whole network as a user runs it: arrays in, a new array out."""

    @contextmanager
    def opened() -> Iterator[Run]:
        session = onnx_session(model, threads, ours=ours)
        yield lambda: session.run(None, inputs)[0]

    return Variant(opened, right)


def bound_variant(model: onnx.ModelProto, inputs: Inputs, right: Judge | None) -> Variant:
    """One operator, one thread, its input and its one output in buffers that stay."""

    @contextmanager
    def opened() -> Iterator[Run]:
        session = onnx_session(model, 1)
        binding = session.io_binding()
        for name, values in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        output = session.get_outputs()[0].name
        binding.bind_output(output)
        session.run_with_iobinding(binding)
        result = binding.get_outputs()[0]
        binding.bind_ortvalue_output(output, result)

        def run() -> onnxruntime.OrtValue:
            session.run_with_iobinding(binding)
            return result

        yield run

    return Variant(opened, None if right is None else lambda output: right(output.numpy()))


def conditions(*packages: str) -> dict[str, Any]:
    """What belongs beside every result: date, machine, versions of `packages`, load, kernel set, AMX.

    Asks for AMX, so it comes after `amx.deny`.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine().model_dump(mode="json"),
        "versions": {name: version(name) for name in ("svf-edge", "numpy", *packages)},
        "load_before": os.getloadavg(),
        "kernels": current_isa(),
        "amx": amx.state(),
    }


def store(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result file; one line for every top-level entry, so that samples do not fill pages."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in result.items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
    print(path)
