"""One turn of the peer: BlazePose (mediapipe's own runtime) on the frames of an .npy file, in the peer's environment.

    peer/bin/python benchmarks/blazepose_worker.py FRAMES.npy COMPLEXITY PASSES

Prints one line of JSON. It imports nothing of ours: mediapipe pins an older numpy, so it has an environment of its own.
"""

import json
import sys
import time
from pathlib import Path

import mediapipe
import numpy as np


def peak_memory() -> int:
    """Largest resident set so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(frames: np.ndarray, complexity: int, passes: int) -> None:
    """Follow the person through RGB frames uint8 `[N, H, W, 3]`, `passes` times; the first pass is not counted."""
    samples, found = [], 0
    with mediapipe.solutions.pose.Pose(static_image_mode=False, model_complexity=complexity) as peer:
        for turn in range(passes + 1):
            if turn == 1:
                cpu = time.process_time()
            for frame in frames:
                began = time.perf_counter()
                result = peer.process(frame)
                if turn:
                    samples.append(1e3 * (time.perf_counter() - began))
                    found += result.pose_landmarks is not None
    cpu = 1e3 * (time.process_time() - cpu) / len(samples)
    version = f"mediapipe {mediapipe.__version__}"
    result = {"ms": samples, "cpu_ms": cpu, "found": found / len(samples), "memory": peak_memory(), "version": version}
    print(json.dumps(result))


if __name__ == "__main__":
    main(np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
