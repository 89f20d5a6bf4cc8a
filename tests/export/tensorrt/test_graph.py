"""The qdq graph against the reference, bit for bit: the plug-in nodes run through their function bodies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.export.onnx.taps import add_taps
from svf_edge.export.tensorrt import export_tensorrt, plugin_layers, qdq_model
from svf_edge.packing import pack_spikes
from svf_edge.program import Attention, Conv, Output, Program, run
from svf_edge.program.interpret import State
from svf_edge.program.ir import Reset, Scope
from svf_edge.program.ranges import prove_floats
from svf_edge.runtimes.stream import StreamSession
from tests.export.test_onnx import VARIANTS, run_graph
from tests.programs import assert_not_silent, loud_program, noise_clip, program_of_many_levels, random_program

ALL = VARIANTS | {
    "causal": {"scope": "causal", "window": 2, "steps": 4},
    "causal, dot, levels": {"scope": "causal", "window": 3, "steps": 4, "mode": "dot", "levels": 3, "reset": "soft"},
}


@pytest.mark.parametrize("variant", ALL)
def test_equals_the_reference(variant: str) -> None:
    program = random_program(**ALL[variant])
    clip = noise_clip(program, 5)
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    found = run_graph(qdq_model(program, with_bodies=True), program, clip)
    np.testing.assert_array_equal(found["logits"], trace.outputs["logits"])
    levels = {lif.name: lif.levels for lif in program.lifs}
    for layer, spikes in trace.spikes.items():
        words = found[layer].dtype == np.int32
        expected = pack_spikes(spikes, levels[layer]) if words else spikes
        np.testing.assert_array_equal(found[layer], expected, err_msg=layer)


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
        assert made_by[activation.input[0]].op_type in ("QuantizeLinear", "LifSpikes")
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
    plugins = {node.name: node for node in model.graph.node if node.domain == "ai.svf"}
    assert tuple(plugins) == tuple(plugin_layers(program))
    found = [
        (
            plugins[name].op_type,
            {a.name: onnx.helper.get_attribute_value(a) for a in plugins[name].attribute if "plugin_" not in a.name},
        )
        for name in ("attn:o", "attn.lif:int8", "q.lif")
    ]
    assert found == [
        ("DotAttention", {"channels": 40, "heads": 4}),
        ("LifSpikes", {"levels": 1, "soft_reset": 0}),
        ("LifWords", {"levels": 1, "soft_reset": 0}),
    ]
    for node in plugins.values():
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert (attributes["plugin_namespace"], attributes["plugin_version"]) == (b"", b"1")
    operators = {node.op_type for node in model.graph.node if not node.domain}
    assert not operators & {"GreaterOrEqual", "Where", "Split", "Concat", "ReduceSum"}, "LIFs and packing are plug-ins"


def test_a_lif_that_convolutions_and_attention_read() -> None:
    whole = random_program(levels=2)
    attention = next(node for node in whole.nodes if isinstance(node, Attention))
    nodes = tuple(dataclasses.replace(node, query="attn.lif") if node is attention else node for node in whole.nodes)
    program = dataclasses.replace(whole, nodes=nodes)
    clip = noise_clip(program, 5)
    trace = run(program, clip)
    assert_not_silent({"attn.lif": trace.spikes["attn.lif"]})
    found = run_graph(qdq_model(program, with_bodies=True), program, clip)
    np.testing.assert_array_equal(found["logits"], trace.outputs["logits"])
    assert {"attn.lif:int8", "attn.lif:words"} <= plugin_layers(program).keys()


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize(("scope", "window"), [("causal", 3), ("spatial", 0)])
def test_step_by_step_equals_the_clip(scope: Scope, window: int, reset: Reset) -> None:
    program = random_program(5, steps=7, channels=16, heads=2, scope=scope, window=window, reset=reset, levels=2)
    clip = noise_clip(program, 1)
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    model = qdq_model(program.for_steps(1), with_bodies=True, stream=True)
    add_taps(model, program.for_steps(1), "qdq", "step")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    stream = StreamSession(program, lambda inputs: session.run(None, dict(inputs)))
    found = stream.run(clip)
    np.testing.assert_array_equal(found.outputs["logits"], trace.outputs["logits"])
    for lif in program.lifs:
        np.testing.assert_array_equal(found.spikes[lif.name], pack_spikes(trace.spikes[lif.name], 2), err_msg=lif.name)
    state = State()
    run(program, clip, state=state)
    after = stream.state()
    assert after.keys() == {**state.membranes, **state.summaries}.keys()
    for name, values in {**state.membranes, **state.summaries}.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)


def test_a_joint_program_has_no_step() -> None:
    with pytest.raises(UnsupportedInput, match="sees later frames"):
        qdq_model(random_program(steps=1), stream=True)


def test_a_window_that_float32_would_not_hold() -> None:
    """Attention and the LIF behind it are integers here, so that only int32 bounds the window."""
    program = random_program(5, steps=3, channels=64, heads=1, scope="causal", window=2000, levels=3)
    assert prove_floats(program)
    clip = noise_clip(program, 1)
    found = run_graph(qdq_model(program, with_bodies=True), program, clip)
    np.testing.assert_array_equal(found["logits"], run(program, clip).outputs["logits"])
    model = qdq_model(program)
    (after,) = [node for node in model.graph.node if node.name == "attn.out_lif:int8"]
    producers_of = producers(model)
    back = producers_of[after.input[0]]
    while back.op_type != "HammingCausalAttention":
        assert back.op_type in ("Reshape", "Transpose"), "no carrier between attention and its LIF"
        back = producers_of[back.input[0]]


def test_more_levels_than_the_plugin_takes() -> None:
    with pytest.raises(
        UnsupportedInput, match=r"'q.lif' has 16 levels and feeds an attention; .* takes 15 at most.*portable"
    ):
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
