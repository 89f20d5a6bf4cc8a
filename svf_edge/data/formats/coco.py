"""Videos, or folders of images, with key points in COCO's JSON: the format for your own recordings.

    {"images":      [{"id": 1, "file_name": "walk.mp4", "frame": 0, "width": 640, "height": 480}, ...],
     "annotations": [{"image_id": 1, "keypoints": [x, y, v, ...], "bbox": [x, y, w, h], "track_id": 0}, ...],
     "categories":  [{"keypoints": ["nose", "left_shoulder", ...]}]}

An entry of `images` is a frame of a video (`frame` counts from 0), or without `frame` an image file; the images of
one folder are then a clip, ordered by the number that ends their names. Key points are found by name, whatever their
order and number; COCO has no head, so its nose stands for ours. v is 0 (not labelled), 1 (hidden) or 2 (visible).
`bbox` and `track_id` may be missing; with several people in a frame `track_id` says who is who.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch.utils.data import Dataset

from svf_edge.data.formats.clips import FormatDataset, missing_between, runs
from svf_edge.data.formats.files import existing_folder, inside, read_image, write_image
from svf_edge.data.formats.labels import UNLABELLED, by_name, make_sample, require_finite
from svf_edge.data.formats.region import Region, resize_pixels
from svf_edge.data.sample import Sample
from svf_edge.data.skeleton import FLIP_ORDER, JOINT_NAMES, SKELETON
from svf_edge.data.video import read_frames, write_video
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.files import write_text
from svf_edge.model.config import first_complaint

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

MAX_BYTES: Final = 1 << 30
"""Bytes of the largest annotation file that is read."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Image(_Entry):
    id: int | str
    file_name: str
    frame: int | None = Field(default=None, ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class _Annotation(_Entry):
    image_id: int | str
    keypoints: list[float] = Field(default_factory=list)
    bbox: tuple[float, float, float, float] | None = None
    track_id: int | str | None = None
    iscrowd: int = 0


class _Category(_Entry):
    keypoints: list[str] = Field(default_factory=list)


class _Document(_Entry):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True)
class _Person:
    """Labels of one person in one frame; `low`, `high` (x, y) is the box that the crop is made around."""

    image: _Image
    joints: Array  # [13, 2]
    seen: NDArray[np.int8]  # [13], COCO's v
    low: Array
    high: Array


@dataclass(frozen=True)
class Clip:
    """The frames of one person that make a clip."""

    source: str
    people: tuple[_Person, ...]
    mirrored: bool


