"""What TensorRT 10.3 would refuse is named before anyone builds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from svf_edge.errors import UnsupportedInput
from svf_edge.export.onnx import packed_model, portable_model
from svf_edge.export.tensorrt import check_subset, qdq_model
from tests.programs import random_program

Edit = Callable[[onnx.ModelProto], None]


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    (found,) = [node for node in model.graph.node if node.name == name]
    return found


def as_bits(model: onnx.ModelProto) -> None:
    node(model, "attn.lif").CopyFrom(
        helper.make_node("BitShift", ["attn.lif:int8", "i8:0"], ["attn.lif"], name="attn.lif")
    )


def through_half(model: onnx.ModelProto) -> None:
    node(model, "attn:ungrouped").input[0] = "half"
    model.graph.node.insert(0, helper.make_node("Cast", ["frames"], ["half"], name="half", to=TensorProto.FLOAT16))


def other_words(model: onnx.ModelProto) -> None:
    node(model, "attn:o").input[0] = "attn.lif"


def shifted_zero(model: onnx.ModelProto) -> None:
    (zero,) = [tensor for tensor in model.graph.initializer if tensor.name == "i8:0"]
    zero.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), "i8:0"))


def foreign(model: onnx.ModelProto) -> None:
    node(model, "attn:o").op_type = "FutureAttention"


def missing_input(model: onnx.ModelProto) -> None:
    del node(model, "q.lif").input[3]


FAULTS: dict[str, tuple[Edit, str]] = {
    "operator": (as_bits, r"node 'attn.lif' \(BitShift\) is not among the operators that TensorRT 10.3 is known"),
    "type": (through_half, r"node 'attn:ungrouped' \(Reshape\) reads float16, which TensorRT 10.3 does not take there"),
    "plug-in's type": (other_words, r"node 'attn:o' \(ai.svf.HammingAttention\) takes float, int32, int32, its"),
    "zero point": (shifted_zero, r"has a zero point other than 0 \('i8:0'\), which TensorRT refuses"),
    "plug-in": (foreign, r"node 'attn:o' \(ai.svf.FutureAttention\) is not among the operators"),
    "inputs": (missing_input, r"'q.lif' \(ai.svf.LifWords\) takes float, int32, int32, its plug-in float or int32"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_node(name: str) -> None:
    edit, message = FAULTS[name]
    model = qdq_model(random_program())
    check_subset(model, "g.onnx")
    edit(model)
    with pytest.raises(UnsupportedInput, match=rf"^g\.onnx: .*{message}"):
        check_subset(model, "g.onnx")


def test_bodies_would_win_over_the_plugin() -> None:
    model = qdq_model(random_program(), with_bodies=True)
    with pytest.raises(
        UnsupportedInput, match=r"\(ai.svf.LifSpikes\) has a function body, which TensorRT 10.3 prefers"
    ):
        check_subset(model, "g.onnx")


@pytest.mark.parametrize("build", [packed_model, portable_model])
def test_other_dialects_are_refused(build: Callable[..., onnx.ModelProto]) -> None:
    with pytest.raises(UnsupportedInput, match=r"TensorRT 10\.3"):
        check_subset(build(random_program()), "g.onnx")


@pytest.mark.parametrize("options", [{}, {"scope": "temporal", "levels": 3}, {"zero_point": 0}])
def test_what_is_exported_passes(options: dict[str, int]) -> None:
    check_subset(qdq_model(random_program(**options)), "g.onnx")  # type: ignore[arg-type]


def test_steps_pass() -> None:
    check_subset(qdq_model(random_program(steps=1, scope="causal", window=2), stream=True), "g.onnx")
