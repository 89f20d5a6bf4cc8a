"""What a training step pays for: a list of terms, added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from svf_edge.data.sample import Sample
from svf_edge.errors import BadFile
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model
from svf_edge.tasks.registry import make_task
from svf_edge.tasks.task import Task
from svf_edge.training_config import Distillation, Phase, TrainConfig


@dataclass(frozen=True)
class Step:
    """What the terms see of one step.

    `clips` are stacked samples, `scores` `[B, T, K]` or `[B, T, K, h, w]` what the model makes of them; `rates` the
    mean spikes per level of every LIF by module path, with gradient; `progress` the share of the float phase's steps
    that are done, 1 afterwards.
    """

    model: SpikeVideoFormer
    clips: Sample
    scores: Tensor
    rates: Mapping[str, Tensor]
    progress: float


class LossTerm(Protocol):
    """One term: a name for the logs, and a weighted scalar for a step."""

    name: str

    def __call__(self, step: Step) -> Tensor: ...


class TaskTerm:
    """The task's own loss, named after the head."""

    def __init__(self, task: Task) -> None:
        self.name: str = task.config.head.kind
        self.task = task

    def __call__(self, step: Step) -> Tensor:
        return self.task.loss(step.scores, step.clips)


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
    """KL divergence from a teacher's distributions (`Task.distributions`), mean over all of them.

    Labels are not read, so clips without any are of use. The factor temperature^2 keeps the size of the gradient
    (Hinton et al. 2015).
    """

    name = "distillation"

    def __init__(self, settings: Distillation, task: Task) -> None:
        self.settings, self.task = settings, task
        self.teacher, _ = load_model(settings.teacher)
        config, theirs = task.config, self.teacher.config
        answers = ("joints", "bins", "reach", "classes", "cell")  # fields that say what a score stands for
        for name, have, want in (
            ("frame_size", theirs.frame_size, config.frame_size),
            ("head.kind", theirs.head.kind, config.head.kind),
            *((f"head.{name}", getattr(theirs.head, name, None), getattr(config.head, name, None)) for name in answers),
        ):
            if have != want:
                raise BadFile(f"{settings.teacher}: the teacher has {name} {have}, the student {want}; make them equal")
        self.teacher.requires_grad_(False)

    def __call__(self, step: Step) -> Tensor:
        with torch.no_grad():
            frames = step.clips["frames"]
            taught = self.teacher.to(frames.device)(frames)
        cool = 1 / self.settings.temperature
        target, own = (
            F.log_softmax(self.task.distributions(scores.float()) * cool, -1) for scores in (taught, step.scores)
        )
        divergence = F.kl_div(own, target, reduction="none", log_target=True).sum(-1).mean()
        return divergence * (self.settings.weight / cool**2)


def loss_terms(config: TrainConfig, phase: Phase) -> list[LossTerm]:
    """The terms of a phase."""
    task = make_task(config.model, sigma=config.sigma)
    terms: list[LossTerm] = [TaskTerm(task)]
    if config.model.neuron == "lif":
        weight = config.rate_weight if phase.rate_weight is None else phase.rate_weight
        terms.append(RateTerm(config.rate_target, config.rate_scope, config.rate_layers, weight, config.rate_warmup))
    if config.distillation is not None:
        terms.append(DistillationTerm(config.distillation, task))
    return terms
