"""An integer program as a torch module, ready for `torch.export`.

Two dialects of the same integers. `packed` keeps channels-last tensors with bit-packed spikes and calls the operators
of namespace `svf`. `portable` keeps `[T, C, H, W]` float32 carriers and standard operators only, so that any runtime or
delegate can take it. Neither rounds anywhere but where docs/contract.md says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from svf_edge.contract import INT8_MAX
from svf_edge.export.density import DENSITIES, NO_RATES, Rates
from svf_edge.export.fusion import AttentionLif, ConvLif, fuse
from svf_edge.export.packable import check_packed
from svf_edge.packing import pack_weights
from svf_edge.program import Add, Attention, Conv, Lif, Node, Pool, Program
from svf_edge.program.ranges import prove, prove_floats
from svf_edge.program.stream import state_tensors

TorchDialect = Literal["packed", "portable"]

CHANNELS_FIRST = (0, 3, 1, 2)


def build_module(
    program: Program,
    dialect: TorchDialect,
    taps: bool = False,
    *,
    stream: bool = False,
    rates: Rates = NO_RATES,
) -> nn.Module:
    """`program` as a module from uint8 frames `[T, C, H, W]` to a tuple of tensors.

    `packed` computes the steps of `svf_edge.export.fusion`, its convolutions in the density that suits `rates`.

    The tuple holds the outputs in program order, int32 `[T, C, H, W]`. With `taps` the spikes of every LIF follow, in
    the order of `program.lifs`: int32 words `[T, H, W, ceil(C / 32)]` for `packed` (with an axis of planes in front
    where the LIF has several levels), float32 `[T, C, H, W]` for `portable`.

    With `stream` the module is one step of the stream form: it takes the tensors of `state_tensors` after the frame
    (membranes are `[H, W, C]` for `packed`), and what takes their place in the next step stands between outputs and
    taps.

    Raises `RangeError` when the carrier of the dialect cannot hold the program exactly, `UnsupportedInput` when
    `packed` is asked for what its operators do not take (`check_packed`), and `MissingLibrary` when they are not built.
    """
    match dialect:
        case "packed":
            return PackedModule(program, taps, stream, rates)
        case "portable":
            return PortableModule(program, taps, stream)


class _ProgramModule(nn.Module):
    """Runs steps in order; a dialect says what they are, how one is computed and how tensors enter and leave."""

    def __init__(self, program: Program, taps: bool, stream: bool) -> None:
        super().__init__()
        self.program = program
        self.state = {tensor.node: tensor for tensor in state_tensors(program)} if stream else {}
        self.tapped = tuple(node.name for node in program.lifs) if taps else ()
        self._place = {node.name: index for index, node in enumerate(program.nodes)}

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Outputs, then the next state, then taps; see `build_module`."""
        values = {self.program.frames.name: self.enter(frames)}
        values.update((tensor.taken, value) for tensor, value in zip(self.state.values(), state, strict=True))
        self.compute(values)
        outputs = tuple(self.leave(values[output.source]) for output in self.program.outputs)
        given = tuple(values[tensor.given] for tensor in self.state.values())
        return outputs + given + tuple(values[name] for name in self.tapped)

    def enter(self, frames: Tensor) -> Tensor:
        raise NotImplementedError

    def leave(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def compute(self, values: dict[str, Tensor]) -> None:
        """Add the tensors of the program by name to `values`, which holds the frames."""
        raise NotImplementedError

    def keep(self, node: Node, label: str, value: NDArray[np.generic]) -> None:
        """Store a constant of `node`. A node's name may hold dots, which a buffer's may not: its place stands in."""
        self.register_buffer(f"n{self._place[node.name]}_{label}", torch.from_numpy(np.ascontiguousarray(value)))

    def constant(self, node: Node, label: str) -> Tensor:
        """A constant stored by `keep`."""
        return self.get_buffer(f"n{self._place[node.name]}_{label}")

    def constants(self, node: Node, *labels: str) -> tuple[Tensor, ...]:
        """Constants stored by `keep`."""
        return tuple(self.constant(node, label) for label in labels)


class PackedModule(_ProgramModule):
    """The `packed` dialect: `[T, H, W, C]` integers, spikes as int32 words over channels, operators `svf::*`."""

    def __init__(self, program: Program, taps: bool, stream: bool, rates: Rates) -> None:
        check_packed(program)
        if any(isinstance(node, Pool) for node in program.nodes):
            prove_floats(program)  # a sum over space has float carriers here as well: ExecuTorch shifts no integers
        prove(program, "int32")
        from svf_edge.export import ops  # noqa: F401  registers torch.ops.svf, which needs the native library

        super().__init__(program, taps, stream)
        self._steps = fuse(program, rates)
        for node in program.nodes:
            match node:
                case Conv():
                    weight = np.ascontiguousarray(node.weight.transpose(2, 3, 1, 0))
                    small = node.weight_bits < 8
                    self.keep(node, "weight", pack_weights(weight, node.weight_bits) if small else weight)
                    self.keep(node, "bias", node.bias)
                    self.keep(node, "shift", node.shift)
                case Lif():
                    self.keep(node, "gain", node.gain)
                    self.keep(node, "bias", node.bias)
                    self.keep(node, "theta", node.theta)

    def enter(self, frames: Tensor) -> Tensor:
        rows: Tensor = torch.ops.svf.channels_last(frames)
        return rows

    def leave(self, value: Tensor) -> Tensor:
        return value.permute(CHANNELS_FIRST).contiguous()

    def compute(self, values: dict[str, Tensor]) -> None:
        for step in self._steps:
            match step:
                case ConvLif():
                    self._conv_lif(step, values)
                case AttentionLif():
                    self._attention_lif(step, values)
                case Conv():
                    values[step.name] = self._conv(step, values[step.source])
                case Add():
                    values[step.name] = values[step.left] + values[step.right]
                case Pool():
                    total = _rounded(step, values[step.source].to(torch.float32)).sum((1, 2), keepdim=True)
                    values[step.name] = total.to(torch.int32)
                case Lif():
                    self._lif(step, values)
                case Attention():
                    values[step.name] = self._attention(step, values)

    def _conv(self, node: Conv, x: Tensor) -> Tensor:
        arguments, zero_point = self._convolution(node, x)
        name = f"{'spike_' if zero_point is None else ''}conv2d{'_s8' if node.out == 'int8' else ''}"
        result: Tensor = getattr(torch.ops.svf, name)(*arguments, *(() if zero_point is None else (zero_point,)))
        return result

    def _conv_lif(self, step: ConvLif, values: dict[str, Tensor]) -> None:
        arguments, zero_point = self._convolution(step.conv, values[step.conv.source])
        residual = None if step.residual is None else values[step.residual]
        before = self._before(step.lif, values)
        own, density = ((), (DENSITIES.index(step.density),)) if zero_point is None else ((zero_point,), ())
        name = f"{'spike_' if zero_point is None else ''}conv2d_lif{'_from' if before else ''}"
        behind = (*own, residual, *self._neuron(step.lif), step.sum is not None, *density, *before)
        spikes, total, *after = getattr(torch.ops.svf, name)(*arguments, *behind)
        self._give(step.lif, values, spikes, after)
        if step.sum is not None:
            values[step.sum] = total

    def _before(self, node: Lif, values: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """The membranes that a LIF goes on from, in a stream."""
        return (values[self.state[node.name].taken],) if self.state else ()

    def _give(self, node: Lif, values: dict[str, Tensor], spikes: Tensor, after: list[Tensor]) -> None:
        """Results of a LIF: spikes, and in a stream the membranes after."""
        values[node.name] = spikes
        if after:
            (values[self.state[node.name].given],) = after

    def _convolution(self, node: Conv, x: Tensor) -> tuple[tuple[Any, ...], int | None]:
        """The arguments that a convolution has with and without a LIF, and the zero point of one not on spikes."""
        weight, bias, shift = self.constants(node, "weight", "bias", "shift")
        if node.weight_bits < 8:
            outs, per_group, *kernel = node.weight.shape
            weight = torch.ops.svf.unpack_weights(weight, node.weight_bits, [*kernel, per_group, outs])
        arguments = (x, weight, bias, shift, list(node.stride), list(node.padding), node.groups)
        kind = self.program.types[node.source].kind
        zero_point = self.program.frames.zero_point if kind == "frames" else 0
        return arguments, None if kind == "spikes" else zero_point

    def _neuron(self, node: Lif) -> tuple[Any, ...]:
        """The arguments of a LIF in a fused operator."""
        return *self.constants(node, "gain", "bias", "theta"), node.reset == "soft", node.levels

    def _lif(self, node: Lif, values: dict[str, Tensor]) -> None:
        x, before = values[node.source], self._before(node, values)
        *arguments, levels = self._neuron(node)
        if before:
            spikes, *after = torch.ops.svf.lif_from(x, *arguments, levels, *before)
        elif levels == 1:
            spikes, after = torch.ops.svf.lif(x, *arguments), []
        else:
            spikes, after = torch.ops.svf.integer_lif(x, *arguments, levels), []
        self._give(node, values, spikes, after)

    def _attention_lif(self, step: AttentionLif, values: dict[str, Tensor]) -> None:
        node, lif = step.attention, step.lif
        words = [values[name] for name in (node.query, node.key, node.value)]
        where = (*words, self.program.types[node.name].shape[1], node.heads)
        if self.state:
            memory = self.state.get(node.name)  # none within a frame
            summaries = None if memory is None else values[memory.taken]
            op = getattr(torch.ops.svf, f"{node.mode}_attention_lif_step")
            spikes, summary, *after = op(*where, *self._neuron(lif), summaries, *self._before(lif, values))
            if memory is not None:
                values[memory.given] = summary
        else:
            causal = node.scope == "causal"
            op = getattr(torch.ops.svf, f"{node.mode}{'_causal' if causal else ''}_attention_lif")
            form = node.window if causal else node.scope == "joint"
            spikes, after = op(*where, form, *self._neuron(lif)), []
        self._give(lif, values, spikes, after)

    def _attention(self, node: Attention, values: dict[str, Tensor]) -> Tensor:
        steps, channels, height, width = self.program.types[node.name].shape
        tokens = [_group_words(values[name], node.scope) for name in (node.query, node.key, node.value)]
        op = torch.ops.svf.hamming_attention if node.mode == "hamming" else torch.ops.svf.dot_attention
        o: Tensor = op(*tokens, channels, node.heads)
        if node.scope == "temporal":
            o = o.permute(1, 0, 2).contiguous()
        return o.reshape(steps, height, width, channels)


def _group_words(words: Tensor, scope: str) -> Tensor:
    """Words `[..., T, H, W, Cw]` to token groups `[..., G, N, Cw]`, tokens in (t, h, w) order."""
    *planes, steps, height, width, count = words.shape
    if scope == "joint":
        return words.reshape(*planes, 1, steps * height * width, count)
    grouped = words.reshape(*planes, steps, height * width, count)
    return grouped if scope == "spatial" else grouped.transpose(-3, -2).contiguous()


class PortableModule(_ProgramModule):
    """The `portable` dialect: `[T, C, H, W]` integers carried by float32, standard operators only.

    All sums stay below 2^24 by the range proof, so they are exact in any order, fused or not. The layers that need it
    are carried by float64 (`prove_floats`).
    """

    def __init__(self, program: Program, taps: bool, stream: bool) -> None:
        self._wide = prove_floats(program)
        super().__init__(program, taps, stream)
        for node in program.nodes:
            match node:
                case Conv():
                    # acc * 2^l * 2^-r goes into the weights: a power of two changes no float32 mantissa, so what
                    # remains of the requantisation is the floor.
                    scale = np.exp2(-node.shift.astype(np.float32))
                    right = np.exp2(-np.maximum(node.shift, 0).astype(np.float32))
                    self.keep(node, "weight", node.weight.astype(np.float32) * scale[:, None, None, None])
                    self.keep(node, "bias", node.bias.astype(np.float32) * right)
                case Lif():
                    real = np.float64 if node.name in self._wide else np.float32
                    if (node.gain != 1).any():
                        self.keep(node, "half_gain", _per_channel(node.gain / 2, real))
                    if node.bias.any():
                        self.keep(node, "half_bias", _per_channel(node.bias / 2, real))
                    self.keep(node, "theta", _per_channel(node.theta, real))
                    for level in range(1, node.levels + 1):
                        self.keep(node, f"below{level}", _per_channel(node.theta * level - 1, real))
                case Pool():
                    _, channels, *size = program.types[node.source].shape
                    self.keep(node, "ones", np.ones((channels, 1, *size), np.float32))
                case Attention(scope="causal"):
                    ago = np.subtract.outer(np.arange(program.frames.shape[0]), np.arange(program.frames.shape[0]))
                    self.keep(node, "band", ((ago >= 0) & (ago < node.window)).astype(np.float32))

    def enter(self, frames: Tensor) -> Tensor:
        return frames.to(torch.float32) - self.program.frames.zero_point

    def leave(self, value: Tensor) -> Tensor:
        return value.to(torch.int32)

    def compute(self, values: dict[str, Tensor]) -> None:
        for node in self.program.nodes:
            match node:
                case Conv():
                    values[node.name] = self._conv(node, values[node.source])
                case Add():
                    values[node.name] = values[node.left] + values[node.right]
                case Pool():
                    ones = self.constant(node, "ones")  # a sum would fall out of XNNPACK, a convolution does not
                    x = _rounded(node, values[node.source])
                    values[node.name] = functional.conv2d(x, ones, groups=len(ones))
                case Lif():
                    values[node.name] = self._lif(node, values)
                case Attention():
                    values[node.name] = self._attention(node, values)

    def _conv(self, node: Conv, x: Tensor) -> Tensor:
        weight, bias = self.constant(node, "weight"), self.constant(node, "bias")
        y = functional.conv2d(x, weight, bias, node.stride, node.padding, 1, node.groups)
        if (node.shift > 0).any():
            y = torch.floor(y)
        return torch.clamp(y, -INT8_MAX, INT8_MAX) if node.out == "int8" else y

    def _lif(self, node: Lif, values: dict[str, Tensor]) -> Tensor:
        """LIF unrolled over time, in few operations: export time grows with their number.

        `half` is X / 2 for all steps and `carried` is U / 2. float32 holds halves exactly below 2^23, and the proof
        bounds U + X by 2^24. `H >= theta` is had by clamping integers, as delegates take no comparison.
        """
        half = self._drive(node, values[node.source])
        state = self.state.get(node.name)
        first = half[0:1]
        if state is not None:
            first = first + values[state.taken].to(first.dtype) * 0.5
        potentials = [torch.floor(first)]
        for step in range(1, half.shape[0]):
            carried = self._carry(node, potentials[-1])
            potentials.append(torch.floor(carried + half[step : step + 1]))
        if state is not None:
            values[state.given] = (self._carry(node, potentials[-1]) * 2.0).to(torch.int32).reshape(state.shape)
        potential = torch.cat(potentials) if len(potentials) > 1 else potentials[0]
        return self._fire(node, potential, 1.0).to(torch.float32)

    def _drive(self, node: Lif, x: Tensor) -> Tensor:
        """(gain * x + bias) / 2."""
        half = x * (self.constant(node, "half_gain") if (node.gain != 1).any() else 0.5)
        return half + self.constant(node, "half_bias") if node.bias.any() else half

    def _carry(self, node: Lif, potential: Tensor) -> Tensor:
        """U / 2 after the reset."""
        if node.reset == "hard":
            return potential * torch.clamp(self.constant(node, "theta") - potential, 0.0, 0.5)
        return potential * 0.5 - self._fire(node, potential, 0.5) * self.constant(node, "theta")

    def _fire(self, node: Lif, potential: Tensor, unit: float) -> Tensor:
        """Spikes times `unit` (at most 1): one clamped integer per level."""
        planes = [
            torch.clamp(potential - self.constant(node, f"below{level}"), 0.0, unit)
            for level in range(1, node.levels + 1)
        ]
        return functools.reduce(torch.add, planes)

    def _attention(self, node: Attention, values: dict[str, Tensor]) -> Tensor:
        query, key, value = (values[name] for name in (node.query, node.key, node.value))
        real = torch.float64 if node.name in self._wide else torch.float32
        if node.scope != "causal":
            return attend(node, query, key, value, real=real)
        state = self.state.get(node.name)

        def seen(summaries: Tensor) -> Tensor:
            """What each frame's queries see, of summaries `[T * heads, v, k]`."""
            if state is None:
                flat = summaries.reshape(len(query), -1)
                return torch.mm(self.constant(node, "band"), flat).reshape(summaries.shape)
            values[state.given] = summaries.transpose(1, 2).contiguous().to(torch.int32)
            return summaries + values[state.taken].to(torch.float32).transpose(1, 2)

        return attend(node, query, key, value, seen, real)


def _rounded(node: Pool, x: Tensor) -> Tensor:
    """What `node` adds up, of float32 integers `x`."""
    return torch.floor((x + float(1 << node.shift >> 1)) * 2.0**-node.shift) if node.shift else x


def _per_channel(values: NDArray[np.number[Any]], real: type[np.float32] | type[np.float64]) -> NDArray[np.generic]:
    """A constant per channel `[1, C, 1, 1]`."""
    return values.astype(real).reshape(1, -1, 1, 1)


def attend(
    node: Attention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Callable[[Tensor], Tensor] = lambda own: own,
    real: torch.dtype = torch.float32,
) -> Tensor:
    """Attention on channel-major tokens, `O^T = (V K'^T) Q'^T` per head and group; `seen` may replace `V K'^T`.

    `real` carries the product with the queries and the result.
    """
    steps, channels, height, width = query.shape
    split = (steps, node.heads, channels // node.heads, height * width)

    def tokens(spikes: Tensor) -> Tensor:
        """`[T, C, H, W]` to `[groups and heads, head width, tokens]`."""
        x = spikes.reshape(split)
        if node.scope == "joint":
            return x.permute(1, 2, 0, 3).reshape(node.heads, split[2], steps * split[3])
        if node.scope in ("spatial", "causal"):
            return x.reshape(steps * node.heads, split[2], split[3])
        return x.permute(3, 1, 2, 0).reshape(split[3] * node.heads, split[2], steps)

    q, k, v = tokens(query), tokens(key), tokens(value)
    if node.mode == "hamming":
        q, k = q * 2.0 - 1.0, k * 2.0 - 1.0
    o = torch.bmm(seen(torch.bmm(v, k.transpose(1, 2))).to(real), q.to(real))
    if node.scope == "joint":
        o = o.reshape(node.heads, split[2], steps, split[3]).permute(2, 0, 1, 3)
    elif node.scope == "temporal":
        o = o.reshape(split[3], node.heads, split[2], steps).permute(3, 1, 2, 0)
    return o.reshape(steps, channels, height, width)
