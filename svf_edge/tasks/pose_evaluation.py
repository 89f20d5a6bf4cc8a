"""What a pose model reaches on labelled clips: accuracy and firing rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from svf_edge.data.sample import PoseSample
from svf_edge.model.config import PoseHead
from svf_edge.model.network import SpikeVideoFormer, tracked_rates
from svf_edge.tasks.decoding import decode
from svf_edge.tasks.pose_metrics import pose_metrics


@dataclass(frozen=True)
class Evaluation:
    """`metrics` by name, and the mean spikes per level of every LIF layer by module path."""

    metrics: Mapping[str, float]
    rates: Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """Joints float32 `[N, T, J, 2]` in pixels, and the mean spikes per level of every LIF layer where known."""

    points: Tensor
    rates: Mapping[str, float]


def evaluate(model: SpikeVideoFormer, clips: PoseSample, batch_size: int = 32) -> Evaluation:
    """Accuracy of `model` in eval mode (its own mode is restored) on stacked clips `[N, T, ...]`, and its rates."""
    found = predict(model, clips["frames"], batch_size)
    metrics = pose_metrics(found.points, clips["joints"], clips["visible"])
    metrics["firing_rate"] = float(np.mean(list(found.rates.values())))
    return Evaluation(metrics, found.rates)


@torch.no_grad()
def predict(
    model: SpikeVideoFormer, frames: Tensor, batch_size: int = 32, progress: Callable[[int], None] = lambda count: None
) -> Prediction:
    """What `model`, in eval mode (its own is restored), sees in clips uint8 `[N, T, C, H, W]`.

    `progress` is told after every batch how many clips are done.
    """
    training = model.training
    model.eval()
    points: list[Tensor] = []
    sums: dict[str, float] = {}
    device = next(model.parameters()).device
    done = 0
    for batch in frames.split(batch_size):
        with tracked_rates(model):
            scores = model(batch.to(device))
            for name, lif in model.lifs().items():
                assert lif.rate is not None
                sums[name] = sums.get(name, 0.0) + float(lif.rate) * len(batch)
        points.append(joints_of(scores, model))
        done += len(batch)
        progress(done)
    model.train(training)
    return Prediction(torch.cat(points), {name: total / len(frames) for name, total in sums.items()})


def joints_of(scores: Tensor, model: SpikeVideoFormer) -> Tensor:
    """Joints `[..., J, 2]` in pixels from a pose model's scores `[..., K]`."""
    head: Any = model.config.head
    assert isinstance(head, PoseHead)
    return torch.from_numpy(decode(scores.cpu().numpy(), head, model.config.frame_size).points)
