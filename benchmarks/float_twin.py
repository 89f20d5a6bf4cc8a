"""The honest alternative: the same network as plain float32 ONNX, with every integer rounding taken out.

It is made from the portable graph, which is already the leanest float form we know (one convolution a layer with bias
and BatchNorm folded in, no copies in LIF); torch's own exporter gives a slower graph of the same network.
"""

from __future__ import annotations

import onnx

from svf_edge.export.onnx import portable_model
from svf_edge.program import Program

_ROUNDINGS = ("Floor", "Clip")


def float_twin(program: Program) -> onnx.ModelProto:
    """`program` as a float32 network: convolutions, LIF over time and attention, no floor and no saturation."""
    model = portable_model(program)
    replaced: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        inputs = [replaced.get(name, name) for name in node.input]
        if node.op_type in _ROUNDINGS:
            replaced[node.output[0]] = inputs[0]
            continue
        del node.input[:]
        node.input.extend(inputs)
        kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    constants = [constant for constant in model.graph.initializer if constant.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    onnx.checker.check_model(model)
    return model
