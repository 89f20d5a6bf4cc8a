"""The measuring camera: what is read off the screen is what was captured."""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
import pytest

from benchmarks.stamped_camera import BITS, StampedCamera, StampedScreen, read_stamp, stamp, stamped, still
from svf_edge.runtimes.tracking.capture import Capture
from svf_edge.shipped import CLIP


class Screen:
    """Shows nothing, slowly."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.shown: list[np.ndarray] = []

    def show(self, pixels: np.ndarray) -> bool:
        time.sleep(self.seconds)
        self.shown.append(pixels)
        return True

    def close(self) -> None:
        """Nothing to close."""


def test_a_number_comes_back_and_a_covered_one_is_noticed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 200, 3), dtype=np.uint8)
    for number in (0, 1, 1234, 2**BITS - 1):
        assert read_stamp(stamp(picture, number)) == number
    covered = stamp(picture, 5)
    covered[-8:, :20] = 255
    assert read_stamp(covered) is None


def test_numbers_survive_the_codec_and_come_in_order() -> None:
    pictures = still(stamped(CLIP)[0], 3.0, 40)
    frames = list(islice(StampedCamera(pictures, 2000, 60).frames(), 100))
    assert [read_stamp(frame.pixels) for frame in frames] == [*range(40), *range(40), *range(20)]
    assert [frame.number for frame in frames] == list(range(100))
    began = time.perf_counter()
    few = list(StampedCamera(pictures, 50, 0.5).frames())
    assert time.perf_counter() - began >= 0.5 and 1 <= len(few) <= 26


@pytest.mark.parametrize("slow", [0.02, 0.05])
def test_the_age_on_the_screen_is_that_of_the_picture_shown(slow: float) -> None:
    """A screen that takes longer than the camera's period: frames are dropped, and ages stay near its own delay."""
    camera = StampedCamera(still(stamped(CLIP)[0], 0.0, 200), 100, 1.0)
    screen = StampedScreen(Screen(slow), camera)
    with Capture(camera, every=False) as capture:
        for taken in capture:
            screen.show(taken.frame.pixels)
            own = 1e3 * (time.perf_counter() - taken.frame.arrived)
            assert screen.ages_ms[-1] == pytest.approx(own, abs=5)
    assert capture.dropped > 0 and screen.unreadable == 0
    assert min(screen.ages_ms) >= 1e3 * slow
