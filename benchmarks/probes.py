"""What one core of this machine can do at best, measured by a few C++ loops built on the spot."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np

from svf_edge.errors import MissingLibrary
from svf_edge.files import atomic_write, sha256

SOURCE = Path(__file__).parent / "native" / "probes.cpp"
BUILD = Path("out/benchmarks/probes")
ROUNDS = 1_000_000


@functools.cache
def _library() -> ctypes.CDLL:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise MissingLibrary("the probes need a C++ compiler; install g++")
    path = BUILD / f"probes-{sha256(SOURCE)[:12]}.so"
    if not path.is_file():
        with atomic_write(path) as temporary:
            command = [compiler, "-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", str(SOURCE), "-o"]
            subprocess.run([*command, str(temporary)], check=True)
    library = ctypes.CDLL(str(path.absolute()))
    library.probe_read.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    library.probe_read.restype = ctypes.c_int64
    for name in ("probe_fma", "probe_dot", "probe_add"):
        getattr(library, name).argtypes = (ctypes.c_int64,)
        getattr(library, name).restype = ctypes.c_int64
    return library


def peak(name: str, tries: int = 5) -> float:
    """Operations a nanosecond of `dot` (bytes), `fma` (float32) or `add` (int16 rows from L1): the best of `tries`.

    0 where the machine has no instruction for it.
    """
    best = 0.0
    for _ in range(tries):
        start = time.perf_counter_ns()
        done = getattr(_library(), f"probe_{name}")(ROUNDS)
        best = max(best, done / (time.perf_counter_ns() - start))
    return best


def read_bandwidth(size: int, tries: int = 5) -> float:
    """Bytes a nanosecond of reading `size` bytes again and again; the best of `tries`."""
    size = max(size // 1024, 1) * 1024
    memory = np.zeros(size + 64, np.uint8)
    memory += 1  # so that every page exists
    address = -(-memory.ctypes.data // 64) * 64
    repeats = max(1, (32 << 20) // size)
    best = 0.0
    for _ in range(tries):
        start = time.perf_counter_ns()
        _library().probe_read(address, size, repeats)
        best = max(best, size * repeats / (time.perf_counter_ns() - start))
    return best
