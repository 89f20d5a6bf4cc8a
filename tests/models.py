"""Random models that behave like trained ones: BatchNorm statistics that fit, gains of both signs, live neurons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from svf_edge.calib.batchnorm import reestimate
from svf_edge.calib.exponents import inner_exponents
from svf_edge.model.config import ModelConfig
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.quant import expand_weight_bits, quantise

ADVERSARIAL = ("noise", "black", "white", "hot pixel", "stripes")


def random_clips(config: ModelConfig, count: int, seed: int) -> Tensor:
    """uint8 `[count, T, C, H, W]`: smooth noise of varied contrast, moving a little."""
    generator = torch.Generator().manual_seed(seed)
    height, width = config.frame_size
    coarse = torch.rand(count, config.channels, height // 4 + 3, width // 4 + 3, generator=generator)
    fine = nn.functional.interpolate(coarse, size=(height + config.frames, width + config.frames), mode="bilinear")
    steps = [fine[..., t : t + height, t : t + width] for t in range(config.frames)]
    contrast = torch.rand(count, 1, 1, 1, 1, generator=generator) * 0.8 + 0.4
    clips = ((torch.stack(steps, 1) - 0.5) * contrast + 0.5) * 255
    clips += 20 * torch.randn(clips.shape, generator=generator)
    return clips.clamp(0, 255).to(torch.uint8)


def adversarial_clip(name: str, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """One of `ADVERSARIAL` as uint8 `[T, C, H, W]`."""
    clip = np.zeros(shape, dtype=np.uint8)
    if name == "noise":
        clip = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    elif name == "white":
        clip[:] = 255
    elif name == "hot pixel":
        clip[0, 0, shape[2] // 2, shape[3] // 2] = 255
    elif name == "stripes":
        clip[..., ::2] = 255
    return clip


def float_model(config: ModelConfig, seed: int = 0) -> SpikeVideoFormer:
    """A float model in eval mode with a tenth of its BatchNorm gains negative."""
    torch.manual_seed(seed)
    model = SpikeVideoFormer(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.mul_(torch.where(torch.rand_like(module.weight) < 0.1, -1.0, 1.0))
                module.bias.normal_(0, 0.3)
    reestimate(model, [random_clips(config, 2, seed)])
    return model.eval()


def quantised_model(
    config: ModelConfig, seed: int = 0, weight_bits: Mapping[str, int] | None = None
) -> SpikeVideoFormer:
    """The same, quantised; `weight_bits` by pattern of module paths, 8 elsewhere."""
    model = float_model(config, seed)
    exponents = inner_exponents(model, [random_clips(config, 2, seed)])
    return quantise(model, exponents, expand_weight_bits(model, 8, weight_bits)).eval()


def spikes_of(model: SpikeVideoFormer, clip: NDArray[np.uint8]) -> tuple[Tensor, dict[str, NDArray[np.int64]]]:
    """Scores `[T, K]` and the spikes `[T, C, H, W]` of every neuron layer for one clip."""
    spikes: dict[str, NDArray[np.int64]] = {}

    def keep(name: str, out: Tensor) -> None:
        spikes[name] = out[:, 0].numpy().astype(np.int64)

    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: keep(name, out))
        for name, module in model.lifs().items()
    ]
    try:
        with torch.no_grad():
            scores = model(torch.from_numpy(clip)[None])[0]
    finally:
        for handle in handles:
            handle.remove()
    return scores, spikes