class CocoDataset(FormatDataset):
    """Clips of T RGB frames `[T, 3, H, W]`, cropped around the person.

    The crop has the aspect ratio of `size`, is centred on the person's boxes (or labelled joints) of the whole clip
    with `margin` of their longer side on every side, and is the same for all its frames. A clip starts every `stride`
    labelled frames (default: as many as it spans) and takes every `step`-th. `mirror` adds every clip mirrored.
    `val_share` of the videos (chosen by name, so a video never changes sides) are split "val", the others "train"; 1 or
    0 takes all of a file as one split. Joints without a label are at `UNLABELLED`; there are no 3-D joints.

    Raises BadFile for annotations that are malformed, name files outside `folder` or do not say who is who.
    """

    channels = 3

    def __init__(
        self,
        folder: str | Path,
        annotations: str | Path,
        split: str,
        frames: int = 8,
        size: tuple[int, int] = (128, 128),
        *,
        stride: int | None = None,
        step: int = 1,
        margin: float = 0.15,
        mirror: bool = False,
        val_share: float = 0.2,
        cover: bool = False,
    ) -> None:
        super().__init__(split, frames, size, stride, cover)
        if step < 1 or margin < 0 or not 0 <= val_share <= 1:
            raise UnsupportedInput(
                f"step {step}, margin {margin}, val_share {val_share}: step is 1 or more, margin 0 or more, "
                f"val_share 0 to 1"
            )
        self.folder = existing_folder(Path(folder), "the videos or images that the annotations name")
        self.annotations, self.margin, self.step = Path(annotations), margin, step
        self.clips: list[Clip] = []
        document = _load(self.annotations)
        for (source, track), people in _tracks(document, self.annotations).items():
            if in_validation(source, val_share) != (split == "val"):
                continue
            inside(self.folder, source, self.annotations)
            self._add(source, track, people)
        if mirror:
            self.clips += [Clip(clip.source, clip.people, True) for clip in self.clips]
        self.require_clips(self.annotations)

    def _add(self, source: str, track: object, people: Mapping[int, _Person]) -> None:
        sizes = sorted({(person.image.width, person.image.height) for person in people.values()})
        if len(sizes) > 1:
            raise BadFile(
                f"{self.annotations}: frames of '{source}' are {sizes[0][0]}x{sizes[0][1]} and "
                f"{sizes[1][0]}x{sizes[1][1]}; all frames of a clip must have one size"
            )
        where = source if track is None else f"{source} track {track}"
        numbers = sorted(people)
        spacing = min((b - a for a, b in pairwise(numbers)), default=1)
        pieces = list(runs(numbers, spacing))
        if len(pieces) > 1:
            self.problems.append(
                f"{where}: labels of frames {missing_between(pieces, spacing)} are missing; no clip spans them"
            )
        span = (self.frames - 1) * self.step + 1
        for piece in pieces:
            for start in self.starts(len(piece), span):
                chosen = piece[start : start + span : self.step]
                self.clips.append(Clip(source, tuple(people[number] for number in chosen), False))

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        people = self.clips[index].people
        first, last = people[0].image, people[-1].image
        if first.frame is None:
            return f"{first.file_name} to {Path(last.file_name).name}"
        return f"{first.file_name} frames {first.frame} to {last.frame}"

    def group(self, index: int) -> str:
        return self.clips[index].source

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.clips):
            raise IndexError(index)
        clip = self.clips[index]
        low = np.min([person.low for person in clip.people], axis=0)
        high = np.max([person.high for person in clip.people], axis=0)
        region = Region.around(low, high, self.size, self.margin)
        frames = resize_pixels(region.cut(self._read(clip)), self.size)
        joints = np.stack([person.joints for person in clip.people])
        seen = np.stack([person.seen for person in clip.people])
        joints = region.points(joints, self.size)
        if clip.mirrored:
            frames = frames[..., ::-1]
            joints, seen = joints[:, FLIP_ORDER], seen[:, FLIP_ORDER]
            joints[..., 0] = self.size[1] - joints[..., 0]
        joints[seen == 0] = UNLABELLED
        return make_sample(frames, joints, seen == 2)

    def _read(self, clip: Clip) -> Pixels:
        images = [person.image for person in clip.people]
        if images[0].frame is not None:
            path = self.folder / clip.source
            frames = read_frames(path, [image.frame for image in images if image.frame is not None])
            self._require_size(path, frames.shape[2:], images[0])
            return frames
        read = []
        for image in images:
            path = inside(self.folder, image.file_name, self.annotations)
            pixels = read_image(path, "RGB")
            self._require_size(path, pixels.shape[:2], image)
            read.append(pixels.transpose(2, 0, 1))
        return np.stack(read)

    def _require_size(self, path: Path, shape: tuple[int, ...], image: _Image) -> None:
        if shape != (image.height, image.width):
            raise BadFile(
                f"{path}: {shape[1]}x{shape[0]} pixels, {self.annotations.name} says {image.width}x{image.height}; "
                f"labels would be in the wrong place, correct width and height or export the labels again"
            )


def in_validation(source: str, share: float) -> bool:
    """Whether a video belongs to the validation split, by a hash of its name."""
    return zlib.crc32(source.encode()) < share * 2**32


def _load(path: Path) -> _Document:
    if not path.is_file():
        raise BadFile(f"{path}: no such file; give the JSON file with the key points")
    if path.stat().st_size > MAX_BYTES:
        raise BadFile(f"{path}: larger than {MAX_BYTES} bytes; split the annotations by video")
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not a readable JSON file ({error}); it may be truncated, export it again") from error
    try:
        return _Document.model_validate(entries)
    except ValidationError as error:
        raise BadFile(f"{path}: {first_complaint(error, 'the file')}; see docs/data.md for the format") from error


def _tracks(document: _Document, file: Path) -> dict[tuple[str, int | str | None], dict[int, _Person]]:
    """People by (video or folder, track), and in it by frame number."""
    images: dict[int | str, _Image] = {}
    for image in document.images:
        if image.id in images:
            raise BadFile(f"{file}: image id {image.id} is given twice; ids must differ")
        images[image.id] = image
    named = [category.keypoints for category in document.categories if category.keypoints]
    if not named:
        raise BadFile(f"{file}: categories: none has 'keypoints' with the names of the key points; add them")
    if any(names != named[0] for names in named):
        raise BadFile(f"{file}: categories: they name different key points; keep one category of people")
    order = by_name(named[0], file)
    tracks: dict[tuple[str, int | str | None], dict[int, _Person]] = defaultdict(dict)
    for position, annotation in enumerate(document.annotations):
        where = f"annotations.{position} (image {annotation.image_id})"
        if annotation.image_id not in images:
            raise BadFile(f"{file}: {where}: there is no image of this id; add it to 'images' or drop the annotation")
        if annotation.iscrowd:
            continue
        image = images[annotation.image_id]
        person = _person(annotation, image, order, named[0], file, where)
        if person is None:
            continue
        source, number = _place(image, file)
        track = tracks[source, annotation.track_id]
        if number in track:
            raise BadFile(
                f"{file}: {where}: '{image.file_name}' frame {number} has a second person"
                + (
                    " and no 'track_id' to tell them apart; add one"
                    if annotation.track_id is None
                    else " of the same track"
                )
                + " or keep one annotation a frame"
            )
        track[number] = person
    return dict(tracks)


