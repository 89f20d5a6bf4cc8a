"""JetPack 6's compiler (NVRTC 12.6) takes the kernels for Orin (sm_87)."""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "runtimes" / "native"
KERNELS = ("attention_kernels.h", "attention_products.h", "convolution_kernels.h", "layout_kernels.h", "lif_kernels.h")
# NVRTC brings no C headers; the kernels need these types of them.
HEADERS = {
    "stddef.h": "",
    "stdint.h": """
        #pragma once
        typedef signed char int8_t;
        typedef unsigned char uint8_t;
        typedef int int32_t;
        typedef unsigned int uint32_t;
        typedef long long int64_t;
        typedef unsigned long long uint64_t;
    """,
}


@pytest.fixture(scope="module")
def nvrtc() -> ctypes.CDLL:
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("cuda_nvrtc/lib/libnvrtc.so.12"):
            return ctypes.CDLL(str(path))
    pytest.skip("not installed: nvidia-cuda-nvrtc-cu12 (dependency group 'cuda')")


def compiled(nvrtc: ctypes.CDLL, source: str, architecture: str) -> tuple[int, str]:
    """Status of a compilation, and the compiler's words."""
    program = c_void_p()
    texts = (c_char_p * len(HEADERS))(*(text.encode() for text in HEADERS.values()))
    names = (c_char_p * len(HEADERS))(*(name.encode() for name in HEADERS))
    created = nvrtc.nvrtcCreateProgram(byref(program), source.encode(), b"kernels.cu", len(HEADERS), texts, names)
    assert created == 0
    # The CPU's kernel sets are declared in the same headers, and no kernel reads them.
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "--device-as-default-execution-space"]
    options.append("--diag-suppress=20044")
    options += [f"--include-path={NATIVE / folder}" for folder in ("cuda", "core")]
    status = nvrtc.nvrtcCompileProgram(
        program, len(options), (c_char_p * len(options))(*(option.encode() for option in options))
    )
    size = c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(byref(program))
    return status, log.value.decode()


def test_version(nvrtc: ctypes.CDLL) -> None:
    major, minor = c_int(), c_int()
    assert nvrtc.nvrtcVersion(byref(major), byref(minor)) == 0
    assert (major.value, minor.value) == (12, 6)


def test_kernels_compile(nvrtc: ctypes.CDLL) -> None:
    used = """
        template __global__ void svf::count_kernel<true>(svf::AttentionShape, const uint32_t*, int32_t*);
        template __global__ void svf::apply_kernel<true>(svf::AttentionShape, const uint32_t*, const int32_t*, int,
                                                         int32_t*);
        template __global__ void svf::summary_kernel<false>(svf::AttentionShape, const uint32_t*, int32_t*);
        template __global__ void svf::output_kernel<false>(svf::AttentionShape, const uint32_t*, const int32_t*,
                                                           int32_t*);
        template __global__ void svf::product_kernel<svf::SpikeChunks, 1, true>(svf::ConvWork);
        template __global__ void svf::product_kernel<svf::ByteChunks, 2, false>(svf::ConvWork);
        template __global__ void svf::depthwise_kernel<true>(svf::ConvWork);
        template __global__ void svf::convolve_kernel<false>(svf::ConvWork);
        template __global__ void svf::carrier_lif_kernel<float, int8_t>(svf::CarrierWork<float, int8_t>);
    """
    source = "".join(f'#include "{name}"\n' for name in KERNELS) + used
    status, log = compiled(nvrtc, source, "sm_87")
    assert (status, log) == (0, "")


def test_a_fault_is_seen(nvrtc: ctypes.CDLL) -> None:
    status, log = compiled(nvrtc, '#include "lif_kernels.h"\n__global__ void f() { svf::lif_kernel(); }', "sm_87")
    assert status != 0
    assert "lif_kernel" in log
