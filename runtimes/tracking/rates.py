"""Firing rates of the layers on the frames that are being tracked."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from svf_edge.runtimes.registry import find_runtime

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.base import Session


class RateMonitor:
    """Runs a second, tapped session on the last T crops when asked, so that tracking itself carries no taps.

    Crops are fed by the tracking thread; another one may ask for rates.
    """

    def __init__(self, bundle: Bundle, runtime: str, threads: int) -> None:
        """The tapped graph is opened with the first question."""
        self._bundle, self._runtime, self._threads = bundle, runtime, threads
        self._crops: deque[NDArray[np.uint8]] = deque(maxlen=bundle.manifest.frames.shape[0])
        self._lock = Lock()
        self._session: Session | None = None

    def feed(self, crop: NDArray[np.uint8]) -> None:
        """Take the next crop uint8 `[C, h, w]`, which must not change any more."""
        with self._lock:
            self._crops.append(crop)

    def rates(self) -> Mapping[str, float]:
        """Spikes per neuron, time step and level of every layer over the last T crops; empty before the first.

        Raises what opening and running the tapped graph raise.
        """
        with self._lock:
            crops = list(self._crops)
        if not crops:
            return {}
        if self._session is None:
            self._session = find_runtime(self._runtime).open(self._bundle, threads=self._threads, taps=True)
        missing = self._bundle.manifest.frames.shape[0] - len(crops)
        spikes = self._session.run(np.stack([crops[0]] * missing + crops)).spikes
        return {
            tap.layer: int(np.bitwise_count(spikes[tap.layer].view(np.uint32)).sum())
            / (tap.levels * int(np.prod(tap.shape)))
            for tap in self._bundle.manifest.taps
        }

    def close(self) -> None:
        """Close the tapped session."""
        if self._session is not None:
            self._session.close()
