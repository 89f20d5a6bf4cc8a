"""ExecuTorch programs through ExecuTorch's own runtime, and what a user is told when that cannot work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svf_edge.errors import BadFile, SvfError, UnsupportedInput
from svf_edge.export.executorch import export_executorch
from svf_edge.export.ops import find_library
from svf_edge.export.torch_graph import TorchDialect
from svf_edge.program import Program
from svf_edge.runtimes.executorch import ExecuTorchSession
from tests.export.test_torch_graph import assert_same, expected
from tests.programs import noise_clip, program_of_many_levels, random_program

pytest.importorskip("executorch", reason="needs the executorch extra")

CASES: list[tuple[TorchDialect, dict[str, Any]]] = [
    ("packed", {"mode": "dot", "scope": "temporal", "reset": "soft", "steps": 5}),
    ("packed", {"scope": "spatial", "steps": 1, "pool_shift": 2}),
    ("packed", {"channels": 90, "heads": 2}),
    ("portable", {"mode": "dot", "scope": "temporal", "reset": "soft", "steps": 3}),
    ("portable", {"channels": 90, "heads": 2, "steps": 1, "levels": 2, "size": (9, 9), "pool_shift": 1}),
]


@pytest.mark.parametrize(("dialect", "options"), CASES, ids=lambda value: str(value))
def test_pte_equals_reference(dialect: TorchDialect, options: dict[str, Any], tmp_path: Path) -> None:
    program = random_program(seed=8, **options)
    clip = noise_clip(program, seed=9)
    export_executorch(program, dialect, tmp_path / "p.pte", taps=True)
    with ExecuTorchSession(tmp_path / "p.pte") as session:
        assert_same(session.run(clip), expected(program, clip, dialect))
    if dialect == "portable":
        assert_one_delegate(tmp_path / "p.pte")


def assert_one_delegate(path: Path) -> None:
    """A LIF or an attention that fell out of XNNPACK would be right and slow."""
    from executorch.exir._serialize import _deserialize_pte_binary

    plan = _deserialize_pte_binary(path.read_bytes()).program.execution_plan[0]
    assert [delegate.id for delegate in plan.delegates] == ["XnnpackBackend"]
    assert {operator.name for operator in plan.operators} == {"dim_order_ops::_to_dim_order_copy"}


@pytest.fixture(scope="module")
def small() -> Program:
    return random_program(seed=10, steps=1)


@pytest.fixture(scope="module")
def ptes(small: Program, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`small` in both dialects, without taps."""
    folder = tmp_path_factory.mktemp("pte")
    for dialect in ("packed", "portable"):
        export_executorch(small, dialect, folder / f"{dialect}.pte")
    assert sorted(path.name for path in folder.iterdir()) == ["packed.pte", "portable.pte"]
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("dialect", ["packed", "portable"])
def test_threads_change_no_bit_and_results_are_copies(
    dialect: TorchDialect, small: Program, ptes: dict[str, Path]
) -> None:
    clips = [noise_clip(small, seed) for seed in (11, 12)]
    for threads in (2, 1):
        with ExecuTorchSession(ptes[dialect], threads=threads) as session:
            found = [session.run(clip) for clip in clips]
        for clip, outputs in zip(clips, found, strict=True):
            assert_same(outputs, expected(small, clip, dialect)[:1])


def test_nothing_is_printed(small: Program, ptes: dict[str, Path], tmp_path: Path) -> None:
    """Export and run in a fresh process: neither Python nor native code may chatter."""
    code = (
        "import sys; from svf_edge.runtimes.executorch import ExecuTorchSession as S;"
        "from tests.programs import random_program, noise_clip;"
        "from svf_edge.export.executorch import export_executorch;"
        "p = random_program(seed=10, steps=1); export_executorch(p, 'packed', sys.argv[1]);"
        "S(sys.argv[1]).run(noise_clip(p))"
    )
    done = run_python(code, tmp_path / "p.pte")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that has loaded no library yet."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        check=False,
    )


OPEN = """
import sys
from pathlib import Path
from svf_edge.errors import SvfError
from svf_edge.runtimes.executorch import ExecuTorchSession
try:
    ExecuTorchSession(sys.argv[1], library=Path(sys.argv[2]) if len(sys.argv) > 2 else None)
except SvfError as error:
    print(type(error).__name__, error)
"""


