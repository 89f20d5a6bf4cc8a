"""The qdq graph against the reference, bit for bit: the plug-in nodes run through their function bodies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.export.tensorrt import export_tensorrt, plugin_layers, qdq_model
from svf_edge.program import Conv, Output, Program, run
from tests.export.test_onnx import VARIANTS, run_graph
from tests.programs import assert_not_silent, loud_program, noise_clip, program_of_many_levels, random_program


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_reference(variant: str) -> None:
    program = random_program(**VARIANTS[variant])
    clip = noise_clip(program, 5)
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    found = run_graph(qdq_model(program, with_bodies=True), program, clip)
    np.testing.assert_array_equal(found["logits"], trace.outputs["logits"])
    for layer, spikes in trace.spikes.items():
        np.testing.assert_array_equal(found[layer], spikes, err_msg=layer)


@pytest.mark.parametrize("clip", [np.uint8(0), np.uint8(255)], ids=["black", "white"])
def test_equals_the_reference_on_flat_clips(clip: np.uint8) -> None:
    program = random_program()
    frames = np.full(program.frames.shape, clip)
    found = run_graph(qdq_model(program, with_bodies=True), program, frames)
    np.testing.assert_array_equal(found["logits"], run(program, frames).outputs["logits"])


def test_equals_the_reference_in_onnx_own_evaluator() -> None:
    program = random_program(channels=24, heads=3, size=(9, 8))
    clip = noise_clip(program, 5)
    (logits,) = ReferenceEvaluator(qdq_model(program, with_bodies=True)).run(None, {"frames": clip})
    np.testing.assert_array_equal(logits, run(program, clip).outputs["logits"])


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


def test_convolutions_are_int8_with_power_of_two_scales(tmp_path: Path) -> None:
    program = random_program()
    export_tensorrt(program, tmp_path / "qdq.onnx")
    model = onnx.load(tmp_path / "qdq.onnx")
    made_by = producers(model)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    nodes = [node for node in program.nodes if isinstance(node, Conv)]
    assert len(convolutions) == len(nodes)
    for convolution, node in zip(convolutions, nodes, strict=True):
        activation, weight = (made_by[name] for name in convolution.input[:2])
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert made_by[activation.input[0]].op_type == "QuantizeLinear"
        assert stored[weight.input[0]].dtype == np.int8
        assert stored[weight.input[1]].tolist() == [2.0**-shift for shift in node.shift.tolist()]


def test_event_counts_beyond_int8_stay_float() -> None:
    program = random_program(zero_point=0)
    model = qdq_model(program)
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    assert producers(model)[stem.input[0]].op_type == "Sub"


def test_the_shipped_file_has_plugin_nodes_and_no_bodies(tmp_path: Path) -> None:
    program = random_program(mode="dot")
    export_tensorrt(program, tmp_path / "qdq.onnx")
    model = onnx.load(tmp_path / "qdq.onnx")
    assert not model.functions
    (plugin,) = [node for node in model.graph.node if node.domain == "ai.svf"]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in plugin.attribute}
    assert plugin.op_type == "DotAttention"
    assert attributes == {"channels": 40, "heads": 4, "plugin_namespace": b"", "plugin_version": b"1"}
    assert plugin_layers(program) == (plugin.name,)


def test_more_levels_than_the_plugin_takes() -> None:
    with pytest.raises(UnsupportedInput, match=r"'attn' attends to spikes of 16 levels; .* takes 15 at most.*portable"):
        qdq_model(program_of_many_levels())


def test_any_levels_reach_convolutions() -> None:
    whole = program_of_many_levels()
    cut = next(i for i, node in enumerate(whole.nodes) if node.name == "down")
    program = Program(whole.frames, whole.nodes[: cut + 1], (Output("logits", "down"),))
    clip = noise_clip(program, 5)
    trace = run(program, clip)
    assert max(spikes.max() for spikes in trace.spikes.values()) > 1
    found = run_graph(qdq_model(program, with_bodies=True), program, clip)
    np.testing.assert_array_equal(found["logits"], trace.outputs["logits"])


def test_refuses_what_float32_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(RangeError, match="float32"):
        export_tensorrt(loud_program(), tmp_path / "qdq.onnx")
    assert not list(tmp_path.iterdir())
