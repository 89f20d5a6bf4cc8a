from __future__ import annotations

import pytest

from svf_edge.export.bundle import Bundle, write_bundle
from tests.programs import noise_clip, random_program


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small program for ONNX Runtime and ExecuTorch, with two golden clips."""
    pytest.importorskip("executorch")
    program = random_program(3)
    clips = {"first": noise_clip(program, 7), "second": noise_clip(program, 8)}
    folder = tmp_path_factory.mktemp("runner") / "bundle"
    return write_bundle(program, folder, clips, targets=("onnx", "executorch"))
