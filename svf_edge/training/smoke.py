"""A short run of the real thing that says whether it learnt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from svf_edge.calib.batchnorm import reestimate
from svf_edge.data.sample import PoseSample, stack_samples
from svf_edge.model.config import PoseHead
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model
from svf_edge.tasks.pose import inside, simcc_loss
from svf_edge.tasks.pose_evaluation import evaluate
from svf_edge.training.clips import first_clips, validation_clips
from svf_edge.training.run import start_model, train
from svf_edge.training_config import TrainConfig

MARGIN: Final = 0.05
"""Nats by which the loss has to fall: the untrained head knows where joints are on average, so chance is not it."""


@dataclass(frozen=True)
class Smoke:
    """Loss and PCK@0.2 on unseen motions before training and after quantisation-aware training."""

    loss: tuple[float, float]
    pck: tuple[float, float]

    @property
    def learned(self) -> bool:
        """Whether the loss fell by `MARGIN` and more joints are found."""
        return self.loss[1] < self.loss[0] - MARGIN and self.pck[1] > self.pck[0]

    def sentence(self) -> str:
        """Both, for people."""
        verdict = "it learns" if self.learned else "it did NOT learn"
        return (
            f"{verdict}: loss {self.loss[0]:.3f} -> {self.loss[1]:.3f}, "
            f"PCK@0.2 {self.pck[0]:.3f} -> {self.pck[1]:.3f} (unseen motions; integer arithmetic)"
        )


def smoke(config: TrainConfig, folder: Path) -> Smoke:
    """Run `config` in `folder` and compare its result with the model it started from."""
    path = train(config, folder)
    clips = stack_samples(validation_clips(config))
    start = start_model(config)
    reestimate(start, first_clips(config)["frames"].split(64))
    results = [_measure(model, clips, config) for model in (start, load_model(path)[0])]
    (loss_before, pck_before), (loss_after, pck_after) = results
    return Smoke((loss_before, loss_after), (pck_before, pck_after))


@torch.no_grad()
def _measure(model: SpikeVideoFormer, clips: PoseSample, config: TrainConfig) -> tuple[float, float]:
    head, size = config.model.head, config.model.frame_size
    assert isinstance(head, PoseHead)
    model.eval()
    scores = torch.cat([model(frames) for frames in clips["frames"].split(config.batch_size)])
    counted = inside(clips["joints"], size)
    loss = simcc_loss(scores, clips["joints"], counted, head, size, config.sigma)
    return float(loss), evaluate(model, clips, config.batch_size).metrics["pck@0.2"]
