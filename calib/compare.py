"""How far a quantised network has moved from the float one, on clips that need no labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from svf_edge.model.network import SpikeVideoFormer
from svf_edge.tasks.registry import make_task


@dataclass(frozen=True)
class Difference:
    """`divergence`: mean Kullback-Leibler divergence (nats) of the answers' distributions from the float model's.

    `flips`: share of spikes that differ, and `rates`: mean spikes per level, by layer.
    """

    divergence: float
    flips: dict[str, float]
    rates: dict[str, float]

    @property
    def flip_rate(self) -> float:
        """Mean of `flips` over layers."""
        return sum(self.flips.values()) / len(self.flips)


class Reference:
    """What a float model answers and fires on `clips`, batches uint8 `[B, T, C, H, W]`: computed once."""

    def __init__(self, model: SpikeVideoFormer, clips: Sequence[Tensor]) -> None:
        self.clips = list(clips)
        self._answers: list[Tensor] = []
        self._spikes: list[dict[str, Tensor]] = []
        for batch in self.clips:
            answer, spikes = _run(model, batch)
            self._answers.append(answer)
            self._spikes.append(spikes)
        self.rates = {
            name: float(torch.cat([spikes[name].flatten() for spikes in self._spikes]).float().mean())
            / model.config.levels
            for name in self._spikes[0]
        }

    def compare(self, model: SpikeVideoFormer) -> Difference:
        """The difference of `model`, in eval mode, from the reference."""
        divergence, count = 0.0, 0
        flips = dict.fromkeys(self.rates, 0.0)
        rates = dict.fromkeys(self.rates, 0.0)
        for batch, wanted, expected in zip(self.clips, self._answers, self._spikes, strict=True):
            answer, spikes = _run(model, batch)
            divergence += float(F.kl_div(answer, wanted, reduction="none", log_target=True).sum(-1).mean()) * len(batch)
            for name, value in spikes.items():
                flips[name] += float((value != expected[name]).float().mean()) * len(batch)
                rates[name] += float(value.float().mean()) / model.config.levels * len(batch)
            count += len(batch)
        return Difference(
            divergence / count,
            {name: value / count for name, value in flips.items()},
            {name: value / count for name, value in rates.items()},
        )


@torch.no_grad()
def _run(model: SpikeVideoFormer, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities `[..., K]` of the answers, and the spikes of every layer as uint8."""
    with kept_spikes(model) as spikes:
        scores = model(batch)
    return F.log_softmax(make_task(model.config).distributions(scores), -1), spikes


@contextmanager
def kept_spikes(model: SpikeVideoFormer) -> Iterator[dict[str, Tensor]]:
    """Within the block every neuron layer leaves its last spikes in the mapping, uint8, by module path."""
    spikes: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        def hook(_: nn.Module, __: tuple[Tensor, ...], out: Tensor) -> None:
            spikes[name] = out.to(torch.uint8)

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in model.lifs().items()]  # type: ignore[arg-type]
    try:
        yield spikes
    finally:
        for handle in handles:
            handle.remove()
