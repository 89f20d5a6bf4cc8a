"""Which short number formats hold a program's values, proven and then tried."""

from __future__ import annotations

import dataclasses

import numpy as np
from onnx import numpy_helper

from svf_edge.export.tensorrt import qdq_model
from svf_edge.export.tensorrt.precision import SHORT_LIMIT, precision
from svf_edge.program import Conv, Lif, run
from tests.export.test_onnx import run_graph
from tests.programs import noise_clip, random_program


def to_tf32(values: np.ndarray) -> np.ndarray:
    """float32 rounded to 11 bits of significand."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def test_tf32_holds_all_that_is_multiplied() -> None:
    """TF32 keeps an integer up to its limit and no further, whatever its power of two."""
    values = np.arange(SHORT_LIMIT + 2, dtype=np.float32)
    for scale in (2.0**-11, 1.0):
        kept = to_tf32(values * scale) == values * scale
        assert kept[: SHORT_LIMIT + 1].all() and not kept[SHORT_LIMIT + 1]


def test_the_qdq_graph_is_exact_in_tf32_and_not_in_float16() -> None:
    for options in ({}, {"zero_point": 0}, {"levels": 4}):
        found = precision(random_program(**options))
        assert found.tf32 is None
        assert found.float16 is not None and "layer 'stem': accumulator can reach" in found.float16
    stored = {entry.key: entry.value for entry in qdq_model(random_program()).metadata_props}
    assert stored["tf32"] == "exact"
    assert stored["float16"].startswith("inexact: layer 'stem': accumulator can reach")


def test_weights_and_frames_rounded_to_tf32_change_nothing() -> None:
    program = random_program()
    model = qdq_model(program, with_bodies=True)
    made_by = {output: node for node in model.graph.node for output in node.output}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight = made_by[node.input[1]]
            values = stored[weight.input[0]].astype(np.float32) * stored[weight.input[1]][:, None, None, None]
            np.testing.assert_array_equal(to_tf32(values), values)
    clip = noise_clip(program, 5)
    trace = run(program, clip)
    for spikes in trace.spikes.values():
        np.testing.assert_array_equal(to_tf32(spikes), spikes)
    np.testing.assert_array_equal(run_graph(model, program, clip)["logits"], trace.outputs["logits"])


def test_a_value_too_long_for_tf32_is_named() -> None:
    program = random_program()
    nodes = tuple(
        dataclasses.replace(node, levels=SHORT_LIMIT + 1) if isinstance(node, Lif) and node.name == "down.lif" else node
        for node in program.nodes
    )
    assert any(isinstance(node, Conv) and node.source == "down.lif" for node in nodes)
    found = precision(dataclasses.replace(program, nodes=nodes))
    assert found.tf32 == "layer 'down': input can reach 2049, exact only to 2048"
    assert found.properties["tf32"] == f"inexact: {found.tf32}"
