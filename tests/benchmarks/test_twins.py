"""The alternatives of the benchmarks are what they claim to be: the same network without our integers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from svf_edge.model_store import load_model
from svf_edge.program import run
from svf_edge.program.freeze import freeze
from svf_edge.shipped import CHECKPOINT, CLIP
from tests.programs import noise_clip, random_program


def outputs(model: onnx.ModelProto, clip: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"frames": clip})[0], np.float64).ravel()


def test_the_float_twin_has_no_rounding_and_stays_near_the_program() -> None:
    from svf_edge.data.video import read_clip

    program = freeze(load_model(CHECKPOINT)[0])
    steps, _, height, width = program.frames.shape
    clip = read_clip(CLIP, steps, (height, width))
    twin = float_twin(program)
    assert not {"Floor", "Clip"} & {node.op_type for node in twin.graph.node}
    (expected,) = run(program, clip).outputs.values()
    found = outputs(twin, clip)
    # Without roundings some spikes fall the other way, so scores agree in the large, not bit for bit.
    assert np.corrcoef(found, expected.ravel())[0, 1] > 0.9
    assert (found != expected.ravel()).any()


def test_the_int8_twin_is_quantised() -> None:
    program = random_program()
    clips = [noise_clip(program, seed) for seed in range(3)]
    model = int8_twin(float_twin(program), clips)
    kinds = [node.op_type for node in model.graph.node]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    assert kinds.count("QuantizeLinear") > 0
    assert all(made_by[node.input[0]] == made_by[node.input[1]] == "DequantizeLinear" for node in convolutions)
    assert np.abs(outputs(model, clips[0])).max() > 0
