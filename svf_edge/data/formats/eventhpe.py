"""The PNG variant of EventHPE (Zou et al. 2021): binary event frames as PNG, poses in files of their own.

    FOLDER/events_256/subject01_group1_time1/event0001.png    4 channels of 0 and 1
    FOLDER/pose_events/subject01_group1_time1/pose0001.npz    `joints3d` [24, 3] m, `joints2d` [24, >= 2] px at 256

As published the poses are pickles (`pose0001.pkl`, written by joblib), which can run any code when they are read. They
are never read here: an error says how to convert them, once, on a machine that you would trust with that. Indices,
frames and labels are otherwise those of `svf_edge.data.formats.mmhpsd`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from svf_edge.data.formats.clips import numbered
from svf_edge.data.formats.files import existing_folder, npz_bytes, read_image
from svf_edge.data.formats.mmhpsd import TEST_SUBJECTS, Clip, EventPoseDataset, event_frames, pose_arrays
from svf_edge.data.formats.packed import CHANNELS, SIDE
from svf_edge.data.sample import Sample
from svf_edge.errors import BadFile
from svf_edge.files import atomic_write

Pixels = NDArray[np.uint8]

_ORDER: Final = (2, 1, 0, 3)
"""The authors write and read with OpenCV, which calls the first channel blue; a PNG file has red first."""


class EventHpeDataset(EventPoseDataset):
    """Clips of EventHPE's PNG files, with converted poses; options as those of `MmhpsdDataset`.

    Raises BadFile for a folder without clips, and for one whose poses are still pickles.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str,
        frames: int = 8,
        size: tuple[int, int] = (SIDE, SIDE),
        *,
        gaps: Sequence[int] | None = None,
        stride: int | None = None,
        mirror: bool = False,
        cover: bool = False,
        test_subjects: frozenset[str] = TEST_SUBJECTS,
    ) -> None:
        super().__init__(split, frames, size, gaps or ((1, 2, 3) if split == "train" else (2,)), stride, mirror, cover)
        self.channels = CHANNELS
        self.root = existing_folder(Path(folder), "events_256 and pose_events")
        pose_root = existing_folder(self.root / "pose_events", "a folder of poses for every action")
        for path in sorted(pose_root.iterdir()):
            if not path.is_dir() or (path.name.split("_")[0] in test_subjects) != (split == "val"):
                continue
            poses = numbered(path, r"pose(\d{4,})\.npz")
            if pickles := set(numbered(path, r"pose(\d{4,})\.pkl")) - set(poses):
                raise BadFile(
                    f"{path}/pose{min(pickles):04d}.pkl: poses are pickles, which can run any code and are never read "
                    f"here; convert them once with the script in docs/data.md ('EventHPE'), which leaves "
                    f"pose{min(pickles):04d}.npz beside it"
                )
            events = numbered(self.root / "events_256" / path.name, r"event(\d{4,})\.png")
            self.add_action(path.name, set(poses), set(events))
        self.require_clips(self.root)

    def pose_file(self, action: str, index: int) -> Path:
        return self.root / "pose_events" / action / f"pose{index:04d}.npz"

    def event_file(self, action: str, index: int) -> Path:
        return self.root / "events_256" / action / f"event{index:04d}.png"

    def read_frames(self, clip: Clip) -> Pixels:
        files = [self.event_file(clip.action, clip.start + k) for k in range(self.frames * clip.gap)]
        frames = np.stack([self._read(path) for path in files])
        grouped = frames.reshape(self.frames, clip.gap, *frames.shape[1:])
        return np.asarray(np.bitwise_or.reduce(grouped, axis=1))

    def _read(self, path: Path) -> Pixels:
        image = read_image(path, "RGBA")
        if image.shape[:2] != (SIDE, SIDE):
            raise BadFile(f"{path}: {image.shape[1]}x{image.shape[0]} pixels; event frames have {SIDE}x{SIDE}")
        if image.max() > 1:
            raise BadFile(f"{path}: a value is {image.max()}; binary event frames have 0 and 1 only")
        return image[..., _ORDER].transpose(2, 0, 1)


def write_eventhpe(
    clips: Dataset[Sample],
    folder: str | Path,
    *,
    subjects: Sequence[str] = ("subject01", "subject03"),
    seed: int = 0,
) -> list[Path]:
    """Write clips as `write_mmhpsd` does, in this layout with converted (.npz) poses; returns the event folders."""
    from PIL import Image

    folder, written = Path(folder), []
    for index in range(len(clips)):  # type: ignore[arg-type]
        clip = clips[index]
        action = f"{subjects[index % len(subjects)]}_group1_time{index + 1}"
        root = folder / "events_256" / action
        for number, frame in enumerate(event_frames(clip, np.random.default_rng([seed, index]))):
            with atomic_write(root / f"event{number:04d}.png") as temporary:
                Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)[..., _ORDER])).save(temporary)
        for number, arrays in enumerate(pose_arrays(clip)):
            with atomic_write(folder / "pose_events" / action / f"pose{number:04d}.npz") as temporary:
                temporary.write_bytes(npz_bytes(**arrays))
        written.append(root)
    return written
