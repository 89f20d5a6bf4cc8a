"""Scores of predictions on labelled clips: over all, per part and per kind of clip, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from svf_edge.data.sample import Sample
from svf_edge.tasks.bootstrap import Measure, interval
from svf_edge.tasks.task import Task


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Stored):
    """A metric with its bootstrap interval (`svf_edge.tasks.bootstrap`); None where nothing counts or can be drawn."""

    value: float | None
    low: float | None
    high: float | None


class Scores(_Stored):
    """Metrics of one predictor by name, over all clips, per part (joint, class), and per kind of clip."""

    overall: Mapping[str, Score]
    per_part: Mapping[str, Mapping[str, float | None]]
    per_kind: Mapping[str, Mapping[str, Score]]


def score(task: Task, predicted: Tensor, clips: Sample, groups: Sequence[int], kinds: Sequence[str]) -> Scores:
    """Scores of `predicted`, as `task` reads scores, on stacked `clips` (every field with N in front).

    `groups` `[N]` says which clips belong together when clips are drawn, `kinds` `[N]` names each clip's kind (its
    motion, its video).
    """
    measures = task.measures(predicted, clips, groups)
    drawn = np.asarray(groups, dtype=np.int64)
    places = {kind: np.array([kind == other for other in kinds]) for kind in sorted(set(kinds))}
    return Scores(
        overall={name: _score(measure, drawn) for name, measure in measures.items()},
        per_part={
            name: {part: _plain(value) for part, value in values.items()}
            for name, values in task.parts(predicted, clips).items()
        },
        per_kind={
            kind: {name: _score(measure.of(place), drawn[place]) for name, measure in measures.items()}
            for kind, place in places.items()
        },
    )


def compare(task: Task, ours: Tensor, theirs: Tensor, clips: Sample, groups: Sequence[int]) -> dict[str, Score]:
    """Every metric of `ours` minus that of `theirs`, paired: the interval draws the same clips for both."""
    first, second = (task.measures(predicted, clips, groups) for predicted in (ours, theirs))
    drawn = np.asarray(groups, dtype=np.int64)
    return {name: _score(first[name], drawn, second[name]) for name in first}


def _score(measure: Measure, groups: np.ndarray, minus: Measure | None = None) -> Score:
    low, high = interval(measure, groups, minus)
    value = measure.value() - (minus.value() if minus is not None else 0.0)
    return Score(value=_plain(value), low=_plain(low), high=_plain(high))


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
