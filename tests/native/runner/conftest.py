from __future__ import annotations

import pytest

from svf_edge.export.bundle import Bundle
from tests.runtimes.bundles import every_runtime


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small program for ONNX Runtime and ExecuTorch, with two golden clips."""
    return every_runtime(tmp_path_factory)
