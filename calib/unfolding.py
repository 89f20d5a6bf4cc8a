"""Back from a quantised network to a float one that training can go on with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from svf_edge.errors import UnsupportedInput
from svf_edge.model.heads import SpatialMean
from svf_edge.model.layers import AttentionLif, ConvNorm, norm_affine
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import FixedAttentionLif, QuantConv


@torch.no_grad()
def unfold(model: SpikeVideoFormer, batches: Iterable[Tensor]) -> SpikeVideoFormer:
    """The float network (in eval mode) that a quantised `model` rounds, BatchNorms and all.

    Folding left of a BatchNorm and its convolution one map. Here the convolution takes all of it, and the BatchNorm
    undoes the statistics that it has on `batches` (uint8 `[B, T, C, H, W]`, like the training clips): the function
    stays the same, whichever statistics those are, and training finds normalised values again.

    Raises `UnsupportedInput` where a bias has no place in the float network.
    """
    config = model.config
    plain = SpikeVideoFormer(config).eval()
    plain.load_state_dict(model.state_dict(), strict=False)  # what quantisation leaves as it is
    carried: Tensor | None = None  # the bias of a convolution that has none, on its way into the next one
    correction = 1.0  # that quantisation put into the next weights
    for name, module in plain.named_modules():
        if isinstance(module, ConvNorm):
            held = model.get_submodule(name)
            assert isinstance(held, QuantConv)
            weight, bias = held.conv.weight / correction, held.bias.clone()
            correction = 1.0
            if carried is not None:
                if weight.shape[-2:] != (1, 1) or module.conv.groups > 1:
                    raise UnsupportedInput(f"{name}: cannot take the bias of the layer before; train from a float one")
                bias += weight.flatten(1) @ carried
                carried = None
            module.conv.weight.copy_(weight)
            if module.conv.bias is not None:
                module.conv.bias.zero_()
            if module.norms:
                for norm in module.norms:
                    _state(norm, torch.ones_like(bias), torch.zeros_like(bias))
                _state(module.norms[0], torch.ones_like(bias), bias)
            elif module.conv.bias is not None:
                module.conv.bias.copy_(bias)
            else:
                carried = bias
        elif isinstance(module, SpatialMean):
            correction = module.correction
        elif isinstance(module, AttentionLif):
            held = model.get_submodule(name)
            assert isinstance(held, FixedAttentionLif)
            if module.norm is None:
                raise UnsupportedInput(f"{name}: has no BatchNorm to go back to; train from a float checkpoint")
            _state(module.norm, held.a / module.scale, held.b)
    _observe(plain, batches)
    return plain


def _observe(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Put the statistics of `batches` into every BatchNorm without changing what it computes."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {norm: [] for norm in norms}

    def see(norm: nn.BatchNorm2d, inputs: tuple[Any, ...]) -> None:
        x = inputs[0].double()
        sums[norm].append(torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))]))

    handles = [norm.register_forward_pre_hook(see) for norm in norms]
    try:
        for frames in batches:
            model(frames)
    finally:
        for handle in handles:
            handle.remove()
    for norm in norms:
        mean, square = torch.stack(sums[norm]).mean(0)
        scale, offset = norm_affine(norm)
        _state(norm, scale, offset, mean, (square - mean.square()).clamp(min=0))


def _state(
    norm: nn.Module, scale: Tensor, offset: Tensor, mean: Tensor | None = None, var: Tensor | None = None
) -> None:
    """Make a BatchNorm with these statistics (None: 0 and 1) compute `scale * x + offset`; all `[C]`."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    mean = torch.zeros_like(scale) if mean is None else mean
    var = torch.ones_like(scale) if var is None else var
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
    norm.weight.copy_(scale * torch.sqrt(var + norm.eps))
    norm.bias.copy_(offset + scale * mean)
