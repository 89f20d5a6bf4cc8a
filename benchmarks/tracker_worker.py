"""One turn of ours beside the peer: `PoseTracker` on the frames of an .npy file, in a process of its own.

python -m benchmarks.tracker_worker FRAMES.npy BUNDLE THREADS PASSES
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from numpy.typing import NDArray

from svf_edge.runtimes.machine import peak_memory
from svf_edge.runtimes.tracking import PoseTracker


def main(frames: NDArray[np.uint8], bundle: str, threads: int, passes: int) -> None:
    """Follow the person through RGB frames uint8 `[N, H, W, 3]`, `passes` times; the first pass is not counted."""
    samples, found, cpu = [], 0, 0.0
    with PoseTracker(bundle, threads=threads) as tracker:
        for turn in range(passes + 1):
            if turn == 1:
                cpu = time.process_time()
            for frame in frames:
                began = time.perf_counter()
                tracker(frame)
                if turn:
                    samples.append(1e3 * (time.perf_counter() - began))
                    found += tracker.found
        cpu = 1e3 * (time.process_time() - cpu) / len(samples)
        result = {"ms": samples, "cpu_ms": cpu, "found": found / len(samples), "memory": peak_memory()}
        print(json.dumps({**result, "version": tracker.runtime}))


if __name__ == "__main__":
    main(np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
