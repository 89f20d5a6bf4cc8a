"""Taps: the spikes of every LIF as further outputs of an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from svf_edge.errors import BadFile
from svf_edge.packing import word_count
from svf_edge.program import Program


def add_taps(model: onnx.ModelProto, program: Program, dialect: str, path: str | Path) -> None:
    """Make the spikes of every LIF of `program` outputs of `model`, which was made from it in `dialect`.

    They follow the outputs in running order: int32 words in the packed dialect, float32 `[T, C, H, W]` in the portable
    one, and in the qdq dialect what each LIF gives there.
    Raises `BadFile`, naming `path`, when the model lacks a LIF's tensor.
    """
    tensors = {name: node.op_type for node in model.graph.node for name in node.output}
    present = {output.name for output in model.graph.output}
    for lif in program.lifs:
        if lif.name not in tensors:
            raise BadFile(f"{path}: has no tensor '{lif.name}', so it was made from another program; export it again")
        if lif.name not in present:
            packed = dialect == "packed" or tensors[lif.name].startswith("LifWords")
            model.graph.output.append(_tap(program, lif.name, packed))


def _tap(program: Program, layer: str, packed: bool) -> onnx.ValueInfoProto:
    steps, channels, height, width = program.types[layer].shape
    if packed:
        levels = program.types[layer].levels
        planes = [levels] if levels > 1 else []
        words = [*planes, steps, height, width, word_count(channels)]
        return helper.make_tensor_value_info(layer, TensorProto.INT32, words)
    return helper.make_tensor_value_info(layer, TensorProto.FLOAT, [steps, channels, height, width])
