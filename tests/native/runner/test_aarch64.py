"""svf-run built for 64-bit ARM, with the real runtimes of that CPU, emulated: the shipped model fires the same spikes.

What emulation shows is bits, not time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svf_edge.errors import BadFile, SvfError
from svf_edge.export.bundle import Bundle
from svf_edge.export.bundle.native import native_files
from svf_edge.runtimes.runner_schema import ExitCode, RunnerBench, RunnerInfo, RunnerParity
from tests.native.kits import SYSROOT, arm_kit
from tests.native.runner.support import edit
from tests.runtimes.bundles import shipped_packed, with_native

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

# onnxruntime asks here which core it runs on, and qemu 7.2 shows it the x86 file of the host.
CPUINFO = """processor\t: 0
BogoMIPS\t: 100.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files for linux-aarch64."""
    return arm_kit(tmp_path_factory)


@pytest.fixture(scope="module")
def shipped(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped model and clip with files for ARM."""
    return with_native(shipped_packed(tmp_path_factory), tmp_path_factory.mktemp("aarch64") / "bundle", kit)


@pytest.fixture(scope="module")
def emulated(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("root")
    (root / "lib").symlink_to(SYSROOT / "lib")
    (root / "proc").mkdir()
    (root / "proc" / "cpuinfo").write_text(CPUINFO)
    program = shipped.folder / "lib" / "linux-aarch64" / "svf-run"

    def run(*arguments: object, cpu: str = "max") -> subprocess.CompletedProcess[str]:
        command = ["qemu-aarch64", "-cpu", cpu, "-L", str(root), str(program), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    return run


def test_it_knows_that_it_is_emulated(emulated: Run) -> None:
    info = RunnerInfo.model_validate_json(emulated("info").stdout)
    assert (info.machine.platform, info.machine.emulated) == ("linux-aarch64", True)
    assert info.backends == ("executorch", "onnxruntime")


@pytest.mark.parametrize(
    ("runtime", "cpu"),
    [("executorch packed", "cortex-a53"), ("executorch packed", "max"), ("onnxruntime packed", "max")],
)
def test_the_shipped_model_fires_the_same_spikes(shipped: Bundle, emulated: Run, runtime: str, cpu: str) -> None:
    done = emulated("parity", shipped.folder, "--runtime", runtime, cpu=cpu)
    assert done.returncode == ExitCode.OK, done.stderr
    (entry,) = RunnerParity.model_validate_json(done.stdout).runtimes
    assert entry.verdict == "equal"
    assert len(entry.clips[0].layers) == len(shipped.program().lifs)


def test_its_times_are_not_told(shipped: Bundle, emulated: Run) -> None:
    done = emulated("bench", shipped.folder, "--runtime", "executorch packed", "--runs", 1)
    assert done.returncode == ExitCode.OK, done.stderr
    (variant,) = RunnerBench.model_validate_json(done.stdout).variants
    assert variant.measurement is not None
    assert (variant.measurement.timing, variant.measurement.outputs_exact) == (None, True)


def test_a_bundle_for_another_platform_is_named(shipped: Bundle, emulated: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shipped.folder, tmp_path / "bundle"))

    def elsewhere(manifest: dict[str, Any]) -> None:
        ours = [entry for entry in manifest["libraries"] if entry["platform"] == "linux-aarch64"]
        manifest["libraries"] = [{**entry, "platform": "linux-riscv64"} for entry in ours]

    edit(folder, elsewhere)
    done = emulated("parity", folder, "--runtime", "executorch packed")
    assert done.returncode == ExitCode.MISSING_LIBRARY
    assert "holds the operator library 'svf_core' for linux-riscv64, not for linux-aarch64" in done.stderr


def test_our_own_code_stays_small(kit: Path) -> None:
    assert sum(path.stat().st_size for path in kit.glob("*svf*run*")) < 1_000_000


def test_files_for_another_cpu_are_refused(kit: Path, tmp_path: Path) -> None:
    shutil.copytree(kit, tmp_path / "linux-x86_64")
    with pytest.raises(BadFile, match=r"was not built for linux-x86_64"):
        native_files(tmp_path / "linux-x86_64")
    with pytest.raises(SvfError, match="called after its platform"):
        native_files(tmp_path)
