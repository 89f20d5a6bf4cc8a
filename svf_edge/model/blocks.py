"""Blocks of the backbone (MetaSpikeFormer's, with spike-driven Hamming attention). Tensors are `[T, B, C, H, W]`.

A LIF stands before every convolution but the stem; residual streams carry membrane potentials, never spikes.
"""

from __future__ import annotations

from torch import Tensor, nn

from svf_edge.model.attention import Scope, causal_attention, spike_attention
from svf_edge.model.config import ModelConfig
from svf_edge.model.layers import AttentionLif, ConvNorm
from svf_edge.model.neurons import Lif


def make_lif(config: ModelConfig, theta: float = 1.0) -> Lif:
    """A neuron with the configuration's levels, reset and surrogate."""
    return Lif(
        theta,
        levels=config.levels,
        reset=config.reset,
        surrogate=config.surrogate,
        width=config.surrogate_width,
        dense=config.neuron == "relu",
    )


class SepConv(nn.Module):
    """LIF, 1x1 to twice the width, LIF, depthwise 7x7, 1x1 back."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.lif1 = make_lif(config)
        self.expand = ConvNorm(width, 2 * width, gain=config.norm_gain)
        self.lif2 = make_lif(config)
        self.depthwise = ConvNorm(2 * width, 2 * width, 7, padding=3, groups=2 * width, norms=0, inner=True)
        self.project = ConvNorm(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(self.lif1(x))
        out: Tensor = self.project(self.depthwise(self.lif2(x)))
        return out


class ConvBlock(nn.Module):
    """SepConv and a pair of 3x3 convolutions, each around a residual."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        hidden = config.conv_ratio * width
        self.mixer = SepConv(config, width)
        self.lif1 = make_lif(config)
        self.conv1 = ConvNorm(width, hidden, 3, padding=1, gain=config.norm_gain)
        self.lif2 = make_lif(config)
        self.conv2 = ConvNorm(hidden, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixer(x) + x
        out: Tensor = self.conv2(self.lif2(self.conv1(self.lif1(x)))) + x
        return out


class RepConv(nn.Module):
    """1x1 whose border holds its BatchNorm's answer to zero, depthwise 3x3, 1x1 under two BatchNorms."""

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.enter = ConvNorm(width, width, border=1, inner=True)
        self.depthwise = ConvNorm(width, width, 3, groups=width, norms=0, inner=True)
        self.leave = ConvNorm(width, width, norms=2, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.depthwise(self.enter(x)))
        return out


def projection(config: ModelConfig, width: int, gain: float) -> nn.Module:
    """The linear map of q, k, v and the attention's output: RepConv, RepConv merged to a 3x3, or a plain 1x1."""
    if config.rep_conv == "merged":
        return ConvNorm(width, width, 3, padding=1, bias=True, gain=gain)
    return RepConv(width, gain) if config.rep_conv else ConvNorm(width, width, gain=gain)


class SpikeAttention(nn.Module):
    """q, k, v of a spike tensor, their attention over one scope, and the neuron behind it: spikes in, spikes out.

    While `carry` is true, causal attention goes on from the summaries that the last call left (`carried_state`).
    """

    def __init__(self, config: ModelConfig, width: int, scope: Scope) -> None:
        super().__init__()
        self.heads = config.heads_at(width)
        self.mode = config.attention
        self.scope = scope
        self.window = config.window if scope == "causal" else 0
        self.carry = False
        self.summaries: Tensor | None = None
        self.query = projection(config, width, config.norm_gain)
        self.key = projection(config, width, config.norm_gain)
        self.value = projection(config, width, config.norm_gain)
        self.query_lif = make_lif(config)
        self.key_lif = make_lif(config)
        self.value_lif = make_lif(config)
        # The authors divide by all channels, not by the head width. Their dot product has a constant in place of a
        # BatchNorm, which products of spikes above 1 would drive into saturation.
        if self.mode == "hamming" or config.levels > 1:
            self.lif = AttentionLif(width, 1 / (2 * width), True, config.norm_gain, make_lif(config))
        else:
            self.lif = AttentionLif(width, 0.125, False, config.norm_gain, make_lif(config, 0.5))

    def forward(self, spikes: Tensor) -> Tensor:
        q = self.query_lif(self.query(spikes))
        k = self.key_lif(self.key(spikes))
        v = self.value_lif(self.value(spikes))
        if self.scope == "causal":
            o, after = causal_attention(q, k, v, self.heads, self.mode, self.window, self.summaries)
            self.summaries = after if self.carry else None
        else:
            o = spike_attention(q, k, v, self.heads, self.mode, self.scope)
        out: Tensor = self.lif(o)
        return out


class SelfAttention(nn.Module):
    """Attention over one scope with its projection: 4 D^2 parameters in 1x1 weights (twice that with RepConv)."""

    def __init__(self, config: ModelConfig, width: int, scope: Scope) -> None:
        super().__init__()
        self.lif = make_lif(config)
        self.attention = SpikeAttention(config, width, scope)
        self.project = projection(config, width, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.attention(self.lif(x))) + x
        return out


class FactorisedAttention(nn.Module):
    """Spatial and temporal attention side by side under one shared projection, their results added: 7 D^2.

    Each has its own BatchNorm and neuron, so that both stay spikes up to the projection.
    """

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.lif = make_lif(config)
        self.spatial = SpikeAttention(config, width, "spatial")
        self.temporal = SpikeAttention(config, width, "temporal")
        self.project = projection(config, width, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(x)
        out: Tensor = self.project(self.spatial(spikes)) + self.project(self.temporal(spikes)) + x
        return out


def space_time_attention(config: ModelConfig, width: int) -> nn.Module:
    """Attention in the configuration's space-time form, residuals included."""
    match config.space_time:
        case "joint" | "spatial" | "causal":
            return SelfAttention(config, width, config.space_time)
        case "hierarchical":
            return nn.Sequential(
                SelfAttention(config, width, "spatial"),
                SelfAttention(config, width, "temporal"),
            )
        case "factorised":
            return FactorisedAttention(config, width)
        case "none":
            return nn.Identity()


class Mlp(nn.Module):
    """LIF, 1x1, LIF, 1x1, around a residual."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        hidden = config.mlp_ratio * width
        self.lif1 = make_lif(config)
        self.expand = ConvNorm(width, hidden, bias=True, gain=config.norm_gain)
        self.lif2 = make_lif(config)
        self.project = ConvNorm(hidden, width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.lif2(self.expand(self.lif1(x)))) + x
        return out


class TransformerBlock(nn.Module):
    """Space-time attention, then an MLP."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.attention = space_time_attention(config, width)
        self.mlp = Mlp(config, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(self.attention(x))
        return out
