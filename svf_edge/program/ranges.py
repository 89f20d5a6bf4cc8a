"""Range proofs: how large every accumulator of a program can become, and which carriers hold it exactly.

A float32 sum of integers is exact in any order of summation while the sum of absolute values stays at or below 2^24;
int32 holds to 2^31 - 1. Bounds follow from the weights, the input range, the levels and the number of tokens, so a
proof covers every clip, not the clips someone tried.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from svf_edge.contract import FLOAT32_LIMIT, INT8_MAX, INT32_LIMIT
from svf_edge.errors import RangeError
from svf_edge.program.ir import Add, Attention, Conv, Lif, Pool, Program, TensorType, sources, token_groups

Carrier = Literal["int32", "float32"]
LIMITS: Mapping[Carrier, int] = {"int32": INT32_LIMIT, "float32": FLOAT32_LIMIT}
_SUMMARY = "key-value summary"


@dataclass(frozen=True)
class Bound:
    """The largest absolute value that `quantity` of layer `layer` can reach (sums: of absolute values)."""

    layer: str
    quantity: str
    value: int


@dataclass(frozen=True)
class _Interval:
    """Inclusive bounds per channel, Python integers in object arrays so that no bound can overflow."""

    low: NDArray[np.object_]
    high: NDArray[np.object_]

    @property
    def magnitude(self) -> NDArray[np.object_]:
        return np.maximum(np.abs(self.low), np.abs(self.high))


def bounds(program: Program) -> tuple[Bound, ...]:
    """A bound for every accumulator of `program`, in running order."""
    channels = program.frames.shape[1]
    zero = program.frames.zero_point
    intervals = {program.frames.name: _constant(channels, -zero, 255 - zero)}
    found: list[Bound] = []
    for node in program.nodes:
        match node:
            case Conv():
                intervals[node.name] = _conv(node, intervals[node.source], found)
            case Add():
                left, right = intervals[node.left], intervals[node.right]
                intervals[node.name] = _Interval(left.low + right.low, left.high + right.high)
                _record(found, node.name, "sum", left.magnitude + right.magnitude)
            case Pool():
                _, _, height, width = program.types[node.source].shape
                intervals[node.name] = _pool(node, intervals[node.source], height * width, found)
            case Lif():
                intervals[node.name] = _lif(node, intervals[node.source], found)
            case Attention():
                intervals[node.name] = _attention(node, program.types[node.query], found)
    return tuple(found)


def prove(program: Program, carrier: Carrier, wide: Collection[str] = ()) -> tuple[Bound, ...]:
    """The bounds of `program`, all within `carrier`, or within int32 in the layers `wide` (see `prove_floats`).

    Raises `RangeError` naming the layer, the bound and the limit of the first one that is not.
    """
    found = bounds(program)
    for bound in found:
        held: Carrier = "int32" if bound.layer in wide and bound.quantity != _SUMMARY else carrier
        if bound.value > LIMITS[held]:
            raise RangeError(
                f"layer '{bound.layer}': {bound.quantity} can reach {bound.value}, the {held} carrier is exact only "
                f"to {LIMITS[held]}; use a shorter clip or smaller frames (fewer tokens), fewer fraction bits or "
                "smaller weights"
            )
    return found


def prove_floats(program: Program) -> frozenset[str]:
    """The layers that a graph on float32 carriers has to compute in float64; all others are proven for float32.

    They are attentions whose products of query and summary, or whose LIFs, leave what float32 holds: long windows and
    many tokens do that, and little of the work is there. The summaries themselves stay in float32, and everything in
    int32, which states and packed graphs keep.

    Raises `RangeError` as `prove` does. An attention that something other than LIFs reads is not widened.
    """
    beyond = {bound.layer for bound in bounds(program) if bound.value > LIMITS["float32"]}
    wide: set[str] = set()
    for node in program.nodes:
        if isinstance(node, Attention):
            readers = [reader for reader in program.nodes if node.name in sources(reader)]
            group = {node.name, *(reader.name for reader in readers)}
            read_by_lifs = all(isinstance(reader, Lif) for reader in readers)
            if group & beyond and read_by_lifs and node.name not in (output.source for output in program.outputs):
                wide |= group
    prove(program, "float32", wide)
    return frozenset(wide)


def _constant(channels: int, low: int, high: int) -> _Interval:
    return _Interval(np.full(channels, low, dtype=object), np.full(channels, high, dtype=object))


def _record(found: list[Bound], layer: str, quantity: str, values: NDArray[np.object_]) -> None:
    found.append(Bound(layer, quantity, int(max(values))))


def _conv(node: Conv, source: _Interval, found: list[Bound]) -> _Interval:
    outs, per_group = node.weight.shape[:2]
    weight = node.weight.astype(np.int64).reshape(outs, per_group, -1)
    positive = np.maximum(weight, 0).sum(-1)
    negative = np.maximum(-weight, 0).sum(-1)
    group = np.repeat(np.arange(node.groups), outs // node.groups)
    # A padded position contributes 0, so 0 always belongs to the interval of an input. Inputs are frames, spikes or
    # int8, so that no sum of products comes near 2^63.
    low = np.minimum(source.low, 0).astype(np.int64).reshape(node.groups, per_group)[group]
    high = np.maximum(source.high, 0).astype(np.int64).reshape(node.groups, per_group)[group]
    up = (positive * high - negative * low).sum(-1).astype(object)
    down = (positive * low - negative * high).sum(-1).astype(object)
    total = ((positive + negative) * np.maximum(-low, high)).sum(-1).astype(object)
    left = [1 << max(-int(s), 0) for s in node.shift]
    right = [1 << max(int(s), 0) for s in node.shift]
    bias = node.bias.astype(object)
    _record(found, node.name, "accumulator", total)
    _record(found, node.name, "accumulator with bias", total * left + np.abs(bias))
    result = _Interval((down * left + bias) // right, (up * left + bias) // right)
    if node.out == "int8":
        return _Interval(np.maximum(result.low, -INT8_MAX), np.minimum(result.high, INT8_MAX))
    _record(found, node.name, "output", result.magnitude)
    return result


def _pool(node: Pool, source: _Interval, positions: int, found: list[Bound]) -> _Interval:
    half = (1 << node.shift) >> 1
    _record(found, node.name, "value with the rounding half", source.magnitude + half)
    rounded = _Interval((source.low + half) >> node.shift, (source.high + half) >> node.shift)
    _record(found, node.name, "sum", rounded.magnitude * positions)
    return _Interval(rounded.low * positions, rounded.high * positions)


def _lif(node: Lif, source: _Interval, found: list[Bound]) -> _Interval:
    gain, bias = np.abs(node.gain.astype(object)), np.abs(node.bias.astype(object))
    drive = gain * source.magnitude + bias
    # |H| = |(U + X) >> 1| never exceeds max |X|, and no reset moves U away from zero: |U + X| <= 2 max |X|.
    _record(found, node.name, "membrane sum", 2 * drive)
    _record(found, node.name, "threshold", node.theta.astype(object) * node.levels)
    return _constant(len(node.theta), 0, node.levels)


def _attention(node: Attention, spikes: TensorType, found: list[Bound]) -> _Interval:
    channels = spikes.shape[1]
    _, tokens = token_groups(node.scope, spikes.shape)
    tokens *= max(node.window, 1)  # also for a clip of fewer frames: it may be a piece of a stream
    levels = spikes.levels
    factor = max(1, 2 * levels - 1) if node.mode == "hamming" else levels
    summary = tokens * factor * levels
    output = channels // node.heads * factor * summary
    found.append(Bound(node.name, _SUMMARY, summary))
    found.append(Bound(node.name, "output", output))
    return _constant(channels, -output if node.mode == "hamming" else 0, output)
