import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from svf_edge.tasks.pose_metrics import (
    acceleration_errors,
    clip_values,
    from_box,
    mean_of,
    mean_pose,
    pelvis_errors,
    person_size,
    procrustes_align,
    to_box,
)
from tests.tasks.frame_means import frame_means

SQUARE = torch.tensor([[0.0, 0.0], [20.0, 0.0], [20.0, 10.0], [0.0, 10.0]])
ALL = torch.ones(4, dtype=torch.bool)


def test_mpjpe_by_hand() -> None:
    predicted = SQUARE + torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0], [100.0, 0.0]])
    assert frame_means(predicted, SQUARE, torch.tensor([True, True, True, False]))["mpjpe_px"] == pytest.approx(7 / 3)


def test_pck_is_relative_to_the_visible_persons_longer_side() -> None:
    assert person_size(SQUARE, ALL) == 20
    assert person_size(SQUARE, torch.tensor([True, False, False, True])) == 10
    offsets = torch.tensor([[1.9, 0.0], [0.0, 2.1], [0.0, 3.9], [4.1, 0.0]])
    assert frame_means(SQUARE + offsets, SQUARE, ALL)["pck@0.1"] == 0.25
    assert frame_means(SQUARE + offsets, SQUARE, ALL)["pck@0.2"] == 0.75


def test_frames_without_a_size_do_not_count_and_nothing_gives_nan() -> None:
    one = torch.tensor([True, False, False, False])
    both = frame_means(torch.stack([SQUARE, SQUARE + 9]), torch.stack([SQUARE, SQUARE]), torch.stack([ALL, one]))[
        "pck@0.1"
    ]
    assert both == 1.0
    nothing = torch.zeros(4, dtype=torch.bool)
    assert all(math.isnan(v) for v in frame_means(SQUARE, SQUARE, nothing).values())


def test_hidden_joints_never_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(6, 13, 2, generator=generator) * 64
    predicted = target + torch.randn(6, 13, 2, generator=generator)
    visible = torch.rand(6, 13, generator=generator) < 0.7
    moved = torch.where(visible[..., None], predicted, predicted * 50 - 7)
    changed = torch.where(visible[..., None], target, target * -3)
    assert frame_means(moved, changed, visible) == pytest.approx(frame_means(predicted, target, visible), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(-3, 3), scale=st.floats(0.2, 5), x=st.floats(-50, 50), y=st.floats(-50, 50))
def test_procrustes_undoes_any_similarity(angle: float, scale: float, x: float, y: float) -> None:
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    predicted = SQUARE @ torch.tensor([[c, s], [-s, c]]) + torch.tensor([x, y])
    torch.testing.assert_close(procrustes_align(predicted, SQUARE, ALL), SQUARE, atol=1e-3, rtol=0)


def test_procrustes_does_not_mirror() -> None:
    lopsided = torch.tensor([[0.0, 0.0], [20.0, 0.0], [20.0, 10.0], [0.0, 30.0]])
    mirrored = lopsided * torch.tensor([-1.0, 1.0])
    assert frame_means(mirrored, lopsided, ALL)["pa_mpjpe_px"] > 2


def test_procrustes_is_the_least_squares_optimum() -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(13, 2, generator=generator) * 64
    predicted = target + 6 * torch.randn(13, 2, generator=generator)
    visible = torch.ones(13, dtype=torch.bool)
    aligned = procrustes_align(predicted, target, visible)

    def cost(points: Tensor) -> float:
        return float(((points - target) ** 2).sum())

    centre = aligned.mean(0)
    for factor in (0.98, 1.02):
        assert cost((aligned - centre) * factor + centre) > cost(aligned)
    for angle in (-0.02, 0.02):
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        assert cost((aligned - centre) @ turn + centre) > cost(aligned)
    assert cost(aligned + 0.1) > cost(aligned)
    means = frame_means(predicted, target, visible)
    assert means["pa_mpjpe_px"] < means["mpjpe_px"]


