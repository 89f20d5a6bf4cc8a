"""The whole network: uint8 frames in, scores of every frame out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from svf_edge.errors import UnsupportedInput
from svf_edge.model.backbone import Backbone
from svf_edge.model.blocks import SpikeAttention
from svf_edge.model.config import ModelConfig
from svf_edge.model.convolution import channels_last
from svf_edge.model.heads import make_head
from svf_edge.model.neurons import Lif


class SpikeVideoFormer(nn.Module):
    """Spiking video transformer (Zou et al., ICML 2025) with a task head.

    Takes uint8 frames `[B, T, C, H, W]` and returns float scores of every frame, `[B, T, K]` or maps `[B, T, K, h, w]`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.head = make_head(config)

    def forward(self, frames: Tensor) -> Tensor:
        channels, size = self.config.channels, self.config.frame_size
        if frames.ndim != 5 or tuple(frames.shape[2:]) != (channels, *size):
            raise UnsupportedInput(
                f"frames of shape {list(frames.shape)}: this model takes [B, T, {channels}, {size[0]}, {size[1]}]"
            )
        dtype = next(self.parameters()).dtype
        x = (frames.transpose(0, 1).to(dtype) - self.config.zero_point) * 2.0**-self.config.input_exponent
        if x.device.type == "cpu" and torch.is_grad_enabled():  # trains in two thirds of the time
            x = channels_last(x)
        out: Tensor = self.head(self.backbone(x))
        return out.transpose(0, 1)

    def lifs(self) -> dict[str, Lif]:
        """Every neuron layer by module path, in running order."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Lif)}


@contextmanager
def tracked_rates(model: nn.Module) -> Iterator[None]:
    """Within the block every `Lif` keeps the mean of its last output per level in `rate`, with gradient."""
    lifs = [module for module in model.modules() if isinstance(module, Lif)]
    try:
        for lif in lifs:
            lif.track = True
        yield
    finally:
        for lif in lifs:
            lif.track, lif.rate = False, None


@contextmanager
def carried_state(model: nn.Module) -> Iterator[None]:
    """Within the block consecutive calls are chunks of one longer clip: neurons keep their membranes and causal
    attention its summaries, detached.

    Equal to one call on the whole clip where no attention sees later frames; every call needs the same batch size.
    """
    lifs = [module for module in model.modules() if isinstance(module, Lif)]
    attentions = [module for module in model.modules() if isinstance(module, SpikeAttention)]
    try:
        for lif in lifs:
            lif.carry = True
        for attention in attentions:
            attention.carry = True
        yield
    finally:
        for lif in lifs:
            lif.carry, lif.membrane = False, None
        for attention in attentions:
            attention.carry, attention.summaries = False, None


def parameter_count(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())
