"""Checkpoints: weights, configuration and how they came to be, in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from svf_edge.errors import BadFile
from svf_edge.tensorfile import read_tensors, write_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A state dict with the JSON-able configuration that builds its model.

    `meta` records how it was trained and what it reaches (metrics, firing rates).
    """

    config: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write to `path`, atomically."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self.state.items()}
        write_tensors(path, "checkpoint", {"config": dict(self.config), "meta": dict(self.meta)}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read `path`. Raises `BadFile` or `ContractMismatch`."""
        header, arrays = read_tensors(path, "checkpoint")
        config, meta = header.get("config"), header.get("meta")
        if not isinstance(config, dict) or not isinstance(meta, dict):
            raise BadFile(f"{path}: the checkpoint has no configuration; make it again with `svf-edge train`")
        return cls(config, {name: torch.from_numpy(array) for name, array in arrays.items()}, meta)
