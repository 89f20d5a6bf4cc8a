"""Scores of predicted joints on labelled clips: over all, per joint and per kind of clip, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from svf_edge.data.sample import PoseSample
from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.tasks.bootstrap import interval
from svf_edge.tasks.pose_metrics import Values, clip_values, from_box, mean_pose, to_box


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Stored):
    """A mean with its bootstrap interval (`svf_edge.tasks.bootstrap`); None where nothing counts or can be drawn."""

    value: float | None
    low: float | None
    high: float | None


class PoseScores(_Stored):
    """Metrics of one predictor by name, each over all clips, per joint, and per kind of clip."""

    overall: Mapping[str, Score]
    per_joint: Mapping[str, Mapping[str, float | None]]
    per_kind: Mapping[str, Mapping[str, Score]]


def score_poses(predicted: Tensor, clips: PoseSample, groups: Sequence[int], kinds: Sequence[str]) -> PoseScores:
    """Scores of `predicted` `[N, T, 13, 2]` (px) on stacked `clips` (every field with N in front).

    `groups` `[N]` says which clips belong together when clips are drawn, `kinds` `[N]` names each clip's kind (its
    motion, its video).
    """
    target, visible = clips["joints"], clips["visible"].bool()
    values = clip_values(predicted, target, visible)
    places = {kind: torch.tensor([kind == other for other in kinds]) for kind in sorted(set(kinds))}
    drawn = np.asarray(groups, dtype=np.int64)
    return PoseScores(
        overall={name: _score(pair, drawn) for name, pair in values.items()},
        per_joint={
            name: {joint: _plain(_mean(value[..., i], counted[..., i])) for i, joint in enumerate(JOINT_NAMES)}
            for name, (value, counted) in values.items()
        },
        per_kind={
            kind: {
                name: _score((value[place], counted[place]), drawn[place.numpy()])
                for name, (value, counted) in values.items()
            }
            for kind, place in places.items()
        },
    )


def compare_poses(ours: Tensor, theirs: Tensor, clips: PoseSample, groups: Sequence[int]) -> dict[str, Score]:
    """Every metric of `ours` minus that of `theirs`, paired: the interval draws the same clips for both."""
    target, visible = clips["joints"], clips["visible"].bool()
    first, second = (clip_values(points, target, visible) for points in (ours, theirs))
    drawn = np.asarray(groups, dtype=np.int64)
    return {name: _score((first[name][0] - second[name][0], first[name][1]), drawn) for name in first}


def baselines(clips: PoseSample, known: PoseSample) -> dict[str, Tensor]:
    """Predictions `[N, T, 13, 2]` that look at no frame of `clips`, fitted on the (training) clips `known`.

    "mean pose" is the mean pose in the frame, scaled with it. "mean pose in the labelled box" is the mean pose within
    the person's box, put into the box that the labels themselves have: it is told where and how large the person is,
    which no model is.
    """
    target, visible = clips["joints"], clips["visible"].bool()
    frame, here = (_frame_size(sample) for sample in (known, clips))
    placed = mean_pose(known["joints"] / frame, known["visible"].bool()) * here
    boxed = mean_pose(to_box(known["joints"], known["visible"].bool()), known["visible"].bool())
    return {
        "mean pose": placed.expand_as(target).contiguous(),
        "mean pose in the labelled box": from_box(boxed, target, visible),
    }


def _frame_size(clips: PoseSample) -> Tensor:
    height, width = clips["frames"].shape[-2:]
    return torch.tensor([width, height], dtype=torch.float32)


def _score(values: Values, groups: np.ndarray) -> Score:
    value, counted = (part.flatten(1) for part in values)
    total = torch.where(counted, value, 0).sum(1).double().numpy()
    count = counted.sum(1).double().numpy()
    low, high = interval(total, count, groups)
    return Score(value=_plain(_mean(value, counted)), low=_plain(low), high=_plain(high))


def _mean(value: Tensor, counted: Tensor) -> float:
    return float(value[counted].double().mean())


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
