"""3-D joints about the hips: targets, reading and metrics."""

from __future__ import annotations

import pytest
import torch

from svf_edge.data.sample import Sample, stack_samples
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.model.config import model_config
from svf_edge.tasks.pose3d import Pose3dTask, about_hips
from svf_edge.tasks.simcc import bin_targets

TASK = Pose3dTask(model_config("tiny", head={"kind": "pose3d"}))


@pytest.fixture(scope="module")
def clips() -> Sample:
    return stack_samples(SyntheticPoseDataset("val", 4, frames=4, size=(16, 16)))


def test_reading_inverts_the_targets(clips: Sample) -> None:
    joints, known = about_hips(clips["joints3d"])
    assert known.all() and joints.abs().max() < TASK.head.reach
    place = (joints / TASK.head.reach + 1) * 32
    scores = bin_targets(place, 64, 1.5).log().clamp(min=-30).flatten(-3)
    found = TASK.read(scores.numpy())
    assert (found - joints).abs().max() < 0.01  # a bin is 4 cm
    assert TASK.loss(scores, clips) < TASK.loss(torch.zeros_like(scores), clips)
    metrics = TASK.metrics(found, clips)
    assert metrics["pck@150mm"] == 1 and metrics["pel_mpjpe_mm"] < 10 and metrics["pa_mpjpe_mm"] < 10


def test_where_the_person_stands_does_not_matter(clips: Sample) -> None:
    moved: Sample = {**clips, "joints3d": clips["joints3d"] + torch.tensor([3.0, -1.0, 5.0])}
    predicted = clips["joints3d"] + 0.02 * torch.randn(4, 4, 13, 3, generator=torch.Generator().manual_seed(0))
    expected = TASK.metrics(predicted, clips)
    assert TASK.metrics(predicted, moved) == pytest.approx(expected, rel=1e-3)
    assert 20 < expected["pel_mpjpe_mm"] < 80


def test_frames_without_hips_and_unknown_joints_do_not_count(clips: Sample) -> None:
    joints = clips["joints3d"].clone()
    joints[0, 0, 7] = torch.nan
    joints[1, 1, 3] = torch.nan
    blind: Sample = {**clips, "joints3d": joints}
    scores = torch.zeros(4, 4, 13 * 3 * 64, requires_grad=True)
    TASK.loss(scores, blind).backward()
    assert scores.grad is not None
    seen = scores.grad.unflatten(-1, (13, -1)).abs().sum(-1) > 0
    assert not seen[0, 0].any() and not seen[1, 1, 3] and int(seen.sum()) == 4 * 4 * 13 - 14
    assert TASK.measures(clips["joints3d"], blind, range(4))["pck@150mm"].count.sum() == 4 * 4 * 13 - 14
    nothing: Sample = {**clips, "joints3d": torch.full_like(joints, torch.nan)}
    assert not TASK.frequency(nothing).any()


def test_the_mean_pose_is_far_from_right(clips: Sample) -> None:
    known = stack_samples(SyntheticPoseDataset("train", 6, frames=2, size=(16, 16)))
    guess = TASK.baselines(clips, known)["mean pose"]
    assert guess.shape == clips["joints3d"].shape and torch.equal(guess[0, 0], guess[3, 3])
    assert 0.05 < TASK.metrics(guess, clips)["pck@150mm"] < 0.95
