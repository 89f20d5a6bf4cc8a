"""Cuts the real evaluation clips out of two packages' demo videos and labels them with a peer model.

    pip download --no-deps sports2d==0.8.34 pose2sim==0.10.49     # BSD-3-Clause; unzip both wheels
    python3.11 -m venv peer && peer/bin/pip install mediapipe==0.10.21 av pillow
    PYTHONPATH=. peer/bin/python tools/make_eval_clips.py SPORTS2D POSE2SIM svf_edge/assets/clips/real

It has an environment of its own because this mediapipe pins an old numpy. SPORTS2D and POSE2SIM are the unzipped
wheels.

The peer (BlazePose "full", bundled with mediapipe, Apache-2.0) finds the person in a search window given by hand; a
square window that follows a smooth path through what it found is scaled down and encoded; the peer then labels every
frame of that window at the video's own resolution. Nothing is smoothed. What the peer gives is no ground truth.

Joints are ours (`svf_edge.data.skeleton`). Our head is the middle of the skull, which is the midpoint of the peer's
ears; the other twelve have the peer's names. A joint counts (v = 2) when the peer's visibility exceeds 0.5, it lies
in the window, and it is not far from the median of its own track (a frame where the peer is lost for a moment).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import mediapipe
import numpy as np
from PIL import Image

from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.files import atomic_write, write_text

SIZE = 192
RATE = 30
MARGIN = 1.3  # side of the window over the largest extent of the person
VISIBLE = 0.5
REACH = 2  # frames to either side whose median a joint is held against
LOST = 0.08  # distance from that median, in window sides, beyond which the peer was lost

Window = tuple[float, float, float]  # left, top, side in pixels of the source


@dataclass(frozen=True)
class Cut:
    """Frames `first`, `first + step`, ... below `end` of a video; where the person is in the first and last of them."""

    name: str
    video: str
    first: int
    end: int
    step: int
    start: Window
    stop: Window


SPORTS2D = "Sports2D/Demo/demo.mp4"
POSE2SIM = "Pose2Sim/Demo_SinglePerson/videos/cam0{}.mp4"
CUTS = (
    Cut("jumping-jack", SPORTS2D, 0, 80, 1, (400, 0, 480), (400, 0, 480)),
    Cut("roof-walk", SPORTS2D, 80, 124, 1, (400, 20, 460), (450, 20, 460)),
    Cut("walk-on", SPORTS2D, 50, 66, 1, (1220, 450, 520), (1100, 450, 520)),
    Cut("walk-off", SPORTS2D, 163, 187, 1, (240, 474, 520), (0, 474, 520)),
    Cut("landing", SPORTS2D, 188, 220, 1, (800, 474, 520), (1100, 474, 520)),
    *(Cut(f"balance-cam{n}", POSE2SIM.format(n), 0, 100, 2, window, window) for n, window in (
        (1, (0, 180, 1080)), (2, (100, 300, 940)), (3, (180, 320, 980)), (4, (0, 340, 1088)),
    )),
)  # fmt: skip

_LANDMARK = mediapipe.solutions.pose.PoseLandmark
PARTS = [
    (_LANDMARK.LEFT_EAR, _LANDMARK.RIGHT_EAR) if name == "head" else (_LANDMARK[name.upper()],) for name in JOINT_NAMES
]


class Peer:
    """BlazePose on single pictures."""

    def __init__(self) -> None:
        self._pose = mediapipe.solutions.pose.Pose(
            static_image_mode=True, model_complexity=1, min_detection_confidence=0.3
        )

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """x, y in 0..1 of the picture and visibility, `[13, 3]`; NaN where nobody was found."""
        found = self._pose.process(picture).pose_landmarks
        if found is None:
            return np.full((len(PARTS), 3), np.nan)
        marks = np.array([[mark.x, mark.y, mark.visibility] for mark in found.landmark])
        return np.stack([marks[list(part)].mean(axis=0) for part in PARTS])


def read(path: Path, cut: Cut) -> list[np.ndarray]:
    """The frames of a cut, RGB."""
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    return frames[cut.first : cut.end : cut.step]


def cropped(frame: np.ndarray, window: Window) -> np.ndarray:
    """The square window."""
    left, top, side = (round(value) for value in window)
    return np.ascontiguousarray(frame[top : top + side, left : left + side])


def track(frames: list[np.ndarray], windows: list[Window], peer: Peer) -> np.ndarray:
    """Joints of every frame in pixels of the source, with visibility: `[N, 13, 3]`."""
    found = np.stack([peer(cropped(frame, window)) for frame, window in zip(frames, windows, strict=True)])
    place = np.array([[round(value) for value in window] for window in windows])[:, None]
    found[..., :2] = found[..., :2] * place[..., 2:] + place[..., :2]
    return found


def follow(joints: np.ndarray, frame: tuple[int, int]) -> list[Window]:
    """Windows of one size that follow the middle of the person along a cubic, inside a frame (height, width)."""
    low, high = np.nanmin(joints[..., :2], axis=1), np.nanmax(joints[..., :2], axis=1)
    seen = np.isfinite(low[:, 0])
    index = np.arange(len(joints))
    middle = np.stack(
        [np.polynomial.Polynomial.fit(index[seen], ((low + high) / 2)[seen, axis], 3)(index) for axis in (0, 1)], 1
    )
    side = MARGIN * float(np.nanpercentile(np.maximum(high - middle, middle - low).max(axis=1), 95)) * 2
    side = min(side, *frame)
    room = np.array([frame[1], frame[0]]) - side
    return [(left, top, side) for left, top in np.clip(middle - side / 2, 0, room)]


def labelled(joints: np.ndarray, windows: list[Window]) -> np.ndarray:
    """Key points `[N, 13, 3]` in pixels of the clip, with v 2 or 0 instead of visibility."""
    place = np.array([[round(value) for value in window] for window in windows], dtype=float)[:, None]
    points = (joints[..., :2] - place[..., :2]) / place[..., 2:]
    count = len(points)
    usual = np.stack([np.nanmedian(points[max(i - REACH, 0) : i + REACH + 1], axis=0) for i in range(count)])
    near = np.linalg.norm(points - usual, axis=-1) < LOST
    inside = ((points >= 0) & (points < 1)).all(axis=-1)
    counted = near & inside & (joints[..., 2] > VISIBLE)
    found = np.where(np.isfinite(points), points, 0) * SIZE
    return np.concatenate([found * counted[..., None], 2.0 * counted[..., None]], axis=-1)


def encode(frames: list[np.ndarray], windows: list[Window], target: Path) -> None:
    """Write the windows as an H.264 video of SIZE x SIZE."""
    with atomic_write(target) as temporary, av.open(str(temporary), "w", format="mp4") as out:
        options = {"crf": "24", "preset": "veryslow", "threads": "1"}
        stream = out.add_stream("libx264", rate=RATE, options=options)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame, window in zip(frames, windows, strict=True):
            small = Image.fromarray(cropped(frame, window)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            out.mux(stream.encode(av.VideoFrame.from_image(small)))
        out.mux(stream.encode(None))


def between(cut: Cut, count: int) -> list[Window]:
    """The search windows of a cut's frames."""
    steps = np.linspace(0, 1, count)[:, None]
    return [(x, y, side) for x, y, side in np.array(cut.start) * (1 - steps) + np.array(cut.stop) * steps]