def test_a_collapsed_prediction_aligns_to_the_middle() -> None:
    aligned = procrustes_align(torch.full((4, 2), 7.0), SQUARE, ALL)
    torch.testing.assert_close(aligned, SQUARE.mean(0).expand(4, 2))


def test_mean_pose_ignores_hidden_joints() -> None:
    target = torch.stack([SQUARE, SQUARE + 4])[:, None]
    visible = torch.stack([ALL, torch.tensor([True, True, True, False])])[:, None]
    expected = SQUARE + torch.tensor([[2.0], [2.0], [2.0], [0.0]])
    torch.testing.assert_close(mean_pose(target, visible), expected)


def rotation(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return (q * torch.linalg.det(q)).float()


@pytest.mark.parametrize("seed", range(4))
def test_procrustes_undoes_similarities_in_space_but_no_reflection(seed: int) -> None:
    target = torch.rand(13, 3, generator=torch.Generator().manual_seed(seed + 9))
    visible = torch.ones(13, dtype=torch.bool)
    moved = 3 * target @ rotation(seed) + torch.tensor([1.0, -2.0, 7.0])
    torch.testing.assert_close(procrustes_align(moved, target, visible), target, atol=1e-4, rtol=0)
    assert frame_means(moved * torch.tensor([1.0, 1.0, -1.0]), target, visible)["pa_mpjpe_px"] > 0.05


def test_hidden_joints_without_coordinates_leave_the_alignment_alone() -> None:
    hidden = torch.tensor([True, True, True, False])
    target = torch.where(hidden[:, None], SQUARE, torch.nan)
    aligned = procrustes_align(SQUARE * 2 + 5, target, hidden)
    torch.testing.assert_close(aligned, SQUARE, atol=1e-3, rtol=0)


def people(seed: int = 0) -> Tensor:
    return torch.rand(2, 5, 13, 2, generator=torch.Generator().manual_seed(seed)) * 64


def test_pelvis_errors_ignore_a_shift_and_need_both_hips() -> None:
    target = people()
    visible = torch.ones(2, 5, 13, dtype=torch.bool)
    visible[0, 0, 7] = False
    errors, counted = pelvis_errors(target + 9, target, visible)
    assert errors.max() < 1e-4
    assert not counted[0, 0].any() and counted[0, 1:].all()
    bent = target.clone()
    bent[..., 0, 0] += 5  # the head alone
    errors, _ = pelvis_errors(bent, target, visible)
    assert errors[..., 0].mean() == pytest.approx(5, abs=1e-4) and errors[..., 1:].max() < 1e-4


def test_jitter_by_hand() -> None:
    target = people()
    visible = torch.ones(2, 5, 13, dtype=torch.bool)
    drifting = target + torch.arange(5.0)[:, None, None] * 3 + 20  # a steady motion shakes nothing
    assert mean_of(acceleration_errors(drifting, target, visible)) < 1e-4
    shaking = target.clone()
    shaking[:, 2, :, 0] += 1  # second differences 1, -2, 1
    values, counted = acceleration_errors(shaking, target, visible)
    assert values.shape == (2, 3, 13) and counted.all()
    assert mean_of((values, counted)) == pytest.approx(4 / 3, abs=1e-4)
    visible[:, 0, 4] = False
    _, counted = acceleration_errors(shaking, target, visible)
    assert not counted[:, 0, 4].any() and counted[:, 1:].all()


def test_short_clips_have_no_jitter() -> None:
    target, visible = people()[:, :2], torch.ones(2, 2, 13, dtype=torch.bool)
    assert "jitter_px" not in clip_values(target, target, visible)
    assert "jitter_px" in clip_values(people(), people(), torch.ones(2, 5, 13, dtype=torch.bool))


def test_box_coordinates_there_and_back() -> None:
    target = people()[0, 0]
    visible = torch.rand(13, generator=torch.Generator().manual_seed(3)) < 0.6
    relative = to_box(target, visible)
    assert relative[visible].abs().max() == pytest.approx(0.5)
    torch.testing.assert_close(from_box(relative, target, visible), target, atol=1e-4, rtol=0)
