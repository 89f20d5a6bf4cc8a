"""The ONNX Runtime library against the torch operators: one tiny model per operator."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from svf_edge.export import ops
from tests.native.examples import READS_SPIKES, call, example

ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

NAMES = {
    "spike_conv2d": "SpikeConv2d",
    "spike_conv2d_s8": "SpikeConv2dS8",
    "conv2d": "IntConv2d",
    "conv2d_s8": "IntConv2dS8",
    "lif": "Lif",
    "integer_lif": "IntegerLif",
    "hamming_attention": "HammingAttention",
    "dot_attention": "DotAttention",
}


def session(
    name: str, inputs: list[torch.Tensor], attributes: dict[str, int | list[int]], dtype: torch.dtype, threads: int
) -> ort.InferenceSession:
    arrays = {f"input{i}": tensor.numpy() for i, tensor in enumerate(inputs)}
    values = [
        helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for key, array in arrays.items()
    ]
    kind = onnx.TensorProto.INT8 if dtype == torch.int8 else onnx.TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(NAMES[name], list(arrays), ["y"], domain="ai.svf", **attributes)],
        name,
        values,
        [helper.make_tensor_value_info("y", kind, None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.svf", 1)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(str(ops.find_library("svf_ort")))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(
    name: str, inputs: list[torch.Tensor], attributes: dict[str, int | list[int]], dtype: torch.dtype, threads: int = 1
) -> np.ndarray:
    built = session(name, inputs, attributes, dtype, threads)
    (result,) = built.run(None, {f"input{i}": tensor.numpy() for i, tensor in enumerate(inputs)})
    return result


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("name", "levels"), [(name, 1) for name in NAMES] + [(name, 3) for name in READS_SPIKES])
def test_same_integers_as_torch(isa: str, name: str, levels: int, signed: bool, threads: int) -> None:
    inputs, attributes = example(name, signed, levels)
    expected = call(name, inputs, attributes).numpy()
    result = run(name, inputs, attributes, torch.int8 if name.endswith("_s8") else torch.int32, threads)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)
    assert np.unique(result).size > 2


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
    ],
)
def test_an_attribute_beyond_32_bits_is_named(name: str, attribute: str, value: int | list[int], wrong: int) -> None:
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
