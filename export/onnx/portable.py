"""Program to ONNX in the `portable` dialect: standard operators on float32 carriers, channels first."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from svf_edge.contract import INT8_MAX
from svf_edge.export.onnx.writer import GraphWriter
from svf_edge.program import Add, Attention, Conv, Lif, Pool, Program
from svf_edge.program.ir import token_groups
from svf_edge.program.ranges import prove_floats
from svf_edge.program.stream import StateTensor, state_tensors


def portable_model(program: Program, stream: bool = False) -> onnx.ModelProto:
    """The portable graph of `program`; with `stream` one step of its stream form (`state_tensors`).

    Raises `RangeError` when a float32 carrier could be inexact, and `UnsupportedInput` for a program without a stream
    form.
    """
    wide = prove_floats(program)
    state = {tensor.node: tensor for tensor in state_tensors(program)} if stream else {}
    writer = GraphWriter()
    frames = program.frames
    pixels = writer.op("Cast", [frames.name], f"{frames.name}:float", to=TensorProto.FLOAT)
    writer.op("Sub", [pixels, writer.scalar(frames.zero_point)], f"{frames.name}:centred")
    for node in program.nodes:
        match node:
            case Conv():
                _conv(writer, program, node)
            case Add():
                writer.op("Add", [node.left, node.right], node.name)
            case Pool():
                space_sum(writer, node, node.source, (2, 3), node.name)
            case Lif():
                unrolled_lif(writer, program, node, state.get(node.name), node.name in wide)
            case Attention():
                attention_product(writer, program, node, state.get(node.name), node.name in wide)
    for output in program.outputs:
        writer.op("Cast", [output.source], output.name, to=TensorProto.INT32)
    handed_on = {tensor.taken: (tensor.given, tensor.shape) for tensor in state.values()}
    return writer.model(program, "portable", state=handed_on)


def _carrier(writer: GraphWriter, state: StateTensor, wide: bool = False) -> str:
    return writer.op(
        "Cast", [state.taken], f"{state.taken}:float", to=TensorProto.DOUBLE if wide else TensorProto.FLOAT
    )


def _give_back(writer: GraphWriter, state: StateTensor, carrier: str) -> None:
    integers = writer.op("Cast", [carrier], f"{state.given}:integers", to=TensorProto.INT32)
    writer.op("Reshape", [integers, writer.integers(*state.shape)], state.given)


def _conv(writer: GraphWriter, program: Program, node: Conv) -> None:
    source = f"{node.source}:centred" if program.types[node.source].kind == "frames" else node.source
    # (acc * 2^l + bias) / 2^r as one convolution: every term is an integer times 2^-r, so it is exact as well.
    scale = np.exp2(-node.shift.astype(np.float32))
    bias = node.bias * np.exp2(-np.maximum(node.shift, 0).astype(np.float32))
    # Stored as int8 and one scale per channel: a quarter of the size, and runtimes fold it when they load the file.
    weight = writer.op(
        "Mul",
        [
            writer.op(
                "Cast", [writer.constant(f"{node.name}:int8", node.weight)], f"{node.name}:float", to=TensorProto.FLOAT
            ),
            writer.constant(f"{node.name}:scale", scale[:, None, None, None]),
        ],
        f"{node.name}:weight",
    )
    inputs = [source, weight, writer.constant(f"{node.name}:bias", bias.astype(np.float32))]
    rounds = bool((node.shift > 0).any())
    saturates = node.out == "int8"
    result = f"{node.name}:conv" if rounds or saturates else node.name
    writer.op("Conv", inputs, result, strides=node.stride, pads=[*node.padding, *node.padding], group=node.groups)
    if rounds:
        result = writer.op("Floor", [result], f"{node.name}:floor" if saturates else node.name)
    if saturates:
        writer.op("Clip", [result, writer.scalar(-INT8_MAX), writer.scalar(INT8_MAX)], node.name)


def space_sum(writer: GraphWriter, node: Pool, source: str, axes: tuple[int, int], result: str) -> str:
    """`node` on the float32 carrier `source`, whose height and width are `axes`."""
    if node.shift:
        shifted = writer.op("Add", [source, writer.scalar(float(1 << node.shift >> 1))], f"{result}:shifted")
        divided = writer.op("Mul", [shifted, writer.scalar(2.0**-node.shift)], f"{result}:divided")
        source = writer.op("Floor", [divided], f"{result}:rounded")
    return writer.op("ReduceSum", [source, writer.integers(*axes)], result, keepdims=1)


def unrolled_lif(
    writer: GraphWriter, program: Program, node: Lif, state: StateTensor | None = None, wide: bool = False
) -> None:
    """`node` as standard operators on float carriers `[T, C, H, W]`, one copy a time step, from `state` if given.

    Its source is float64 if `wide`, else float32; its spikes are float32.
    """
    steps = program.types[node.name].shape[0]
    drive = node.source

    def per_channel(label: str, values: np.ndarray) -> str:
        return writer.constant(f"{node.name}:{label}", values.astype(np.float64 if wide else np.float32)[:, None, None])

    if (node.gain != 1).any():
        drive = writer.op("Mul", [drive, per_channel("gain", node.gain)], f"{node.name}:scaled")
    if node.bias.any():
        drive = writer.op("Add", [drive, per_channel("bias", node.bias)], f"{node.name}:drive")
    theta = per_channel("theta", node.theta)
    inputs = [drive]
    if steps > 1:
        inputs = [f"{node.name}:x{step}" for step in range(steps)]
        writer.ops("Split", [drive], inputs, axis=0, num_outputs=steps)

    spikes = []
    membrane = None if state is None else _carrier(writer, state, wide)
    for step, x in enumerate(inputs):
        prefix = f"{node.name}:{step}"
        total = x if membrane is None else writer.op("Add", [membrane, x], f"{prefix}:sum")
        halved = writer.op("Mul", [total, writer.scalar(0.5, wide)], f"{prefix}:half")
        potential = writer.op("Floor", [halved], f"{prefix}:potential")
        fired = writer.op("GreaterOrEqual", [potential, theta], f"{prefix}:fired")
        spike = writer.op("Cast", [fired], f"{prefix}:spike1", to=TensorProto.FLOAT)
        for level in range(2, node.levels + 1):
            reach = per_channel(f"theta{level}", node.theta * level)
            above = writer.op("GreaterOrEqual", [potential, reach], f"{prefix}:above{level}")
            more = writer.op("Cast", [above], f"{prefix}:more{level}", to=TensorProto.FLOAT)
            spike = writer.op("Add", [spike, more], f"{prefix}:spike{level}")
        spikes.append(spike)
        if step == steps - 1 and state is None:
            break
        if node.reset == "hard":
            membrane = writer.op("Where", [fired, writer.scalar(0.0, wide), potential], f"{prefix}:membrane")
        else:
            if wide:
                spike = writer.op("Cast", [spike], f"{spike}:wide", to=TensorProto.DOUBLE)
            cost = writer.op("Mul", [spike, theta], f"{prefix}:cost")
            membrane = writer.op("Sub", [potential, cost], f"{prefix}:membrane")
    writer.op("Concat", spikes, node.name, axis=0)
    if state is not None and membrane is not None:
        _give_back(writer, state, membrane)


def attention_product(
    writer: GraphWriter, program: Program, node: Attention, state: StateTensor | None = None, wide: bool = False
) -> None:
    """`node` as matrix products on float32 `[T, C, H, W]`, exact within the range proof; gives float64 if `wide`."""
    steps, channels, height, width = program.types[node.name].shape
    space = height * width
    # Channels before tokens, as convolutions leave them: O^T = (V K^T) Q per head, shapes [G, heads, d, N].
    order = {"joint": [1, 0, 2], "temporal": [2, 1, 0]}.get(node.scope, [0, 1, 2])
    groups, tokens = token_groups(node.scope, (steps, channels, height, width))
    lead = [] if node.scope == "joint" else [groups]
    width_of_head = channels // node.heads

    def heads(role: str, source: str, signed: bool) -> str:
        name = f"{node.name}:{role}"
        flat = writer.op("Reshape", [source, writer.integers(steps, channels, space)], f"{name}:flat")
        moved = writer.op("Transpose", [flat], f"{name}:moved", perm=order)
        shape = writer.integers(*lead, node.heads, width_of_head, tokens)
        split = writer.op("Reshape", [moved, shape], f"{name}:heads")
        if not signed:
            return split
        doubled = writer.op("Mul", [split, writer.scalar(2.0)], f"{name}:doubled")
        return writer.op("Sub", [doubled, writer.scalar(1.0)], f"{name}:signs")

    signed = node.mode == "hamming"
    query, key = heads("q", node.query, signed), heads("k", node.key, signed)
    value = heads("v", node.value, False)
    axes = list(range(len(lead) + 3))
    keys = writer.op("Transpose", [key], f"{node.name}:keys", perm=[*axes[:-2], axes[-1], axes[-2]])
    summary = writer.op("MatMul", [value, keys], f"{node.name}:summary")
    if state is not None:
        summary = _step_summary(writer, state, summary)
    elif node.scope == "causal":
        summary = _window_sum(writer, node, summary, (steps, node.heads, width_of_head, width_of_head))
    if wide:
        summary, query = (writer.op("Cast", [x], f"{x}:wide", to=TensorProto.DOUBLE) for x in (summary, query))
    o = writer.op("MatMul", [summary, query], f"{node.name}:o")
    grouped = [(steps, channels, space)[axis] for axis in order]
    flat = writer.op("Reshape", [o, writer.integers(*grouped)], f"{node.name}:o_flat")
    moved = writer.op("Transpose", [flat], f"{node.name}:o_moved", perm=np.argsort(order).tolist())
    writer.op("Reshape", [moved, writer.integers(steps, channels, height, width)], node.name)


def _window_sum(writer: GraphWriter, node: Attention, summaries: str, shape: tuple[int, ...]) -> str:
    """The sums of the last `window` summaries, as a product with a band of ones."""
    steps = np.arange(shape[0])
    ago = steps[:, None] - steps
    band = writer.constant(f"{node.name}:band", ((ago >= 0) & (ago < node.window)).astype(np.float32))
    flat = writer.op("Reshape", [summaries, writer.integers(shape[0], -1)], f"{summaries}:flat")
    sums = writer.op("MatMul", [band, flat], f"{summaries}:sums")
    return writer.op("Reshape", [sums, writer.integers(*shape)], f"{summaries}:window")


def _step_summary(writer: GraphWriter, state: StateTensor, summary: str) -> str:
    """The present frame's summary `[1, heads, v, k]` given back, and with those before it added."""
    turned = writer.op("Transpose", [summary], f"{summary}:turned", perm=[0, 1, 3, 2])
    _give_back(writer, state, turned)
    before = writer.op("Transpose", [_carrier(writer, state)], f"{state.taken}:turned", perm=[0, 2, 1])
    return writer.op("Add", [summary, before], f"{summary}:window")
