"""What TensorRT 10.3, the oldest one that is served (JetPack 6), makes of a qdq graph, told before anyone builds it.

The tables hold what its ONNX parser accepts of the operators that the exporter may emit, with the types of their data
inputs. Anything else is refused by name: an operator belongs here once a parser was seen to take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from svf_edge.errors import UnsupportedInput
from svf_edge.export.onnx.functions import DOMAIN

_NUMBERS = frozenset({TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64})
_MOVED = _NUMBERS | {TensorProto.INT8, TensorProto.BOOL}
_FLOAT = frozenset({TensorProto.FLOAT})

_OPERATORS: Mapping[str, frozenset[int]] = {
    "Add": _NUMBERS,
    "Cast": _NUMBERS | {TensorProto.UINT8, TensorProto.BOOL},
    "Clip": _FLOAT,
    "Conv": _FLOAT,
    "DequantizeLinear": frozenset({TensorProto.INT8}),
    "Floor": _FLOAT,
    "Mul": _NUMBERS,
    "QuantizeLinear": _FLOAT,
    "ReduceSum": _NUMBERS,
    "Reshape": _MOVED,
    "Sub": _NUMBERS,
    "Transpose": _MOVED,
}

_SCALED = ("QuantizeLinear", "DequantizeLinear")

_INT32, _INT8 = frozenset({TensorProto.INT32}), TensorProto.INT8
_LIF = (frozenset({TensorProto.FLOAT, TensorProto.INT32}), _INT32, _INT32, _INT32)
_WORDS = (_INT32,) * 3
_PLUGINS: Mapping[str, tuple[tuple[frozenset[int], ...], tuple[int, ...]]] = {
    "LifSpikes": (_LIF, (_INT8,)),
    "LifSpikesFrom": ((*_LIF, _INT32), (_INT8, TensorProto.INT32)),
    "LifWords": (_LIF, (TensorProto.INT32,)),
    "LifWordsFrom": ((*_LIF, _INT32), (TensorProto.INT32,) * 2),
    **{f"{kind}Attention": (_WORDS, (TensorProto.INT32,)) for kind in ("Hamming", "Dot")},
    **{f"{kind}CausalAttention": (_WORDS, (TensorProto.INT32,)) for kind in ("Hamming", "Dot")},
    **{f"{kind}AttentionStep": ((*_WORDS, _INT32), (TensorProto.INT32,) * 2) for kind in ("Hamming", "Dot")},
}
"""Types that every plug-in takes, and those that it gives."""


def check_subset(model: onnx.ModelProto, path: str | Path) -> None:
    """Raise `UnsupportedInput`, naming `path`, the node and the fix, unless TensorRT 10.3 is known to take `model`.

    A function body is refused where its node is used: that parser prefers it to the plug-in.
    """
    bodies = {(function.domain, function.name) for function in model.functions}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if (node.domain, node.op_type) in bodies:
            raise _refused(path, node, "has a function body, which TensorRT 10.3 prefers to the plug-in; leave it out")
        taken = [types.get(name, TensorProto.UNDEFINED) for name in node.input]
        if node.domain == DOMAIN and node.op_type in _PLUGINS:
            wanted, given = _PLUGINS[node.op_type]
            if len(taken) != len(wanted) or any(kind not in kinds for kind, kinds in zip(taken, wanted, strict=True)):
                names = ", ".join(_names(sorted(kinds)).replace(", ", " or ") for kinds in wanted)
                raise _refused(path, node, f"takes {_names(taken)}, its plug-in {names}")
            types |= dict(zip(node.output, given, strict=True))
            continue
        if node.domain or node.op_type not in _OPERATORS:
            raise _refused(path, node, "is not among the operators that TensorRT 10.3 is known to take")
        if taken[0] not in _OPERATORS[node.op_type]:
            raise _refused(path, node, f"reads {_names(taken[:1])}, which TensorRT 10.3 does not take there")
        if (
            node.op_type in ("QuantizeLinear", "DequantizeLinear")
            and numpy_helper.to_array(stored[node.input[2]]).any()
        ):
            raise _refused(path, node, f"has a zero point other than 0 ('{node.input[2]}'), which TensorRT refuses")
        types[node.output[0]] = _given(node, taken)


def _given(node: onnx.NodeProto, taken: list[int]) -> int:
    match node.op_type:
        case "Cast":
            return next(attribute.i for attribute in node.attribute if attribute.name == "to")
        case "QuantizeLinear":
            return taken[2]
        case "DequantizeLinear":
            return TensorProto.FLOAT
    return taken[0]


def _names(types: list[int] | tuple[int, ...]) -> str:
    return ", ".join(TensorProto.DataType.Name(number).lower() for number in types)


def _refused(path: str | Path, node: onnx.NodeProto, why: str) -> UnsupportedInput:
    kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return UnsupportedInput(f"{path}: node '{node.name}' ({kind}) {why}")
