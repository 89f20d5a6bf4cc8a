"""MMHPSD and SynEventHPD (Zou et al.): packed binary event frames, SMPL joints, grey images.

    FOLDER/mmhpsd_events/subject01_group1_time1/events_frame_04/events_0001.npz   events_frame: uint8 [32768]
    FOLDER/mmhpsd_events/subject01_group1_time1/poses/pose_0001.npz               joints3d: [24, 3] m
                                                                                  joints2d: [24, 2 or more] px
    FOLDER/mmhpsd_grayscale_img/subject01_group1_time1/imgs/fullpic0001.jpg

Event frame i holds what happened between pose i and pose i + 1, so T event frames go with T + 1 poses; a sample has the
last T of them. 2-D joints are pixels of a frame of 256 x 256. SMPL's own parameters (`body_pose`, `beta`, `trans`) are
in the pose files too and are not read: no body model is needed. `poses_flip` is not read either, as mirrored joints
follow from the others.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from svf_edge.data.events import MMHPSD_CAMERA, simulate_events
from svf_edge.data.formats.clips import FormatDataset, missing_between, numbered, runs
from svf_edge.data.formats.files import Expected, existing_folder, npz_bytes, read_image, read_npz
from svf_edge.data.formats.labels import (
    FROM_SMPL,
    SMPL_NAMES,
    make_sample,
    require_finite,
    require_metres,
    to_smpl,
)
from svf_edge.data.formats.packed import CHANNELS, PACKED_BYTES, SIDE, BitOrder, detect_order, pack, unpack
from svf_edge.data.formats.region import Region, resize_events, resize_pixels
from svf_edge.data.sample import Sample
from svf_edge.data.skeleton import FLIP_ORDER, NUM_JOINTS
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.files import atomic_write

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Modality = Literal["events", "synthesis", "grey"]

TEST_SUBJECTS: Final = frozenset({"subject01", "subject02", "subject07"})
FOCAL: Final = 1679.3 * SIDE / 1280
CENTRE: Final = 641.0 * SIDE / 1280
"""Intrinsics of the recordings at 256 x 256 (pixels): `x = FOCAL * X / Z + CENTRE`, y alike."""

_JOINTS3D: Final = Expected((len(SMPL_NAMES), 3))
_JOINTS2D: Final = Expected((len(SMPL_NAMES), None), most=24 * 16)
_PACKED: Final = Expected((PACKED_BYTES,), "u", itemsize=1)


@dataclass(frozen=True)
class Clip:
    """Poses start, start + gap, ..., start + T * gap of an action, and the event frames between them."""

    action: str
    start: int
    gap: int
    mirrored: bool


class EventPoseDataset(FormatDataset):
    """Clips of T event frames 0/1 `[T, 4, H, W]` (or grey frames `[T, 3, H, W]`) from numbered event and pose files.

    `gap` frames are made one by OR. With several `gaps` every stretch appears once for each. A clip starts every
    `stride` poses (default: as many as the longest clip spans) wherever all its files exist. `mirror` adds every clip
    mirrored.
    """

    def __init__(
        self,
        split: str,
        frames: int,
        size: tuple[int, int],
        gaps: Sequence[int],
        stride: int | None,
        mirror: bool,
        cover: bool,
    ) -> None:
        if not gaps or min(gaps) < 1:
            raise UnsupportedInput(f"gaps {list(gaps)}: every gap must be 1 or more")
        super().__init__(split, frames, size, stride if stride is not None else frames * max(gaps), cover)
        self.gaps, self.mirror = tuple(gaps), mirror
        self.clips: list[Clip] = []

    @abstractmethod
    def pose_file(self, action: str, index: int) -> Path: ...

    @abstractmethod
    def read_frames(self, clip: Clip) -> Pixels:
        """Event frames `[T, 4, 256, 256]` of 0 and 1, or pixels `[T, 3, H, W]` that stand for 256 x 256."""

    def add_action(self, action: str, poses: set[int], events: set[int]) -> None:
        """Adds the clips of an action that has the pose and event files with these numbers; notes what is missing."""
        pieces = list(runs(poses))
        if len(pieces) > 1:
            self.problems.append(f"{action}: poses {missing_between(pieces, 1)} are missing; no clip spans them")
        if lost := sorted(index for piece in pieces for index in piece[:-1] if index not in events):
            count = f" ({len(lost)} in all)" if len(lost) > 1 else ""
            self.problems.append(f"{action}: frame {lost[0]} is missing{count}; no clip spans it")
        for piece in pieces:
            for gap in self.gaps:
                span = self.frames * gap
                for offset in self.starts(len(piece) - 1, span):
                    start = piece[0] + offset
                    if all(index in events for index in range(start, start + span)):
                        self.clips.append(Clip(action, start, gap, False))
        if self.mirror:
            ours = [clip for clip in self.clips if clip.action == action]
            self.clips.extend(Clip(clip.action, clip.start, clip.gap, True) for clip in ours)

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        clip = self.clips[index]
        last = clip.start + self.frames * clip.gap
        return f"{clip.action} poses {clip.start} to {last}{' mirrored' if clip.mirrored else ''}"

    def poses(self, index: int) -> tuple[Array, Array]:
        """All T + 1 poses of clip `index`: joints `[T + 1, 13, 2]` in pixels of 256 x 256, `[T + 1, 13, 3]` in metres.

        Raises BadFile for a pose file that is missing, damaged or holds labels that cannot be.
        """
        clip = self.clips[index]
        found = [self._pose(self.pose_file(clip.action, clip.start + k * clip.gap)) for k in range(self.frames + 1)]
        joints, joints3d = (np.stack(part) for part in zip(*found, strict=True))
        if clip.mirrored:
            joints, joints3d = joints[:, FLIP_ORDER], joints3d[:, FLIP_ORDER]
            joints[..., 0] = SIDE - joints[..., 0]
            joints3d[..., 0] *= -1
        return joints, joints3d

    def _pose(self, path: Path) -> tuple[Array, Array]:
        arrays = read_npz(path, {"joints2d": _JOINTS2D, "joints3d": _JOINTS3D})
        if arrays["joints2d"].shape[1] < 2:
            raise BadFile(f"{path}: key 'joints2d' has {arrays['joints2d'].shape[1]} columns; at least x, y are needed")
        joints, joints3d = arrays["joints2d"][:, :2].astype(np.float32), arrays["joints3d"].astype(np.float32)
        require_finite(joints, SMPL_NAMES, path, "joints2d")
        require_finite(joints3d, SMPL_NAMES, path, "joints3d")
        joints, joints3d = joints[FROM_SMPL, :], joints3d[FROM_SMPL, :]
        require_metres(joints3d, path, "joints3d")
        if np.ptp(joints, axis=0).max() < 2:
            raise BadFile(
                f"{path}: 'joints2d' spans {np.ptp(joints, axis=0).max():.3g} pixels; give pixels of a {SIDE}x{SIDE} "
                f"frame, not fractions of it"
            )
        return joints, joints3d

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.clips):
            raise IndexError(index)
        joints, joints3d = (labels[1:] for labels in self.poses(index))
        clip = self.clips[index]
        frames = self.read_frames(clip)
        if clip.mirrored:
            frames = frames[..., ::-1]
        source = (int(frames.shape[2]), int(frames.shape[3]))
        region = Region.centred(source, self.size)
        resize = resize_pixels if self.channels == 3 else resize_events
        scale = np.array([source[1] / SIDE, source[0] / SIDE], dtype=np.float32)
        return make_sample(
            resize(region.cut(frames), self.size),
            region.points(joints * scale, self.size),
            np.ones((self.frames, NUM_JOINTS), dtype=bool),
            joints3d,
        )


class MmhpsdDataset(EventPoseDataset):
    """Clips of MMHPSD, or of another set in its layout; see the module and `EventPoseDataset`.

    Split "val" is the authors' test split (subjects 01, 02 and 07, gap 2), "train" the others (gaps 1 to 3); `gaps` and
    `test_subjects` change that. `modality`: recorded "events", those of "synthesis" (training only) or "grey" images,
    of which a sample takes those at its poses. Raises BadFile for a folder without clips.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str,
        frames: int = 8,
        size: tuple[int, int] = (SIDE, SIDE),
        *,
        modality: Modality = "events",
        gaps: Sequence[int] | None = None,
        stride: int | None = None,
        mirror: bool = False,
        cover: bool = False,
        bit_order: BitOrder = "big",
        test_subjects: frozenset[str] = TEST_SUBJECTS,
        event_folder: str = "mmhpsd_events",
        image_folder: str = "mmhpsd_grayscale_img",
    ) -> None:
        super().__init__(split, frames, size, gaps or ((1, 2, 3) if split == "train" else (2,)), stride, mirror, cover)
        if modality == "synthesis" and split != "train":
            raise UnsupportedInput("synthesised events are for training; read split 'val' with modality 'events'")
        self.modality, self.bit_order = modality, bit_order
        self.channels = 3 if modality == "grey" else CHANNELS
        self.root, self.images = Path(folder) / event_folder, Path(folder) / image_folder
        self.frame_folder = "events_synthesis_frame_04" if modality == "synthesis" else "events_frame_04"
        for path in sorted(
            existing_folder(self.root, "the actions of MMHPSD, such as subject01_group1_time1").iterdir()
        ):
            if not path.is_dir() or (path.name.split("_")[0] in test_subjects) != (split == "val"):
                continue
            poses = set(numbered(path / "poses", r"pose_(\d{4,})\.npz"))
            if not poses:
                self.problems.append(f"{path}: has no poses/pose_0000.npz; the action is left out")
            if modality == "grey":
                there = numbered(self.images / path.name / "imgs", r"fullpic(\d{4,})\.jpg")
                # Images belong to poses, not to the intervals between them: one serves the interval that it ends.
                found = {index - 1 for index in there}
            else:
                found = set(numbered(path / self.frame_folder, r"events_(\d{4,})\.npz"))
            self.add_action(path.name, poses, found)
        self.require_clips(self.root)

    def pose_file(self, action: str, index: int) -> Path:
        return self.root / action / "poses" / f"pose_{index:04d}.npz"

    def event_file(self, action: str, index: int) -> Path:
        return self.root / action / self.frame_folder / f"events_{index:04d}.npz"

    def read_frames(self, clip: Clip) -> Pixels:
        if self.modality == "grey":
            return self._grey(clip)
        files = [self.event_file(clip.action, clip.start + k) for k in range(self.frames * clip.gap)]
        packed = np.stack([read_npz(path, {"events_frame": _PACKED})["events_frame"] for path in files])
        found = detect_order(packed.astype(np.uint8, copy=False))
        if found not in (None, self.bit_order):
            raise BadFile(
                f"{files[0]}: key 'events_frame' is packed in {found}-endian bit order, {self.bit_order} was expected; "
                f"pack with np.packbits(bitorder='{self.bit_order}') or open the data set with bit_order: {found}"
            )
        parts = np.bitwise_or.reduce(packed.reshape(self.frames, clip.gap, PACKED_BYTES), axis=1)
        return np.stack([unpack(part, self.bit_order) for part in parts])

    def _grey(self, clip: Clip) -> Pixels:
        folder = self.images / clip.action / "imgs"
        files = [folder / f"fullpic{clip.start + (k + 1) * clip.gap:04d}.jpg" for k in range(self.frames)]
        images = [read_image(path, "L") for path in files]
        for path, image in zip(files, images, strict=True):
            if image.shape != images[0].shape:
                raise BadFile(
                    f"{path}: {image.shape[1]}x{image.shape[0]} pixels, {files[0].name} has "
                    f"{images[0].shape[1]}x{images[0].shape[0]}; images of an action must have one size"
                )
        return np.repeat(np.stack(images)[:, None], 3, axis=1)


