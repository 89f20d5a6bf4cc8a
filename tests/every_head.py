"""The heads of every task on the features of one backbone, as one integer program."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from svf_edge.calib.batchnorm import reestimate
from svf_edge.calib.exponents import inner_exponents
from svf_edge.model.config import ModelConfig, model_config
from svf_edge.model.heads import make_head
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.program import Conv, Lif, Program
from svf_edge.program.freeze import freeze
from svf_edge.quant import quantise
from tests.models import float_model, random_clips

HEADS: Final[dict[str, dict[str, Any]]] = {
    "pose": {},
    "pose3d": {"bins": 32, "maps": 4},
    "classification": {"classes": 20},
    "segmentation": {"classes": 19, "width": 64},
}


class _Heads(nn.ModuleDict):
    """All scores of a frame behind one another, so that all heads are calibrated in one pass."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([head(features).flatten(2) for head in self.values()], 2)


def every_head(size: str, **options: Any) -> Program:
    """Random weights of a named size, with one output a task."""
    configs = {kind: model_config(size, head={"kind": kind, **head}, **options) for kind, head in HEADS.items()}
    clips = [random_clips(configs["pose"], 2, 0)]
    model = float_model(configs["pose"])
    model.add_module("head", _Heads({kind: make_head(config) for kind, config in configs.items()}))
    reestimate(model, clips)
    model = quantise(model.eval(), inner_exponents(model, clips)).eval()
    heads = dict(model.get_submodule("head").named_children())
    return _merged({kind: _with_head(model, config, heads[kind]) for kind, config in configs.items()})


def _with_head(model: SpikeVideoFormer, config: ModelConfig, head: nn.Module) -> Program:
    model.config = config
    model.add_module("head", head)
    return freeze(model)


def _merged(programs: dict[str, Program]) -> Program:
    """The backbone of the first, and every head under the name of its task."""
    first = next(iter(programs.values()))
    nodes = [node for node in first.nodes if not node.name.startswith("head.")]
    outputs = []
    for kind, program in programs.items():
        (output,) = program.outputs
        for node in program.nodes:
            if node.name.startswith("head."):
                assert isinstance(node, Conv | Lif)
                nodes.append(replace(node, name=_under(kind, node.name), source=_under(kind, node.source)))
        outputs.append(replace(output, source=_under(kind, output.source)))
    return Program(first.frames, tuple(nodes), tuple(outputs))


def _under(kind: str, name: str) -> str:
    return f"{kind}.{name.removeprefix('head.')}" if name.startswith("head.") else name
