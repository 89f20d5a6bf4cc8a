"""The authors' network a second time: from the equations alone, functional, on tensors by their names.

It shares nothing with the package: mean after mean, sum after sum, attention by its quadratic form.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
CONV_BLOCKS = ("ConvBlock1_1.0", "ConvBlock1_2.0", "ConvBlock2_1.0", "ConvBlock2_2.0")
NORM = ("weight", "bias", "running_mean", "running_var")


def random_state(
    embed: tuple[int, int, int, int],
    *,
    classes: int = 10,
    hamming: bool = True,
    depths: tuple[int, int] = (6, 2),
    channels: int = 3,
    seed: int = 0,
) -> State:
    """A state dict with the authors' names, BatchNorm statistics still those of no data (`fit`)."""
    rng = torch.Generator().manual_seed(seed)
    state: State = {}

    def conv(name: str, *shape: int, bias: bool = False) -> None:
        fan_in = shape[1] * (shape[2] * shape[3] if len(shape) == 4 else 1)
        state[f"{name}.weight"] = torch.randn(shape, generator=rng) / fan_in**0.5
        if bias:
            state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=rng)

    def norm(name: str, width: int, gain: float = 2.0) -> None:
        sign = torch.where(torch.rand(width, generator=rng) < 0.1, -1.0, 1.0)
        state[f"{name}.weight"] = gain * sign
        state[f"{name}.bias"] = 0.3 * torch.randn(width, generator=rng)
        state[f"{name}.running_mean"] = torch.zeros(width)
        state[f"{name}.running_var"] = torch.ones(width)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def rep_conv(name: str, width: int) -> None:
        conv(f"{name}.0.body.0", width, width, 1, 1)
        norm(f"{name}.0.body.1.bn", width, 1.0)
        conv(f"{name}.0.body.2.0", width, 1, 3, 3)
        conv(f"{name}.0.body.2.1", width, width, 1, 1)
        norm(f"{name}.0.body.2.2", width, 1.0)
        norm(f"{name}.1", width)

    e0, e1, e2, e3 = embed
    downs = (("1_1", channels, e0 // 2), ("1_2", e0 // 2, e0), ("2", e0, e1), ("3", e1, e2), ("4", e2, e3))
    for number, inputs, outputs in downs:
        kernel = 7 if number == "1_1" else 3
        conv(f"downsample{number}.encode_conv", outputs, inputs, kernel, kernel, bias=True)
        norm(f"downsample{number}.encode_bn", outputs)
    for name, width in zip(CONV_BLOCKS, (e0 // 2, e0, e1, e1), strict=True):
        conv(f"{name}.Conv.pwconv1", 2 * width, width, 1, 1)
        norm(f"{name}.Conv.bn1", 2 * width)
        conv(f"{name}.Conv.dwconv", 2 * width, 1, 7, 7)
        conv(f"{name}.Conv.pwconv2", width, 2 * width, 1, 1)
        norm(f"{name}.Conv.bn2", width, 1.0)
        conv(f"{name}.conv1", 4 * width, width, 3, 3)
        norm(f"{name}.bn1", 4 * width)
        conv(f"{name}.conv2", width, 4 * width, 3, 3)
        norm(f"{name}.bn2", width, 1.0)
    for stage, width, depth in (("block3", e2, depths[0]), ("block4", e3, depths[1])):
        for index in range(depth):
            block = f"{stage}.{index}"
            for part in ("q_conv", "k_conv", "v_conv", "proj_conv"):
                rep_conv(f"{block}.attn.{part}", width)
            if hamming:
                norm(f"{block}.attn.attn_bn", width)
            conv(f"{block}.mlp.fc1_conv", 4 * width, width, 1, bias=True)
            norm(f"{block}.mlp.fc1_bn", 4 * width)
            conv(f"{block}.mlp.fc2_conv", width, 4 * width, 1, bias=True)
            norm(f"{block}.mlp.fc2_bn", width, 1.0)
    conv("head", classes, e3, bias=True)
    return state


def fit(state: State, clip: Tensor) -> State:
    """Give every BatchNorm of `state` the statistics it sees on `clip`, in place; values stay float32 numbers."""
    forward(state, clip, fitting=True)
    return state


def lif(x: Tensor, threshold: float = 1.0) -> Tensor:
    """`x` `[T, ...]`: the membrane decays half way to its input, fires at `threshold`, and is set back to 0."""
    voltage, out = torch.zeros_like(x[0]), []
    for drive in x:
        voltage = voltage + (drive - voltage) / 2
        spike = (voltage >= threshold).to(x.dtype)
        voltage = voltage * (1 - spike)
        out.append(spike)
    return torch.stack(out)


def forward(
    state: State,
    clip: Tensor,
    *,
    spatial: bool = False,
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    std: tuple[float, ...] = (0.229, 0.224, 0.225),
    heads: int = 8,
    fitting: bool = False,
    watch: Callable[[Tensor, Tensor], None] = lambda drive, spikes: None,
) -> Tensor:
    """Class scores `[T, classes]` of uint8 `[T, C, H, W]`, in float64."""

    def t(name: str) -> Tensor:
        return state[name].double()

    def fire(x: Tensor, threshold: float = 1.0) -> Tensor:
        spikes = lif(x, threshold)
        watch(x, spikes)
        return spikes

    def norm(x: Tensor, name: str) -> Tensor:
        if fitting:
            state[f"{name}.running_mean"] = x.mean((0, 2, 3)).float()
            state[f"{name}.running_var"] = x.var((0, 2, 3)).float()
        gain, bias, centre, spread = (t(f"{name}.{part}")[:, None, None] for part in NORM)
        return (x - centre) / (spread + 1e-5).sqrt() * gain + bias

    def rep_conv(x: Tensor, name: str) -> Tensor:
        x = norm(F.conv2d(x, t(f"{name}.0.body.0.weight")), f"{name}.0.body.1.bn")
        zero = norm_of_zero(f"{name}.0.body.1.bn")
        padded = zero[None, :, None, None].repeat(len(x), 1, x.shape[2] + 2, x.shape[3] + 2)
        padded[:, :, 1:-1, 1:-1] = x
        x = F.conv2d(padded, t(f"{name}.0.body.2.0.weight"), groups=x.shape[1])
        x = norm(F.conv2d(x, t(f"{name}.0.body.2.1.weight")), f"{name}.0.body.2.2")
        return norm(x, f"{name}.1")

    def norm_of_zero(name: str) -> Tensor:
        gain, bias, centre, spread = (t(f"{name}.{part}") for part in NORM)
        return bias - centre * gain / (spread + 1e-5).sqrt()

    def down(x: Tensor, name: str, stride: int, first: bool = False) -> Tensor:
        x = x if first else fire(x)
        conv = f"downsample{name}.encode_conv"
        return norm(
            F.conv2d(x, t(f"{conv}.weight"), t(f"{conv}.bias"), stride, 3 if first else 1),
            f"downsample{name}.encode_bn",
        )

    def conv_block(x: Tensor, name: str) -> Tensor:
        y = norm(F.conv2d(fire(x), t(f"{name}.Conv.pwconv1.weight")), f"{name}.Conv.bn1")
        y = F.conv2d(fire(y), t(f"{name}.Conv.dwconv.weight"), padding=3, groups=y.shape[1])
        x = x + norm(F.conv2d(y, t(f"{name}.Conv.pwconv2.weight")), f"{name}.Conv.bn2")
        y = norm(F.conv2d(fire(x), t(f"{name}.conv1.weight"), padding=1), f"{name}.bn1")
        return x + norm(F.conv2d(fire(y), t(f"{name}.conv2.weight"), padding=1), f"{name}.bn2")

    def similarities(q: Tensor, k: Tensor, hamming: bool) -> Tensor:
        return (2 * q - 1) @ (2 * k - 1).mT if hamming else q @ k.mT

    def transformer_block(x: Tensor, name: str) -> Tensor:
        steps, width, height, across = x.shape
        hamming = f"{name}.attn.attn_bn.weight" in state
        spikes = fire(x)
        q, k, v = (fire(rep_conv(spikes, f"{name}.attn.{part}_conv")) for part in "qkv")
        split = [y.reshape(steps, heads, width // heads, height * across).permute(1, 0, 3, 2) for y in (q, k, v)]
        if spatial:  # every frame attends to itself
            o = similarities(split[0], split[1], hamming) @ split[2]
        else:
            q, k, v = (y.reshape(heads, steps * height * across, -1) for y in split)
            o = (similarities(q, k, hamming) @ v).reshape(split[0].shape)
        o = o.permute(1, 0, 3, 2).reshape(x.shape)
        o = fire(norm(o / (2 * width), f"{name}.attn.attn_bn")) if hamming else fire(o * 0.125, 0.5)
        x = x + rep_conv(o, f"{name}.attn.proj_conv")
        y = fire(x)
        for number in (1, 2):
            weight, bias = t(f"{name}.mlp.fc{number}_conv.weight"), t(f"{name}.mlp.fc{number}_conv.bias")
            y = norm(F.conv2d(y, weight.reshape(*weight.shape[:2], 1, 1), bias), f"{name}.mlp.fc{number}_bn")
            y = fire(y) if number == 1 else y
        return x + y

    def blocks(stage: str) -> list[str]:
        found = {".".join(name.split(".")[:2]) for name in state if name.startswith(f"{stage}.")}
        return sorted(found)

    centre, spread = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std))
    x = (clip.double() / 255 - centre) / spread
    x = conv_block(down(x, "1_1", 2, first=True), CONV_BLOCKS[0])
    x = conv_block(down(x, "1_2", 2), CONV_BLOCKS[1])
    x = conv_block(conv_block(down(x, "2", 2), CONV_BLOCKS[2]), CONV_BLOCKS[3])
    x = down(x, "3", 2)
    for name in blocks("block3"):
        x = transformer_block(x, name)
    x = down(x, "4", 1)
    for name in blocks("block4"):
        x = transformer_block(x, name)
    return fire(x.mean((2, 3))) @ t("head.weight").T + t("head.bias")
