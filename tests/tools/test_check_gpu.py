"""The script that checks a GPU, as far as a machine without one goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from svf_edge.runtimes.torch_cuda import TorchCuda, unable_to_run

SCRIPT = Path(__file__).parents[2] / "tools" / "check_gpu.py"


def test_without_a_gpu_one_sentence_says_so(tmp_path: Path) -> None:
    reason = unable_to_run()
    if reason is None:
        pytest.skip("there is a GPU here; run tools/check_gpu.py itself")
    result = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), "-o", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"check_gpu: nothing was checked: {reason}\n"
    assert not result.exists()


@pytest.mark.hardware
def test_everything_on_a_gpu(tmp_path: Path) -> None:
    reason = unable_to_run()
    if reason is not None:
        pytest.skip(reason)
    subprocess.run([sys.executable, str(SCRIPT), "--quick", "-o", str(tmp_path / "gpu.json")], check=True)


def test_the_runtime_says_why_it_cannot_run() -> None:
    assert TorchCuda.name == "torch cuda packed"
    reason = unable_to_run()
    if reason is not None:
        assert reason.startswith("needs ")
