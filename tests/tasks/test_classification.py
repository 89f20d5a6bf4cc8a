"""Classes of clips: loss, reading, metrics with and without views, baselines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from svf_edge.model.config import model_config
from svf_edge.tasks.classification import ClassificationTask
from tests.tasks.samples import labelled

TASK = ClassificationTask(model_config("tiny", head={"kind": "classification", "classes": 7}), ("run", "walk"))


def test_loss_is_that_of_the_mean_scores_over_known_clips() -> None:
    scores = torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    clips = labelled(torch.tensor([2, -1, 0, 6]))
    loss = TASK.loss(scores, clips)
    share = scores.mean(1).log_softmax(-1)
    assert float(loss.detach()) == pytest.approx(float(-(share[0, 2] + share[2, 0] + share[3, 6]) / 3), rel=1e-5)
    loss.backward()
    assert scores.grad is not None and scores.grad[1].eq(0).all() and scores.grad[0].abs().sum() > 0
    assert float(TASK.loss(scores, labelled(torch.full((4,), -1)))) == 0


def test_integers_are_read_like_their_values() -> None:
    scores = np.random.default_rng(0).integers(-900, 900, (5, 4, 7), dtype=np.int32)
    found = TASK.read(scores, exponent=8)
    assert torch.equal(found, TASK.read(scores.astype(np.float32) / 256))
    assert found.shape == (5, 7) and torch.allclose(found.sum(1), torch.ones(5))
    assert torch.equal(found.argmax(1), torch.from_numpy(scores.sum(1).argmax(1)))


def test_metrics_by_hand() -> None:
    predicted = torch.tensor(
        [
            [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],  # 6, 5, 4, 3, 2 | 1, 0
            [0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.1, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],  # a tie: the first classes
        ]
    )
    found = TASK.metrics(predicted, labelled(torch.tensor([2, 0, 6, 4])))
    assert found == {"top1": 0.25, "top5": 0.75}
    assert TASK.metrics(predicted, labelled(torch.tensor([1, 1, -1, -1])))["top5"] == 0.5
    assert math.isnan(TASK.metrics(predicted, labelled(torch.full((4,), -1)))["top1"])
    assert TASK.parts(predicted, labelled(torch.tensor([0, 0, 1, 5]))) == {
        "top1": {"run": 0.5, "walk": 1.0, "class 5": 0.0}
    }


def test_views_of_a_video_vote_with_their_shares() -> None:
    predicted = torch.zeros(5, 7)
    predicted[:3, 2] = torch.tensor([0.9, 0.4, 0.4])  # video 0: the sum is for 2, two of three views for 3
    predicted[:3, 3] = torch.tensor([0.1, 0.5, 0.5])
    predicted[3:, 1] = 1
    clips = labelled(torch.tensor([2, 2, 2, 0, 0]))
    found = TASK.measures(predicted, clips, [4, 4, 4, 9, 9])
    assert {name: round(measure.value(), 4) for name, measure in found.items()} == {
        "top1": 0.2,
        "top5": 1.0,
        "video_top1": 0.5,
        "video_top5": 1.0,
    }
    assert found["video_top1"].count.sum() == 2


def test_baselines_look_at_no_frame() -> None:
    known, clips = labelled(torch.tensor([3, 3, 1, -1])), labelled(torch.arange(7).repeat(60))
    guesses = TASK.baselines(clips, known)
    assert guesses["most frequent class"].argmax(1).eq(3).all()
    assert TASK.metrics(guesses["most frequent class"], clips)["top1"] == pytest.approx(1 / 7)
    assert TASK.metrics(guesses["chance"], clips)["top1"] == pytest.approx(1 / 7, abs=0.07)
