"""The honest alternative: the same network as plain float32 ONNX, in the leanest form we know.

One convolution a layer with bias, BatchNorm and the neuron's halving folded in; LIF over time in five elementwise
operators a step whatever its levels, no copies of membranes. torch's own exporter gives a slower graph of the same
network, and so did a `Scan` over time and a LIF with one comparison a level.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto

from benchmarks.float_network import conv_numbers, lif_numbers
from svf_edge.export.onnx.portable import attention_product
from svf_edge.export.onnx.writer import GraphWriter
from svf_edge.program import Add, Attention, Conv, Lif, Pool, Program


def float_twin(program: Program) -> onnx.ModelProto:
    """`program` as a float32 network: convolutions, LIF over time and attention, no rounding and no saturation."""
    writer = GraphWriter()
    frames = program.frames
    pixels = writer.op("Cast", [frames.name], f"{frames.name}:float", to=TensorProto.FLOAT)
    centred = writer.op("Sub", [pixels, writer.scalar(frames.zero_point)], f"{frames.name}:centred")
    writer.op("Mul", [centred, writer.scalar(2.0**-frames.exponent)], f"{frames.name}:scaled")
    for node in program.nodes:
        match node:
            case Conv():
                _conv(writer, program, node)
            case Add():
                writer.op("Add", [node.left, node.right], node.name)
            case Pool():
                writer.op("ReduceSum", [node.source, writer.integers(2, 3)], node.name, keepdims=1)
            case Lif():
                float_lif(writer, program, node)
            case Attention():
                attention_product(writer, program, node)
    for output in program.outputs:
        unit = writer.scalar(2.0 ** (program.types[output.source].exponent + 1))
        scaled = writer.op("Mul", [output.source, unit], f"{output.name}:scaled")
        writer.op("Cast", [scaled], output.name, to=TensorProto.INT32)
    return writer.model(program, "float")


def _conv(writer: GraphWriter, program: Program, node: Conv) -> None:
    numbers = conv_numbers(program, node)
    inputs = [
        f"{node.source}:scaled" if program.types[node.source].kind == "frames" else node.source,
        writer.constant(f"{node.name}:weight", numbers.weight),
        writer.constant(f"{node.name}:bias", numbers.bias),
    ]
    writer.op("Conv", inputs, node.name, strides=node.stride, pads=[*node.padding, *node.padding], group=node.groups)


def float_lif(writer: GraphWriter, program: Program, node: Lif) -> None:
    """`node` unrolled over time on `[T, C, H, W]`."""
    steps = program.types[node.name].shape[0]
    numbers = lif_numbers(program, node)
    drive = node.source
    if numbers.scale is not None:
        drive = writer.op("Mul", [drive, writer.constant(f"{node.name}:scale", numbers.scale)], f"{node.name}:scaled")
    if numbers.bias is not None:
        drive = writer.op("Add", [drive, writer.constant(f"{node.name}:bias", numbers.bias)], f"{node.name}:drive")
    theta = writer.constant(f"{node.name}:theta", numbers.theta)
    unit = (numbers.theta == 1).all()
    inputs = [drive]
    if steps > 1:
        inputs = [f"{node.name}:x{step}" for step in range(steps)]
        writer.ops("Split", [drive], inputs, axis=0, num_outputs=steps)
    spikes: list[str] = []
    carried = None  # U / 2
    for step, x in enumerate(inputs):
        prefix = f"{node.name}:{step}"
        potential = x if carried is None else writer.op("Add", [carried, x], f"{prefix}:potential")
        fired = writer.op("GreaterOrEqual", [potential, theta], f"{prefix}:fired")
        if node.levels == 1:
            spike = writer.op("Cast", [fired], f"{prefix}:spike", to=TensorProto.FLOAT)
        else:
            ratio = potential if unit else writer.op("Div", [potential, theta], f"{prefix}:ratio")
            reached = writer.op("Floor", [ratio], f"{prefix}:reached")
            limits = [writer.scalar(0.0), writer.scalar(float(node.levels))]
            spike = writer.op("Clip", [reached, *limits], f"{prefix}:spike")
        spikes.append(spike)
        if step == steps - 1:
            break
        if node.reset == "hard":
            half = writer.op("Mul", [potential, writer.scalar(0.5)], f"{prefix}:half")
            carried = writer.op("Where", [fired, writer.scalar(0.0), half], f"{prefix}:carried")
        else:
            cost = spike if unit else writer.op("Mul", [spike, theta], f"{prefix}:cost")
            left = writer.op("Sub", [potential, cost], f"{prefix}:left")
            carried = writer.op("Mul", [left, writer.scalar(0.5)], f"{prefix}:carried")
    writer.op("Concat", spikes, node.name, axis=0)
