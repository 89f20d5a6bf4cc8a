"""ONNX graphs against the reference, bit for bit, without our library: bodies and portable operators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.export.fusion import fuse
from svf_edge.export.onnx import Dialect, export_onnx, packed_model, portable_model
from svf_edge.export.onnx.functions import DOMAIN
from svf_edge.packing import pack_spikes
from svf_edge.program import Program, run
from tests.programs import assert_not_silent, loud_program, noise_clip, program_of_many_levels, random_program

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one step": {"steps": 1, "scope": "temporal"},
    "soft reset, spatial": {"reset": "soft", "scope": "spatial", "steps": 3},
    "temporal": {"scope": "temporal", "steps": 5},
    "dot, head width 45": {"mode": "dot", "channels": 90, "heads": 2},
    "hamming, head width 45": {"channels": 90, "heads": 2},
    "packs evenly": {"channels": 64, "size": (16, 16)},
    "events": {"zero_point": 0},
    "three levels, soft reset": {"levels": 3, "reset": "soft", "steps": 4},
    "four levels, dot, temporal": {"levels": 4, "mode": "dot", "scope": "temporal", "steps": 3},
    "sum over space": {"pool_shift": 3},
    "sum over space, unrounded": {"pool_shift": 0, "steps": 3},
    "two levels, spatial, one step": {"levels": 2, "scope": "spatial", "steps": 1},
}

BUILDERS: dict[Dialect, Callable[[Program], onnx.ModelProto]] = {"packed": packed_model, "portable": portable_model}


def run_graph(model: onnx.ModelProto, program: Program, clip: np.ndarray) -> dict[str, np.ndarray]:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(onnx.ValueInfoProto(name=node.name) for node in program.lifs)
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"frames": clip}), strict=True))


@pytest.mark.parametrize("dialect", ["packed", "portable"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_reference(variant: str, dialect: Dialect) -> None:
    program = random_program(**VARIANTS[variant])
    model = BUILDERS[dialect](program)
    clip = noise_clip(program, 5)
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    levels = VARIANTS[variant].get("levels", 1)
    assert max(spikes.max() for spikes in trace.spikes.values()) == levels
    found = run_graph(model, program, clip)
    np.testing.assert_array_equal(found["logits"], trace.outputs["logits"])
    for layer, spikes in trace.spikes.items():
        expected = pack_spikes(spikes, levels) if dialect == "packed" else spikes
        np.testing.assert_array_equal(found[layer], expected, err_msg=layer)


def test_more_levels_than_the_packed_operators_take() -> None:
    program = program_of_many_levels()
    assert BUILDERS["portable"](program).graph.node
    with pytest.raises(
        UnsupportedInput, match=r"layer 'sep.lif1' is an integer LIF with 16 levels; packed operators take 15 at most"
    ):
        BUILDERS["packed"](program)


@pytest.mark.parametrize("levels", [1, 3])
def test_bodies_run_on_the_onnx_reference_evaluator(levels: int) -> None:
    program = random_program(channels=24, heads=3, size=(9, 7), levels=levels)
    clip = noise_clip(program, 1)
    (logits,) = ReferenceEvaluator(BUILDERS["packed"](program)).run(None, {"frames": clip})
    np.testing.assert_array_equal(logits, run(program, clip).outputs["logits"])


@pytest.mark.parametrize("levels", [1, 3])
def test_portable_uses_standard_operators_only_and_packed_one_node_a_step(levels: int) -> None:
    program = random_program(levels=levels)
    portable, packed = BUILDERS["portable"](program), BUILDERS["packed"](program)
    assert {node.domain for node in portable.graph.node} == {""}
    assert not portable.functions
    ours = [node for node in packed.graph.node if node.domain == DOMAIN]
    assert len(ours) == len(fuse(program)) + 1  # the frames' layout
    assert sum(node.op_type.endswith("Lif") for node in ours) == len(program.lifs)
    assert {node.op_type for node in ours} <= {function.name for function in packed.functions}


@pytest.mark.parametrize("dialect", ["packed", "portable"])
def test_a_failed_range_proof_leaves_no_file(dialect: Dialect, tmp_path: Path) -> None:
    with pytest.raises(RangeError, match="layer 'stem'"):
        export_onnx(loud_program(), dialect, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
