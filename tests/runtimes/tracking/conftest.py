from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.program import load_program
from svf_edge.runtimes.tracking import PoseTracker
from svf_edge.shipped import PROGRAM
from tests.once import once


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped model for ONNX Runtime."""

    def make(folder: Path) -> None:
        write_bundle(load_program(PROGRAM), folder, {}, targets=("onnx",))

    return Bundle.open(once(tmp_path_factory, "tracked", make))


@pytest.fixture
def tracker(shipped: Bundle) -> PoseTracker:
    return PoseTracker(shipped)


@pytest.fixture(scope="session")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 96x64 at 10 Hz, frame i being grey level 10 * i, without loss and without frames out of order."""
    path = tmp_path_factory.mktemp("ramp") / "ramp.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        for level in range(20):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), 10 * level, np.uint8))))
        out.mux(stream.encode(None))
    return path
