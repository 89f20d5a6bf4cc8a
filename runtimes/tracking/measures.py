"""Numbers as users feel them: the age of what is shown, frames lost, jitter, time per stage, CPU share."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.machine import peak_memory

STAGES = ("decode", "queue", "preprocess", "network", "postprocess", "draw", "write")
"""In the order a frame passes them. `queue` is waiting to be taken, `write` handing it to files."""

_LEAST, _STEP, _BINS = 1e-3, 1.02, 900
RECENT = 300


class Spread(Result):
    """Milliseconds of `count` frames. Percentiles are exact to one bin of the histogram, 2 %."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Histogram:
    """Counts of positive values in bins that are 2 % wide, from 0.001 to 55,000: streams may run for days."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._sum = 0.0
        self._max = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        place = int(math.log(max(value, _LEAST) / _LEAST) / math.log(_STEP))
        self._counts[min(place, _BINS - 1)] += 1
        self._sum += value
        self._max = max(self._max, value)

    def spread(self) -> Spread | None:
        """Statistics, or None where nothing was counted."""
        count = int(self._counts.sum())
        if not count:
            return None
        below = np.cumsum(self._counts)
        p50, p90, p99 = (self._edge(int(np.searchsorted(below, share * count))) for share in (0.50, 0.90, 0.99))
        return Spread(count=count, mean=self._sum / count, p50=p50, p90=p90, p99=p99, max=self._max)

    def coarse(self, edges: NDArray[np.float64]) -> list[int]:
        """Counts between neighbouring `edges`; what lies beyond falls into the first and last."""
        middles = _LEAST * _STEP ** (np.arange(_BINS) + 0.5)
        place = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, len(edges) - 2)
        return [int(n) for n in np.bincount(place, self._counts, minlength=len(edges) - 1)]

    def _edge(self, place: int) -> float:
        """The middle of a bin, and never more than the largest value."""
        return min(_LEAST * _STEP ** (place + 0.5), self._max)


class Jitter(Result):
    """Mean length of second differences of the joints over time, in pixels of the picture per frame squared.

    Of a subject at rest all of it is noise; of one in motion a part is true acceleration. `raw` is what the network
    gives, `shown` what is drawn (after smoothing).
    """

    raw_px: float
    shown_px: float


class Summary(Result):
    """A whole run. `age_ms` is the time from the arrival of a frame's data to its drawing (to its joints where nothing
    is drawn)."""

    source: str
    bundle: str
    fingerprint: str
    """Of the bundle, as in other results."""
    runtime: str
    threads: int
    smoothing: Mapping[str, float] | None
    drawn: bool
    every_frame: bool
    seconds: float
    frames: int
    """Tracked."""
    found: int
    """Of these, with a person found."""
    dropped: int
    """Decoded and replaced by a newer one before the tracker was ready."""
    damaged: int
    """Packets or images that could not be decoded."""
    frames_per_second: float
    age_ms: Spread | None
    stages_ms: Mapping[str, Spread]
    jitter: Jitter | None
    cpu_cores: float
    """CPU time of the whole process over elapsed time: 1.0 is one core fully used."""
    cpu_share: float
    """The same as a part of the machine's cores."""
    peak_memory: int
    """Bytes."""
    ended: str


class Glance(Result):
    """What the window and the page show of the last frames."""

    frames_per_second: float
    age_p50: float
    age_p99: float
    network_ms: float
    frames: int
    dropped: int
    cpu_cores: float
    jitter_px: float


class Meter:
    """Collects the numbers of one run."""

    def __init__(self) -> None:
        self.age = Histogram()
        self.stages = {stage: Histogram() for stage in STAGES}
        self.frames = 0
        self.found = 0
        self._started = time.perf_counter()
        self._cpu = time.process_time()
        self._recent: deque[tuple[float, float, float, float]] = deque(maxlen=RECENT)
        self._trails = {"raw": _Trail(), "shown": _Trail()}
        self._glance_cpu = (self._started, self._cpu, 0.0)

    def add(
        self,
        age_ms: float,
        stages_ms: Mapping[str, float],
        raw: NDArray[np.float32],
        shown: NDArray[np.float32],
        found: bool,
    ) -> None:
        """Count one tracked frame with its joints `[J, 2]`."""
        self.frames += 1
        self.found += found
        self.age.add(age_ms)
        for stage, value in stages_ms.items():
            self.stages[stage].add(value)
        if found:
            self._trails["raw"].add(raw)
            self._trails["shown"].add(shown)
        else:
            self.cut()
        self._recent.append((time.perf_counter(), age_ms, stages_ms["network"], self._trails["shown"].last))

    def cut(self) -> None:
        """What comes next does not continue what was: no jitter is taken across."""
        for trail in self._trails.values():
            trail.cut()

    def glance(self, dropped: int) -> Glance:
        """Medians and percentiles of the last `RECENT` frames."""
        times, ages, network, jitter = np.array(self._recent).T if self._recent else np.zeros((4, 1))
        wall, cpu, share = self._glance_cpu
        now, used = time.perf_counter(), time.process_time()
        if now - wall > 0.5:
            share = (used - cpu) / (now - wall)
            self._glance_cpu = (now, used, share)
        span = float(times[-1] - times[0])
        return Glance(
            frames_per_second=(len(times) - 1) / span if span else 0.0,
            age_p50=float(np.percentile(ages, 50)),
            age_p99=float(np.percentile(ages, 99)),
            network_ms=float(np.percentile(network, 50)),
            frames=self.frames,
            dropped=dropped,
            cpu_cores=share,
            jitter_px=float(jitter.mean()),
        )

    def numbers(self) -> dict[str, object]:
        """The entries of a `Summary` that are measured here."""
        seconds = time.perf_counter() - self._started
        cores = (time.process_time() - self._cpu) / seconds
        raw, shown = (self._trails[name].mean for name in ("raw", "shown"))
        spreads = {stage: histogram.spread() for stage, histogram in self.stages.items()}
        return {
            "seconds": seconds,
            "frames": self.frames,
            "found": self.found,
            "frames_per_second": self.frames / seconds,
            "age_ms": self.age.spread(),
            "stages_ms": {stage: spread for stage, spread in spreads.items() if spread is not None},
            "jitter": None if raw is None or shown is None else Jitter(raw_px=raw, shown_px=shown),
            "cpu_cores": cores,
            "cpu_share": cores / (os.cpu_count() or 1),
            "peak_memory": peak_memory(),
        }


class _Trail:
    """Second differences of a sequence of joints."""

    def __init__(self) -> None:
        self._points: deque[NDArray[np.float32]] = deque(maxlen=3)
        self._sum = 0.0
        self._count = 0
        self.last = 0.0

    def add(self, points: NDArray[np.float32]) -> None:
        self._points.append(points)
        if len(self._points) == 3:
            before, now, after = self._points
            self.last = float(np.linalg.norm(before - 2 * now + after, axis=-1).mean())
            self._sum += self.last
            self._count += 1

    def cut(self) -> None:
        self._points.clear()

    @property
    def mean(self) -> float | None:
        return self._sum / self._count if self._count else None
