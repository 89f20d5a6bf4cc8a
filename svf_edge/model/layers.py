"""The layers that quantisation replaces: convolution with BatchNorm, and the neuron behind attention.

All of them work on `[T, B, C, H, W]`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from svf_edge.model.convolution import convolve
from svf_edge.model.neurons import Lif


class ConvNorm(nn.Module):
    """Convolution, then any number of BatchNorms (two where RepConv is followed by its own).

    `inner` marks an output that feeds another convolution directly: quantisation makes it int8. With `border` > 0 the
    output grows by that many positions a side that hold the response to zero input (RepConv's padding rule).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = False,
        norms: int = 1,
        gain: float = 1.0,
        border: int = 0,
        inner: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(norms))
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            nn.init.constant_(norm.weight, gain)
        self.stride = (stride, stride)
        self.padding = (padding, padding)
        self.border = border
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[0]
        conv = self.conv
        y = convolve(x.flatten(0, 1), conv.weight, conv.bias, self.stride, self.padding, conv.groups)
        for norm in self.norms:
            y = norm(y)
        if self.border:
            response = self.zero_response()[:, None, None]
            y = F.pad(y - response, (self.border,) * 4) + response
        return y.unflatten(0, (steps, -1))

    def affine(self) -> tuple[Tensor, Tensor]:
        """The BatchNorms (with running statistics) as `scale * conv_without_bias + offset`; each `[Cout]`."""
        outputs = self.conv.out_channels
        scale = torch.ones(outputs, dtype=torch.float64, device=self.conv.weight.device)
        offset = torch.zeros_like(scale) if self.conv.bias is None else self.conv.bias.detach().double()
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            a, b = norm_affine(norm)
            scale, offset = a * scale, a * offset + b
        return scale, offset

    def zero_response(self) -> Tensor:
        """What the layer answers to an input of zeros, `[Cout]`, taken as a constant."""
        return self.affine()[1].to(self.conv.weight.dtype)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight `[Cout, Cin/groups, kh, kw]` and bias `[Cout]` of the one convolution this layer is at inference."""
        scale, offset = self.affine()
        weight = self.conv.weight.detach().double() * scale[:, None, None, None]
        return weight.float(), offset.float()


def norm_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and offset of a BatchNorm with its running statistics, float64 `[C]`."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.detach().double() - norm.running_mean.double() * scale


class AttentionLif(Lif):
    """Scale, BatchNorm (none for dot products) and LIF on an attention product."""

    def __init__(self, channels: int, scale: float, norm: bool, gain: float, lif: Lif) -> None:
        super().__init__(
            lif.theta, levels=lif.levels, reset=lif.reset, surrogate=lif.surrogate, width=lif.width, dense=lif.dense
        )
        self.channels = channels
        self.scale = scale
        self.norm = nn.BatchNorm2d(channels) if norm else None
        if self.norm is not None:
            nn.init.constant_(self.norm.weight, gain)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[0]
        x = x * self.scale
        if self.norm is not None:
            x = self.norm(x.flatten(0, 1)).unflatten(0, (steps, -1))
        return super().forward(x)

    def affine(self) -> tuple[Tensor, Tensor]:
        """`a`, `b` (`[C]`, float64) such that the neuron sees `a * O + b` against a threshold of 1."""
        if self.norm is None:
            a = torch.ones(self.channels, dtype=torch.float64)
            b = torch.zeros_like(a)
        else:
            a, b = norm_affine(self.norm)
        return a * self.scale / self.theta, b / self.theta
