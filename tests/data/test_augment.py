import numpy as np
import pytest
import torch

from svf_edge.data.augment import augment, mirrored, moved, recoloured, reversed_in_time
from svf_edge.data.sample import Sample
from svf_edge.data.skeleton import FLIP_ORDER
from svf_edge.data.synthetic import SyntheticPoseDataset


def dots(height: int = 40, width: int = 56) -> Sample:
    """Bright 3x3 squares at the 13 joints, which lie on pixel centres, in front of black."""
    rng = np.random.default_rng(0)
    places = rng.permutation(5 * 7)[:13]
    joints = torch.zeros(2, 13, 2)
    frames = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    for t in range(2):
        for j, place in enumerate(places):
            x, y = 7 + int(place) % 7 * 7, 7 + int(place) // 7 * 6 + t
            joints[t, j] = torch.tensor([x + 0.5, y + 0.5])
            frames[t, :, y - 1 : y + 2, x - 1 : x + 2] = 200
    joints3d = torch.cat([joints / 10, torch.full((2, 13, 1), 3.0)], dim=-1)
    return Sample(
        frames=frames,
        joints=joints,
        visible=torch.ones(2, 13, dtype=torch.bool),
        joints3d=joints3d,
        label=torch.tensor(4),
        mask=(frames[:, 0] > 0).to(torch.uint8),
    )


def on_dots(clip: Sample) -> bool:
    pixel = clip["joints"].floor().long()
    time = torch.arange(2)[:, None]
    values = clip["frames"][time, 0, pixel[..., 1].clamp(0, 39), pixel[..., 0].clamp(0, 55)]
    return bool((values[clip["visible"]] > 120).all()) and int(clip["visible"].sum()) > 10


def test_the_mirror_swaps_sides_and_undoes_itself() -> None:
    clip = dots()
    clip["visible"][0, 3] = False
    other = mirrored(clip)
    assert on_dots(other) and not torch.equal(other["frames"], clip["frames"])
    assert not other["visible"][0, FLIP_ORDER.index(3)]
    left, right = other["joints3d"][0, 1], clip["joints3d"][0, 2]
    torch.testing.assert_close(left, right * torch.tensor([-1.0, 1, 1]))
    back = mirrored(other)
    assert all(torch.equal(back[name], clip[name]) for name in ("frames", "joints", "visible", "joints3d"))


def test_time_runs_backwards_for_frames_and_labels() -> None:
    clip = reversed_in_time(dots())
    assert on_dots(clip)
    torch.testing.assert_close(clip["joints"][0, 0, 1] - clip["joints"][1, 0, 1], torch.tensor(1.0))


@pytest.mark.parametrize(
    ("angle", "scale", "shift"),
    [(0.0, 1.0, (4.0, -3.0)), (0.3, 1.0, (0.0, 0.0)), (-0.2, 1.25, (2.0, 1.0)), (0.1, 0.9, (-6.0, 5.0))],
)
def test_joints_move_with_the_picture(angle: float, scale: float, shift: tuple[float, float]) -> None:
    clip = moved(dots(), angle, scale, shift)
    assert on_dots(clip)
    depth = clip["joints3d"][..., 2]
    torch.testing.assert_close(depth, torch.full_like(depth, 3.0))
    bone = clip["joints"][0, 5] - clip["joints"][0, 8]
    bone3d = clip["joints3d"][0, 5, :2] - clip["joints3d"][0, 8, :2]
    torch.testing.assert_close(bone, 10 * scale * bone3d, atol=1e-3, rtol=1e-4)


def test_no_move_changes_nothing() -> None:
    clip = dots()
    still = moved(clip, 0.0, 1.0, (0.0, 0.0))
    assert torch.equal(still["frames"], clip["frames"])
    torch.testing.assert_close(still["joints"], clip["joints"])


def test_what_leaves_the_picture_is_no_longer_visible() -> None:
    clip = moved(dots(), 0.0, 1.0, (28.0, 0.0))
    assert torch.equal(clip["visible"], clip["joints"][..., 0] < 56)
    assert 0 < int(clip["visible"].sum()) < 26


def test_colours_by_hand() -> None:
    clip = dots()
    clip["frames"][:] = torch.tensor([100, 50, 150], dtype=torch.uint8)[:, None, None]
    grey = recoloured(clip, np.ones(3, np.float32), 1.0, 0.0)["frames"]
    assert (grey == 100).all()
    bright = recoloured(clip, np.array([2, 1, 1], np.float32), 1.0, 1.0)["frames"]
    assert (bright[0, :, 0, 0] == torch.tensor([200, 50, 150])).all()


def test_augmentation_is_deterministic_and_leaves_the_clip_alone() -> None:
    clip = SyntheticPoseDataset("train", 1, frames=2, size=(32, 32))[0]
    kept = {name: value.clone() for name, value in clip.items()}  # type: ignore[attr-defined]
    one, two, three = (augment(clip, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(one["frames"], two["frames"]) and torch.equal(one["joints"], two["joints"])
    assert not torch.equal(one["frames"], three["frames"])
    assert all(torch.equal(kept[name], clip[name]) for name in kept)  # type: ignore[literal-required]


def test_unknown_3d_joints_stay_unknown() -> None:
    clip = dots()
    clip["joints3d"][:] = torch.nan
    assert augment(clip, np.random.default_rng(0))["joints3d"].isnan().all()


def test_masks_go_with_their_pictures() -> None:
    clip = dots()
    for changed in (mirrored(clip), reversed_in_time(clip), moved(clip, 0.0, 1.0, (3.0, -2.0))):
        known = changed["mask"] != 255
        assert torch.equal(changed["mask"][known] > 0, (changed["frames"][:, 0] > 0)[known])
    shifted = moved(clip, 0.0, 1.0, (3.0, -2.0))["mask"]
    assert shifted[:, :, :3].eq(255).all() and shifted[:, -2:].eq(255).all()  # what came in from outside
    assert shifted[:, :-2, 3:].ne(255).all()
    assert torch.equal(moved(clip, 0.0, 1.0, (3.0, -2.0))["mask"][:, :-2, 3:], clip["mask"][:, 2:, :-3])
