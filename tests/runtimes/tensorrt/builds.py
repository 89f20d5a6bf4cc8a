"""Builds of the plug-ins without their kernels, which a compiler alone makes in seconds: for engines never run."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[2] / "runtimes" / "native"
SOURCES = ("plugin.cpp", "attention_plugin.cpp", "lif_plugin.cpp")
_PACKAGES = Path(sysconfig.get_path("purelib"))
_TENSORRT = _PACKAGES / "kernel_lens" / "include" / "tensorrt"
_FLAGS = ("-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations", "-fPIC")


def includes() -> list[str]:
    """Options for the headers of TensorRT and CUDA; skips the test, with the reason, where they are not."""
    cuda = sorted(_PACKAGES.glob("nvidia/cu[0-9]*/include"))
    if not _TENSORRT.is_dir() or not cuda:
        pytest.skip("needs the headers of TensorRT and CUDA: pip install --no-deps kernel-lens nvidia-cuda-runtime")
    ours = [f"-I{NATIVE / name}" for name in ("tensorrt", "cuda", "core")]
    return [*ours, "-isystem", str(_TENSORRT), "-isystem", str(cuda[-1])]


def compile_object(source: Path, target: Path) -> Path:
    """One source file to an object."""
    subprocess.run(["c++", *_FLAGS, "-fvisibility=hidden", *includes(), "-c", source, "-o", target], check=True)
    return target


def link(objects: list[Path], target: Path) -> Path:
    """Objects to a library."""
    subprocess.run(["c++", "-shared", *objects, "-o", target], check=True)
    return target


def compile_program(source: Path, target: Path) -> Path:
    """One source file to a program that opens libraries."""
    subprocess.run(["c++", *_FLAGS, *includes(), source, "-ldl", "-o", target], check=True)
    return target