def main(sports2d: Path, pose2sim: Path, target: Path) -> None:
    """Write every clip and `labels.json` into `target`."""
    peer = Peer()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for cut in CUTS:
        frames = read((sports2d if cut.video == SPORTS2D else pose2sim) / cut.video, cut)
        windows = follow(track(frames, between(cut, len(frames)), peer), frames[0].shape[:2])
        joints = track(frames, windows, peer)
        file = f"{cut.name}.mp4"
        encode(frames, windows, target / file)
        points = labelled(joints, windows)
        for index, (row, seen) in enumerate(zip(points, joints, strict=True)):
            key = len(images)
            images.append({"id": key, "file_name": file, "frame": index, "width": SIZE, "height": SIZE})
            score = 0.0 if np.isnan(seen[0, 2]) else round(float(seen[:, 2].mean()), 3)
            entry = {"id": key, "image_id": key, "category_id": 1, "score": score}
            entry["keypoints"] = [round(float(value), 2) if place < 2 else int(value) for place, value in _flat(row)]
            entry["num_keypoints"] = int((row[:, 2] > 0).sum())
            annotations.append(entry)
        share = (points[..., 2] > 0).mean()
        print(f"{file}: {len(frames)} frames, {(target / file).stat().st_size} bytes, {share:.0%} of joints labelled")
    info = {
        "description": "Pseudo-labels made by a peer model. They are not ground truth.",
        "peer": "BlazePose full (mediapipe.solutions.pose, model_complexity=1, every frame on its own)",
        "peer_version": f"mediapipe {mediapipe.__version__}",
        "head": "midpoint of the peer's two ears",
        "made_by": "tools/make_eval_clips.py",
    }
    categories = [{"id": 1, "name": "person", "keypoints": list(JOINT_NAMES)}]
    content = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    write_text(target / "labels.json", json.dumps(content, separators=(",", ":")) + "\n")


def _flat(row: np.ndarray) -> list[tuple[int, float]]:
    return [(place, value) for joint in row for place, value in enumerate(joint)]


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
