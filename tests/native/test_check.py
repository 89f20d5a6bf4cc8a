"""The C API on random shapes (`check/check.cpp`): every kernel set against the reference set, byte by byte.

The built library on this machine and as other processors under qemu-user, and builds with sanitizers.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from svf_edge.export import ops
from tests.native.kits import SYSROOT, arm_kit
from tests.once import once

SOURCE = Path(__file__).parent / "check"
TOOLCHAIN = Path(__file__).parents[2] / "runtimes/native/toolchains/aarch64-linux-gnu.cmake"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="this machine is no x86-64")
Build = Callable[..., Path]
HERE = f"-DSVF_CORE={ops.find_library('svf_core')}"


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Configures and builds the program with some options; the same options give the same build."""

    def make(*options: str) -> Path:
        def configure_and_build(folder: Path) -> None:
            configure = ["cmake", "-S", str(SOURCE), "-B", str(folder), *options]
            for command in (configure, ["cmake", "--build", str(folder)]):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr

        name = re.sub(r"\W+", "-", f"check {' '.join(Path(option).name for option in options)}")
        return once(tmp_path_factory, name, configure_and_build) / "svf_check"

    return make


def check(command: list[str], sets: list[str]) -> None:
    """Run it; it must have compared exactly these kernel sets, and found no difference."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(": ") for line in done.stdout.splitlines()]
    assert [name for name, _ in lines] == sets
    for _, counts in lines:
        runs, differing = counts.split(" runs, ")
        assert int(runs) > 0
        assert differing == "0 differ"


def test_every_kernel_set_of_this_machine(build: Build) -> None:
    check([str(build(HERE)), "100"], ops.available_isas()[1:])


@on_x86
@needs("qemu-x86_64")
def test_avx2_without_avx512(build: Build) -> None:
    check(["qemu-x86_64", "-cpu", "Haswell", str(build(HERE)), "8"], ["portable", "avx2"])


@on_x86
@needs("qemu-x86_64")
def test_x86_without_avx(build: Build) -> None:
    check(["qemu-x86_64", "-cpu", "Nehalem", str(build(HERE)), "8"], ["portable"])


@pytest.mark.parametrize(
    ("processor", "sets"),
    [
        ("cortex-a53", ["portable", "neon"]),
        ("cortex-a76", ["portable", "neon", "neon-dotprod"]),
        ("max", ["portable", "neon", "neon-dotprod", "neon-i8mm"]),
    ],
)
def test_arm(build: Build, tmp_path_factory: pytest.TempPathFactory, processor: str, sets: list[str]) -> None:
    library = arm_kit(tmp_path_factory) / "libsvf_core.so"
    program = build(f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}", f"-DSVF_CORE={library}")
    check(["qemu-aarch64", "-L", str(SYSROOT), "-cpu", processor, str(program), "8"], sets)


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_sanitizers(build: Build, sanitizers: str) -> None:
    check([str(build(f"-DSVF_SANITIZE={sanitizers}")), "25"], ops.available_isas()[1:])
