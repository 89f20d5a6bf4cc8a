"""The first weights of a run: a head at the labels' marginal distribution, and neurons that all fire."""

from __future__ import annotations

import copy
import math
from typing import Any, Final

import lightning
import torch
from torch import Tensor, nn

from svf_edge.data.sample import Sample
from svf_edge.errors import SvfError, UnsupportedInput
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model.neurons import Lif
from svf_edge.tasks.registry import make_task
from svf_edge.training_config import TrainConfig

LOWEST: Final = 0.02
HIGHEST: Final = 0.5
"""Rates between which every layer should start."""

SILENT: Final = 0.001
SATURATED: Final = 0.9
"""Rates beyond which a layer passes on nothing, and almost no gradient either."""

_FACTOR: Final = 1.25  # of a gain, per trial
_TRIALS: Final = 30


def first_model(config: TrainConfig, clips: Sample) -> SpikeVideoFormer:
    """The untrained model of a run, from its seed and its first clips.

    Raises `UnsupportedInput` where the clips have no label for the head, and as `make_alive` does.
    """
    lightning.seed_everything(config.seed, verbose=False)
    model = SpikeVideoFormer(config.model)
    task = make_task(config.model, sigma=config.sigma)
    frequency = task.frequency(clips)
    if not frequency.any():
        raise UnsupportedInput(
            f"{config.name}: nothing in the first {len(clips['frames'])} training clips is labelled for a "
            f"{config.model.head.kind} head (labels of kind '{task.needs}'); data of this kind may need more to have "
            "them (`svf-edge data check` says what)"
        )
    model.head.start_from(frequency)
    if config.model.neuron == "lif":
        make_alive(model, clips["frames"][: config.batch_size])
    return model


@torch.no_grad()
def make_alive(model: SpikeVideoFormer, frames: Tensor) -> dict[str, float]:
    """Scale BatchNorm gains until every LIF fires between `LOWEST` and `HIGHEST` on `frames`; gives the rates.

    Layers are taken in running order, each by the gain of the BatchNorm that ran last before it (data-driven in the
    sense of Mishkin and Matas 2016, for rates instead of variances). A layer that its gain does not bring into the
    range stays where it was nearest; running statistics are left as they were.

    Raises `SvfError` naming a layer that stays silent or saturated.
    """
    # A copy runs: its gains are the model's own tensors, its statistics are not.
    trial = copy.deepcopy(model).train()
    own = dict(model.named_modules())
    feeds, rates = _observe(trial, frames)
    for name in rates:
        norm = feeds.get(name)
        best, best_gain = rates[name], 1.0
        gain = 1.0
        for _ in range(_TRIALS):
            if norm is None or LOWEST <= rates[name] <= HIGHEST:
                break
            factor = _FACTOR if rates[name] < LOWEST else 1 / _FACTOR
            gain *= factor
            _scale(trial, norm, factor)
            rates = _observe(trial, frames)[1]
            if _distance(rates[name]) < _distance(best):
                best, best_gain = rates[name], gain
        if norm is not None and gain != best_gain:
            _scale(trial, norm, best_gain / gain)
            rates = _observe(trial, frames)[1]
        if not SILENT < rates[name] < SATURATED:
            raise SvfError(
                f"layer {name} fires at a rate of {rates[name]:.4f} before training and its BatchNorm gain does not "
                f"help; change model.norm_gain ({model.config.norm_gain}) or the clips"
            )
    for path, module in trial.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            own[path].weight.copy_(module.weight)
    return rates


def _distance(rate: float) -> float:
    """How far a rate lies outside the range, in octaves."""
    rate = max(rate, 1e-6)
    return max(math.log2(LOWEST / rate), math.log2(rate / HIGHEST), 0.0)


def _scale(model: nn.Module, norm: str, factor: float) -> None:
    weight = model.get_submodule(norm).weight
    assert isinstance(weight, Tensor)
    weight.mul_(factor)


def _observe(model: SpikeVideoFormer, frames: Tensor) -> tuple[dict[str, str], dict[str, float]]:
    """For every LIF: the BatchNorm that ran last before it, and its rate; in running order."""
    feeds: dict[str, str] = {}
    rates: dict[str, float] = {}
    last: str | None = None

    def norm_ran(name: str) -> None:
        nonlocal last
        last = name

    def lif_ran(name: str, module: Lif, out: Tensor) -> None:
        if last is not None:
            feeds[name] = last
        rates[name] = float(out.mean()) / module.levels

    def hook(name: str, module: nn.Module) -> Any:
        if isinstance(module, Lif):
            return module.register_forward_hook(lambda _, __, out: lif_ran(name, module, out))
        return module.register_forward_hook(lambda *_: norm_ran(name))

    handles = [hook(name, module) for name, module in model.named_modules() if isinstance(module, Lif | nn.BatchNorm2d)]
    try:
        model(frames)
    finally:
        for handle in handles:
            handle.remove()
    return feeds, rates
