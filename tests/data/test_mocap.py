import numpy as np
import pytest

from svf_edge.data import mocap


def motion(name: str) -> mocap.MotionClip:
    return next(m for m in mocap.load_motions() if m.name == name)


def test_splits_share_no_motion_and_cover_all() -> None:
    train = {m.name for m in mocap.split_motions("train")}
    val = {m.name for m in mocap.split_motions("val")}
    assert val == mocap.VALIDATION_MOTIONS
    assert not train & val
    assert train | val == {m.name for m in mocap.load_motions()}
    assert train | val >= mocap.FLOOR_MOTIONS
    assert tuple(m.name for m in mocap.load_motions()) == mocap.MOTION_NAMES


def test_quaternion_and_rotation_vector_agree_with_a_quarter_turn() -> None:
    half = np.float32(np.sqrt(0.5))
    quarter_about_z = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float32)
    by_quaternion = mocap.quaternion_matrix(np.array([[half, 0, 0, half]], dtype=np.float32) * 3)
    by_vector = mocap.rotation_vector_matrix(np.array([[0, 0, np.pi / 2]], dtype=np.float32))
    by_angle = mocap.hinge_matrix(np.array([np.pi / 2], dtype=np.float32))
    for matrix in (by_quaternion, by_vector, by_angle):
        np.testing.assert_allclose(matrix[0], quarter_about_z, atol=1e-6)
    np.testing.assert_array_equal(mocap.rotation_vector_matrix(np.zeros((1, 3), np.float32))[0], np.eye(3))


def test_rest_pose_stands_upright_with_the_right_side_at_positive_z() -> None:
    identity = {name: np.eye(3, dtype=np.float32)[None] for name in (*mocap.SPHERICAL, *mocap.HINGES)}
    body = mocap.forward_kinematics(np.zeros((1, 3), np.float32), identity)
    points = {name: p[0] for name, p in body.points.items()}
    np.testing.assert_allclose(points["head"], [0, 0.236151 + 0.223894 + 0.175, 0], atol=1e-6)
    np.testing.assert_allclose(points["right_ankle"], [0, -0.421546 - 0.40987, 0.084887], atol=1e-6)
    np.testing.assert_allclose(points["left_wrist"] * [1, 1, -1], points["right_wrist"], atol=1e-6)
    assert points["right_toe"][0] > points["right_heel"][0]


@pytest.mark.parametrize("clip", mocap.load_motions(), ids=lambda m: m.name)
def test_bones_keep_their_length_and_feet_stay_near_the_floor(clip: mocap.MotionClip) -> None:
    poses = clip.sample(np.linspace(0, 2 * clip.duration, 50))
    body = mocap.forward_kinematics(poses[:, :3], mocap.local_rotations(poses))
    thigh = np.linalg.norm(body.points["left_knee"] - body.points["left_hip"], axis=1)
    forearm = np.linalg.norm(body.points["right_wrist"] - body.points["right_elbow"], axis=1)
    np.testing.assert_allclose(thigh, 0.421546, rtol=1e-4)
    np.testing.assert_allclose(forearm, 0.258947, rtol=1e-4)
    lowest = min(float(p[:, 1].min()) for p in body.points.values())
    assert -0.25 < lowest < 0.35


def test_a_looping_motion_walks_on_and_another_turns_back() -> None:
    walk = motion("walk")
    assert walk.loop
    length = walk.poses[-1, 0] - walk.poses[0, 0]
    later = walk.sample(np.array([0.3, 0.3 + walk.duration]))
    assert later[1, 0] - later[0, 0] == pytest.approx(length, abs=1e-3)
    punch = motion("punch")
    assert not punch.loop
    around = punch.sample(punch.duration + np.array([-0.2, 0.2]))
    np.testing.assert_allclose(around[0], around[1], atol=1e-4)
    np.testing.assert_allclose(punch.sample(np.array([0.0, punch.duration])), punch.poses[[0, -1]], atol=1e-4)
