"""svf-run on this machine: the size of its own code, and the time from its start to the first pose.

    python -m benchmarks.runner BUNDLE [KIT...]

BUNDLE is one with the shipped model; every KIT is a folder of `tools/device_kit.py`, whose files are weighed. Writes
`results/runner.json`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.results import RESULTS
from svf_edge.export.bundle import Bundle, host_platform
from svf_edge.export.bundle.native import RUNNER
from svf_edge.files import write_text
from svf_edge.runtimes.runner_schema import RunnerBench, RunnerTiming

STARTS = 9
STEPS = ("open_ms", "library_ms", "load_ms", "first_run_ms", "first_pose_ms")
RUNTIMES = ("executorch packed", "executorch portable", "onnxruntime packed", "onnxruntime portable")


def start(program: Path, bundle: Path, runtime: str) -> tuple[RunnerBench, RunnerTiming]:
    """One start of svf-run, with one run of `runtime` beyond the first."""
    command = [str(program), "bench", str(bundle), "--runtime", runtime, "--runs", "1", "--warm-up", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = RunnerBench.model_validate_json(done.stdout)
    measurement = found.variants[0].measurement
    assert measurement is not None and measurement.timing is not None
    return found, measurement.timing


def main() -> None:
    """Command line; see the module's text."""
    folder, *kits = map(Path, sys.argv[1:])
    bundle = Bundle.open(folder)
    program = bundle.library(RUNNER, host_platform())
    if program is None:
        sys.exit(f"{folder}: holds no {RUNNER} for {host_platform()}; export it where it is built")
    rows = []
    for runtime in RUNTIMES:
        starts = [start(program, folder, runtime) for _ in range(STARTS)]
        machine = starts[0][0].machine.model_dump()
        rows.append(
            {
                "runtime": runtime,
                "starts": [{step: getattr(timing, step) for step in STEPS} for _, timing in starts],
                "load": max(found.load_before[0] for found, _ in starts),
            }
        )
    sizes = {kit.name: {file.name: file.stat().st_size for file in sorted(kit.iterdir())} for kit in kits}
    result = {"fingerprint": starts[0][0].fingerprint, "machine": machine, "rows": rows, "kits": sizes}
    write_text(RESULTS / "runner.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
