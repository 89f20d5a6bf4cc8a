"""RepConv as the one convolution that it amounts to."""

from __future__ import annotations

import torch

from svf_edge.model.blocks import RepConv
from svf_edge.model.config import parse_config
from svf_edge.model.layers import norm_affine
from svf_edge.model.network import SpikeVideoFormer

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def merge_rep_convs(model: SpikeVideoFormer) -> SpikeVideoFormer:
    """`model` with every RepConv as the one 3x3 convolution that it is, all but its last BatchNorm folded.

    Exact, border included: what RepConv pads with is its own answer to zeros, and the merged convolution pads zeros.
    """
    merged = SpikeVideoFormer(parse_config({**model.config.model_dump(), "rep_conv": "merged"}))
    state = dict(model.state_dict())
    for name, module in model.named_modules():
        if not isinstance(module, RepConv):
            continue
        enter, enter_bias = (value.double() for value in module.enter.folded())
        taps = module.depthwise.conv.weight.detach().double()[:, 0]
        leave = module.leave.conv.weight.detach().double()[:, :, 0, 0]
        inner = module.leave.norms[0]
        assert isinstance(inner, torch.nn.BatchNorm2d)
        gain, shift = norm_affine(inner)
        weight = torch.einsum("om,muv,mi->oiuv", leave, taps, enter[:, :, 0, 0]) * gain[:, None, None, None]
        bias = leave @ (taps.sum((1, 2)) * enter_bias) * gain + shift
        last = {part: state[f"{name}.leave.norms.1.{part}"] for part in _NORM}
        state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
        state |= {f"{name}.conv.weight": weight.float(), f"{name}.conv.bias": bias.float()}
        state |= {f"{name}.norms.0.{part}": value for part, value in last.items()}
    merged.load_state_dict(state)
    return merged
