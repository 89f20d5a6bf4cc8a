"""The alternatives of the benchmarks are what they claim to be: the same network without our integers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from benchmarks.float_network import lif_numbers
from benchmarks.float_twin import float_twin
from benchmarks.int8_twin import int8_twin
from benchmarks.torch_twin import TorchTwin
from svf_edge.model_store import load_model
from svf_edge.program import interpret, run
from svf_edge.program.freeze import freeze
from svf_edge.program.ir import Reset, Scope
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
    made_by = {name: node.op_type for node in twin.graph.node for name in node.output}
    assert "Conv" not in {made_by[node.input[0]] for node in twin.graph.node if node.op_type in ("Floor", "Clip")}
    (expected,) = run(program, clip).outputs.values()
    found = outputs(twin, clip)
    # Without roundings some spikes fall the other way, so scores agree in the large, not bit for bit.
    assert np.corrcoef(found, expected.ravel())[0, 1] > 0.9
    assert (found != expected.ravel()).any()


@pytest.mark.parametrize(("levels", "reset", "scope"), [(1, "hard", "joint"), (3, "soft", "spatial")])
def test_the_float_networks_of_onnx_and_torch_are_one(levels: int, reset: Reset, scope: Scope) -> None:
    program = random_program(levels=levels, reset=reset, scope=scope)
    clip = noise_clip(program)
    with torch.no_grad():
        found = TorchTwin(program).eval()(torch.from_numpy(clip)).numpy().ravel()
    expected = outputs(float_twin(program), clip)
    assert np.abs(expected).max() > 0
    # Sums in another order move a potential across a threshold now and then.
    assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_a_neuron_behind_attention_keeps_gain_bias_and_threshold() -> None:
    program = random_program()
    lif = next(node for node in program.lifs if node.name == "attn.out_lif")
    o = np.random.default_rng(0).integers(-200, 200, program.types["attn"].shape)
    spikes, _ = interpret.lif(lif, o)
    numbers = lif_numbers(program, lif)
    first = o[:1] * numbers.scale + numbers.bias
    exact = o[:1] * lif.gain[:, None, None] + lif.bias[:, None, None]
    apart = np.abs(exact - 2 * lif.theta[:, None, None]) > 1  # not within the rounding of the halving
    assert ((first >= numbers.theta) == (spikes[:1] > 0))[apart].all()


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
