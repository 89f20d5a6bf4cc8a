"""The float network as a torch module, for `torch.compile` and for ExecuTorch's XNNPACK delegate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.float_network import conv_numbers, lif_numbers
from svf_edge.export.torch_graph import attend
from svf_edge.program import Add, Attention, Conv, Lif, Node, Pool, Program


class TorchTwin(nn.Module):
    """uint8 frames `[T, C, H, W]` to the first output, float32 `[T, C, H, W]` in the program's integer units.

    LIF is written with `floor` and `clamp` alone, which XNNPACK takes; a comparison it would not.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.layers = nn.ModuleList(_layer(program, node) for node in program.nodes)

    def forward(self, frames: Tensor) -> Tensor:
        program = self.program
        scale = 2.0**-program.frames.exponent
        values = {program.frames.name: (frames.to(torch.float32) - program.frames.zero_point) * scale}
        for node, layer in zip(program.nodes, self.layers, strict=True):
            match node:
                case Conv() | Lif():
                    values[node.name] = layer(values[node.source])
                case Add():
                    values[node.name] = values[node.left] + values[node.right]
                case Pool():
                    values[node.name] = values[node.source].sum((2, 3), keepdim=True)
                case Attention():
                    query, key, value = (values[name] for name in (node.query, node.key, node.value))
                    values[node.name] = attend(node, query, key, value)
        source = program.outputs[0].source
        return values[source] * 2.0 ** (program.types[source].exponent + 1)


def _layer(program: Program, node: Node) -> nn.Module:
    match node:
        case Conv():
            numbers = conv_numbers(program, node)
            outs, per_group, *kernel = node.weight.shape
            conv = nn.Conv2d(
                per_group * node.groups, outs, tuple(kernel), node.stride, node.padding, groups=node.groups
            )
            with torch.no_grad():
                conv.weight.copy_(torch.from_numpy(numbers.weight))
                assert conv.bias is not None
                conv.bias.copy_(torch.from_numpy(numbers.bias))
            return conv
        case Lif():
            return _Neurons(program, node)
        case _:
            return nn.Identity()


class _Neurons(nn.Module):
    """LIF over the leading time axis."""

    scale: Tensor | None
    bias: Tensor | None
    theta: Tensor | None

    def __init__(self, program: Program, node: Lif) -> None:
        super().__init__()
        numbers = lif_numbers(program, node)
        self.levels, self.reset = float(node.levels), node.reset
        for name, value in (("scale", numbers.scale), ("bias", numbers.bias), ("theta", numbers.theta)):
            known = None if value is None or (name == "theta" and (value == 1).all()) else torch.from_numpy(value)
            self.register_buffer(name, known)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is not None:
            x = x * self.scale
        if self.bias is not None:
            x = x + self.bias
        spikes: list[Tensor] = []
        carried: Tensor | None = None
        for step in range(x.shape[0]):
            drive = x[step : step + 1]
            potential = drive if carried is None else carried + drive
            ratio = potential if self.theta is None else potential / self.theta
            spike = torch.clamp(torch.floor(ratio), 0.0, self.levels)
            spikes.append(spike)
            if step == x.shape[0] - 1:
                break
            if self.reset == "hard":
                carried = potential * torch.clamp(0.5 - spike, 0.0, 0.5)
            else:
                carried = (potential - (spike if self.theta is None else spike * self.theta)) * 0.5
        return torch.cat(spikes) if len(spikes) > 1 else spikes[0]
