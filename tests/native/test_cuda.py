"""The CUDA kernels and their launchers, compiled for the host (`cuda/shim.h`), against the core's reference."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from svf_edge.errors import UnsupportedInput
from svf_edge.export import ops
from svf_edge.export.ops import cuda, library
from svf_edge.packing import pack_spikes
from svf_edge.program import run
from svf_edge.runtimes.torch_cuda import CudaGraph, CudaSession
from tests.native.examples import VARIANTS, call, example
from tests.once import once
from tests.programs import assert_not_silent, noise_clip, random_program

SOURCE = Path(__file__).parent / "cuda"
SETS = ("simple", "int8", "binary")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Configures and builds the kernels on the shim with some options; the same options give the same folder."""

    def make(*options: str) -> Path:
        def configure_and_build(folder: Path) -> None:
            configure = ["cmake", "-S", str(SOURCE), "-B", str(folder), *options]
            for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr

        return once(tmp_path_factory, re.sub(r"\W+", "-", f"shim {' '.join(options)}"), configure_and_build)

    return make


def check(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "svf_cuda_check"), *arguments]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def found_equal(done: subprocess.CompletedProcess[str]) -> None:
    """Every set must have run, and nothing may differ."""
    assert done.returncode == 0, done.stdout + done.stderr
    counts = [line.split() for line in done.stdout.splitlines() if " runs, " in line]
    assert [(name, differing) for name, _, _, differing, _ in counts] == [(f"{name}:", "0") for name in SETS]
    assert all(int(runs) > 0 for _, runs, *_ in counts)


def barriers(build: Build) -> list[str]:
    """The barriers that the kernels meet."""
    lines = check(build(), "2", "--sites").stdout.splitlines()
    return [line.removeprefix("barrier ") for line in lines if line.startswith("barrier ")]


def test_every_operator_equals_the_reference(build: Build) -> None:
    found_equal(check(build(), os.environ.get("SVF_CUDA_CASES", "12")))


def test_a_missing_barrier_is_caught(build: Build) -> None:
    sites = barriers(build)
    assert len(sites) >= 4
    for site in sites:
        done = check(build(), "6", "--drop", site)
        assert done.returncode == 1, f"without the barrier at {site}: {done.stdout}"


def test_thread_sanitizer(build: Build) -> None:
    folder = build("-DSVF_TSAN=ON")
    found_equal(check(folder, "2"))
    for site in barriers(build):
        done = check(folder, "6", "--drop", site, TSAN_OPTIONS="halt_on_error=1")
        assert "ThreadSanitizer: data race" in done.stderr, f"without the barrier at {site}: {done.stdout}"


@pytest.fixture
def on_shim(build: Build, monkeypatch: pytest.MonkeyPatch) -> Iterator[ctypes.CDLL]:
    """torch's operators go through the launchers of the shim, whose device memory is the host's."""
    library = cuda._load(build() / "libsvf_cuda.so")
    monkeypatch.setattr(cuda, "launchers", lambda: library)
    monkeypatch.setattr(cuda, "takes", lambda device: True)
    monkeypatch.setattr(cuda, "stream", lambda device: None)
    yield library
    library.svf_cuda_set_kernels(None)


@pytest.mark.parametrize(("name", "levels", "residual"), VARIANTS)
def test_operators_of_torch(name: str, levels: int, residual: bool, on_shim: ctypes.CDLL) -> None:
    inputs, attributes = example(name, levels=levels, residual=residual)
    with pytest.MonkeyPatch.context() as patch, ops.force_isa("reference"):
        patch.setattr(cuda, "takes", lambda device: False)
        expected = call(name, inputs, attributes)
    for kernels in SETS:
        with cuda.force_kernels(kernels):
            assert cuda.kernels() == kernels
            found = call(name, inputs, attributes)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other), f"{name}, kernels {kernels}"


NETWORKS = {
    "joint": random_program(),
    "three levels, soft reset": random_program(levels=3, reset="soft"),
    "temporal, dot, head width 45": random_program(channels=90, heads=2, scope="temporal", mode="dot"),
    "causal": random_program(steps=3, scope="causal", window=2),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_whole_network(network: str, on_shim: ctypes.CDLL) -> None:
    program = NETWORKS[network]
    clip = noise_clip(program)
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    session = CudaSession(program, CudaGraph(program, taps=True, device="cpu"))
    for kernels in SETS:
        with cuda.force_kernels(kernels):
            found = session.run(clip)
        np.testing.assert_array_equal(found.outputs["logits"], trace.outputs["logits"])
        for lif in program.lifs:
            wanted = pack_spikes(trace.spikes[lif.name], lif.levels)
            assert (found.spikes[lif.name] == wanted).all(), f"{lif.name}, kernels {kernels}"


def test_what_is_refused(on_shim: ctypes.CDLL) -> None:
    with pytest.raises(UnsupportedInput, match="kernel set 'fast' is not for this GPU; choose simple, int8"):
        cuda.force_kernels("fast").__enter__()
    inputs, _ = example("lif")
    params = library.LifParams(frames=1, positions=1, channels=1, soft_reset=0, levels=16)
    status, said = cuda.call("svf_lif", (params, *inputs, inputs[0]), torch.device("cpu"))
    assert (status, said) == (1, "levels=16 is outside 1..15")
    with pytest.raises(ValueError, match=r"must be on one device, not on cpu, meta"):
        cuda.on_one_device(torch.ops.svf.lif)(*inputs[:3], inputs[3].to("meta"), False)
