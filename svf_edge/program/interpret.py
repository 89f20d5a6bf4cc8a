"""The reference interpreter: the contract in plain numpy integers.

Slow and obvious on purpose. Every product and sum is int64, so nothing here depends on a range proof, and every value
that leaves a node is checked to fit the storage the contract gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from svf_edge.contract import INT8_MAX, INT32_LIMIT
from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.program.ir import Add, Attention, Conv, Frames, Lif, Node, Pool, Program

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """What a run leaves: outputs by name, and spikes by LIF name; all int32 `[T, C, H, W]`."""

    outputs: Mapping[str, NDArray[np.int32]]
    spikes: Mapping[str, NDArray[np.int32]]


@dataclass
class State:
    """What a stream carries from one piece of it to the next; new, it is that of a stream's begin.

    `membranes` holds int64 `[C, H, W]` by LIF; `summaries`, by causal attention, the key-value summaries
    `[n, heads, d, d]` of the last frames, the oldest first: as many as there were, up to window - 1.
    """

    membranes: dict[str, Int64Array] = field(default_factory=dict)
    summaries: dict[str, Int64Array] = field(default_factory=dict)


def check_frames(frames: Frames, clip: NDArray[np.generic]) -> None:
    """Raise `UnsupportedInput` unless `clip` is uint8 of exactly the shape the program takes."""
    if clip.dtype != np.uint8 or clip.shape != frames.shape:
        raise UnsupportedInput(
            f"the clip is {clip.dtype} {list(clip.shape)}, this program takes uint8 {list(frames.shape)} "
            "([T, C, H, W]); resize or cut the clip, or freeze the checkpoint for that size"
        )


def run(
    program: Program,
    clip: NDArray[np.uint8],
    observe: Callable[[str, Int64Array], None] | None = None,
    state: State | None = None,
) -> Trace:
    """Run `program` on uint8 frames `[T, C, H, W]`.

    `observe` is called with every node's name and int64 output, for range statistics and debugging. With `state` the
    clip is the next piece of a stream: it starts from `state`, which is then brought up to date.

    Raises `UnsupportedInput` for a clip of another shape or dtype, or a state where attention sees later frames, and
    `RangeError` when a value leaves int32; the state is then as it was.
    """
    check_frames(program.frames, clip)
    if state is not None and not program.streams:
        raise UnsupportedInput(
            "this program's attention sees later frames, so it runs whole clips only; train a causal one"
        )
    after = State() if state is None else State(dict(state.membranes), dict(state.summaries))
    values: dict[str, Int64Array] = {program.frames.name: clip.astype(np.int64) - program.frames.zero_point}
    for node in program.nodes:
        result = evaluate(node, values, after)
        if np.abs(result).max(initial=0) > INT32_LIMIT:
            raise RangeError(f"{node.name}: a value of {int(np.abs(result).max())} leaves int32")
        values[node.name] = result
        if observe is not None:
            observe(node.name, result)
    if state is not None:
        state.membranes, state.summaries = after.membranes, after.summaries
    return Trace(
        outputs={output.name: values[output.source].astype(np.int32) for output in program.outputs},
        spikes={node.name: values[node.name].astype(np.int32) for node in program.lifs},
    )


def evaluate(node: Node, values: Mapping[str, Int64Array], state: State | None = None) -> Int64Array:
    """The int64 output of one node, given the tensors it reads by name. `state` is used and brought up to date."""
    state = state or State()
    match node:
        case Conv():
            return conv(node, values[node.source])
        case Add():
            return values[node.left] + values[node.right]
        case Pool():
            rounded = (values[node.source] + ((1 << node.shift) >> 1)) >> node.shift
            return rounded.sum(axis=(2, 3), keepdims=True)
        case Lif():
            spikes, state.membranes[node.name] = lif(node, values[node.source], state.membranes.get(node.name))
            return spikes
        case Attention(scope="causal"):
            q, k, v = (values[name] for name in (node.query, node.key, node.value))
            o, state.summaries[node.name] = causal_attention(node, q, k, v, state.summaries.get(node.name))
            return o
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


def lif(node: Lif, x: Int64Array, membrane: Int64Array | None = None) -> tuple[Int64Array, Int64Array]:
    """Integer LIF over the leading time axis from `membrane` (None: 0): spikes in 0..levels, and the membrane after."""
    gain, bias, theta = (v.astype(np.int64)[:, None, None] for v in (node.gain, node.bias, node.theta))
    if membrane is None:
        membrane = np.zeros(x.shape[1:], dtype=np.int64)
    spikes = np.empty_like(x)
    for step in range(x.shape[0]):
        potential = (membrane + gain * x[step] + bias) >> 1
        spikes[step] = np.clip(potential // theta, 0, node.levels)
        if node.reset == "hard":
            membrane = np.where(spikes[step] > 0, 0, potential)
        else:
            membrane = potential - spikes[step] * theta
    return spikes, membrane


def attention(node: Attention, query: Int64Array, key: Int64Array, value: Int64Array) -> Int64Array:
    """Linear-order attention `O = Q' (K'^T V)` per head and token group; `[T, C, H, W]` in and out."""
    q, k, v = _operands(node, query, key, value)
    return _merge_heads(node, q @ (k.transpose(0, 1, 3, 2) @ v), query.shape)


def causal_attention(
    node: Attention, query: Int64Array, key: Int64Array, value: Int64Array, before: Int64Array | None
) -> tuple[Int64Array, Int64Array]:
    """`O_t = Q'_t (M_(t - window + 1) + ... + M_t)` with the summary `M_t = K'_t^T V_t` of a frame.

    `before` holds the summaries `[n, heads, d, d]` of up to window - 1 frames before the first one, and what is
    returned with O those before the frame that comes next.
    """
    q, k, v = _operands(node, query, key, value)
    summaries = k.transpose(0, 1, 3, 2) @ v
    if before is not None:
        summaries = np.concatenate([before, summaries])
    past = len(summaries) - len(q)
    seen = [summaries[max(past + t + 1 - node.window, 0) : past + t + 1].sum(axis=0) for t in range(len(q))]
    kept = summaries[max(len(summaries) - node.window + 1, 0) :]
    return _merge_heads(node, q @ np.stack(seen), query.shape), kept


def _operands(node: Attention, *tensors: Int64Array) -> list[Int64Array]:
    """Q', K' and V as `[G, heads, N, d]`."""
    rows = [group_tokens(x, node.scope) for x in tensors]
    q, k, v = (x.reshape(*x.shape[:2], node.heads, -1).transpose(0, 2, 1, 3) for x in rows)
    return [2 * q - 1, 2 * k - 1, v] if node.mode == "hamming" else [q, k, v]


def _merge_heads(node: Attention, o: Int64Array, shape: tuple[int, ...]) -> Int64Array:
    groups, _, tokens, _ = o.shape
    return ungroup_tokens(o.transpose(0, 2, 1, 3).reshape(groups, tokens, -1), node.scope, shape)


def group_tokens(x: Int64Array, scope: str) -> Int64Array:
    """`[T, C, H, W]` to token groups `[G, N, C]`, tokens in (t, h, w) order."""
    steps, channels, height, width = x.shape
    last = x.transpose(0, 2, 3, 1)
    if scope == "joint":
        return last.reshape(1, steps * height * width, channels)
    if scope in ("spatial", "causal"):
        return last.reshape(steps, height * width, channels)
    return last.reshape(steps, height * width, channels).transpose(1, 0, 2)


def ungroup_tokens(x: Int64Array, scope: str, shape: tuple[int, ...]) -> Int64Array:
    """Inverse of `group_tokens`, back to `shape`."""
    steps, channels, height, width = shape
    if scope == "temporal":
        x = x.transpose(1, 0, 2)
    return x.reshape(steps, height, width, channels).transpose(0, 3, 1, 2)
