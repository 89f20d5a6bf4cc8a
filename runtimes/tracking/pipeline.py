"""The loop of a run: take the newest frame, track, smooth, draw, show, measure, hand over."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import SvfError
from svf_edge.runtimes.base import fingerprint
from svf_edge.runtimes.tracking.capture import Capture, Taken
from svf_edge.runtimes.tracking.crop import Box
from svf_edge.runtimes.tracking.measures import Glance, Meter, Summary
from svf_edge.runtimes.tracking.overlay import caption, draw
from svf_edge.runtimes.tracking.smoothing import OneEuro, OneEuroFilter
from svf_edge.runtimes.tracking.sources import Frame

if TYPE_CHECKING:
    from svf_edge.runtimes.tracking.json_lines import JsonLines
    from svf_edge.runtimes.tracking.page import LivePage
    from svf_edge.runtimes.tracking.recorder import Recorder
    from svf_edge.runtimes.tracking.tracker import PoseTracker

END, INTERRUPTED, CLOSED = "end of the source", "interrupted", "window closed"
_GLANCE_EVERY = 0.25


@dataclass(frozen=True)
class Tracked:
    """One frame with what was found in it: joints `[J, 2]` in pixels of the frame and scores `[J]`."""

    frame: Frame
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    found: bool
    box: Box
    crop: NDArray[np.uint8]
    age_ms: float

    def as_json(self) -> dict[str, Any]:
        """What other programs are told."""
        box = self.box
        return {
            "frame": self.frame.number,
            "seconds": round(self.frame.seconds, 4),
            "found": self.found,
            "keypoints": [[round(float(value), 2) for value in point] for point in self.keypoints],
            "scores": [round(float(score), 3) for score in self.scores],
            "box": [round(value, 2) for value in (box.left, box.top, box.width, box.height)],
            "age_ms": round(self.age_ms, 2),
        }


class Screen(Protocol):
    """What shows drawn frames."""

    def show(self, pixels: NDArray[np.uint8]) -> bool:
        """Show RGB uint8 `[H, W, 3]`; False once the user wants no more."""

    def close(self) -> None:
        """Let go of the screen."""


@dataclass
class Outputs:
    """Where results go; all of it may be absent."""

    window: Screen | None = None
    record: Recorder | None = None
    json: JsonLines | None = None
    page: LivePage | None = None

    @property
    def drawn(self) -> bool:
        """Whether frames are drawn here; the page draws in the browser."""
        return self.window is not None or self.record is not None


@dataclass
class Run:
    """One run of a tracker over a source. `smoothing` None shows what the network gives."""

    tracker: PoseTracker
    capture: Capture
    threads: int
    every: bool
    smoothing: OneEuro | None = None
    outputs: Outputs = field(default_factory=Outputs)

    def __post_init__(self) -> None:
        self.meter = Meter()
        self._filter = OneEuroFilter(self.smoothing) if self.smoothing is not None else None
        self._picture: tuple[int, ...] = ()
        self._glance: tuple[float, Glance] | None = None

    def until_the_end(self) -> Summary:
        """Track until the source ends, the window is closed or `capture.request_stop` is called.

        Whatever happens, the video and the JSON are finished. Raises what the source or an output raised.
        """
        failure: BaseException | None = None
        ended = END
        try:
            with self.capture, _stopped_by_signals(self.capture) as signalled:
                for taken in self.capture:
                    if not self._one(taken):
                        ended = CLOSED
                        break
                if signalled:
                    ended = INTERRUPTED
        except BaseException as error:  # raised again, after the files
            failure = error
        summary = self._summary(ended if failure is None else str(failure) or type(failure).__name__)
        for finish in (self._finish_record, lambda: self._finish_json(summary)):
            try:
                finish()
            except SvfError as error:
                failure = failure if failure is not None else error
        if failure is not None:
            raise failure
        return summary

    def _one(self, taken: Taken) -> bool:
        """Everything for one frame; False when the user has closed the window."""
        tracker, outputs, frame = self.tracker, self.outputs, taken.frame
        if frame.pixels.shape != self._picture:  # the source changed its resolution: nothing continues
            self._picture = frame.pixels.shape
            self.meter.cut()
            self._forget()
        raw, scores = tracker(frame.pixels)
        tracked = time.perf_counter()
        shown = raw
        if not tracker.found:
            self._forget()
        elif self._filter is not None:
            shown = self._filter(raw, frame.seconds, tracker.box.side)
        smoothed = time.perf_counter()
        open_window = True
        picture = None
        if outputs.drawn:
            lines = caption(self._numbers(), tracker.found) if self.meter.frames else ()
            picture = draw(frame.pixels, shown, scores, box=tracker.box, found=tracker.found, lines=lines)
        if outputs.window is not None and picture is not None:
            open_window = outputs.window.show(picture)
        drawn = time.perf_counter()
        age = 1e3 * (drawn - frame.arrived)
        result = Tracked(frame, shown, scores, tracker.found, tracker.box, tracker.crop, age)
        if outputs.record is not None and picture is not None:
            outputs.record.write(picture, frame.seconds)
        if outputs.json is not None:
            outputs.json.write(result)
        if outputs.page is not None:
            outputs.page.publish(result, self._numbers())
        stages = {
            "decode": frame.decode_ms,
            "queue": taken.queue_ms,
            **tracker.milliseconds,
            "draw": 1e3 * (drawn - smoothed),
            "write": 1e3 * (time.perf_counter() - drawn),
        }
        stages["postprocess"] += 1e3 * (smoothed - tracked)
        self.meter.add(age, stages, raw, shown, tracker.found)
        return open_window

    def _forget(self) -> None:
        if self._filter is not None:
            self._filter.reset()

    def _numbers(self) -> Glance:
        """A glance that is renewed a few times a second: numbers that flicker cannot be read."""
        now = time.perf_counter()
        if self._glance is None or now - self._glance[0] > _GLANCE_EVERY:
            self._glance = now, self.meter.glance(self.capture.dropped)
        return self._glance[1]

    def _finish_record(self) -> None:
        if self.outputs.record is not None:
            self.outputs.record.close()

    def _finish_json(self, summary: Summary) -> None:
        if self.outputs.json is not None:
            self.outputs.json.close(summary)

    def _summary(self, ended: str) -> Summary:
        tracker, source = self.tracker, self.capture.source
        numbers: Mapping[str, Any] = self.meter.numbers()
        return Summary(
            source=source.name,
            bundle=str(tracker.bundle.folder),
            fingerprint=fingerprint(tracker.bundle),
            runtime=tracker.runtime,
            threads=self.threads,
            smoothing=None if self.smoothing is None else vars(self.smoothing),
            drawn=self.outputs.drawn,
            every_frame=self.every,
            dropped=self.capture.dropped,
            damaged=source.damaged,
            ended=ended,
            **numbers,
        )


@contextmanager
def _stopped_by_signals(capture: Capture) -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) stops the capture, so that files are finished; a second one ends at once.

    Yields the signals that came.
    """
    came: list[int] = []
    if current_thread() is not main_thread():
        yield came
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        capture.request_stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
