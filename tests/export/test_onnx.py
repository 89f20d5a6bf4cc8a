"""ONNX graphs against the reference, bit for bit, without our library: bodies and portable operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.export.onnx import BUILDERS, export_onnx
from svf_edge.export.onnx.functions import DOMAIN
from svf_edge.packing import pack_spikes
from svf_edge.program import Program, run
from tests.programs import assert_not_silent, loud_program, noise_clip, random_program

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one step": {"steps": 1, "scope": "temporal"},
    "soft reset, spatial": {"reset": "soft", "scope": "spatial", "steps": 3},
    "temporal": {"scope": "temporal", "steps": 5},
    "dot, head width 45": {"mode": "dot", "channels": 90, "heads": 2},
    "hamming, head width 45": {"channels": 90, "heads": 2},
    "packs evenly": {"channels": 64, "size": (16, 16)},
    "events": {"zero_point": 0},
}


def run_graph(model: onnx.ModelProto, program: Program, clip: np.ndarray) -> dict[str, np.ndarray]:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(onnx.ValueInfoProto(name=node.name) for node in program.lifs)
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"frames": clip}), strict=True))


@pytest.mark.parametrize("dialect", ["packed", "portable"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_reference(variant: str, dialect: str) -> None:
    program = random_program(**VARIANTS[variant])
    model = BUILDERS[dialect](program)
    clip = noise_clip(program, 5)
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    found = run_graph(model, program, clip)
    np.testing.assert_array_equal(found["logits"], trace.outputs["logits"])
    for layer, spikes in trace.spikes.items():
        expected = pack_spikes(spikes) if dialect == "packed" else spikes
        np.testing.assert_array_equal(found[layer], expected, err_msg=layer)


def test_integer_lif_is_portable_and_refused_packed() -> None:
    program = random_program(levels=3)
    clip = noise_clip(program)
    trace = run(program, clip)
    assert max(spikes.max() for spikes in trace.spikes.values()) == 3
    found = run_graph(BUILDERS["portable"](program), program, clip)
    for layer, spikes in trace.spikes.items():
        np.testing.assert_array_equal(found[layer], spikes, err_msg=layer)
    with pytest.raises(UnsupportedInput, match=r"layer 'sep.lif1' is an integer LIF with 3 levels"):
        BUILDERS["packed"](program)


def test_bodies_run_on_the_onnx_reference_evaluator() -> None:
    program = random_program(channels=24, heads=3, size=(9, 7))
    clip = noise_clip(program, 1)
    (logits,) = ReferenceEvaluator(BUILDERS["packed"](program)).run(None, {"frames": clip})
    np.testing.assert_array_equal(logits, run(program, clip).outputs["logits"])


def test_portable_uses_standard_operators_only_and_packed_one_node_a_layer() -> None:
    program = random_program()
    portable, packed = BUILDERS["portable"](program), BUILDERS["packed"](program)
    assert {node.domain for node in portable.graph.node} == {""}
    assert not portable.functions
    ours = [node for node in packed.graph.node if node.domain == DOMAIN]
    adds = sum(node.op_type == "Add" for node in packed.graph.node)
    assert len(ours) + adds == len(program.nodes)
    assert {node.op_type for node in ours} <= {function.name for function in packed.functions}


@pytest.mark.parametrize("dialect", ["packed", "portable"])
def test_a_failed_range_proof_leaves_no_file(dialect: str, tmp_path: Path) -> None:
    with pytest.raises(RangeError, match="layer 'stem'"):
        export_onnx(loud_program(), dialect, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
