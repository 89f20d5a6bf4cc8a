"""Paired timing: variants take short turns in one process, so that they share every condition of the machine."""

from __future__ import annotations

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

from svf_edge.export.ops.library import current_isa, find_library
from svf_edge.runtimes.machine import machine

Run = Callable[[], NDArray[Any]]
Inputs = Mapping[str, NDArray[Any]]

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
    """Something to time: `open` gives a run for the length of a turn; `exact` says its output must be the program's."""

    open: Callable[[], AbstractContextManager[Run]]
    exact: bool = False


def take_turns(variants: Mapping[str, Variant], pace: Pace, label: str) -> dict[str, list[list[float]]]:
    """Milliseconds of every run of every variant in each turn.

    A turn opens a session, warms up, measures and lets it go, so that no idle session's threads use the machine.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in variants}
    for _ in track(range(pace.turns), label):
        for name, variant in variants.items():
            with variant.open() as run:
                samples[name].append(turn(run, pace))
    return samples


def turn(run: Callable[[], object], pace: Pace) -> list[float]:
    """Milliseconds of the runs of one turn, at least one."""
    end = time.perf_counter() + pace.seconds / 3
    for _ in range(pace.warm_up):
        run()
        if time.perf_counter() > end:
            break
    taken: list[float] = []
    end = time.perf_counter() + pace.seconds
    while len(taken) < pace.runs:
        start = time.perf_counter_ns()
        run()
        stop = time.perf_counter_ns()
        taken.append((stop - start) / 1e6)
        if stop / 1e9 > end:
            break
    return taken


def check(variants: Mapping[str, Variant], expected: NDArray[Any]) -> None:
    """Run every exact variant once. Raises `SystemExit` when an output is not `expected`."""
    for name, variant in variants.items():
        if variant.exact:
            with variant.open() as run:
                found = run()
                if found.shape != expected.shape or not np.array_equal(found, expected):
                    raise SystemExit(f"{name}: outputs differ from the reference; a time would be worthless")


def onnx_variant(
    model: onnx.ModelProto, inputs: Inputs, threads: int, *, ours: bool = False, exact: bool = False
) -> Variant:
    """`model` in ONNX Runtime; with our operators where `ours`.

    Graph optimisations are all on (the default); denormals are flushed, which favours float networks.
    """
    data = model.SerializeToString()

    @contextmanager
    def opened() -> Iterator[Run]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        if ours:
            options.register_custom_ops_library(str(find_library("svf_ort")))
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        yield lambda: session.run(None, inputs)[0]

    return Variant(opened, exact)


def conditions(*packages: str) -> dict[str, Any]:
    """What belongs beside every result: date, machine, versions of `packages`, load, kernel set, AMX."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine().model_dump(mode="json"),
        "versions": {name: version(name) for name in ("svf-edge", "numpy", *packages)},
        "load_before": os.getloadavg(),
        "kernels": current_isa(),
        "amx": amx(),
    }


def amx() -> str:
    """Whether this CPU has matrix tiles, which edge devices lack and ONNX Runtime would use."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return "unknown"
    return "present" if "amx_int8" in flags else "not present"
