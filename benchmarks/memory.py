"""Peak memory of a run, each form in a process of its own.

    python -m benchmarks.memory

A process loads one graph, gives back what loading left over, resets the kernel's high-water mark and runs. Working
memory is the mark after the runs less what was resident before the first one; the total is the highest mark of all,
libraries, weights and Python included.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from benchmarks.networks import Network, shipped, size_15m
from benchmarks.turns import RESULTS, conditions, store
from svf_edge.export.executorch import export_executorch
from svf_edge.export.onnx import packed_model

RESULT = RESULTS / "memory.json"
GRAPHS = Path("out/benchmarks/memory")
CALIBRATION = 2


def measure(network: Network, folder: Path) -> list[dict[str, Any]]:
    """Bytes of every form of `network`; its graphs are written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "clip.npy", network.clips[0])
    (expected,) = network.outputs.values()
    np.save(folder / "expected.npy", expected)
    twin = float_twin(network.program)
    onnx.save(twin, folder / "fp32.onnx")
    onnx.save(int8_twin(twin, network.clips[:CALIBRATION]), folder / "int8.onnx")
    onnx.save(packed_model(network.program, rates=network.rates), folder / "packed.onnx")
    export_executorch(network.program, "packed", folder / "packed.pte", rates=network.rates)
    forms = {"fp32": "fp32.onnx", "int8 QDQ": "int8.onnx", "packed": "packed.onnx", "packed, ExecuTorch": "packed.pte"}
    return [{"network": network.name, "form": form, **_in_process(folder / file)} for form, file in forms.items()]


def _in_process(graph: Path) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.memory_worker", str(graph)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    numbers: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def main() -> None:
    """Measure the shipped network and the 15M size, and write the result file."""
    before = conditions("onnxruntime", "executorch")
    rows = [row for network in (shipped(), size_15m(0.1)) for row in measure(network, GRAPHS / network.name)]
    store(RESULT, {**before, "rows": rows})


if __name__ == "__main__":
    main()
