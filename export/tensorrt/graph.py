"""Program to ONNX in the `qdq` dialect, the one TensorRT builds its engine from.

Convolutions stand between explicit QuantizeLinear / DequantizeLinear pairs, so TensorRT runs them on int8 tensor cores.
Activations are integers at scale 1; weights are int8 with one power-of-two scale per output channel, `2^-shift`, so the
convolution's result is exactly the value that the contract rounds down.

LIFs and attention are plug-in nodes (runtimes/native/tensorrt). A LIF takes what a convolution or a sum gives, float32
carriers `[T, C, H, W]`, and rounds them down itself; behind an attention it takes int32, so that long windows and many
tokens stay exact. It gives what is read: int8 spikes for a convolution's DequantizeLinear, int32 words for attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from svf_edge.contract import INT8_MAX, MAX_LEVELS
from svf_edge.errors import UnsupportedInput
from svf_edge.export.onnx.functions import BODY_DOMAIN, DOMAIN
from svf_edge.export.onnx.portable import space_sum
from svf_edge.export.onnx.writer import GraphWriter
from svf_edge.export.tensorrt.functions import plugin_bodies
from svf_edge.export.tensorrt.precision import precision
from svf_edge.packing import word_count
from svf_edge.program import Add, Attention, Conv, Lif, Node, Pool, Program
from svf_edge.program.ir import sources, token_groups
from svf_edge.program.ranges import prove_floats
from svf_edge.program.stream import StateTensor, state_tensors

PLUGIN_VERSION = "1"

_INT8_ZERO_POINT = 128  # the one that moves uint8 onto int8
_ATTENTION = {"hamming": "Hamming", "dot": "Dot"}


def qdq_model(program: Program, *, with_bodies: bool = False, stream: bool = False) -> onnx.ModelProto:
    """The `qdq` graph of `program`: uint8 frames in, int32 outputs, all `[T, C, H, W]`.

    With `stream` it is one step of the program's stream form (`state_tensors`). Shipped files carry no function bodies,
    because TensorRT 10.3 prefers a body to the plug-in; `with_bodies` adds them, which lets ONNX Runtime and onnx's
    reference evaluator run the very same nodes. The file's properties `tf32` and `float16` say what `precision` found.

    Raises `RangeError` when a float32 value could be inexact, and `UnsupportedInput` for a program without a stream
    form, or an integer LIF that has more levels than int8 holds, or feeds an attention and has more than the plug-in
    takes.
    """
    translation = _Translation(program, stream)
    functions = plugin_bodies("float64" if translation.wide else "float32") if with_bodies else ()
    domains = (DOMAIN, BODY_DOMAIN) if with_bodies else (DOMAIN,)
    state = {tensor.taken: (tensor.given, tensor.shape) for tensor in translation.state.values()}
    properties = precision(program).properties
    return translation.writer.model(program, "qdq", functions, domains, state, properties)


def plugin_layers(program: Program, stream: bool = False) -> dict[str, tuple[str, ...]]:
    """The plug-in layers of the graph of `program` by name, in running order, with their outputs ("INT32 [1, 4, 40]").

    Raises what `qdq_model` raises.
    """
    return _Translation(program, stream).plugins


def packed_taps(program: Program) -> frozenset[str]:
    """The LIFs whose spikes are words in the graph, because attention alone reads them."""
    read = {name for node in program.nodes if isinstance(node, Attention) for name in sources(node)}
    return frozenset(read - {node.source for node in program.nodes if isinstance(node, Conv)})


class _Translation:
    """A program's nodes as they are written into `writer`, and the plug-in layers among them."""

    def __init__(self, program: Program, stream: bool) -> None:
        self.wide = prove_floats(program)
        """Layers that float32 would not hold: attention and the LIFs behind it, which are integers here."""
        self.writer = GraphWriter()
        self.plugins: dict[str, tuple[str, ...]] = {}
        self.state = {tensor.node: tensor for tensor in state_tensors(program)} if stream else {}
        self._program = program
        self._stream = stream
        self._readers: dict[str, list[Node]] = {name: [] for name in program.types}
        for node in program.nodes:
            for source in sources(node):
                self._readers[source].append(node)
        self._quantised: dict[str, str] = {}
        self._frames()
        for node in program.nodes:
            match node:
                case Conv():
                    self._conv(node)
                case Add():
                    self.writer.op("Add", [node.left, node.right], node.name)
                case Pool():
                    space_sum(self.writer, node, node.source, (2, 3), node.name)
                case Lif():
                    self._lif(node)
                case Attention():
                    self._attention(node)
        for output in program.outputs:
            self.writer.op("Cast", [output.source], output.name, to=TensorProto.INT32)

    def _plugin(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[tuple[str, str, Sequence[int]]], **attributes: Any
    ) -> None:
        """A plug-in node, called after its first output; `outputs` are name, type and shape."""
        names = [name for name, _, _ in outputs]
        self.plugins[names[0]] = tuple(f"{kind} {list(shape)}" for _, kind, shape in outputs)
        self.writer.ops(kind, inputs, names, DOMAIN, plugin_namespace="", plugin_version=PLUGIN_VERSION, **attributes)

    def _frames(self) -> None:
        frames = self._program.frames
        pixels = self.writer.op("Cast", [frames.name], f"{frames.name}:float", to=TensorProto.FLOAT)
        self.writer.op("Sub", [pixels, self.writer.scalar(frames.zero_point)], f"{frames.name}:centred")

    def _integers(self, name: str) -> str:
        """What a convolution reads for `name`: spikes, or other small integers through int8 where int8 holds them."""
        source = self._program.types[name]
        if source.kind == "spikes":
            return name
        if name not in self._quantised:
            carrier = f"{name}:centred" if source.kind == "frames" else name
            if source.kind == "frames" and self._program.frames.zero_point != _INT8_ZERO_POINT:
                self._quantised[name] = carrier  # event counts reach 255: their convolution stays float, exact as well
            else:
                unit, zero = self._unit()
                integers = self.writer.op("QuantizeLinear", [carrier, unit, zero], f"{name}:int8")
                dequantised = f"{name}:dequantised"
                self._quantised[name] = self.writer.op("DequantizeLinear", [integers, unit, zero], dequantised)
        return self._quantised[name]

    def _only_lifs(self, node: Node) -> bool:
        """Whether LIFs alone read `node`, which is no output either."""
        lifs = all(isinstance(reader, Lif) for reader in self._readers[node.name])
        return lifs and all(output.source != node.name for output in self._program.outputs)

    def _unit(self) -> tuple[str, str]:
        return self.writer.scalar(1.0), self.writer.constant("i8:0", np.array(0, np.int8))

    def _conv(self, node: Conv) -> None:
        writer = self.writer
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
        inputs = [self._integers(node.source), weight, writer.constant(f"{node.name}:bias", bias.astype(np.float32))]
        saturates = node.out == "int8"
        floors = saturates or not self._only_lifs(node)  # a LIF rounds down itself
        pads = [*node.padding, *node.padding]
        sums = f"{node.name}:conv" if floors else node.name
        writer.op("Conv", inputs, sums, strides=node.stride, pads=pads, group=node.groups)
        if floors:
            writer.op("Floor", [sums], f"{node.name}:floor" if saturates else node.name)
        if saturates:
            limits = [writer.scalar(-INT8_MAX), writer.scalar(INT8_MAX)]
            writer.op("Clip", [f"{node.name}:floor", *limits], node.name)

    def _lif(self, node: Lif) -> None:
        """Spikes for convolutions, words for attention, or both; membranes are given back once."""
        readers = self._readers[node.name]
        attends = any(isinstance(reader, Attention) for reader in readers)
        convolves = not attends or any(isinstance(reader, Conv) for reader in readers)
        if convolves:
            if node.levels > INT8_MAX:
                raise UnsupportedInput(
                    f"layer '{node.name}' is an integer LIF with {node.levels} levels; the qdq dialect takes "
                    f"{INT8_MAX} at most, export the portable dialect for ONNX Runtime"
                )
            shape = self._program.types[node.name].shape
            self._fire("LifSpikes", node, f"{node.name}:int8", "INT8", shape, self.state.get(node.name))
            self.writer.op("DequantizeLinear", [f"{node.name}:int8", *self._unit()], node.name)
        if attends:
            if node.levels > MAX_LEVELS:
                raise UnsupportedInput(
                    f"layer '{node.name}' has {node.levels} levels and feeds an attention; the attention plug-in takes "
                    f"{MAX_LEVELS} at most, export the portable dialect for ONNX Runtime"
                )
            steps, channels, height, width = self._program.types[node.name].shape
            planes = (node.levels,) if node.levels > 1 else ()
            words = f"{node.name}:words" if convolves else node.name
            state = None if convolves else self.state.get(node.name)
            shape = (*planes, steps, height, width, word_count(channels))
            self._fire("LifWords", node, words, "INT32", shape, state)

    def _fire(
        self, kind: str, node: Lif, name: str, type_: str, shape: tuple[int, ...], state: StateTensor | None
    ) -> None:
        keys = ("gain", "bias", "theta")
        inputs = [node.source, *(self.writer.constant(f"{node.name}:{key}", getattr(node, key)) for key in keys)]
        outputs: list[tuple[str, str, Sequence[int]]] = [(name, type_, shape)]
        if self._stream:
            taken = StateTensor(node.name, self._program.types[node.name].shape[1:], 0).taken
            given = f"{name}:after" if state is None else state.given
            inputs, outputs = [*inputs, taken], [*outputs, (given, "INT32", self._program.types[node.name].shape[1:])]
        attributes = {"soft_reset": int(node.reset == "soft"), "levels": node.levels}
        self._plugin(kind + "From" * self._stream, inputs, outputs, **attributes)

    def _attention(self, node: Attention) -> None:
        writer, shape = self.writer, self._program.types[node.query].shape
        steps, channels, height, width = shape
        groups, tokens = token_groups(node.scope, shape)
        temporal = node.scope == "temporal"  # words lie in (t, h, w) order; time goes inside
        levels = self._program.types[node.query].levels
        planes = (levels,) if levels > 1 else ()

        def grouped(role: str, source: str) -> str:
            both = any(isinstance(reader, Conv) for reader in self._readers[source])
            rows = (tokens, groups) if temporal else (groups, tokens)
            words = writer.integers(*planes, *rows, word_count(channels))
            name = writer.op("Reshape", [f"{source}:words" if both else source, words], f"{node.name}:{role}")
            swapped = [0, 2, 1, 3] if planes else [1, 0, 2]
            return writer.op("Transpose", [name], f"{name}:swapped", perm=swapped) if temporal else name

        inputs = [grouped("q", node.query), grouped("k", node.key), grouped("v", node.value)]
        o = f"{node.name}:o"
        outputs: list[tuple[str, str, Sequence[int]]] = [(o, "INT32", (groups, tokens, channels))]
        kind, attributes = f"{_ATTENTION[node.mode]}Attention", {"channels": channels, "heads": node.heads}
        if node.name in self.state:
            state = self.state[node.name]
            inputs, outputs = [*inputs, state.taken], [*outputs, (state.given, "INT32", state.shape)]
            kind = f"{_ATTENTION[node.mode]}AttentionStep"
        elif node.scope == "causal":
            kind, attributes["window"] = f"{_ATTENTION[node.mode]}CausalAttention", node.window
        self._plugin(kind, inputs, outputs, **attributes)
        if not self._only_lifs(node):
            o = writer.op("Cast", [o], f"{node.name}:float", to=TensorProto.FLOAT)
        lead = (height * width, steps) if temporal else (steps, height * width)
        split = writer.op("Reshape", [o, writer.integers(*lead, channels)], f"{node.name}:ungrouped")
        moved = writer.op("Transpose", [split], f"{node.name}:moved", perm=[1, 2, 0] if temporal else [0, 2, 1])
        writer.op("Reshape", [moved, writer.integers(steps, channels, height, width)], node.name)
