"""Program to ONNX in the `qdq` dialect, the one TensorRT builds its engine from.

Convolutions stand between explicit QuantizeLinear / DequantizeLinear pairs, so TensorRT runs them on int8 tensor cores.
Activations are integers at scale 1; weights are int8 with one power-of-two scale per output channel, `2^-shift`, so the
convolution's result is exactly the value that the contract rounds down. LIFs are standard operators unrolled over time.
Attention is a plug-in node on packed words (runtimes/native/tensorrt).

Everything between is float32 and exact under the float32 range proof. TF32, which TensorRT may use for a convolution it
does not run in int8, keeps inputs up to 2048 times a power of two: frames, spikes and int8 values all are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from svf_edge.contract import INT8_MAX, MAX_LEVELS
from svf_edge.errors import MissingPackage, UnsupportedInput
from svf_edge.files import atomic_write
from svf_edge.packing import WORD_BITS, word_count
from svf_edge.program import Add, Attention, Conv, Lif, Pool, Program
from svf_edge.program.ir import token_groups
from svf_edge.program.ranges import prove

try:
    import onnx
    from onnx import TensorProto

    from svf_edge.export.onnx.functions import BODY_DOMAIN, DOMAIN, bodies
    from svf_edge.export.onnx.portable import space_sum, unrolled_lif
    from svf_edge.export.onnx.writer import GraphWriter
except ModuleNotFoundError as error:
    if error.name != "onnx":
        raise
    raise MissingPackage("onnx", "onnx") from error

PLUGIN_VERSION = "1"
PLUGINS = {"hamming": "HammingAttention", "dot": "DotAttention"}

_INT8_ZERO_POINT = 128  # the one that moves uint8 onto int8
_PLACES = np.uint32(1) << np.arange(WORD_BITS, dtype=np.uint32)


def export_tensorrt(program: Program, path: str | Path) -> None:
    """Write `program` as an ONNX file for TensorRT, atomically. Raises what `qdq_model` raises."""
    model = qdq_model(program)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)


def qdq_model(program: Program, *, with_bodies: bool = False) -> onnx.ModelProto:
    """The `qdq` graph of `program`: uint8 frames in, int32 outputs, all `[T, C, H, W]`.

    Shipped files carry no function bodies, because TensorRT 10.3 prefers a body to the plug-in. `with_bodies` adds
    them, which lets ONNX Runtime and onnx's reference evaluator run the very same nodes.

    Raises `RangeError` when a float32 value could be inexact, and `UnsupportedInput` for an integer LIF that has more
    levels than int8 holds, or feeds an attention and has more than the plug-in takes.
    """
    prove(program, "float32")
    writer = GraphWriter()
    frames = program.frames
    pixels = writer.op("Cast", [frames.name], f"{frames.name}:float", to=TensorProto.FLOAT)
    writer.op("Sub", [pixels, writer.scalar(frames.zero_point)], f"{frames.name}:centred")
    quantised: dict[str, str] = {}
    for node in program.nodes:
        match node:
            case Conv():
                _conv(writer, program, node, quantised)
            case Add():
                writer.op("Add", [node.left, node.right], node.name)
            case Pool():
                space_sum(writer, node, node.source, (2, 3), node.name)
            case Lif():
                unrolled_lif(writer, program, node)
            case Attention():
                _attention(writer, program, node)
    for output in program.outputs:
        writer.op("Cast", [output.source], output.name, to=TensorProto.INT32)
    if with_bodies:
        return writer.model(program, "qdq", bodies(), (DOMAIN, BODY_DOMAIN))
    return writer.model(program, "qdq", domains=(DOMAIN,))


def plugin_layers(program: Program) -> tuple[str, ...]:
    """Names that the plug-in layers of `program` have in the graph and the engine."""
    return tuple(_plugin_name(node) for node in program.nodes if isinstance(node, Attention))


def _plugin_name(node: Attention) -> str:
    return f"{node.name}:o"


def _quantise(writer: GraphWriter, program: Program, name: str) -> str:
    """`name`, a tensor of small integers, through int8 at scale 1 where int8 holds it; else as it is."""
    source = program.types[name]
    carrier = f"{name}:centred" if source.kind == "frames" else name
    if source.kind == "spikes" and source.levels > INT8_MAX:
        raise UnsupportedInput(
            f"layer '{name}' is an integer LIF with {source.levels} levels; the qdq dialect takes {INT8_MAX} at most, "
            "export the portable dialect for ONNX Runtime"
        )
    if source.kind == "frames" and program.frames.zero_point != _INT8_ZERO_POINT:
        return carrier  # event counts reach 255: their convolution stays float, exact all the same
    unit = writer.scalar(1.0)
    zero = writer.constant("i8:0", np.array(0, np.int8))
    integers = writer.op("QuantizeLinear", [carrier, unit, zero], f"{name}:int8")
    return writer.op("DequantizeLinear", [integers, unit, zero], f"{name}:dequantised")


def _conv(writer: GraphWriter, program: Program, node: Conv, quantised: dict[str, str]) -> None:
    if node.source not in quantised:
        quantised[node.source] = _quantise(writer, program, node.source)
    # (acc * 2^l + bias) / 2^r as one convolution: every term is an integer times 2^-r, so it is exact.
    scale = np.exp2(-node.shift.astype(np.float32))
    bias = node.bias * np.exp2(-np.maximum(node.shift, 0).astype(np.float32))
    weight = writer.op(
        "DequantizeLinear",
        [
            writer.constant(f"{node.name}:weight_int8", node.weight),
            writer.constant(f"{node.name}:weight_scale", scale),
            writer.constant(f"{node.name}:weight_zero", np.zeros(len(scale), np.int8)),
        ],
        f"{node.name}:weight",
        axis=0,
    )
    inputs = [quantised[node.source], weight, writer.constant(f"{node.name}:bias", bias.astype(np.float32))]
    saturates = node.out == "int8"
    sums = writer.op(
        "Conv", inputs, f"{node.name}:conv", strides=node.stride, pads=[*node.padding, *node.padding], group=node.groups
    )
    floor = writer.op("Floor", [sums], f"{node.name}:floor" if saturates else node.name)
    if saturates:
        writer.op("Clip", [floor, writer.scalar(-INT8_MAX), writer.scalar(INT8_MAX)], node.name)


def _attention(writer: GraphWriter, program: Program, node: Attention) -> None:
    if node.scope == "causal":
        raise UnsupportedInput(f"layer '{node.name}': causal attention has no TensorRT form yet; export --to onnx")
    source = program.types[node.query]
    levels = source.levels
    if levels > MAX_LEVELS:
        raise UnsupportedInput(
            f"layer '{node.name}' attends to spikes of {levels} levels; the attention plug-in takes {MAX_LEVELS} at "
            "most, export the portable dialect for ONNX Runtime"
        )
    steps, channels, height, width = source.shape
    space = height * width
    words = word_count(channels)
    groups, tokens = token_groups(node.scope, source.shape)
    # [T, C, H * W] to [.., .., C], tokens in (t, h, w) order.
    order = [2, 0, 1] if node.scope == "temporal" else [0, 2, 1]

    def pack(role: str, spikes: str) -> str:
        name = f"{node.name}:{role}"
        flat = writer.op("Reshape", [spikes, writer.integers(steps, channels, space)], f"{name}:flat")
        rows = writer.op("Transpose", [flat], f"{name}:rows", perm=order)
        rows = writer.op("Reshape", [rows, writer.integers(groups, tokens, channels)], f"{name}:tokens")
        missing = words * WORD_BITS - channels
        if missing:
            rows = writer.op("Pad", [rows, writer.integers(0, 0, 0, 0, 0, missing)], f"{name}:padded")
        split = writer.op("Reshape", [rows, writer.integers(groups, tokens, words, WORD_BITS)], f"{name}:split")
        if levels > 1:  # thermometer planes on a new axis in front
            reach = np.arange(1, levels + 1, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
            split = writer.op("GreaterOrEqual", [split, writer.constant(f"f32:1..{levels}", reach)], f"{name}:planes")
        bits = writer.op("Cast", [split], f"{name}:bits", to=TensorProto.INT32)
        placed = writer.op("Mul", [bits, writer.constant("i32:places", _PLACES.view(np.int32))], f"{name}:placed")
        return writer.op("ReduceSum", [placed, writer.integers(-1)], f"{name}:words", keepdims=0)

    inputs = [pack("q", node.query), pack("k", node.key), pack("v", node.value)]
    o = writer.op(
        PLUGINS[node.mode],
        inputs,
        _plugin_name(node),
        DOMAIN,
        channels=channels,
        heads=node.heads,
        plugin_namespace="",
        plugin_version=PLUGIN_VERSION,
    )
    floats = writer.op("Cast", [o], f"{node.name}:float", to=TensorProto.FLOAT)
    lead = (space, steps) if node.scope == "temporal" else (steps, space)
    split = writer.op("Reshape", [floats, writer.integers(*lead, channels)], f"{node.name}:ungrouped")
    moved = writer.op("Transpose", [split], f"{node.name}:moved", perm=np.argsort(order).tolist())
    writer.op("Reshape", [moved, writer.integers(steps, channels, height, width)], node.name)
