"""Program to ONNX in the `packed` dialect: `ai.svf` operators on int32 words, channels last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from svf_edge.export.density import NO_RATES, Rates
from svf_edge.export.fusion import AttentionLif, ConvLif, fuse
from svf_edge.export.onnx.functions import BODY_DOMAIN, DOMAIN, bodies
from svf_edge.export.onnx.portable import space_sum
from svf_edge.export.onnx.writer import GraphWriter
from svf_edge.export.packable import check_packed
from svf_edge.packing import pack_weights, word_count
from svf_edge.program import Add, Attention, Conv, Lif, Pool, Program
from svf_edge.program.ir import token_groups
from svf_edge.program.ranges import prove_floats
from svf_edge.program.stream import StateTensor, state_tensors

State = Mapping[str, StateTensor]

_ATTENTION = {"hamming": "HammingAttention", "dot": "DotAttention"}


def packed_model(program: Program, rates: Rates = NO_RATES, stream: bool = False) -> onnx.ModelProto:
    """The packed graph of `program`, with function bodies so that it also runs without our library.

    `rates` say in which density convolutions on spikes are to be computed. With `stream` it is one step of the
    program's stream form (`state_tensors`), membranes `[H, W, C]`.

    Raises `UnsupportedInput` for what the operators do not take or a program without a stream form, and
    `RangeError` when the bodies' float32 carriers could be inexact.
    """
    check_packed(program)
    wide = prove_floats(program)
    state = {tensor.node: tensor for tensor in state_tensors(program)} if stream else {}
    writer = GraphWriter()
    writer.op("ChannelsLast", [program.frames.name], _rows(program.frames.name), DOMAIN)
    for step in fuse(program, rates):
        match step:
            case ConvLif():
                _conv_lif(writer, program, step, state)
            case AttentionLif():
                _attention_lif(writer, program, step, state)
            case Conv():
                _conv(writer, program, step)
            case Add():
                writer.op("Add", [step.left, step.right], step.name)
            case Pool():
                carrier = writer.op("Cast", [step.source], f"{step.name}:float", to=TensorProto.FLOAT)
                total = space_sum(writer, step, carrier, (1, 2), f"{step.name}:sum")
                writer.op("Cast", [total], step.name, to=TensorProto.INT32)
            case Lif():
                _lif(writer, step, state)
            case Attention():
                _attention(writer, program, step)
    for output in program.outputs:
        writer.op("Transpose", [output.source], output.name, perm=[0, 3, 1, 2])
    handed_on = {tensor.taken: (tensor.given, tensor.sizes(channels_last=True)) for tensor in state.values()}
    return writer.model(program, "packed", bodies("float64" if wide else "float32"), (DOMAIN, BODY_DOMAIN), handed_on)


def _rows(name: str) -> str:
    return f"{name}:nhwc"


def _conv(writer: GraphWriter, program: Program, node: Conv) -> None:
    operator, inputs, attributes = _convolution(writer, program, node)
    writer.op(operator + ("S8" if node.out == "int8" else ""), inputs, node.name, DOMAIN, **attributes)


def _conv_lif(writer: GraphWriter, program: Program, step: ConvLif, state: State) -> None:
    operator, inputs, attributes = _convolution(writer, program, step.conv)
    neuron, more = _neuron(writer, step.lif)
    if operator == "SpikeConv2d":
        attributes["density"] = step.density
    residual = [] if step.residual is None else [step.residual]
    before, after = _membranes(step.lif, state)
    writer.ops(
        operator + ("AddLif" if residual else "Lif") + ("From" if state else ""),
        [*inputs, *neuron, *residual, *before],
        [step.lif.name, step.sum or "", *after],
        DOMAIN,
        **attributes,
        **more,
    )


def _convolution(writer: GraphWriter, program: Program, node: Conv) -> tuple[str, list[str], dict[str, Any]]:
    """Operator, inputs and attributes that a convolution has with and without a LIF behind it."""
    kind = program.types[node.source].kind
    source = _rows(node.source) if kind == "frames" else node.source
    attributes: dict[str, Any] = {"stride": node.stride, "padding": node.padding, "groups": node.groups}
    if kind != "spikes":
        attributes["zero_point"] = program.frames.zero_point if kind == "frames" else 0
    inputs = [
        source,
        _weight(writer, node),
        writer.constant(f"{node.name}:bias", node.bias),
        writer.constant(f"{node.name}:shift", node.shift),
    ]
    return "SpikeConv2d" if kind == "spikes" else "IntConv2d", inputs, attributes


def _weight(writer: GraphWriter, node: Conv) -> str:
    """The int8 weight `[kh, kw, Cin / groups, Cout]`; one of fewer bits is stored packed and unpacked on loading."""
    weight, bits = np.ascontiguousarray(node.weight.transpose(2, 3, 1, 0)), node.weight_bits
    if bits == 8:
        return writer.constant(f"{node.name}:weight", weight)
    packed = writer.constant(f"{node.name}:weight:packed", pack_weights(weight, bits))
    shape = writer.integers(*weight.shape)
    places, mask, high = list(range(0, 8, bits)), (1 << bits) - 1, 1 << (bits - 1)
    return writer.op(
        "UnpackWeights", [packed, shape], f"{node.name}:weight", BODY_DOMAIN, places=places, mask=mask, high=high
    )


def _neuron(writer: GraphWriter, node: Lif) -> tuple[list[str], dict[str, int]]:
    """Constants and attributes of a LIF in a fused operator."""
    constants = [writer.constant(f"{node.name}:{key}", getattr(node, key)) for key in ("gain", "bias", "theta")]
    return constants, {"soft_reset": int(node.reset == "soft"), "levels": node.levels}


def _membranes(node: Lif, state: State) -> tuple[list[str], list[str]]:
    """Names of the membranes before and after, in a stream."""
    return ([state[node.name].taken], [state[node.name].given]) if state else ([], [])


def _lif(writer: GraphWriter, node: Lif, state: State) -> None:
    constants, attributes = _neuron(writer, node)
    before, after = _membranes(node, state)
    operator = "LifFrom" if state else "Lif" if node.levels == 1 else "IntegerLif"
    if operator == "Lif":
        del attributes["levels"]
    writer.ops(operator, [node.source, *constants, *before], [node.name, *after], DOMAIN, **attributes)


def _attention_lif(writer: GraphWriter, program: Program, step: AttentionLif, state: State) -> None:
    node = step.attention
    constants, attributes = _neuron(writer, step.lif)
    channels = program.types[node.name].shape[1]
    inputs, outputs = [node.query, node.key, node.value, *constants], [step.lif.name]
    operator = _ATTENTION[node.mode] + "Lif"
    if state:
        operator += "Step"
        before, after = _membranes(step.lif, state)
        if node.name in state:
            inputs, outputs = [*inputs, state[node.name].taken], [*outputs, state[node.name].given]
        else:  # within a frame: there is nothing to remember
            nothing = np.zeros((node.heads, channels // node.heads, channels // node.heads), np.int32)
            inputs, outputs = [*inputs, writer.constant(f"{node.name}:nothing", nothing)], [*outputs, ""]
        inputs, outputs = [*inputs, *before], [*outputs, *after]
    elif node.scope == "causal":
        operator = _ATTENTION[node.mode].replace("Attention", "CausalAttention") + "Lif"
        attributes["window"] = node.window
    else:
        attributes["joint"] = int(node.scope == "joint")
    writer.ops(operator, inputs, outputs, DOMAIN, channels=channels, heads=node.heads, **attributes)


def _attention(writer: GraphWriter, program: Program, node: Attention) -> None:
    steps, channels, height, width = program.types[node.name].shape
    groups, tokens = token_groups(node.scope, (steps, channels, height, width))
    swap = node.scope == "temporal"  # the words lie in (t, h, w) order; time goes inside
    rows = (tokens, groups) if swap else (groups, tokens)
    levels = program.types[node.query].levels
    planes = (levels,) if levels > 1 else ()
    swapped = [0, 2, 1, 3] if planes else [1, 0, 2]

    def grouped(role: str, source: str) -> str:
        shape = writer.integers(*planes, *rows, word_count(channels))
        name = writer.op("Reshape", [source, shape], f"{node.name}:{role}")
        return writer.op("Transpose", [name], f"{name}:swapped", perm=swapped) if swap else name

    inputs = [grouped("q", node.query), grouped("k", node.key), grouped("v", node.value)]
    o = writer.op(_ATTENTION[node.mode], inputs, f"{node.name}:o", DOMAIN, channels=channels, heads=node.heads)
    if swap:
        o = writer.op("Transpose", [o], f"{o}:swapped", perm=[1, 0, 2])
    writer.op("Reshape", [o, writer.integers(steps, height, width, channels)], node.name)
