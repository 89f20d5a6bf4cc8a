"""Scores over all, per joint and per kind, and the baselines that look at no frame."""

from __future__ import annotations

import pytest
import torch

from svf_edge.data.sample import Sample, stack_samples
from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.model.config import model_config
from svf_edge.tasks.registry import make_task
from svf_edge.tasks.scores import compare, score
from tests.tasks.frame_means import frame_means

KINDS = ["a", "b", "a", "b", "b"]
TASK = make_task(model_config("tiny"))


@pytest.fixture(scope="module")
def clips() -> Sample:
    return stack_samples(SyntheticPoseDataset("val", 5, frames=4))


def test_the_labels_themselves_score_best(clips: Sample) -> None:
    scores = score(TASK, clips["joints"], clips, range(5), KINDS)
    assert scores.overall["pck@0.1"].value == 1 and scores.overall["pck@0.1"].low == 1
    for name in ("mpjpe_px", "pa_mpjpe_px", "pel_mpjpe_px", "jitter_px"):
        assert scores.overall[name].value == pytest.approx(0, abs=1e-3)


def test_parts_add_up(clips: Sample) -> None:
    noise = 6 * torch.randn(clips["joints"].shape, generator=torch.Generator().manual_seed(0))
    predicted = clips["joints"] + noise
    predicted[..., 5, :] += 30
    scores = score(TASK, predicted, clips, range(5), KINDS)
    expected = frame_means(predicted, clips["joints"], clips["visible"])
    for name, value in expected.items():
        assert scores.overall[name].value == pytest.approx(value, abs=1e-4)
        low, high = scores.overall[name].low, scores.overall[name].high
        assert low is not None and high is not None and low < value < high
    worst = max(JOINT_NAMES, key=lambda joint: scores.per_part["mpjpe_px"][joint] or 0)
    assert worst == JOINT_NAMES[5]
    part = torch.tensor([kind == "b" for kind in KINDS])
    alone = frame_means(predicted[part], clips["joints"][part], clips["visible"][part])
    assert scores.per_kind["b"]["mpjpe_px"].value == pytest.approx(alone["mpjpe_px"], abs=1e-4)
    assert scores.per_kind.keys() == {"a", "b"}


def test_a_joint_that_is_never_seen_has_no_score(clips: Sample) -> None:
    visible = clips["visible"].clone()
    visible[..., 0] = False
    blind = Sample(**{**clips, "visible": visible})  # type: ignore[typeddict-item]
    scores = score(TASK, clips["joints"] + 1, blind, range(5), KINDS)
    assert scores.per_part["mpjpe_px"]["head"] is None
    assert scores.per_part["mpjpe_px"]["left_hip"] == pytest.approx(2**0.5, abs=1e-3)


def test_baselines_scale_with_the_frame_and_look_at_no_pixel(clips: Sample) -> None:
    known = stack_samples(SyntheticPoseDataset("train", 6, frames=4, size=(32, 32)))
    guesses = TASK.baselines(clips, known)
    placed = guesses["mean pose"]
    assert placed.shape == clips["joints"].shape and torch.equal(placed[0, 0], placed[4, 3])
    middle = placed[0, 0].mean(0)  # fitted on frames half as large
    assert 16 < middle[0] < 48 and 16 < middle[1] < 48
    black = Sample(**{**clips, "frames": torch.zeros_like(clips["frames"])})  # type: ignore[typeddict-item]
    for name, guess in TASK.baselines(black, known).items():
        assert torch.equal(guess, guesses[name])
    # Told the box, a guess cannot be far off: closer than one that is not.
    errors = [
        frame_means(guess, clips["joints"], clips["visible"])["mpjpe_px"]
        for guess in (guesses["mean pose in the labelled box"], placed)
    ]
    assert errors[0] < errors[1]


def test_a_paired_difference_is_narrower_than_either(clips: Sample) -> None:
    spread = torch.tensor([1.0, 4.0, 9.0, 16.0, 25.0])[:, None, None, None]  # clips differ far more than predictors
    worse, better = clips["joints"] + spread + 1, clips["joints"] + spread
    alone = score(TASK, better, clips, range(5), KINDS).overall["mpjpe_px"]
    difference = compare(TASK, worse, better, clips, range(5))["mpjpe_px"]
    assert difference.value == pytest.approx(2**0.5, abs=1e-3)
    assert alone.low is not None and alone.high is not None
    assert difference.low is not None and difference.high is not None
    assert difference.high - difference.low < 0.01 < alone.high - alone.low
