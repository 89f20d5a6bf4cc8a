"""A short run of the real thing that says whether it learnt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from svf_edge.calib.batchnorm import reestimate
from svf_edge.data.sample import Sample, stack_samples
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model
from svf_edge.tasks.evaluation import evaluate
from svf_edge.tasks.registry import make_task
from svf_edge.training.clips import first_clips, validation_clips
from svf_edge.training.run import start_model, train
from svf_edge.training_config import TrainConfig

MARGIN: Final = 0.05
"""Nats by which the loss has to fall: the untrained head knows how often every answer is right, so chance is not it."""


@dataclass(frozen=True)
class Smoke:
    """Loss and the task's metric on validation clips before training and after quantisation-aware training."""

    metric: str
    loss: tuple[float, float]
    reached: tuple[float, float]

    @property
    def learned(self) -> bool:
        """Whether the loss fell by `MARGIN` and the metric rose."""
        return self.loss[1] < self.loss[0] - MARGIN and self.reached[1] > self.reached[0]

    def sentence(self) -> str:
        """Both, for people."""
        verdict = "it learns" if self.learned else "it did NOT learn"
        return (
            f"{verdict}: loss {self.loss[0]:.3f} -> {self.loss[1]:.3f}, "
            f"{self.metric} {self.reached[0]:.3f} -> {self.reached[1]:.3f} (validation clips; integer arithmetic)"
        )


def smoke(config: TrainConfig, folder: Path) -> Smoke:
    """Run `config` in `folder` and compare its result with the model it started from."""
    path = train(config, folder)
    clips = stack_samples(validation_clips(config))
    start = start_model(config)
    reestimate(start, first_clips(config)["frames"].split(64))
    before, after = (_measure(model, clips, config) for model in (start, load_model(path)[0]))
    return Smoke(make_task(config.model).headline, (before[0], after[0]), (before[1], after[1]))


@torch.no_grad()
def _measure(model: SpikeVideoFormer, clips: Sample, config: TrainConfig) -> tuple[float, float]:
    task = make_task(config.model, sigma=config.sigma)
    model.eval()
    scores = torch.cat([model(frames) for frames in clips["frames"].split(config.batch_size)])
    reached = evaluate(model, clips, config.batch_size).metrics[task.headline]
    return float(task.loss(scores, clips)), reached
