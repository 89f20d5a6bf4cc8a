"""The measuring camera: what is read off the screen is what was captured."""

from __future__ import annotations

import time
from itertools import islice

import numpy as np

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


def test_the_age_on_the_screen_is_that_of_the_picture_shown() -> None:
    camera = StampedCamera(still(stamped(CLIP)[0], 0.0, 200), 100, 0.6)
    screen = StampedScreen(Screen(0.03), camera)
    with Capture(camera, every=False) as capture:
        for taken in capture:
            before = time.perf_counter()
            screen.show(taken.frame.pixels)
            least, most = (1e3 * (moment - taken.frame.arrived) for moment in (before, time.perf_counter()))
            assert least + 30 <= screen.ages_ms[-1] <= most
    assert screen.ages_ms and screen.unreadable == 0
