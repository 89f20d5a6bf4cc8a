"""Accuracy of a model, wherever it runs, on labelled clips."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from svf_edge.runtimes.base import Progress, Result, no_progress
from svf_edge.runtimes.evaluation_data import EvaluationClips, load_evaluation, training_clips
from svf_edge.runtimes.evaluation_model import open_subject
from svf_edge.tasks.bootstrap import LEVEL, RESAMPLES
from svf_edge.tasks.scores import Score, Scores, compare, score
from svf_edge.tasks.task import Task


class EvalReport(Result):
    """What a model reaches. `baselines` are predictions that look at no frame (`Task.baselines`)."""

    model: str
    kind: str
    runtime: str
    data: str
    description: str
    clips: int
    groups: int
    frames: int
    size: tuple[int, int]
    task: str
    """Kind of the head."""
    headline: str
    """The metric that stands for the others."""
    scores: Scores
    baselines: Mapping[str, Mapping[str, Score]]
    advantage: Mapping[str, Score]
    """The model's metrics minus those of the first baseline, paired."""
    baseline_clips: int
    firing_rates: Mapping[str, float]
    """Mean spikes per level of every LIF layer; empty on runtimes that are not asked for their spikes."""
    interval_level: float
    interval_resamples: int
    seconds: float
    """What running the model on all clips took."""

    @property
    def firing_rate(self) -> float | None:
        """The mean over layers, where rates are known."""
        return float(np.mean(list(self.firing_rates.values()))) if self.firing_rates else None


@dataclass(frozen=True)
class Evaluated:
    """A report with what its pictures are made of: the clips and what was predicted."""

    report: EvalReport
    data: EvaluationClips
    task: Task
    predicted: Tensor


def evaluate_model(
    model: str | Path,
    data: str = "synthetic",
    runtime: str | None = None,
    clips: int | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Evaluated:
    """Evaluate `model` (`open_subject`) on `clips` clips of `data` (`load_evaluation`) on `runtime`.

    Raises what these two raise.
    """
    progress("opening the model", 0.0)
    with open_subject(model, runtime, threads) as subject:
        task = subject.task
        found = load_evaluation(data, clips, task, subject.camera, progress)
        count = len(found.kinds)
        start = time.perf_counter()
        prediction = subject.predict(found.clips["frames"], lambda done: progress(subject.runtime, done / count))
        seconds = time.perf_counter() - start
        known = training_clips(found.known, progress)
    progress("intervals", 0.0)
    guesses = task.baselines(found.clips, known)
    plainest = next(iter(guesses.values()))
    report = EvalReport(
        model=Path(model).name,
        kind=subject.kind,
        runtime=subject.runtime,
        data=found.name,
        description=found.description,
        clips=count,
        groups=len(set(found.groups)),
        frames=subject.frames,
        size=subject.size,
        task=task.config.head.kind,
        headline=task.headline,
        scores=score(task, prediction.values, found.clips, found.groups, found.kinds),
        baselines={
            name: score(task, guess, found.clips, found.groups, found.kinds).overall for name, guess in guesses.items()
        },
        advantage=compare(task, prediction.values, plainest, found.clips, found.groups),
        baseline_clips=len(known["frames"]),
        firing_rates=prediction.rates,
        interval_level=LEVEL,
        interval_resamples=RESAMPLES,
        seconds=seconds,
    )
    return Evaluated(report, found, task, prediction.values)
