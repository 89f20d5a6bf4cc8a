from __future__ import annotations

import numpy as np
import pytest

from svf_edge.runtimes.tracking.crop import OUTSIDE, Box, CropFollower, FollowRule, cut

RULE = FollowRule()
PERSON = np.array([[0, -50], [10, -30], [-10, -30], [15, 0], [-15, 0], [0, 50]], np.float32)
SURE, UNSURE = np.full(6, 0.9, np.float32), np.full(6, 0.1, np.float32)


def test_a_box_is_cut_and_resized() -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[10:20, 20:40] = (200, 100, 50)
    crop = cut(frame, Box(20, 10, 20, 10), (4, 8))
    assert crop.shape == (3, 4, 8) and crop.flags.c_contiguous
    np.testing.assert_array_equal(crop[:, 2, 4], [200, 100, 50])
    assert (crop == crop[:, :1, :1]).all()


def test_beyond_the_picture_is_zero_to_the_network() -> None:
    crop = cut(np.zeros((10, 10, 3), np.uint8), Box(-10, 0, 20, 20), (20, 20))
    assert (crop[:, 10:] == OUTSIDE).all() and (crop[:, :, :10] == OUTSIDE).all()
    assert (crop[:, :9, 11:] == 0).all()
    assert (cut(np.zeros((10, 10, 3), np.uint8), Box(50, 50, 4, 4), (2, 2)) == OUTSIDE).all()


def test_points_go_back_to_the_picture() -> None:
    points = Box(10, 20, 50, 100).to_picture(np.array([[0, 0], [64, 64], [32, 128]], np.float32), (128, 64))
    np.testing.assert_allclose(points, [[10, 20], [60, 70], [35, 120]])


def test_the_search_begins_in_the_middle_and_goes_round() -> None:
    follower = CropFollower((100, 200), (128, 128))
    seen = [follower.box]
    assert seen[0] == Box(50, 0, 100, 100)
    for _ in range(5 * RULE.patience):
        follower.update(PERSON, UNSURE)
        if follower.box != seen[-1]:
            seen.append(follower.box)
    assert seen[1] == Box(0, -50, 200, 200)  # all of it
    assert set(seen[2:4]) == {Box(0, 0, 100, 100), Box(100, 0, 100, 100)}
    assert seen[4] == seen[0]
    assert not follower.found


def test_it_follows_a_person_and_rests_with_one() -> None:
    follower = CropFollower((1000, 1000), (128, 128))
    for step in range(60):
        follower.update(PERSON + np.float32(300 + 3 * step), SURE)
    centre = np.array(follower.box.centre)
    assert np.abs(centre - (PERSON.min(0) + PERSON.max(0)) / 2 - (300 + 3 * 59)).max() < 0.2 * follower.box.side
    assert follower.box.side == pytest.approx(RULE.margin * 100, rel=0.1)
    for _ in range(30):
        follower.update(PERSON + 500, SURE)
    resting = follower.box
    noise = np.random.default_rng(0)
    for _ in range(30):
        follower.update(PERSON + 500 + noise.normal(0, 4, PERSON.shape).astype(np.float32), SURE)
    assert follower.box == resting
    assert max(abs(a - b) for a, b in zip(resting.centre, (500, 500), strict=True)) <= RULE.start * resting.side


def test_the_box_stays_in_the_picture_where_it_fits() -> None:
    follower = CropFollower((400, 300), (128, 128))
    for _ in range(100):
        follower.update(PERSON + np.array([295, 20], np.float32), SURE)
    box = follower.box
    assert box.top >= 0 and box.left + box.width <= 300 + 1e-9
    for _ in range(100):  # a person taller than the picture is wide
        follower.update(PERSON * 3.8 + np.array([150, 200], np.float32), SURE)
    box = follower.box
    assert box.side == pytest.approx(400, rel=0.06) and box.left < 0 and box.centre[0] == pytest.approx(150)


def test_a_lost_person_is_searched_and_found_again() -> None:
    follower = CropFollower((400, 400), (128, 128))
    for _ in range(50):
        follower.update(PERSON + 300, SURE)
    last = follower.box
    for _ in range(RULE.patience - 1):
        follower.update(PERSON + 300, UNSURE)
    assert follower.found and follower.box == last  # a short gap changes nothing
    follower.update(PERSON + 300, UNSURE)
    assert not follower.found and follower.box.side == 400
    follower.update(PERSON + 100, SURE)
    assert follower.found


def test_other_shapes_of_crop_keep_their_aspect() -> None:
    follower = CropFollower((200, 200), (64, 128))
    assert (follower.box.width, follower.box.height) == (200, 100)
    for _ in range(50):
        follower.update(PERSON + 100, SURE)
    assert follower.box.width == pytest.approx(2 * follower.box.height)
    assert follower.box.height >= 100