def write_mmhpsd(
    clips: Dataset[Sample],
    folder: str | Path,
    *,
    subjects: Sequence[str] = ("subject01", "subject03"),
    bit_order: BitOrder = "big",
    seed: int = 0,
) -> list[Path]:
    """Write clips of N frames as actions of N poses, N - 1 event frames and N grey images; returns their folders.

    Clip i becomes `subjectXX_group1_time{i}`, the `subjects` taking turns (01, 02 and 07 are the test subjects).
    The event frames are simulated. 2-D and 3-D joints are those of the clip, on all 24 SMPL joints as `to_smpl` places
    them, and 2-D joints scaled to 256 x 256; pose and shape parameters are zeros, since a clip has joints and no body
    model. Raises UnsupportedInput for clips that are not square, have one frame or no 3-D joints.
    """
    folder, written = Path(folder), []
    for index in range(len(clips)):  # type: ignore[arg-type]
        clip = clips[index]
        action = f"{subjects[index % len(subjects)]}_group1_time{index + 1}"
        events = event_frames(clip, np.random.default_rng([seed, index]))
        root = folder / "mmhpsd_events" / action
        for number, frame in enumerate(events):
            _write(
                root / "events_frame_04" / f"events_{number:04d}.npz", npz_bytes(events_frame=pack(frame, bit_order))
            )
        for number, (plain, flipped) in enumerate(zip(pose_arrays(clip), pose_arrays(clip, flip=True), strict=True)):
            _write(root / "poses" / f"pose_{number:04d}.npz", npz_bytes(**plain))
            _write(root / "poses_flip" / f"pose_{number:04d}.npz", npz_bytes(**flipped))
        for number, frame in enumerate(clip["frames"].numpy()):
            _write_grey(folder / "mmhpsd_grayscale_img" / action / "imgs" / f"fullpic{number:04d}.jpg", frame)
        written.append(root)
    return written


