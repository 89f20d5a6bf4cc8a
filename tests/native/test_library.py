"""Finding the native libraries and choosing their kernel set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from svf_edge.errors import MissingLibrary, UnsupportedInput
from svf_edge.export import ops


def test_the_fastest_kernels_run_by_default() -> None:
    isas = ops.available_isas()
    assert isas[:2] == ["reference", "portable"]
    assert ops.current_isa() == (os.environ.get("SVF_ISA") or isas[-1])


def test_a_forced_kernel_set_is_undone() -> None:
    before = ops.current_isa()
    with pytest.raises(KeyError), ops.force_isa("reference"):
        assert ops.current_isa() == "reference"
        raise KeyError
    assert ops.current_isa() == before


def test_an_unknown_kernel_set_is_refused() -> None:
    says = r"'sse9' is not available here; choose one of: reference portable"
    with pytest.raises(UnsupportedInput, match=says), ops.force_isa("sse9"):
        pass


def test_the_environment_chooses_the_kernel_set() -> None:
    code = "from svf_edge.export.ops.library import current_isa; print(current_isa())"
    environment = os.environ | {"SVF_ISA": "portable"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "portable"


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVF_NATIVE_DIR", str(tmp_path))
    with pytest.raises(MissingLibrary, match=rf"libsvf_ort\.so was not found \(looked in: {tmp_path}\)"):
        ops.find_library("svf_ort")


def test_a_broken_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libsvf_core.so").write_bytes(b"not a library")
    monkeypatch.setenv("SVF_NATIVE_DIR", str(tmp_path))
    with pytest.raises(MissingLibrary, match="could not be loaded"):
        ops.available_isas()
