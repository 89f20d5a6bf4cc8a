"""The CUDA kernels and their launchers, compiled for the host (`cuda/shim.h`)."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svf_edge.export.ops.library import AttentionParams
from tests.native import definitions
from tests.native.cases import LEVELS, pack_levels, random_spikes

SOURCE = Path(__file__).parent / "cuda"


def build(folder: Path, *options: str) -> Path:
    """Configures and builds the kernels on the shim; returns the build folder."""
    configure = ["cmake", "-S", str(SOURCE), "-B", str(folder), *options]
    for command in (configure, ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launchers on the host."""
    library = ctypes.CDLL(str(build(tmp_path_factory.mktemp("shim")) / "libsvf_cuda.so"))
    params = ctypes.POINTER(AttentionParams)
    library.svf_cuda_attention_workspace.argtypes = (params, ctypes.c_int32)
    library.svf_cuda_attention_workspace.restype = ctypes.c_size_t
    library.svf_cuda_attention.argtypes = (params, *[ctypes.c_void_p] * 6)
    return library


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
    params = AttentionParams(
        groups=groups, tokens=tokens, channels=channels, heads=heads, kind=int(not hamming), levels=levels
    )
    workspace = np.empty(host.svf_cuda_attention_workspace(params, 0), np.uint8)
    pointers = [array.ctypes.data for array in (*words, found, workspace)]
    assert host.svf_cuda_attention(params, *pointers, None) == 0
    np.testing.assert_array_equal(found, definitions.attention(*spikes, heads, hamming))
