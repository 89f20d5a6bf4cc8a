"""SimCC loss and decoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from svf_edge.data.sample import UNKNOWN_CLASS, UNKNOWN_PIXEL, Sample
from svf_edge.model.config import PoseHead, model_config
from svf_edge.tasks.decoding import decode
from svf_edge.tasks.pose import PoseTask
from svf_edge.tasks.simcc import bin_targets

HEAD = PoseHead(joints=3, bins=32)
SIZE = (48, 64)  # height, width
TASK = PoseTask(model_config("tiny", head=HEAD.model_dump(), frame_size=SIZE))


def random_joints() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 5, 3, 2, generator=generator) * torch.tensor([50.0, 34.0]) + 7


def test_decoding_inverts_the_targets() -> None:
    joints = random_joints()
    scores = bin_targets(places(joints), HEAD.bins, 1.5).log().clamp(min=-30).flatten(-3)
    pose = decode(scores.numpy(), HEAD, SIZE)
    assert pose.points.shape == (4, 5, 3, 2) and pose.confidence.shape == (4, 5, 3)
    assert np.abs(pose.points - joints.numpy()).max() < 0.2  # a bin is 2 by 1.5 pixels
    assert pose.confidence.min() > 0.9


def test_integer_scores_decode_like_their_values() -> None:
    scores = np.random.default_rng(0).integers(-2000, 2000, (4, 3 * 2 * 32), dtype=np.int32)
    a, b = decode(scores, HEAD, SIZE, exponent=8), decode(scores.astype(np.float32) / 256, HEAD, SIZE)
    np.testing.assert_array_equal(a.points, b.points)


def test_two_peaks_are_not_averaged() -> None:
    scores = np.full((3, 2, 32), -10.0, dtype=np.float32)
    scores[..., 4], scores[..., 28] = 5.0, 4.8
    pose = decode(scores.ravel(), HEAD, SIZE)
    np.testing.assert_allclose(pose.points, np.tile([4.5 * 2, 4.5 * 1.5], (3, 1)), atol=0.01)
    assert 0.4 < pose.confidence.max() < 0.7


def test_the_most_probability_wins_over_the_best_bin() -> None:
    """A lone bin of 0.3 against five neighbours of 0.14: the joint is among the five, and confidence is their sum."""
    share = np.zeros(32, dtype=np.float32)
    share[3] = 0.3
    share[20:25] = 0.14
    scores = np.log(share + 1e-9) + 7  # an offset of a distribution's scores changes nothing
    pose = decode(np.tile(scores, 6), HEAD, SIZE)
    np.testing.assert_allclose(pose.points, np.tile([22.5 * 2, 22.5 * 1.5], (3, 1)), atol=0.01)
    np.testing.assert_allclose(pose.confidence, 0.7, atol=1e-4)


@pytest.mark.parametrize("edge", [0, 31])
def test_a_window_ends_at_the_frame(edge: int) -> None:
    scores = np.full((3, 2, 32), -20.0, dtype=np.float32)
    scores[..., edge] = 0
    pose = decode(scores.ravel(), HEAD, SIZE)
    np.testing.assert_allclose(pose.points, np.tile([(edge + 0.5) * 2, (edge + 0.5) * 1.5], (3, 1)), atol=0.01)
    assert pose.confidence.min() > 0.99


def clips_of(joints: torch.Tensor) -> Sample:
    """Stacked samples of these joints."""
    count, steps = joints.shape[:2]
    return {
        "frames": torch.zeros(count, steps, 3, *SIZE, dtype=torch.uint8),
        "joints": joints,
        "visible": torch.ones(joints.shape[:3], dtype=torch.bool),
        "joints3d": torch.full((*joints.shape[:3], 3), torch.nan),
        "label": torch.full((count,), UNKNOWN_CLASS),
        "mask": torch.full((count, steps, *SIZE), UNKNOWN_PIXEL, dtype=torch.uint8),
    }


def places(joints: torch.Tensor) -> torch.Tensor:
    return joints * HEAD.bins / torch.tensor([SIZE[1], SIZE[0]])


def test_joints_outside_and_unknown_ones_do_not_count() -> None:
    joints = random_joints()
    joints[0, 0, 0] = torch.tensor([-3.0, 20.0])
    joints[1, 1, 1] = torch.tensor([64.0, 20.0])
    joints[2, 2, 2] = torch.nan
    counted = torch.ones(joints.shape[:3], dtype=torch.bool)
    counted[0, 0, 0] = counted[1, 1, 1] = counted[2, 2, 2] = False
    scores = torch.zeros(4, 5, 3 * 2 * 32, requires_grad=True)
    TASK.loss(scores, clips_of(joints)).backward()
    assert scores.grad is not None
    per_joint = scores.grad.unflatten(-1, (3, 2, 32)).abs().sum((-1, -2))
    assert torch.equal(per_joint > 0, counted)


def test_loss_is_least_at_the_targets() -> None:
    clips = clips_of(random_joints())
    perfect = bin_targets(places(clips["joints"]), HEAD.bins, TASK.sigma).log().clamp(min=-60).flatten(-3)
    best = TASK.loss(perfect, clips)
    assert best < TASK.loss(perfect.roll(1, -1), clips)
    assert best < TASK.loss(torch.zeros_like(perfect), clips)


def test_frequency_counts_joints() -> None:
    joints = random_joints()
    frequency = TASK.frequency(clips_of(joints))
    assert frequency.shape == (3, 2, 32)
    torch.testing.assert_close(frequency.sum(-1), torch.full((3, 2), 20.0))
    assert not TASK.frequency(clips_of(torch.full_like(joints, -1))).any()
