"""Masks: how cells are spread out, the loss, and metrics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from svf_edge.model.config import SegmentationHead, model_config
from svf_edge.tasks.decoding import label_map
from svf_edge.tasks.segmentation import SegmentationTask
from tests.tasks.samples import masked

HEAD = SegmentationHead(classes=3, cell=2)
TASK = SegmentationTask(model_config("tiny", head=HEAD.model_dump(), frame_size=(8, 8)))


def scores_for(mask: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Score maps `[..., 12, h, w]` that say `mask` `[..., 2h, 2w]`, the channel order written out."""
    scores = torch.zeros(*mask.shape[:-2], 12, height, width)
    for index in np.ndindex(*mask.shape):
        *lead, y, x = index
        scores[(*lead, (int(mask[index]) * 2 + y % 2) * 2 + x % 2, y // 2, x // 2)] = 5
    return scores


def random_mask(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_every_channel_answers_for_its_place() -> None:
    mask = random_mask((2, 3, 4, 6))
    scores = scores_for(mask, 2, 3)
    assert torch.equal(torch.from_numpy(label_map(scores.numpy(), HEAD, (4, 6))), mask)
    large = torch.from_numpy(label_map(scores.numpy(), HEAD, (12, 18)))
    assert torch.equal(large, mask.repeat_interleave(3, -2).repeat_interleave(3, -1))
    assert torch.equal(TASK.distributions(scores).argmax(-1), mask.long())  # as training sees them


def test_equal_integers_go_to_the_first_class() -> None:
    scores = np.full((1, 12, 1, 1), 7, dtype=np.int32)
    assert label_map(scores, HEAD, (2, 2)).tolist() == [[[0, 0], [0, 0]]]
    scores[0, 4:] += 2**30 - 8  # beyond what float32 could tell apart
    scores[0, 11] += 1
    assert label_map(scores, HEAD, (2, 2)).tolist() == [[[1, 1], [1, 2]]]


def test_loss_falls_to_nothing_at_the_labels_and_unknown_pixels_are_free() -> None:
    mask = random_mask((2, 2, 4, 4))
    clips = masked(mask)
    right = 8 * scores_for(mask, 2, 2)
    assert float(TASK.loss(right, clips)) < 1e-3
    assert float(TASK.loss(-right, clips)) > 1
    clips["mask"][0] = 255
    scores = torch.zeros_like(right, requires_grad=True)
    TASK.loss(scores, clips).backward()
    assert scores.grad is not None and scores.grad[0].eq(0).all() and scores.grad[1].ne(0).any()
    clips["mask"][:] = 255
    assert float(TASK.loss(scores, clips).detach()) == 0


def test_labels_are_taken_in_the_middle_of_a_place() -> None:
    mask = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    mask[..., 1::3, 1::3] = 1  # places of 3x3 pixels with a middle of their own
    assert float(TASK.loss(40 * scores_for(torch.ones(1, 1, 4, 4), 2, 2), masked(mask))) == pytest.approx(0, abs=1e-4)


def test_metrics_by_hand() -> None:
    mask = torch.tensor([[[[0, 0, 1, 1]], [[0, 1, 1, 255]]]], dtype=torch.uint8)
    predicted = torch.tensor([[[[0, 1, 1, 1]], [[0, 1, 0, 1]]]], dtype=torch.uint8)
    found = TASK.metrics(predicted, masked(mask))
    # Class 0: 2 right, union 4; class 1: 3 right, union 5; class 2 does not occur.
    assert found["miou"] == pytest.approx((2 / 4 + 3 / 5) / 2)
    assert found["pixel_accuracy"] == pytest.approx(5 / 7)
    assert found["vc2"] == pytest.approx(1 / 2)  # the label stays in columns 0 and 2; the first is right in both
    assert TASK.parts(predicted, masked(mask)) == {"iou": {"class 0": 0.5, "class 1": pytest.approx(0.6)}}
    assert "vc1" not in TASK.metrics(predicted[:, :1], masked(mask[:, :1]))
    assert math.isnan(TASK.metrics(predicted, masked(torch.full_like(mask, 255)))["miou"])


def test_the_mean_is_over_classes_of_all_clips() -> None:
    mask, predicted = random_mask((4, 2, 4, 4)), random_mask((4, 2, 4, 4), 1)
    measure = TASK.measures(predicted, masked(mask), range(4))["miou"]
    flat, guess = mask.flatten(), predicted.flatten()
    ious = [float(((flat == c) & (guess == c)).sum() / ((flat == c) | (guess == c)).sum()) for c in range(3)]
    assert measure.value() == pytest.approx(float(np.mean(ious)))
    assert measure.of([2]).value() == pytest.approx(TASK.metrics(predicted[2:3], masked(mask[2:3]))["miou"])


def test_baselines_look_at_no_frame() -> None:
    known = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    known[:2, :, :2] = 2
    guesses = TASK.baselines(masked(random_mask((5, 2, 8, 8))), masked(known))
    assert guesses["most frequent class"].eq(0).all()
    place = guesses["most frequent class of a place"]
    assert place.shape == (5, 2, 8, 8) and place[:, :, :2].eq(2).all() and place[:, :, 2:].eq(0).all()
