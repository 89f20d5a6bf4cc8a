import numpy as np
import pytest

from svf_edge.data import mocap
from svf_edge.data.motion import Motion, random_motion, random_step
from svf_edge.data.sample import UNKNOWN_CLASS

TIMES = np.arange(6) / 15


def draw(split: str, count: int) -> list[Motion]:
    motions = mocap.split_motions(split)
    return [random_motion(np.random.default_rng(i), motions, vary=split == "train")(TIMES) for i in range(count)]


@pytest.fixture(scope="module")
def training() -> list[Motion]:
    return draw("train", 400)


def test_people_are_mostly_upright_and_seldom_on_the_floor(training: list[Motion]) -> None:
    floor = {mocap.MOTION_NAMES.index(name) for name in mocap.FLOOR_MOTIONS}
    seldom = np.mean([m.label in floor for m in training])
    assert 0.01 < seldom < 0.12
    upright = np.mean([m.rotations["root"][:, 1, 1].min() > 0.8 for m in training])
    assert upright > 0.6


def test_everyday_poses_have_no_motion_label_and_both_feet_low(training: list[Motion]) -> None:
    unknown = [m for m in training if m.label == UNKNOWN_CLASS]
    assert 0.25 < len(unknown) / len(training) < 0.5
    known = {m.label for m in training} - {UNKNOWN_CLASS}
    assert known <= {mocap.MOTION_NAMES.index(m.name) for m in mocap.split_motions("train")}
    heads = [mocap.forward_kinematics(m.root, m.rotations).points["head"][:, 1] - m.root[:, 1] for m in unknown]
    assert np.median(np.concatenate(heads)) > 0.5


def test_all_links_turn_without_stretching(training: list[Motion]) -> None:
    for motion in training[:80]:
        for name, rotation in motion.rotations.items():
            assert rotation.shape == (6, 3, 3), name
            np.testing.assert_allclose(rotation @ np.moveaxis(rotation, 1, 2), np.eye(3)[None].repeat(6, 0), atol=1e-4)
            assert (np.linalg.det(rotation) > 0).all()


def test_validation_plays_its_motions_as_captured() -> None:
    for motion in draw("val", 20):
        clip = next(m for m in mocap.split_motions("val") if m.name == mocap.MOTION_NAMES[motion.label])
        poses = clip.sample(np.linspace(0, clip.duration, 2000))
        captured = mocap.local_rotations(poses)["left_shoulder"]
        distance = np.abs(captured[None] - motion.rotations["left_shoulder"][:, None]).max(axis=(2, 3)).min(axis=1)
        assert distance.max() < 0.05


def test_frame_rates_range_from_five_to_sixty() -> None:
    rates = 1 / np.array([random_step(np.random.default_rng(i)) for i in range(500)])
    assert rates.min() < 8 and rates.max() > 50
    assert 15 < np.median(rates) < 25
