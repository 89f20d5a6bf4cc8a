"""A small float model and clips that every test of calibration may share; nothing changes them."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from svf_edge.model.config import parse_config
from svf_edge.model.network import SpikeVideoFormer
from tests.models import float_model, random_clips

SMALL: dict[str, Any] = {
    "embed": (8, 16, 16, 24),
    "conv_blocks": (0, 1, 0),
    "transformer_blocks": (1, 0),
    "heads": 2,
    "conv_ratio": 2,
    "mlp_ratio": 2,
    "head": {"kind": "pose", "joints": 3, "bins": 8, "maps": 2},
    "frames": 2,
    "frame_size": (32, 32),
}


@pytest.fixture(scope="session")
def small_model() -> SpikeVideoFormer:
    """A random float model that behaves like a trained one."""
    return float_model(parse_config(SMALL))


@pytest.fixture(scope="session")
def small_clips(small_model: SpikeVideoFormer) -> Tensor:
    """Twelve clips for it."""
    return random_clips(small_model.config, 12, 1)
