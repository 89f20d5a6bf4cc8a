"""From a quantised model to the integer program: the module tree, walked in running order.

Node names are module paths. The numbers are those the model's own forward pass uses, so in eval mode model and
program agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from svf_edge.errors import UnsupportedInput
from svf_edge.model.backbone import Backbone, Downsample
from svf_edge.model.blocks import (
    ConvBlock,
    FactorisedAttention,
    Mlp,
    RepConv,
    SelfAttention,
    SepConv,
    SpikeAttention,
    TransformerBlock,
)
from svf_edge.model.heads import Classification, Pose, Segmentation, SpatialMean, SpatialSum
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model.neurons import Lif
from svf_edge.program import ir
from svf_edge.program.ranges import prove
from svf_edge.quant import FixedAttentionLif, QuantConv, is_quantised


class _Builder:
    """Nodes so far, and how many channels each tensor has."""

    def __init__(self, frames: ir.Frames) -> None:
        self.nodes: list[ir.Node] = []
        self.channels = {frames.name: frames.shape[1]}

    def put(self, node: ir.Node, channels: int) -> str:
        """Append `node`; returns its name."""
        self.nodes.append(node)
        self.channels[node.name] = channels
        return node.name

    def add(self, name: str, left: str, right: str) -> str:
        return self.put(ir.Add(name, left, right), self.channels[left])


def freeze(model: SpikeVideoFormer, *, steps: int | None = None, meta: Mapping[str, Any] | None = None) -> ir.Program:
    """The integer program of a quantised model for clips of `steps` frames (default: the configuration's).

    Its one output is named after the head: scores `[T, K, 1, 1]`, or maps `[T, K, h, w]`, in units of
    `2^-fraction_bits`. `meta` joins the program's own, which holds the model configuration.

    Raises `UnsupportedInput` for a float model or weights beyond the contract (naming the layer), and `RangeError`
    when an accumulator could leave int32.
    """
    config = model.config
    if not is_quantised(model):
        raise UnsupportedInput("this model is not quantised; finish `svf-edge train` (its last phase is QAT) first")
    frames = ir.Frames(
        (steps or config.frames, config.channels, *config.frame_size), config.zero_point, config.input_exponent
    )
    builder = _Builder(frames)
    features = lower(model.backbone, "backbone", frames.name, builder)
    scores = lower(model.head, "head", features, builder)
    entries = {"model": config.model_dump(mode="json"), **(meta or {})}
    try:
        program = ir.Program(frames, tuple(builder.nodes), (ir.Output(config.head.kind, scores),), entries)
    except ValueError as error:
        raise UnsupportedInput(f"{error}; the model's weights do not fit the contract, train it again") from error
    prove(program, "int32")
    return program


@singledispatch
def lower(module: nn.Module, name: str, source: str, builder: _Builder) -> str:
    """Append the nodes of `module`, which reads tensor `source`; returns the name of the tensor it makes."""
    raise UnsupportedInput(f"{name}: a {type(module).__name__} has no place in an integer program")


@lower.register
def _(module: QuantConv, name: str, source: str, builder: _Builder) -> str:
    numbers = module.integers()
    node = ir.Conv(
        name,
        source,
        _array(numbers.weight, np.int8),
        _array(numbers.bias, np.int32),
        _array(numbers.shift, np.int32),
        module.out_exponent,
        module.stride,
        module.padding,
        module.groups,
        "int8" if module.saturate else "fixed",
        module.weight_bits,
    )
    return builder.put(node, len(numbers.bias))


@lower.register
def _(module: Lif, name: str, source: str, builder: _Builder) -> str:
    if module.unit is None:
        raise UnsupportedInput(f"{name}: the neuron is not quantised")
    one = np.ones(builder.channels[source], dtype=np.int32)
    theta = round(module.theta / module.unit) * one
    return builder.put(ir.Lif(name, source, one, 0 * one, theta, module.reset, module.levels), len(one))


@lower.register
def _(module: FixedAttentionLif, name: str, source: str, builder: _Builder) -> str:
    numbers = module.integers()
    gain, bias, theta = (_array(v, np.int32) for v in (numbers.gain, numbers.bias, numbers.theta))
    return builder.put(ir.Lif(name, source, gain, bias, theta, module.reset, module.levels), len(gain))


@lower.register
def _(module: SpatialMean, name: str, source: str, builder: _Builder) -> str:
    channels = builder.channels[source]
    shift = module.exponent - module.out_exponent
    node = ir.Conv(
        name,
        source,
        np.ones((channels, 1, *module.size), dtype=np.int8),
        np.full(channels, (1 << shift) >> 1, dtype=np.int32),
        np.full(channels, shift, dtype=np.int32),
        module.out_exponent,
        groups=channels,
        out="int8",
    )
    return builder.put(node, channels)


@lower.register
def _(module: SpatialSum, name: str, source: str, builder: _Builder) -> str:
    return builder.put(ir.Pool(name, source, module.shift), builder.channels[source])


def _chain(module: nn.Module, name: str, source: str, builder: _Builder, *children: str) -> str:
    for child in children:
        source = lower(module.get_submodule(child), f"{name}.{child}", source, builder)
    return source


@lower.register(Backbone)
@lower.register(nn.Sequential)
@lower.register(Classification)
def _(module: nn.Module, name: str, source: str, builder: _Builder) -> str:
    return _chain(module, name, source, builder, *(child for child, _ in module.named_children()))


@lower.register
def _(module: Downsample, name: str, source: str, builder: _Builder) -> str:
    if module.lif is not None:
        return _chain(module, name, source, builder, "lif", "conv")
    out = _chain(module, name, source, builder, "conv")
    if module.offset is None:
        return out
    ones = ir.Conv(
        f"{name}.ones",
        source,
        np.zeros((1, builder.channels[source], 1, 1), np.int8),
        np.ones(1, np.int32),
        np.zeros(1, np.int32),
        0,
        out="int8",
    )
    return builder.add(f"{name}.sum", out, lower(module.offset, f"{name}.offset", builder.put(ones, 1), builder))


@lower.register
def _(module: SepConv, name: str, source: str, builder: _Builder) -> str:
    return _chain(module, name, source, builder, "lif1", "expand", "lif2", "depthwise", "project")


@lower.register
def _(module: RepConv, name: str, source: str, builder: _Builder) -> str:
    return _chain(module, name, source, builder, "enter", "depthwise", "leave")


@lower.register
def _(module: ConvBlock, name: str, source: str, builder: _Builder) -> str:
    mixed = builder.add(f"{name}.mixer.sum", lower(module.mixer, f"{name}.mixer", source, builder), source)
    return builder.add(f"{name}.sum", _chain(module, name, mixed, builder, "lif1", "conv1", "lif2", "conv2"), mixed)


@lower.register
def _(module: Mlp, name: str, source: str, builder: _Builder) -> str:
    return builder.add(
        f"{name}.sum", _chain(module, name, source, builder, "lif1", "expand", "lif2", "project"), source
    )


@lower.register
def _(module: SpikeAttention, name: str, source: str, builder: _Builder) -> str:
    query, key, value = (
        _chain(module, name, source, builder, part, f"{part}_lif") for part in ("query", "key", "value")
    )
    node = ir.Attention(f"{name}.product", query, key, value, module.heads, module.mode, module.scope, module.window)
    product = builder.put(node, builder.channels[query])
    return lower(module.lif, f"{name}.lif", product, builder)


@lower.register
def _(module: SelfAttention, name: str, source: str, builder: _Builder) -> str:
    return builder.add(f"{name}.sum", _chain(module, name, source, builder, "lif", "attention", "project"), source)


@lower.register
def _(module: FactorisedAttention, name: str, source: str, builder: _Builder) -> str:
    spikes = lower(module.lif, f"{name}.lif", source, builder)
    parts = []
    for part in ("spatial", "temporal"):
        attended = _chain(module, name, spikes, builder, part)
        # The shared projection stands in the program once for each of its two inputs.
        parts.append(lower(module.project, f"{name}.{part}.project", attended, builder))
    both = builder.add(f"{name}.both", *parts)
    return builder.add(f"{name}.sum", both, source)


@lower.register
def _(module: TransformerBlock, name: str, source: str, builder: _Builder) -> str:
    return _chain(module, name, source, builder, "attention", "mlp")


@lower.register
def _(module: Pose, name: str, source: str, builder: _Builder) -> str:
    return _chain(module, name, source, builder, "lif", "maps", "read")


@lower.register
def _(module: Segmentation, name: str, source: str, builder: _Builder) -> str:
    return _chain(module, name, source, builder, "lif1", "around", "lif2", "read")


def _array(values: torch.Tensor, dtype: type[np.generic]) -> NDArray[Any]:
    return np.ascontiguousarray(values.detach().cpu().numpy().astype(dtype))