def event_frames(clip: Sample, rng: np.random.Generator) -> Pixels:
    """Binary event frames `[N - 1, 4, 256, 256]` simulated from a clip of N square frames."""
    height, width = clip["frames"].shape[2:]
    if height != width:
        raise UnsupportedInput(f"clips of {height}x{width}: this format's frames are square; render square clips")
    return simulate_events(resize_pixels(clip["frames"].numpy(), (SIDE, SIDE)), MMHPSD_CAMERA, rng)


def pose_arrays(clip: Sample, flip: bool = False) -> list[dict[str, NDArray[Any]]]:
    """The arrays of every pose file of a clip; `flip`: of the mirrored clip."""
    joints = clip["joints"].numpy() * np.float32(SIDE / clip["frames"].shape[3])
    joints3d = clip["joints3d"].numpy().copy()
    if not np.isfinite(joints3d).all():
        raise UnsupportedInput("a clip has no 3-D joints, which this format needs; write clips of the generator")
    if flip:
        joints, joints3d = joints[:, FLIP_ORDER], joints3d[:, FLIP_ORDER]
        joints[..., 0] = SIDE - joints[..., 0]
        joints3d[..., 0] *= -1
    flat, solid = to_smpl(joints), to_smpl(joints3d)
    return [
        {
            "joints3d": solid[t],
            "joints2d": flat[t],
            "trans": solid[t, :1],
            "body_pose": np.zeros((1, 72), dtype=np.float32),
            "beta": np.zeros((1, 10), dtype=np.float32),
        }
        for t in range(len(flat))
    ]


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _write_grey(path: Path, frame: Pixels) -> None:
    from PIL import Image

    with atomic_write(path) as temporary:
        Image.fromarray(frame.transpose(1, 2, 0)).convert("L").save(temporary, format="JPEG", quality=95)
