"""A thin layer over `onnx.helper`: nodes, constants and fresh names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import svf_edge
from svf_edge.contract import NUMERIC_VERSION, PACKING_VERSION
from svf_edge.program import Program

OPSET = 20
IR_VERSION = 10


class GraphWriter:
    """Collects nodes and initialisers of one graph. Every method that makes a tensor returns its name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """An initialiser; the same name is stored once."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def integers(self, *values: int) -> str:
        """A constant int64 vector, named after its content."""
        return self.constant("i64:" + ",".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: float, wide: bool = False) -> str:
        """A constant float32 scalar, or float64 if `wide`, named after its content."""
        return self.constant(f"f{64 if wide else 32}:{value}", np.array(value, np.float64 if wide else np.float32))

    def op(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        self.ops(kind, inputs, [output], domain, **attributes)
        return output

    def ops(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any
    ) -> None:
        """A node with several outputs."""
        self._nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], domain=domain, **attributes))

    def model(
        self,
        program: Program,
        dialect: str,
        functions: Sequence[onnx.FunctionProto] = (),
        domains: Sequence[str] = (),
        state: Mapping[str, tuple[str, Sequence[int]]] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> onnx.ModelProto:
        """The finished and checked model: `program`'s frames in, its outputs (int32 `[T, C, H, W]`) out.

        `state` names further int32 inputs, each with an output that takes its place in the next run and their shape.
        `properties` are stored in the file beside dialect and versions.
        """
        frames, state = program.frames, state or {}
        graph = helper.make_graph(
            self._nodes,
            f"svf_edge_{dialect}",
            [
                helper.make_tensor_value_info(frames.name, TensorProto.UINT8, frames.shape),
                *(helper.make_tensor_value_info(name, TensorProto.INT32, shape) for name, (_, shape) in state.items()),
            ],
            [
                *(
                    helper.make_tensor_value_info(output.name, TensorProto.INT32, program.types[output.source].shape)
                    for output in program.outputs
                ),
                *(helper.make_tensor_value_info(name, TensorProto.INT32, shape) for name, shape in state.values()),
            ],
            list(self._initializers.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)],
            functions=list(functions),
            ir_version=IR_VERSION,
            producer_name="svf-edge",
            producer_version=svf_edge.__version__,
        )
        versions = {"numeric": str(NUMERIC_VERSION), "packing": str(PACKING_VERSION)}
        helper.set_model_props(model, {"dialect": dialect, **versions, **(properties or {})})
        onnx.checker.check_model(model)
        return model
