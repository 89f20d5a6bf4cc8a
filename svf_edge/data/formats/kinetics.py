"""Kinetics: short videos, each of one class, listed by split in CSV files.

    folder/train.csv, folder/val.csv                  label,youtube_id,time_start,time_end,split
    folder/train/LABEL/ID_START_END.mp4               or folder/train/ID_START_END.mp4

START and END have six digits. Spaces of a label may be underscores in its folder's name. The classes are the labels of
`train.csv` in alphabetic order.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from torch.utils.data import Dataset

from svf_edge.data.formats.clips import FormatDataset
from svf_edge.data.formats.files import existing_folder
from svf_edge.data.formats.labels import make_sample
from svf_edge.data.formats.region import Region, resize_pixels
from svf_edge.data.sample import Sample
from svf_edge.data.video import count_frames, read_frames, write_video
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.files import write_text

EXTENSIONS: Final = (".mp4", ".mkv", ".webm", ".avi")
_COLUMNS: Final = ("label", "youtube_id", "time_start", "time_end")
_SHOWN: Final = 5


@dataclass(frozen=True)
class _Video:
    path: Path
    label: int


class KineticsDataset(FormatDataset):
    """The videos of a split that are there; item i is view i of `views` times `crops` of a video.

    A view is `frames` frames, `step` apart; the views of a video lie at even distances (one: in its middle), as
    video networks are tested. `crops` are squares (the aspect ratio of `size`) from one end of the longer side to the
    other; 1 is the centre. Videos that are listed and missing (many are no longer online) are a note with their
    number. Raises BadFile for a CSV file that is missing or damaged.
    """

    channels = 3

    def __init__(
        self,
        folder: str | Path,
        split: str,
        frames: int,
        size: tuple[int, int],
        *,
        step: int = 1,
        views: int = 1,
        crops: int = 1,
        cover: bool = False,
    ) -> None:
        super().__init__(split, frames, size, None, cover)
        if step < 1 or views < 1 or crops not in (1, 3):
            raise UnsupportedInput(f"step {step}, views {views}, crops {crops}: the first two from 1 on, crops 1 or 3")
        self.folder = existing_folder(Path(folder), "train.csv, val.csv and the videos")
        self.step, self.views, self.crops = step, views, crops
        self.classes = class_names(self.folder)
        self.videos: list[_Video] = []
        missing: list[str] = []
        places = {name: place for place, name in enumerate(self.classes)}
        for line, label, name in _rows(self.folder / f"{split}.csv"):
            if label not in places:
                raise BadFile(f"{self.folder / f'{split}.csv'}: line {line}: class '{label}' is not one of train.csv")
            path = _find(self.folder / split, label, name)
            if path is None:
                missing.append(name)
            else:
                self.videos.append(_Video(path, places[label]))
        if missing:
            listed = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
            self.notes.append(f"{len(missing)} videos that {split}.csv lists are not there: {listed}")
        self.require_clips(self.folder)

    def __len__(self) -> int:
        return len(self.videos) * self.views * self.crops

    def name(self, index: int) -> str:
        video, view, crop = self._place(index)
        return f"{video.path} view {view + 1} of {self.views}, crop {crop + 1} of {self.crops}"

    def group(self, index: int) -> str:
        return str(self._place(index)[0].path)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        video, view, crop = self._place(index)
        span = (self.frames - 1) * self.step + 1
        length = count_frames(video.path)
        if length < span:
            raise BadFile(
                f"{video.path}: has {length} frames, a clip of {self.frames} frames {self.step} apart needs {span}; "
                "ask for shorter clips or leave the video out"
            )
        spare = length - span
        begin = round(spare * (view / (self.views - 1) if self.views > 1 else 0.5))
        frames = read_frames(video.path, range(begin, begin + span, self.step))
        region = _crop(frames.shape[2:], self.size, crop, self.crops)
        return make_sample(resize_pixels(region.cut(frames), self.size), label=video.label)

    def _place(self, index: int) -> tuple[_Video, int, int]:
        rest, crop = divmod(index, self.crops)
        video, view = divmod(rest, self.views)
        return self.videos[video], view, crop


def class_names(folder: Path) -> tuple[str, ...]:
    """The labels of `train.csv`, sorted. Raises BadFile."""
    return tuple(sorted({label for _, label, _ in _rows(folder / "train.csv")}))


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line number, label and file stem of every video that a CSV file lists."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            absent = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if absent:
                raise BadFile(f"{path}: no column {', '.join(absent)}; the first line names {', '.join(_COLUMNS)}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{path}: not a readable CSV file ({error}); copy it again") from error
    found = []
    for line, row in enumerate(rows, 2):
        label, name = row["label"], row["youtube_id"]
        try:
            times = int(float(row["time_start"])), int(float(row["time_end"]))
        except (TypeError, ValueError, OverflowError) as error:
            raise BadFile(
                f"{path}: line {line}: time_start '{row['time_start']}' and time_end '{row['time_end']}' are no "
                "seconds; correct or remove the line"
            ) from error
        if not label or not name or "/" in name + label or "\\" in name + label:
            raise BadFile(f"{path}: line {line}: label '{label}' or youtube_id '{name}' names no file; correct it")
        found.append((line, label, f"{name}_{times[0]:06d}_{times[1]:06d}"))
    return found


def _find(folder: Path, label: str, name: str) -> Path | None:
    for place in (folder / label, folder / label.replace(" ", "_"), folder):
        for extension in EXTENSIONS:
            if (path := place / f"{name}{extension}").is_file():
                return path
    return None


def _crop(have: tuple[int, ...], size: tuple[int, int], crop: int, crops: int) -> Region:
    region = Region.centred((have[0], have[1]), size)
    if crops == 1:
        return region
    share = crop / (crops - 1)
    left, top = round((have[1] - region.width) * share), round((have[0] - region.height) * share)
    return Region(left, top, region.width, region.height)


def write_kinetics(clips: Dataset[Sample], folder: str | Path, names: Sequence[str], *, rate: int = 25) -> Path:
    """Write clips with a class as lossless videos and lists; every fourth one becomes validation. Returns `folder`.

    `names` are those of the classes.
    """
    folder = Path(folder)
    rows: dict[str, list[str]] = {"train": [], "val": []}
    for index in range(len(clips)):  # type: ignore[arg-type]
        clip = clips[index]
        if not 0 <= int(clip["label"]) < len(names):
            raise UnsupportedInput(f"clip {index} has class {int(clip['label'])} of {len(names)}; give named clips")
        label = names[int(clip["label"])]
        split = "val" if index % 4 == 3 else "train"
        frames = np.ascontiguousarray(clip["frames"].numpy().transpose(0, 2, 3, 1))
        write_video(folder / split / label / f"clip{index:07d}_000000_000010.mkv", frames, rate)
        rows[split].append(f"{label},clip{index:07d},0,10,{split}")
    # Every class belongs to the list that names them, also one that no training clip has.
    listed = {row.split(",")[0] for row in rows["train"]}
    rows["train"] += [f"{name},none0000000,0,10,train" for name in names if name not in listed]
    for split, lines in rows.items():
        write_text(folder / f"{split}.csv", "\n".join(["label,youtube_id,time_start,time_end,split", *lines]) + "\n")
    return folder
