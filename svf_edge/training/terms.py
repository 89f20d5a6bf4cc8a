"""What a training step pays for: a list of terms, added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from svf_edge.errors import BadFile
from svf_edge.model.config import ModelConfig, PoseHead
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model
from svf_edge.tasks.pose import inside, simcc_loss
from svf_edge.training_config import Distillation, TrainConfig


@dataclass(frozen=True)
class Step:
    """What the terms see of one step.

    `frames` uint8 `[B, T, C, H, W]`; `joints` float32 `[B, T, J, 2]` in pixels, outside the frame where unknown;
    `scores` `[B, T, K]`; `rates` the mean spikes per level of every LIF by module path, with gradient; `progress` the
    share of the float phase's steps that are done, 1 afterwards.
    """

    model: SpikeVideoFormer
    frames: Tensor
    joints: Tensor
    scores: Tensor
    rates: Mapping[str, Tensor]
    progress: float


class LossTerm(Protocol):
    """One term: a name for the logs, and a weighted scalar for a step."""

    name: str

    def __call__(self, step: Step) -> Tensor: ...


class PoseTerm:
    """SimCC cross-entropy over the joints inside the frame."""

    name = "pose"

    def __init__(self, head: PoseHead, size: tuple[int, int], sigma: float) -> None:
        self.head, self.size, self.sigma = head, size, sigma

    def __call__(self, step: Step) -> Tensor:
        counted = inside(step.joints, self.size)
        return simcc_loss(step.scores, step.joints, counted, self.head, self.size, self.sigma)


class RateTerm:
    """The squared relative excess over the target rate, of every layer or of their mean.

    Layers that match a pattern of `layers` pay for their own excess over its target, whatever the scope. With a
    `warmup`, the weight rises from 0 over that share of the steps: a network that has learnt nothing yet is silenced
    easily.
    """

    name = "rate"

    def __init__(self, target: float, scope: str, layers: Mapping[str, float], weight: float, warmup: float) -> None:
        self.target, self.scope, self.layers, self.weight, self.warmup = target, scope, layers, weight, warmup

    def __call__(self, step: Step) -> Tensor:
        excesses: list[Tensor] = []
        rest: list[Tensor] = []
        for path, rate in step.rates.items():
            own = next((target for pattern, target in self.layers.items() if fnmatchcase(path, pattern)), None)
            if own is not None:
                excesses.append(rate / own - 1)
            else:
                rest.append(rate)
        if self.scope == "layer":
            excesses += [rate / self.target - 1 for rate in rest]
        elif rest:
            # Once for every layer it stands for, so that own targets do not outweigh it.
            excesses += [torch.stack(rest).mean() / self.target - 1] * len(rest)
        charge = torch.stack(excesses).clamp(min=0).square().mean()
        return charge * (self.weight * min(1.0, step.progress / self.warmup if self.warmup else 1.0))


class DistillationTerm:
    """KL divergence from a teacher's distributions over the bins, mean over frames, joints and axes.

    Labels are not read, so clips without any are of use. The factor temperature^2 keeps the size of the gradient
    (Hinton et al. 2015).
    """

    name = "distillation"

    def __init__(self, settings: Distillation, config: ModelConfig) -> None:
        assert isinstance(config.head, PoseHead)
        self.settings, self.head = settings, config.head
        self.teacher, _ = load_model(settings.teacher)
        theirs = self.teacher.config
        for name, have, want in (
            ("frame_size", theirs.frame_size, config.frame_size),
            ("head.joints", getattr(theirs.head, "joints", None), config.head.joints),
            ("head.bins", getattr(theirs.head, "bins", None), config.head.bins),
        ):
            if have != want:
                raise BadFile(f"{settings.teacher}: the teacher has {name} {have}, the student {want}; make them equal")
        self.teacher.requires_grad_(False)

    def __call__(self, step: Step) -> Tensor:
        with torch.no_grad():
            taught = self.teacher.to(step.frames.device)(step.frames)
        cool = 1 / self.settings.temperature
        shape = (self.head.joints * 2, self.head.bins)
        target = F.log_softmax(taught.float().unflatten(-1, shape) * cool, -1)
        own = F.log_softmax(step.scores.float().unflatten(-1, shape) * cool, -1)
        divergence = F.kl_div(own, target, reduction="none", log_target=True).sum(-1).mean()
        return divergence * (self.settings.weight / cool**2)


def loss_terms(config: TrainConfig) -> list[LossTerm]:
    """The terms of a run."""
    head = config.model.head
    assert isinstance(head, PoseHead)
    terms: list[LossTerm] = [PoseTerm(head, config.model.frame_size, config.sigma)]
    if config.model.neuron == "lif":
        terms.append(
            RateTerm(config.rate_target, config.rate_scope, config.rate_layers, config.rate_weight, config.rate_warmup)
        )
    if config.distillation is not None:
        terms.append(DistillationTerm(config.distillation, config.model))
    return terms
