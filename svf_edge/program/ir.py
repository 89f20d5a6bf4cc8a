"""Nodes of the integer program (docs/contract.md, "Nodes").

A program is a straight line of nodes in the order they run. A node is named after the layer it came from, and its
single output tensor carries the node's name. Tensors are logical `[T, C, H, W]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from svf_edge.contract import WEIGHT_BITS, weight_limit

Kind = Literal["frames", "spikes", "fixed", "int8"]
Reset = Literal["hard", "soft"]
Mode = Literal["hamming", "dot"]
Scope = Literal["joint", "spatial", "temporal", "causal"]

Int8Array = NDArray[np.int8]
Int32Array = NDArray[np.int32]


@dataclass(frozen=True)
class TensorType:
    """What a tensor holds: kind, shape `(T, C, H, W)`, and the exponent of its unit `2^-exponent`."""

    kind: Kind
    shape: tuple[int, int, int, int]
    exponent: int = 0
    levels: int = 1


@dataclass(frozen=True)
class Frames:
    """The program input: uint8 frames `[T, C, H, W]`; a pixel stands for `(x - zero_point) * 2^-exponent`."""

    shape: tuple[int, int, int, int]
    zero_point: int = 128
    exponent: int = 7
    name: str = "frames"


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution with requantisation. `exponent` is that of the output; `weight` is `[Cout, Cin/groups, kh, kw]`.

    `weight_bits` says how few bits hold every weight, and so how files may store them; it changes no result.
    """

    name: str
    source: str
    weight: Int8Array
    bias: Int32Array
    shift: Int32Array
    exponent: int
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    out: Literal["fixed", "int8"] = "fixed"
    weight_bits: int = 8


@dataclass(frozen=True)
class Add:
    """Sum of two `fixed` tensors of equal shape and exponent."""

    name: str
    left: str
    right: str


@dataclass(frozen=True)
class Pool:
    """Sum over space of a `fixed` tensor, each value rounded to a unit `2^shift` times as coarse: `[T, C, 1, 1]`."""

    name: str
    source: str
    shift: int = 0


@dataclass(frozen=True, eq=False)
class Lif:
    """Leaky integrate-and-fire over time with tau = 2 and decaying input; `gain`, `bias`, `theta` are int32 `[C]`."""

    name: str
    source: str
    gain: Int32Array
    bias: Int32Array
    theta: Int32Array
    reset: Reset = "hard"
    levels: int = 1


@dataclass(frozen=True)
class Attention:
    """Spike-driven Hamming (or dot-product) attention on three spike tensors.

    With scope "causal" a frame's tokens see those of the last `window` frames, their own included; else `window` is 0.
    """

    name: str
    query: str
    key: str
    value: str
    heads: int
    mode: Mode = "hamming"
    scope: Scope = "joint"
    window: int = 0


def token_groups(scope: Scope, shape: tuple[int, int, int, int]) -> tuple[int, int]:
    """How many groups attention of `scope` makes of spikes `[T, C, H, W]`, and how many tokens are in each.

    For "causal" these are the groups whose keys and values are summed up on their own: the frames.
    """
    steps, _, height, width = shape
    space = height * width
    frames = (steps, space)
    return {"joint": (1, steps * space), "spatial": frames, "causal": frames, "temporal": (space, steps)}[scope]


Node = Conv | Add | Pool | Lif | Attention


@dataclass(frozen=True)
class Output:
    """A named result: the `fixed` tensor it is taken from."""

    name: str
    source: str


def sources(node: Node) -> tuple[str, ...]:
    """Names of the tensors a node reads."""
    match node:
        case Conv() | Pool() | Lif():
            return (node.source,)
        case Add():
            return (node.left, node.right)
        case Attention():
            return (node.query, node.key, node.value)


@dataclass(frozen=True, eq=False)
class Program:
    """An integer program for one frame size and clip length.

    Construction checks the whole of it (names, kinds, shapes, dtypes, ranges of constants), so that everything
    downstream may rely on it. Raises `ValueError` with the node's name.

    `meta` is free JSON: where it came from, task, metrics.
    """

    frames: Frames
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.outputs:
            raise ValueError("a program needs at least one output")
        if not isinstance(self.meta, Mapping):
            raise ValueError("meta is not a mapping")
        for output in self.outputs:
            if output.name in self.types:
                raise ValueError(
                    f"output '{output.name}' has the name of a tensor; graphs need it for the output alone"
                )
            if output.source not in self.types:
                raise ValueError(f"output '{output.name}' reads '{output.source}', which no node makes")
            if self.types[output.source].kind != "fixed":
                raise ValueError(f"output '{output.name}' reads '{output.source}', which is not of kind fixed")

    @cached_property
    def types(self) -> Mapping[str, TensorType]:
        """Type of every tensor by name, inferred in one pass."""
        frames = self.frames
        if len(frames.shape) != 4 or not _whole(*frames.shape) or min(frames.shape) < 1:
            raise ValueError(f"frames of shape {frames.shape}: four positive sizes are needed")
        if not _whole(frames.zero_point, frames.exponent) or not 0 <= frames.zero_point <= 255:
            raise ValueError(f"zero point {frames.zero_point} or exponent {frames.exponent} of the frames is not valid")
        types = {frames.name: TensorType("frames", frames.shape, frames.exponent)}
        for node in self.nodes:
            if not isinstance(node.name, str) or not node.name:
                raise ValueError(f"a node is called {node.name!r}")
            if node.name in types:
                raise ValueError(f"{node.name}: the name is used twice")
            for source in sources(node):
                if source not in types:
                    raise ValueError(f"{node.name}: reads '{source}', which no earlier node makes")
            types[node.name] = _infer(node, types)
        return types

    @cached_property
    def streams(self) -> bool:
        """Whether no frame depends on a later one, so that a clip may be run in pieces from a carried state."""
        return all(node.scope in ("spatial", "causal") for node in self.nodes if isinstance(node, Attention))

    @cached_property
    def lifs(self) -> tuple[Lif, ...]:
        """The LIF nodes in running order: the points where spikes are compared."""
        return tuple(node for node in self.nodes if isinstance(node, Lif))

    def for_steps(self, steps: int) -> Program:
        """The same nodes for clips of `steps` frames."""
        frames = replace(self.frames, shape=(steps, *self.frames.shape[1:]))
        return Program(frames, self.nodes, self.outputs, self.meta)

    def with_meta(self, **entries: Any) -> Program:
        """A copy whose `meta` has `entries` added."""
        return Program(self.frames, self.nodes, self.outputs, {**self.meta, **entries})


