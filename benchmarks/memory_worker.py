"""The process that measures the memory of one graph: `python -m benchmarks.memory_worker GRAPH`.

Beside GRAPH lie `clip.npy` and `expected.npy`. Imports as little as it can, for what it imports is in the total.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.runtimes.machine import peak_memory, resident_memory

RUNS = 3


def _load(graph: Path, clip: NDArray[np.uint8]) -> Callable[[], NDArray[Any]]:
    if graph.suffix == ".pte":
        from svf_edge.runtimes.executorch import ExecuTorchSession

        session = ExecuTorchSession(graph)
        return lambda: session.run(clip)[0]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if graph.stem == "packed":
        from svf_edge.export.libraries import find_library

        options.register_custom_ops_library(str(find_library("svf_ort")))
    inference = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda: np.asarray(inference.run(None, {"frames": clip})[0])


def main(graph: Path) -> None:
    """Print JSON: bytes `loaded`, `working` and `total`. Raises `SystemExit` for a packed graph that is not exact."""
    run = _load(graph, np.load(graph.with_name("clip.npy")))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = peak_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark becomes what is resident now
    loaded = resident_memory()
    for _ in range(RUNS):
        output = run()
    working = peak_memory() - loaded
    if graph.stem == "packed" and not np.array_equal(output, np.load(graph.with_name("expected.npy"))):
        raise SystemExit(f"{graph}: outputs differ from the reference; its memory would be worthless")
    print(json.dumps({"loaded": loaded, "working": working, "total": max(before, loaded + working)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