def test_missing_library_names_where_and_what_to_do(ptes: dict[str, Path], tmp_path: Path) -> None:
    done = run_python(OPEN, ptes["packed"], SVF_NATIVE_DIR=str(tmp_path))
    assert done.stdout.startswith("MissingLibrary libsvf_executorch.so was not found"), done
    assert str(tmp_path) in done.stdout


def test_library_without_our_kernels_names_the_operators(ptes: dict[str, Path]) -> None:
    done = run_python(OPEN, ptes["packed"], find_library("svf_core"))
    assert done.stdout.startswith("MissingLibrary"), done
    assert "no kernel for svf::channels_last, " in done.stdout
    assert "svf::spike_conv2d" in done.stdout


def test_broken_library(ptes: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "libsvf_executorch.so"
    broken.write_bytes(b"not a library")
    done = run_python(OPEN, ptes["packed"], broken)
    assert done.stdout.startswith(f"MissingLibrary {broken}: cannot be loaded"), done


def test_another_build_of_the_library(ptes: dict[str, Path], tmp_path: Path) -> None:
    """Silently running the first library for the second bundle would test the wrong file."""
    for name in ("svf_core", "svf_executorch"):
        shutil.copy(find_library(name), tmp_path)
    copy = tmp_path / "libsvf_executorch.so"
    code = OPEN.replace("try:\n", "try:\n    first = ExecuTorchSession(sys.argv[1])\n")
    same = run_python(code, ptes["packed"], copy)
    assert (same.stdout, same.returncode) == ("", 0), same
    copy.write_bytes(copy.read_bytes() + b"\\0")
    other = run_python(code, ptes["packed"], copy)
    assert other.stdout.startswith(f"SvfError {copy}: another build"), other


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def foreign(data: bytes) -> bytes:
    return b"hello" * len(data)


def inverted(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def almost_empty(data: bytes) -> bytes:
    return data[:16]


@pytest.mark.parametrize("harm", [truncated, foreign, inverted, almost_empty])
def test_bad_file(
    harm: Callable[[bytes], bytes], ptes: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.pte"
    path.write_bytes(harm(ptes["portable"].read_bytes()))
    reason = r"ExecuTorch cannot load it .*(File size is too small|file_size_ 16)|is no program of ExecuTorch"
    with pytest.raises(BadFile, match=rf"bad\.pte: ({reason}).*export the program again"):
        ExecuTorchSession(path)
    assert capfd.readouterr().err == ""


def test_missing_or_empty_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"none\.pte: cannot be read \(.*No such file"):
        ExecuTorchSession(tmp_path / "none.pte")
    (tmp_path / "empty.pte").touch()
    with pytest.raises(BadFile, match=r"empty\.pte: cannot be read \(.*empty file"):
        ExecuTorchSession(tmp_path / "empty.pte")


def test_without_executorch_the_extra_is_named(ptes: dict[str, Path]) -> None:
    done = run_python("import sys; sys.modules['executorch'] = None" + OPEN, ptes["portable"])
    assert done.stdout.startswith("MissingPackage package 'executorch' is not installed"), done
    assert "svf-edge[executorch]" in done.stdout


def test_frames_of_another_shape_or_type(small: Program, ptes: dict[str, Path]) -> None:
    clip = noise_clip(small)
    with ExecuTorchSession(ptes["portable"]) as session:
        with pytest.raises(UnsupportedInput, match=r"takes uint8 frames \[1, 3, 13, 10\].*got uint8 \[1, 2, 13, 10\]"):
            session.run(clip[:, :2])
        with pytest.raises(UnsupportedInput, match="got float32"):
            session.run(clip.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(SvfError, match="closed"):
        session.run(clip)


def test_threads_of_open_sessions_cannot_change(ptes: dict[str, Path]) -> None:
    refusal = pytest.raises(UnsupportedInput, match="2 threads, while an ExecuTorch session with 1 is open")
    with ExecuTorchSession(ptes["portable"], threads=1), refusal:
        ExecuTorchSession(ptes["portable"], threads=2)
    with pytest.raises(UnsupportedInput, match="at least 1"):
        ExecuTorchSession(ptes["portable"], threads=0)


def test_failed_export_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedInput):
        export_executorch(program_of_many_levels(), "packed", tmp_path / "p.pte")
    assert list(tmp_path.iterdir()) == []
