"""The calls into the CUDA driver, against a host library with the driver's functions: arguments and order, no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("cuda_host.c")

ROUND_TRIP = """
import numpy as np
from svf_edge.runtimes.cuda import Context, Driver
assert Driver().capability == 121
sent = np.arange(24, dtype=np.int32).reshape(4, 6)
context = Context()
assert context.allocate("sent", sent.nbytes) and context.stream
context.upload("sent", sent.T)
context.synchronize()
found = np.zeros((6, 4), np.int32)
context.download("sent", found)
assert (found == sent.T).all()
context.close()
"""

REASON = """
from svf_edge.runtimes.tensorrt.engine import unable_to_run
print(unable_to_run("tensorrt"))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda")
    flags = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["cc", *flags, str(SOURCE), "-o", str(folder / "libcuda.so.1")], check=True)
    return folder


def python(code: str, libraries: Path, **variables: str) -> str:
    environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_buffers_round_trip_and_are_freed(driver: Path) -> None:
    python(ROUND_TRIP, driver)


def test_a_driver_without_a_gpu(driver: Path) -> None:
    said = python(REASON, driver, SVF_CUDA_STATUS="100")
    assert said == ("needs an NVIDIA GPU (the driver reports: cuInit failed: no CUDA-capable device is detected (100))")


def test_a_driver_with_a_gpu(driver: Path) -> None:
    assert python(REASON, driver) == "None"


def test_a_driver_too_old(tmp_path: Path) -> None:
    subprocess.run(["cc", "-shared", "-x", "c", "/dev/null", "-o", str(tmp_path / "libcuda.so.1")], check=True)
    assert python(REASON, tmp_path).startswith("needs a newer NVIDIA driver (")
