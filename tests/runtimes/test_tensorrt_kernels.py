"""Arithmetic of the TensorRT plug-in's kernels, compiled for the host, against the contract's definition."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.cases import LEVELS, pack_levels, random_spikes

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "runtimes" / "native" / "tensorrt"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("attention") / "libattention_host.so"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{KERNELS}"]
    subprocess.run(["c++", *flags, str(HERE / "attention_host.cpp"), "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    sizes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32, ctypes.c_int]
    library.attention_host.argtypes = sizes + [ctypes.c_void_p] * 4
    library.attention_host.restype = None
    return library


def definition(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, hamming: bool) -> np.ndarray:
    """`[G, N, C]` spikes to int `[G, N, C]`, token by token pair: the quadratic form."""
    groups, tokens, channels = q.shape
    q, k, v = (x.astype(np.int64).reshape(groups, tokens, heads, -1) for x in (q, k, v))
    if hamming:
        q, k = 2 * q - 1, 2 * k - 1
    scores = np.einsum("gnhd,gmhd->ghnm", q, k)
    return np.einsum("ghnm,gmhd->gnhd", scores, v).reshape(groups, tokens, channels)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(1, 3),
    tokens=st.integers(1, 70),
    heads=st.integers(1, 3),
    width=st.sampled_from([1, 5, 8, 32, 45]),
    hamming=st.booleans(),
    rate=st.sampled_from([0.0, 0.15, 0.5, 1.0]),
    levels=st.sampled_from(LEVELS),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_quadratic_definition(
    host: ctypes.CDLL,
    groups: int,
    tokens: int,
    heads: int,
    width: int,
    hamming: bool,
    rate: float,
    levels: int,
    seed: int,
) -> None:
    channels = heads * width
    spikes = random_spikes(np.random.default_rng(seed), (3, groups, tokens, channels), rate, levels)
    words = [np.ascontiguousarray(pack_levels(x, levels)) for x in spikes]
    found = np.full((groups, tokens, channels), -1, np.int32)
    pointers = [array.ctypes.data for array in (*words, found)]
    host.attention_host(groups, tokens, channels, heads, levels, int(hamming), *pointers)
    np.testing.assert_array_equal(found, definition(*spikes, heads, hamming))
