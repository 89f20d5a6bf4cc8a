"""A camera for measurements: every picture says its own number, so what is on the screen says when it was captured.

The pictures are the frames of a clip with the number drawn into a corner, encoded as H.264 without frames out of order.
One picture becomes due after the other, at a fixed rate; what is decoded is a real stream.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from svf_edge.runtimes.tracking.pipeline import Screen
from svf_edge.runtimes.tracking.sources import Frame, Source

BITS = 12
BLOCK = 8
"""Side of the square that holds one bit. Every bit stands beside its complement."""
ROUNDS = 10
"""How often the clip is repeated until numbers begin again."""

Pixels = NDArray[np.uint8]


def stamp(pixels: Pixels, number: int) -> Pixels:
    """A copy of RGB `[H, W, 3]` with `number` (below 2^BITS) along its lower edge."""
    made = pixels.copy()
    height = made.shape[0]
    for bit in range(BITS):
        value = number >> bit & 1
        for row, shown in enumerate((value, 1 - value)):
            top, left = height - (row + 1) * BLOCK, bit * BLOCK
            made[top : top + BLOCK, left : left + BLOCK] = 255 * shown
    return made


def read_stamp(pixels: Pixels) -> int | None:
    """The number in a picture, or None where something is drawn over it."""
    strip = pixels[-2 * BLOCK :, : BITS * BLOCK].mean(axis=-1).reshape(2, BLOCK, BITS, BLOCK)
    complement, value = np.median(strip, axis=(1, 3)) > 127
    if (complement == value).any():
        return None
    return int(sum(1 << bit for bit in range(BITS) if value[bit]))


class StampedCamera(Source):
    """Live frames at `rate` a second for `seconds`. `captured` holds the times of the last pictures by number."""

    live = True

    def __init__(self, pictures: Sequence[Pixels], rate: float, seconds: float) -> None:
        """`pictures` are RGB `[H, W, 3]` of one even size, fewer than 2^BITS; they come round and round."""
        self.name = f"stamped camera, {rate:.0f} Hz"
        self.captured = [0.0] * len(pictures)
        self._rate, self._seconds = rate, seconds
        self._stream = _encoded(pictures)

    def frames(self) -> Iterator[Frame]:
        """Wait until the next picture is due, take its time, decode it. It never hurries to make up for lost time."""
        began = due = time.perf_counter()
        number = 0
        while True:
            with av.open(io.BytesIO(self._stream), mode="r") as video:
                for packet in video.demux(video.streams.video[0]):
                    time.sleep(max(due - time.perf_counter(), 0))
                    captured = time.perf_counter()
                    if captured - began >= self._seconds:
                        return
                    due = max(due + 1 / self._rate, captured)
                    for decoded in packet.decode():
                        pixels = _pixels(decoded)
                        self.captured[number % len(self.captured)] = captured
                        yield Frame(number, pixels, captured - began, captured, 1e3 * (time.perf_counter() - captured))
                        number += 1


class StampedScreen:
    """A screen that reads the number of what it has shown and notes its age, by the camera's own clock."""

    def __init__(self, screen: Screen, camera: StampedCamera) -> None:
        self.ages_ms: list[float] = []
        self.times: list[float] = []
        self.unreadable = 0
        self._screen, self._camera = screen, camera

    def show(self, pixels: Pixels) -> bool:
        """Show, then take the time."""
        going_on = self._screen.show(pixels)
        now = time.perf_counter()
        number = read_stamp(pixels)
        if number is None:
            self.unreadable += 1
        else:
            self.ages_ms.append(1e3 * (now - self._camera.captured[number]))
            self.times.append(now)
        return going_on

    def close(self) -> None:
        """Close the screen."""
        self._screen.close()


def stamped(clip: str | Path) -> list[Pixels]:
    """The frames of `clip`, `ROUNDS` times, each with its number."""
    with av.open(str(clip)) as video:
        frames = [_pixels(frame) for frame in video.decode(video=0)]
    return [stamp(frame, number) for number, frame in enumerate(frames * ROUNDS)]


def still(picture: Pixels, noise: float, count: int) -> list[Pixels]:
    """`count` pictures of a subject at rest: the same one with fresh sensor noise of `noise` grey levels."""
    generator = np.random.default_rng(0)
    return [
        stamp((picture + generator.normal(0, noise, picture.shape)).clip(0, 255).astype(np.uint8), number)
        for number in range(count)
    ]


def _pixels(frame: av.VideoFrame) -> Pixels:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _encoded(pictures: Sequence[Pixels]) -> bytes:
    buffer = io.BytesIO()
    height, width = pictures[0].shape[:2]
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "16", "threads": "1"}
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return buffer.getvalue()
