"""What a model reaches on labelled clips: accuracy and firing rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from svf_edge.data.sample import Sample
from svf_edge.model.network import SpikeVideoFormer, tracked_rates
from svf_edge.tasks.registry import make_task
from svf_edge.tasks.task import Task


@dataclass(frozen=True)
class Evaluation:
    """`metrics` by name, and the mean spikes per level of every LIF layer by module path."""

    metrics: Mapping[str, float]
    rates: Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """What a task reads in N clips, and the mean spikes per level of every LIF layer where known."""

    values: Tensor
    rates: Mapping[str, float]


def evaluate(model: SpikeVideoFormer, clips: Sample, batch_size: int = 32) -> Evaluation:
    """Accuracy of `model` in eval mode (its own mode is restored) on stacked clips `[N, T, ...]`, and its rates."""
    task = make_task(model.config)
    found = predict(model, task, clips["frames"], batch_size)
    metrics = task.metrics(found.values, clips)
    metrics["firing_rate"] = float(np.mean(list(found.rates.values())))
    return Evaluation(metrics, found.rates)


@torch.no_grad()
def predict(
    model: SpikeVideoFormer,
    task: Task,
    frames: Tensor,
    batch_size: int = 32,
    progress: Callable[[int], None] = lambda count: None,
) -> Prediction:
    """What `model`, in eval mode (its own is restored), sees in clips uint8 `[N, T, C, H, W]`.

    `progress` is told after every batch how many clips are done.
    """
    training = model.training
    model.eval()
    values: list[Tensor] = []
    sums: dict[str, float] = {}
    device = next(model.parameters()).device
    done = 0
    for batch in frames.split(batch_size):
        with tracked_rates(model):
            scores = model(batch.to(device))
            for name, lif in model.lifs().items():
                assert lif.rate is not None
                sums[name] = sums.get(name, 0.0) + float(lif.rate) * len(batch)
        values.append(task.read(scores.cpu().numpy()))
        done += len(batch)
        progress(done)
    model.train(training)
    return Prediction(torch.cat(values), {name: total / len(frames) for name, total in sums.items()})
