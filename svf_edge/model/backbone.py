"""The backbone: five down-sampling stages of convolution and transformer blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from svf_edge.model.blocks import ConvBlock, TransformerBlock, make_lif
from svf_edge.model.config import ModelConfig
from svf_edge.model.layers import ConvNorm


class Downsample(nn.Module):
    """A strided convolution behind a LIF; the stem has none, it reads frames."""

    def __init__(self, config: ModelConfig, inputs: int, outputs: int, stride: int, stem: bool = False) -> None:
        super().__init__()
        self.lif = None if stem else make_lif(config)
        kernel = 7 if stem else 3
        offset = stem and config.frame_offset
        norms, padding = 0 if offset else 1, kernel // 2
        self.conv = ConvNorm(
            inputs, outputs, kernel, stride=stride, padding=padding, bias=True, gain=config.norm_gain, norms=norms
        )
        # Of a plane of ones: one step of one clip serves all, and after the convolution on frames its unit is 1.
        self.offset = ConvNorm(1, outputs, kernel, stride=stride, padding=padding, norms=0) if offset else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x if self.lif is None else self.lif(x))
        return out if self.offset is None else out + self.offset(torch.ones_like(x[:1, :1, :1]))


class Backbone(nn.Sequential):
    """Frames `[T, B, C, H, W]` (centred) to membrane features `[T, B, E3, h, w]`."""

    def __init__(self, config: ModelConfig) -> None:
        e0, e1, e2, e3 = config.embed
        widths = (e0 // 2, e0, e1, e2, e3)
        blocks = (*config.conv_blocks, *config.transformer_blocks)
        layers: list[nn.Module] = []
        inputs = config.channels
        for index, (width, count, stride) in enumerate(zip(widths, blocks, config.strides, strict=True)):
            layers.append(Downsample(config, inputs, width, stride, stem=index == 0))
            kind = ConvBlock if index < 3 else TransformerBlock
            layers.extend(kind(config, width) for _ in range(count))
            inputs = width
        super().__init__(*layers)
