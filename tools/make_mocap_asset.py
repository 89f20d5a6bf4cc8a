"""Packs the motion-capture clips of the PyPI package pybullet 3.2.7 into svf_edge/data/assets/mocap.npz.

Usage: pip download --no-deps pybullet==3.2.7; unzip the wheel; then
    python tools/make_mocap_asset.py <wheel>/pybullet_data/data/motions svf_edge/data/assets/mocap.npz

What changes: text becomes float32, the per-frame durations become one frame rate per clip (the clips are
uniformly sampled; some leave the duration of their first or last frame at 0), quaternions are normalised and
made sign-continuous so that they can be interpolated. The quadruped clip is left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from svf_edge.data.mocap import SPHERICAL_COLUMNS
from svf_edge.files import atomic_write

COLUMNS = 43


def clip_name(path: Path) -> str:
    stem = path.stem.removeprefix("humanoid3d_").lstrip("0")
    return f"walker_{stem}" if path.parent.name == "walker" else stem


def load_clip(path: Path) -> tuple[np.ndarray, float, bool]:
    text = json.loads(path.read_text())
    rows = np.asarray(text["Frames"], dtype=np.float64)
    duration = float(np.median(rows[:, 0]))
    poses = rows[:, 1:]
    for start in SPHERICAL_COLUMNS:
        quaternion = poses[:, start : start + 4]
        quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
        same = np.sum(quaternion[1:] * quaternion[:-1], axis=1) >= 0
        sign = np.cumprod(np.concatenate([[1.0], np.where(same, 1.0, -1.0)]))
        quaternion *= sign[:, None]
    return poses, 1.0 / duration, text["Loop"] == "wrap"


def main(source: Path, target: Path) -> None:
    names, clips, rates, loops = [], [], [], []
    for path in sorted(source.rglob("*.txt")):
        poses, rate, loop = load_clip(path) if "laikago" not in path.name else (np.empty((0, 0)), 0.0, False)
        if poses.shape[1] != COLUMNS:
            continue
        names.append(clip_name(path))
        clips.append(poses.astype(np.float32))
        rates.append(rate)
        loops.append(loop)
    starts = np.concatenate([[0], np.cumsum([len(c) for c in clips])])
    with atomic_write(target) as temporary:
        np.savez_compressed(
            temporary,
            names=np.array(names),
            poses=np.concatenate(clips),
            starts=starts.astype(np.int32),
            rates=np.array(rates, dtype=np.float32),
            loops=np.array(loops),
        )
    print(f"{target}: {len(names)} clips, {starts[-1]} frames, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
