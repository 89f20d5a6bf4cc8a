"""Small random integer programs that use every node kind and are never silent."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.contract import MAX_LEVELS
from svf_edge.program import Add, Attention, Conv, Frames, Lif, Node, Output, Pool, Program, interpret
from svf_edge.program.ir import Mode, Reset, Scope


def noise_clip(program_or_shape: Program | tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Uniform noise of the shape a program takes."""
    shape = program_or_shape.frames.shape if isinstance(program_or_shape, Program) else program_or_shape
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class Builder:
    """Appends nodes while evaluating them on a noise clip, so that thresholds can be put where spikes happen."""

    def __init__(self, frames: Frames, seed: int, *, reset: Reset = "hard", levels: int = 1) -> None:
        self.frames = frames
        self.rng = np.random.default_rng(seed)
        self.reset: Reset = reset
        self.levels = levels
        self.nodes: list[Node] = []
        clip = noise_clip(frames.shape, seed).astype(np.int64)
        self.values: dict[str, NDArray[np.int64]] = {frames.name: clip - frames.zero_point}

    def _append(self, node: Node) -> str:
        self.nodes.append(node)
        self.values[node.name] = interpret.evaluate(node, self.values)
        return node.name

    def conv(self, name: str, source: str, outs: int, kernel: int = 1, *, groups: int = 1, **options: Any) -> str:
        """A convolution whose output spreads over some tens of units, with some channels shifted left."""
        channels = self.values[source].shape[1]
        shape = (outs, channels // groups, kernel, kernel)
        weight = self.rng.integers(-127, 128, shape).astype(np.int8)
        bias = self.rng.integers(-40, 41, outs).astype(np.int32)
        probe = Conv(name, source, weight, bias, np.zeros(outs, np.int32), 0, groups=groups, **options)
        spread = (
            float(np.abs(interpret.conv(probe, self.values[source])).mean())
            if options.get("out") != "int8"
            else (float(np.abs(interpret.accumulate(probe, self.values[source])).mean()))
        )
        shift = np.full(outs, max(round(np.log2(max(spread, 1.0) / 60)), 0), np.int32)
        shift[: outs // 8] -= 1
        shift[:1] = np.minimum(shift[:1], -1) if options.get("out") != "int8" else shift[:1]
        half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0).astype(np.int32)
        return self._append(Conv(name, source, weight, bias + half, shift, 0, groups=groups, **options))

    def lif(self, name: str, source: str, *, signed: bool = False) -> str:
        """A LIF with thresholds at a quantile of its input; `signed` uses gains of both signs, as after attention."""
        x = self.values[source]
        channels = x.shape[1]
        gain = np.ones(channels, np.int32)
        bias = np.zeros(channels, np.int32)
        if signed:
            gain = (self.rng.choice([-1, 1], channels) * 4).astype(np.int32)
            bias = self.rng.integers(-8, 9, channels).astype(np.int32)
        drive = gain[:, None, None] * x + bias[:, None, None]
        level = np.quantile(drive, 0.8, axis=(0, 2, 3)) / (2 * self.levels)
        theta = np.maximum(level, 1).astype(np.int32)
        return self._append(Lif(name, source, gain, bias, theta, self.reset, self.levels))

    def add(self, name: str, left: str, right: str) -> str:
        """A residual sum."""
        return self._append(Add(name, left, right))

    def pool(self, name: str, source: str, shift: int) -> str:
        """A sum over space."""
        return self._append(Pool(name, source, shift))

    def attention(self, name: str, q: str, k: str, v: str, heads: int, mode: Mode, scope: Scope, window: int) -> str:
        """An attention node."""
        return self._append(Attention(name, q, k, v, heads, mode, scope, window))

    def build(self, output: str) -> Program:
        """The finished program."""
        return Program(self.frames, tuple(self.nodes), (Output("logits", output),))


def random_program(
    seed: int = 0,
    *,
    steps: int = 2,
    size: tuple[int, int] = (13, 10),
    channels: int = 40,
    heads: int = 4,
    mode: Mode = "hamming",
    scope: Scope = "joint",
    window: int = 0,
    reset: Reset = "hard",
    levels: int = 1,
    zero_point: int = 128,
    pool_shift: int | None = None,
) -> Program:
    """A small network with every node kind: stem, ConvBlock, RepConv attention, MLP and a grouped pose head.

    With `pool_shift` the head reads spikes of a sum over space instead.

    Defaults give token counts and channel counts that are no multiples of 32.
    """
    b = Builder(Frames((steps, 3, *size), zero_point), seed, reset=reset, levels=levels)
    x = b.conv("stem", "frames", channels // 2, 7, stride=(2, 2), padding=(3, 3))

    y = b.lif("sep.lif1", x)
    y = b.lif("sep.lif2", b.conv("sep.pw1", y, channels))
    y = b.conv("sep.dw", y, channels, 7, groups=channels, padding=(3, 3), out="int8")
    x = b.add("sep.add", x, b.conv("sep.pw2", y, channels // 2))

    x = b.conv("down", b.lif("down.lif", x), channels, 3, stride=(2, 2), padding=(1, 1))

    s = b.lif("attn.lif", x)
    q = b.conv("q.pw1", s, channels, padding=(1, 1), out="int8")
    q = b.conv("q.dw", q, channels, 3, groups=channels, out="int8")
    q = b.lif("q.lif", b.conv("q.pw2", q, channels))
    k = b.lif("k.lif", b.conv("k.pw", s, channels))
    v = b.lif("v.lif", b.conv("v.pw", s, channels))
    o = b.lif("attn.out_lif", b.attention("attn", q, k, v, heads, mode, scope, window), signed=True)
    x = b.add("attn.add", x, b.conv("attn.proj", o, channels))

    y = b.lif("mlp.lif2", b.conv("mlp.fc1", b.lif("mlp.lif1", x), 2 * channels))
    x = b.add("mlp.add", x, b.conv("mlp.fc2", y, channels))

    if pool_shift is not None:
        return b.build(b.conv("head.score", b.lif("head.lif", b.pool("head.pool", x, pool_shift)), 10))

    joints, bins = 3, 8
    maps = b.conv("head.maps", b.lif("head.lif", x), joints, out="int8")
    height, width = b.values[maps].shape[2:]
    rng = np.random.default_rng(seed + 1)
    weight = rng.integers(-127, 128, (joints * bins, 1, height, width)).astype(np.int8)
    zeros = np.zeros(joints * bins, np.int32)
    b._append(Conv("head.bins", maps, weight, zeros, zeros.copy(), 4, groups=joints))
    return b.build("head.bins")


def program_of_many_levels() -> Program:
    """A program of one level more than the packed operators take, still within the portable carriers."""
    return random_program(channels=24, heads=3, scope="spatial", levels=MAX_LEVELS + 1)


def far_sighted_program(steps: int = 70, window: int = 64) -> Program:
    """A window so long, and neurons so ready to fire, that attention leaves what float32 holds."""
    b = Builder(Frames((steps, 3, 8, 8), 0), 0, reset="soft", levels=4)
    x = b.conv("stem", "frames", 33)  # odd, or all results are even and so in float32
    one, zero, theta = (np.full(33, value, np.int32) for value in (1, 0, 50))
    # Nine in ten drives reach the highest level, 8 theta from a membrane of 0.
    ready = 8 * theta - np.quantile(b.values[x], 0.1, axis=(0, 2, 3)).astype(np.int32)
    s = b._append(Lif("lif", x, one, ready, theta, "hard", 4))
    o = b.attention("attn", s, s, s, 1, "hamming", "causal", window)
    o = b._append(Lif("attn.lif", o, one, zero, 60_000 * theta, "soft", 4))
    return b.build(b.conv("head", o, 3))


def loud_program() -> Program:
    """A program whose stem is shifted left so far that no float32 carrier holds it."""
    program = random_program()
    stem = program.nodes[0]
    assert isinstance(stem, Conv)
    loud = dataclasses.replace(stem, shift=np.full_like(stem.shift, -12))
    return dataclasses.replace(program, nodes=(loud, *program.nodes[1:]))


def assert_not_silent(spikes: dict[str, NDArray[np.int32]] | Any) -> None:
    """Every layer must hold zeros and ones, or a comparison of its spikes proves nothing."""
    for layer, values in spikes.items():
        assert values.any(), f"{layer} never fires"
        assert not values.all(), f"{layer} always fires"
