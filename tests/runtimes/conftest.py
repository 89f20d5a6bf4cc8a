from __future__ import annotations

import pytest

from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.program import Program
from tests.programs import noise_clip, random_program


@pytest.fixture(scope="session")
def program() -> Program:
    return random_program(3)


@pytest.fixture(scope="session")
def bundle(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """ONNX graphs with one golden clip."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    return write_bundle(program, folder, {"golden": noise_clip(program, 7)}, targets=("onnx",))