def _person(
    annotation: _Annotation, image: _Image, order: list[int], names: list[str], file: Path, where: str
) -> _Person | None:
    """Checked labels of an annotation; None if it labels no joint at all."""
    if len(annotation.keypoints) != 3 * len(names):
        raise BadFile(
            f"{file}: {where}: keypoints has {len(annotation.keypoints)} numbers, {3 * len(names)} are needed: "
            f"x, y, v for each of {len(names)} names"
        )
    points = np.array(annotation.keypoints, dtype=np.float64).reshape(-1, 3)
    require_finite(points, names, file, f"{where}: keypoints")
    flags = points[:, 2]
    if not np.isin(flags, (0, 1, 2)).all():
        bad = flags[~np.isin(flags, (0, 1, 2))][0]
        raise BadFile(f"{file}: {where}: v is {bad:g}; it is 0 (not labelled), 1 (hidden) or 2 (visible)")
    if not (flags > 0).any():
        return None
    size = np.array([image.width, image.height])
    labelled = points[flags > 0, :2]
    if (far := ((labelled < -size) | (labelled > 2 * size)).any(axis=1)).any():
        raise BadFile(
            f"{file}: {where}: key point {labelled[far][0].tolist()} lies far outside the {image.width}x{image.height} "
            f"frame; are the labels of another resolution?"
        )
    if (labelled.max() <= 1) and size.min() > 8:
        raise BadFile(f"{file}: {where}: all key points lie within 0..1; give pixels, not fractions of the frame")
    low, high = labelled.min(axis=0), labelled.max(axis=0)
    if annotation.bbox is not None:
        box = np.array(annotation.bbox)
        if not np.isfinite(box).all() or (box[2:] <= 0).any():
            raise BadFile(f"{file}: {where}: bbox {box.tolist()} is not x, y and a positive width and height")
        low, high = box[:2], box[:2] + box[2:]
    return _Person(
        image,
        points[order, :2].astype(np.float32),
        flags[order].astype(np.int8),
        low.astype(np.float32),
        high.astype(np.float32),
    )


def _place(image: _Image, file: Path) -> tuple[str, int]:
    """The video or folder that an image belongs to, and its number in it."""
    if image.frame is not None:
        return image.file_name, image.frame
    path = Path(image.file_name)
    digits = re.search(r"(\d+)$", path.stem)
    if digits is None:
        raise BadFile(
            f"{file}: image '{image.file_name}' has no 'frame' and no number at the end of its name; add 'frame' for a "
            f"video, or number the images of a clip"
        )
    return path.parent.as_posix(), int(digits[1])


def write_coco(
    clips: Dataset[Sample], folder: str | Path, *, images: bool = False, rate: int = 25
) -> tuple[Path, Path]:
    """Write clips as lossless videos (or PNG `images`) and `annotations.json`; returns the media folder and that file.

    The key points have our 13 names and no box. A joint is 2 where visible, 1 where hidden inside the frame, else 0.
    """
    folder = Path(folder)
    media = folder / ("images" if images else "videos")
    entries: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for index in range(len(clips)):  # type: ignore[arg-type]
        clip = clips[index]
        pixels = np.ascontiguousarray(clip["frames"].numpy().transpose(0, 2, 3, 1))
        height, width = pixels.shape[1:3]
        if images:
            names = [f"clip{index:04d}/{number:06d}.png" for number in range(len(pixels))]
            for name, frame in zip(names, pixels, strict=True):
                write_image(media / name, frame)
        else:
            names = [f"clip{index:04d}.mkv"] * len(pixels)
            write_video(media / names[0], pixels, rate)
        joints = clip["joints"].numpy()
        inside_frame = np.all((joints >= 0) & (joints < (width, height)), axis=-1)
        flags = np.where(clip["visible"].numpy(), 2, np.where(inside_frame, 1, 0))
        for number, name in enumerate(names):
            identity = len(entries["images"]) + 1
            image = {"id": identity, "file_name": name, "width": width, "height": height}
            entries["images"].append(image if images else {**image, "frame": number})
            labels = np.where(flags[number, :, None] > 0, joints[number].astype(np.float64), 0)
            entries["annotations"].append(
                {
                    "id": identity,
                    "image_id": identity,
                    "category_id": 1,
                    "keypoints": np.column_stack([labels, flags[number]]).reshape(-1).tolist(),
                    "num_keypoints": int((flags[number] > 0).sum()),
                }
            )
    category = {
        "id": 1,
        "name": "person",
        "keypoints": list(JOINT_NAMES),
        "skeleton": [[a + 1, b + 1] for a, b in SKELETON],
    }
    annotations = folder / "annotations.json"
    write_text(annotations, json.dumps({**entries, "categories": [category]}))
    return media, annotations
