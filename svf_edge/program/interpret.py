"""The reference interpreter: the contract in plain numpy integers.

Slow and obvious on purpose. Every product and sum is int64, so nothing here depends on a range proof, and every value
that leaves a node is checked to fit the storage the contract gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from svf_edge.contract import INT8_MAX, INT32_LIMIT
from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.program.ir import Add, Attention, Conv, Frames, Lif, Node, Program

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """What a run leaves: outputs by name, and spikes by LIF name; all int32 `[T, C, H, W]`."""

    outputs: Mapping[str, NDArray[np.int32]]
    spikes: Mapping[str, NDArray[np.int32]]


def check_frames(frames: Frames, clip: NDArray[np.generic]) -> None:
    """Raise `UnsupportedInput` unless `clip` is uint8 of exactly the shape the program takes."""
    if clip.dtype != np.uint8 or clip.shape != frames.shape:
        raise UnsupportedInput(
            f"the clip is {clip.dtype} {list(clip.shape)}, this program takes uint8 {list(frames.shape)} "
            "([T, C, H, W]); resize or cut the clip, or freeze the checkpoint for that size"
        )


def run(program: Program, clip: NDArray[np.uint8], observe: Callable[[str, Int64Array], None] | None = None) -> Trace:
    """Run `program` on uint8 frames `[T, C, H, W]`.

    `observe` is called with every node's name and int64 output, for range statistics and debugging.

    Raises `UnsupportedInput` for a clip of another shape or dtype and `RangeError` when a value leaves int32.
    """
    check_frames(program.frames, clip)
    values: dict[str, Int64Array] = {program.frames.name: clip.astype(np.int64) - program.frames.zero_point}
    for node in program.nodes:
        result = evaluate(node, values)
        if np.abs(result).max(initial=0) > INT32_LIMIT:
            raise RangeError(f"{node.name}: a value of {int(np.abs(result).max())} leaves int32")
        values[node.name] = result
        if observe is not None:
            observe(node.name, result)
    return Trace(
        outputs={output.name: values[output.source].astype(np.int32) for output in program.outputs},
        spikes={node.name: values[node.name].astype(np.int32) for node in program.lifs},
    )


def evaluate(node: Node, values: Mapping[str, Int64Array]) -> Int64Array:
    """The int64 output of one node, given the tensors it reads by name."""
    match node:
        case Conv():
            return conv(node, values[node.source])
        case Add():
            return values[node.left] + values[node.right]
        case Lif():
            return lif(node, values[node.source])
        case Attention():
            return attention(node, values[node.query], values[node.key], values[node.value])


def conv(node: Conv, x: Int64Array) -> Int64Array:
    """Convolution and requantisation of `[T, C, H, W]` integers (zero point already subtracted)."""
    accumulator = accumulate(node, x)
    shift = node.shift.astype(np.int64)[:, None, None]
    bias = node.bias.astype(np.int64)[:, None, None]
    y = ((accumulator << np.maximum(-shift, 0)) + bias) >> np.maximum(shift, 0)
    return np.clip(y, -INT8_MAX, INT8_MAX) if node.out == "int8" else y


def accumulate(node: Conv, x: Int64Array) -> Int64Array:
    """The raw sums of products `[T, Cout, Ho, Wo]`, before bias and shift."""
    (pad_h, pad_w), (stride_h, stride_w) = node.padding, node.stride
    x = np.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    outs, _, kernel_h, kernel_w = node.weight.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel_h, kernel_w), axis=(2, 3))
    windows = windows[:, :, ::stride_h, ::stride_w]
    steps, _, out_h, out_w = windows.shape[:4]
    # [T, Ho, Wo, g, Ci/g * kh * kw] x [g, Ci/g * kh * kw, Co/g]. A float64 product is exact (sums stay far below
    # 2^53) and takes the fast matrix product that numpy lacks for integers.
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(steps * out_h * out_w, node.groups, -1)
    kernel = node.weight.reshape(node.groups, outs // node.groups, -1).transpose(0, 2, 1)
    product = columns.transpose(1, 0, 2).astype(np.float64) @ kernel.astype(np.float64)
    y = product.transpose(1, 0, 2).reshape(steps, out_h, out_w, outs).transpose(0, 3, 1, 2)
    return y.astype(np.int64)


def lif(node: Lif, x: Int64Array) -> Int64Array:
    """Integer LIF over the leading time axis; returns spikes in 0..levels."""
    gain, bias, theta = (v.astype(np.int64)[:, None, None] for v in (node.gain, node.bias, node.theta))
    membrane = np.zeros(x.shape[1:], dtype=np.int64)
    spikes = np.empty_like(x)
    for step in range(x.shape[0]):
        potential = (membrane + gain * x[step] + bias) >> 1
        spikes[step] = np.clip(potential // theta, 0, node.levels)
        if node.reset == "hard":
            membrane = np.where(spikes[step] > 0, 0, potential)
        else:
            membrane = potential - spikes[step] * theta
    return spikes


def attention(node: Attention, query: Int64Array, key: Int64Array, value: Int64Array) -> Int64Array:
    """Linear-order attention `O = Q' (K'^T V)` per head and token group; `[T, C, H, W]` in and out."""
    q, k, v = (group_tokens(x, node.scope) for x in (query, key, value))
    groups, tokens, channels = q.shape
    q, k, v = (x.reshape(groups, tokens, node.heads, -1).transpose(0, 2, 1, 3) for x in (q, k, v))
    if node.mode == "hamming":
        q, k = 2 * q - 1, 2 * k - 1
    o = q @ (k.transpose(0, 1, 3, 2) @ v)
    return ungroup_tokens(o.transpose(0, 2, 1, 3).reshape(groups, tokens, channels), node.scope, query.shape)


def group_tokens(x: Int64Array, scope: str) -> Int64Array:
    """`[T, C, H, W]` to token groups `[G, N, C]`, tokens in (t, h, w) order."""
    steps, channels, height, width = x.shape
    last = x.transpose(0, 2, 3, 1)
    if scope == "joint":
        return last.reshape(1, steps * height * width, channels)
    if scope == "spatial":
        return last.reshape(steps, height * width, channels)
    return last.reshape(steps, height * width, channels).transpose(1, 0, 2)


def ungroup_tokens(x: Int64Array, scope: str, shape: tuple[int, ...]) -> Int64Array:
    """Inverse of `group_tokens`, back to `shape`."""
    steps, channels, height, width = shape
    if scope == "temporal":
        x = x.transpose(1, 0, 2)
    return x.reshape(steps, height, width, channels).transpose(0, 3, 1, 2)
