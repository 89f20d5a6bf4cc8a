"""The ONNX Runtime library against the torch operators: one tiny model per operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from svf_edge.export import ops
from svf_edge.export.density import DENSITIES
from tests.native.examples import ADDS, VARIANTS, Attribute, call, example

ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

NAMES = {
    "spike_conv2d": "SpikeConv2d",
    "spike_conv2d_s8": "SpikeConv2dS8",
    "spike_conv2d_lif": "SpikeConv2dLif",
    "conv2d": "IntConv2d",
    "conv2d_s8": "IntConv2dS8",
    "conv2d_lif": "IntConv2dLif",
    "channels_last": "ChannelsLast",
    "lif": "Lif",
    "integer_lif": "IntegerLif",
    "hamming_attention": "HammingAttention",
    "hamming_attention_lif": "HammingAttentionLif",
    "dot_attention": "DotAttention",
    "dot_attention_lif": "DotAttentionLif",
    "spike_conv2d_lif_from": "SpikeConv2dLifFrom",
    "conv2d_lif_from": "IntConv2dLifFrom",
    "lif_from": "LifFrom",
    "hamming_causal_attention_lif": "HammingCausalAttentionLif",
    "hamming_attention_lif_step": "HammingAttentionLifStep",
    "dot_causal_attention_lif": "DotCausalAttentionLif",
    "dot_attention_lif_step": "DotAttentionLifStep",
}


def node(
    name: str, inputs: list[torch.Tensor], attributes: dict[str, Attribute]
) -> tuple[str, list[torch.Tensor], dict[str, Any], list[str]]:
    """ONNX operator, inputs, attributes and output names of what `name` is in torch."""
    operator, inputs, attributes = NAMES[name], list(inputs), dict(attributes)
    outputs = list(ops.RESULTS.get(name, ("y",)))
    if name in ADDS:
        if "residual" not in attributes:  # torch has it before the neuron's constants, ONNX behind them
            operator = operator.replace("Lif", "AddLif", 1)
            inputs.insert(7, inputs.pop(4))
        attributes.pop("residual", None)
        if not attributes.pop("keep_sum"):
            outputs[1] = ""
        if "density" in attributes:
            attributes["density"] = DENSITIES[attributes["density"]]
    return operator, inputs, attributes, outputs


def session(
    name: str,
    inputs: list[torch.Tensor],
    attributes: dict[str, Attribute],
    dtype: torch.dtype,
    threads: int,
    constants: bool = False,
) -> tuple[ort.InferenceSession, dict[str, np.ndarray]]:
    """A session of one operator and its feed. With `constants` all inputs but those that change are initialisers."""
    operator, inputs, attributes, outputs = node(name, inputs, attributes)
    arrays = {f"input{i}": tensor.numpy() for i, tensor in enumerate(inputs)}
    varying = {0, 7, 8} if "conv" in name else {0, 4} if "attention" not in name else {0, 1, 2, 6, 7}
    held = [key for i, key in enumerate(arrays) if constants and i not in varying]
    values = [
        helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for key, array in arrays.items()
        if key not in held
    ]
    kind = helper.np_dtype_to_tensor_dtype(torch.empty(0, dtype=dtype).numpy().dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, list(arrays), outputs, domain="ai.svf", **attributes)],
        name,
        values,
        [helper.make_tensor_value_info(output, kind, None) for output in outputs if output],
        [numpy_helper.from_array(arrays.pop(key), key) for key in held],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.svf", 1)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(str(ops.find_library("svf_ort")))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), arrays


def run(
    name: str,
    inputs: list[torch.Tensor],
    attributes: dict[str, Attribute],
    dtype: torch.dtype,
    threads: int = 1,
    constants: bool = False,
) -> list[np.ndarray]:
    built, feed = session(name, inputs, attributes, dtype, threads, constants)
    return built.run(None, feed)


@pytest.mark.parametrize(("threads", "constants"), [(1, True), (2, False)])
@pytest.mark.parametrize(
    ("name", "levels", "residual", "signed"),
    [(*variant, False) for variant in VARIANTS if variant[0] in NAMES]
    + [(*variant, True) for variant in VARIANTS if variant[0].startswith("conv2d")],
)
def test_same_integers_as_torch(
    isa: str, name: str, levels: int, residual: bool, signed: bool, threads: int, constants: bool
) -> None:
    inputs, attributes = example(name, signed, levels, residual)
    expected = call(name, inputs, attributes)
    dtype = expected[0].dtype
    results = run(name, inputs, attributes, dtype, threads, constants)
    kept = [result for result in expected if result.numel()]
    assert len(results) == len(kept)
    for result, wanted in zip(results, kept, strict=True):
        assert result.dtype == wanted.numpy().dtype
        np.testing.assert_array_equal(result, wanted.numpy())
    assert np.unique(results[0]).size > 2


def test_prepared_weights_outlive_a_change_of_the_kernel_set() -> None:
    inputs, attributes = example("spike_conv2d_lif")
    (expected, _) = call("spike_conv2d_lif", inputs, attributes)
    built, feed = session("spike_conv2d_lif", inputs, attributes, torch.int32, 1, constants=True)
    for isa in ops.available_isas():
        with ops.force_isa(isa):
            np.testing.assert_array_equal(built.run(None, feed)[0], expected.numpy(), err_msg=isa)


@pytest.mark.parametrize("density", DENSITIES)
def test_no_density_changes_a_result(isa: str, density: str) -> None:
    inputs, attributes = example("spike_conv2d_lif", levels=3)
    (expected, _) = call("spike_conv2d_lif", inputs, attributes)
    attributes["density"] = DENSITIES.index(density)
    (result,) = run("spike_conv2d_lif", inputs, attributes, torch.int32)
    np.testing.assert_array_equal(result, expected.numpy())


def test_every_operator_is_covered() -> None:
    """Graphs unpack weights by standard operators."""
    assert set(NAMES) == set(ops.OPERATORS) - {"unpack_weights"}


def test_a_wrong_shape_is_named() -> None:
    inputs, attributes = example("spike_conv2d")
    inputs[0] = inputs[0][..., :1].contiguous()
    with pytest.raises(Exception, match="x has size 1 on axis 3, expected 2"):
        run("spike_conv2d", inputs, attributes, torch.int32)


@pytest.mark.parametrize(("levels", "says"), [(1, "an integer LIF has 2 or more"), (16, "outside 1..15")])
def test_other_levels_are_refused(levels: int, says: str) -> None:
    inputs, attributes = example("integer_lif")
    attributes["levels"] = levels
    with pytest.raises(Exception, match=says):
        run("integer_lif", inputs, attributes, torch.int32)


@pytest.mark.parametrize("name", ["spike_conv2d", "dot_attention"])
def test_a_rank_that_is_neither_is_named(name: str) -> None:
    inputs, attributes = example(name)
    inputs[0] = inputs[0][None, None].contiguous()
    with pytest.raises(Exception, match=r"must have rank \d, or one more with planes, not \d"):
        run(name, inputs, attributes, torch.int32)


def test_a_missing_attribute_is_named() -> None:
    inputs, attributes = example("conv2d")
    del attributes["zero_point"]
    with pytest.raises(Exception, match="zero_point"):
        session("conv2d", inputs, attributes, torch.int32, 1)


@pytest.mark.parametrize(
    ("name", "attribute", "value", "wrong"),
    [
        ("conv2d", "zero_point", 2**32 + 128, 2**32 + 128),
        ("conv2d", "stride", [1, 2**32 + 1], 2**32 + 1),
        ("spike_conv2d", "padding", [2**32 + 1, 1], 2**32 + 1),
        ("spike_conv2d", "groups", 2**32 + 1, 2**32 + 1),
        ("hamming_attention", "heads", 2**32 + 3, 2**32 + 3),
        ("dot_attention_lif", "channels", 2**32 + 45, 2**32 + 45),
    ],
)
def test_an_attribute_beyond_32_bits_is_named(name: str, attribute: str, value: Attribute, wrong: int) -> None:
    inputs, attributes = example(name)
    attributes[attribute] = value
    with pytest.raises(Exception, match=f"{attribute} is {wrong}, which does not fit in 32 bits"):
        session(name, inputs, attributes, torch.int32, 1)


@pytest.mark.parametrize("name", ["conv2d", "spike_conv2d"])
def test_padding_beyond_the_kernels_is_refused(isa: str, name: str) -> None:
    inputs, attributes = example(name)
    attributes.update(padding=[0, 2**31 - 1], stride=[1, 2**31 - 1])
    with pytest.raises(Exception, match="padded input has 2\\^30 elements"):
        run(name, inputs, attributes, torch.int32)


def test_levels_of_a_fused_lif_are_refused() -> None:
    inputs, attributes = example("conv2d_lif")
    attributes["levels"] = 16
    with pytest.raises(Exception, match=r"levels is 16, which is outside 1\.\.15"):
        session("conv2d_lif", inputs, attributes, torch.int32, 1)


def test_a_residual_of_another_shape_is_named() -> None:
    inputs, attributes = example("spike_conv2d_lif", residual=True)
    inputs[4] = inputs[4][:, :6].contiguous()
    with pytest.raises(Exception, match="residual has size 6 on axis 1, expected 7"):
        run("spike_conv2d_lif", inputs, attributes, torch.int32)