def _infer(node: Node, types: Mapping[str, TensorType]) -> TensorType:
    match node:
        case Conv():
            return _infer_conv(node, types[node.source])
        case Add():
            left, right = types[node.left], types[node.right]
            _need(left.kind == right.kind == "fixed", node, "adds only fixed tensors")
            _need(left == right, node, f"adds {left} and {right}")
            return left
        case Pool():
            source = types[node.source]
            _need(source.kind == "fixed", node, f"reads a tensor of kind {source.kind}, not fixed")
            _need(_whole(node.shift) and 0 <= node.shift <= 30, node, f"shift {node.shift!r} is outside 0..30")
            return TensorType("fixed", (*source.shape[:2], 1, 1), source.exponent - node.shift)
        case Lif():
            source = types[node.source]
            _need(source.kind == "fixed", node, f"reads a tensor of kind {source.kind}, not fixed")
            for label, values in (("gain", node.gain), ("bias", node.bias), ("theta", node.theta)):
                _vector(node, label, values, source.shape[1])
            _need(int(node.theta.min()) >= 1, node, f"theta {int(node.theta.min())} is below 1")
            _need(_whole(node.levels) and node.levels >= 1, node, f"levels {node.levels} is no positive number")
            _need(node.reset in ("hard", "soft"), node, f"unknown reset '{node.reset}'")
            return TensorType("spikes", source.shape, 0, node.levels)
        case Attention():
            query, key, value = (types[name] for name in sources(node))
            _need(query.kind == key.kind == value.kind == "spikes", node, "reads only spikes")
            _need(query == key == value, node, f"q, k and v differ: {query}, {key}, {value}")
            divides = _whole(node.heads) and node.heads >= 1 and query.shape[1] % node.heads == 0
            _need(divides, node, f"{node.heads} heads do not divide C")
            _need(node.mode in ("hamming", "dot"), node, f"unknown mode '{node.mode}'")
            _need(node.scope in ("joint", "spatial", "temporal", "causal"), node, f"unknown scope '{node.scope}'")
            fits = _whole(node.window) and (node.window >= 1 if node.scope == "causal" else node.window == 0)
            _need(fits, node, f"a window of {node.window} frames with scope '{node.scope}'")
            return TensorType("fixed", query.shape, 0)


def _infer_conv(node: Conv, source: TensorType) -> TensorType:
    _need(source.kind != "fixed", node, "reads a fixed tensor; a LIF or an int8 output must stand between")
    weight = node.weight
    _need(
        weight.dtype == np.int8 and weight.ndim == 4 and weight.size > 0, node, "weight is not int8 [Co, Ci/g, kh, kw]"
    )
    _need(_whole(node.weight_bits) and node.weight_bits in WEIGHT_BITS, node, f"{node.weight_bits!r} bits of weight")
    limit = weight_limit(node.weight_bits)
    for extreme in (int(weight.min()), int(weight.max())):
        _need(-limit <= extreme <= limit, node, f"weight {extreme} is outside -{limit}..{limit}")
    _need(_whole(node.groups, node.exponent), node, f"groups {node.groups} or exponent {node.exponent} is not whole")
    for label, pair in (("stride", node.stride), ("padding", node.padding)):
        _need(len(pair) == 2 and _whole(*pair), node, f"{label} {pair} is no pair of whole numbers")
    steps, channels, height, width = source.shape
    outs, per_group, kernel_h, kernel_w = weight.shape
    fits = node.groups >= 1 and per_group * node.groups == channels and outs % node.groups == 0
    _need(fits, node, f"weight {weight.shape} with {node.groups} groups does not fit {channels} channels")
    _vector(node, "bias", node.bias, outs)
    _vector(node, "shift", node.shift, outs)
    _need(int(node.shift.min()) > -31 and int(node.shift.max()) < 31, node, "a shift is outside -30..30")
    _need(min(node.stride) >= 1 and min(node.padding) >= 0, node, f"stride {node.stride}, padding {node.padding}")
    out_h = (height + 2 * node.padding[0] - kernel_h) // node.stride[0] + 1
    out_w = (width + 2 * node.padding[1] - kernel_w) // node.stride[1] + 1
    _need(out_h >= 1 and out_w >= 1, node, f"a {kernel_h}x{kernel_w} kernel does not fit {height}x{width}")
    _need(node.out in ("fixed", "int8"), node, f"unknown output kind '{node.out}'")
    return TensorType(node.out, (steps, outs, out_h, out_w), node.exponent)


def _whole(*values: object) -> bool:
    return all(type(value) is int for value in values)  # a bool is an int to isinstance, and no number here


def _vector(node: Node, label: str, values: Int32Array, size: int) -> None:
    _need(values.dtype == np.int32 and values.shape == (size,), node, f"{label} is not int32 [{size}]")


def _need(condition: bool, node: Node, message: str) -> None:
    if not condition:
        raise ValueError(f"{node.name}: {message}")
