"""CityScapes sequences: 30 pictures of a street, the 20th with a class for every pixel.

    folder/leftImg8bit_sequence/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png
    folder/gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png

SPLIT is train or val. A clip ends with the labelled picture; pixels of the others, and those of classes that are not
evaluated, are unknown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np
from torch.utils.data import Dataset

from svf_edge.data.formats.clips import FormatDataset
from svf_edge.data.formats.files import existing_folder, write_image
from svf_edge.data.formats.masks import masked_clip
from svf_edge.data.sample import UNKNOWN_PIXEL, Sample
from svf_edge.errors import UnsupportedInput

CLASSES: Final[dict[str, int]] = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The evaluated classes, in order, with the label id that files have for them."""

_TABLE: Final = np.full(256, UNKNOWN_PIXEL, dtype=np.uint8)
_TABLE[list(CLASSES.values())] = np.arange(len(CLASSES))

_MASK: Final = re.compile(r"(.+)_(\d{6})_(\d{6})_gtFine_labelIds\.png")
_SHOWN: Final = 5


class CityscapesDataset(FormatDataset):
    """One clip of `frames` pictures, `step` apart, for every mask of the split, which belongs to the last of them.

    A mask whose pictures are not all there is one of the `problems`.
    """

    channels = 3

    def __init__(self, folder: str | Path, split: str, frames: int, size: tuple[int, int], *, step: int = 1) -> None:
        super().__init__(split, frames, size, None)
        if step < 1:
            raise UnsupportedInput(f"step {step}: it is 1 or more")
        root = existing_folder(Path(folder), "leftImg8bit_sequence and gtFine")
        self.clips: list[tuple[list[Path], Path]] = []
        lacking: list[str] = []
        for mask in sorted((root / "gtFine" / split).glob("*/*_gtFine_labelIds.png")):
            match = _MASK.fullmatch(mask.name)
            if match is None:
                self.problems.append(f"{mask}: not named CITY_SEQUENCE_FRAME_gtFine_labelIds.png, so left out")
                continue
            city, sequence, last = match[1], match[2], int(match[3])
            pictures = root / "leftImg8bit_sequence" / split / mask.parent.name
            numbers = range(last - (frames - 1) * step, last + 1, step)
            names = [pictures / f"{city}_{sequence}_{number:06d}_leftImg8bit.png" for number in numbers]
            absent = [path.name for path in names if not path.is_file()]
            if absent:
                lacking.append(absent[0])
            else:
                self.clips.append((names, mask))
        if lacking:
            listed = ", ".join(lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else "")
            self.problems.append(f"pictures of {len(lacking)} masks of split '{split}' are missing: {listed}")
        self.require_clips(root)

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        pictures, mask = self.clips[index]
        return f"{pictures[0].name} to {mask.name}"

    def group(self, index: int) -> str:
        """The city: pictures of one drive resemble each other."""
        return self.clips[index][1].parent.name

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.clips):
            raise IndexError(index)
        pictures, mask = self.clips[index]
        return masked_clip(pictures, [*[None] * (len(pictures) - 1), mask], _TABLE, self.size)


def write_cityscapes(clips: Dataset[Sample], folder: str | Path) -> Path:
    """Write clips in the layout, every fourth one as validation, their classes as the first of CityScapes' own.

    Returns `folder`.
    """
    folder = Path(folder)
    identities = np.zeros(256, dtype=np.uint8)  # 0 is the id of what is unlabelled
    identities[: len(CLASSES)] = list(CLASSES.values())
    for index in range(len(clips)):  # type: ignore[arg-type]
        clip = clips[index]
        split = "val" if index % 4 == 3 else "train"
        frames = clip["frames"].numpy()
        for number, frame in enumerate(frames):
            name = f"town_{index:06d}_{number:06d}"
            place = folder / "leftImg8bit_sequence" / split / "town" / f"{name}_leftImg8bit.png"
            write_image(place, np.ascontiguousarray(frame.transpose(1, 2, 0)))
        mask = identities[clip["mask"][-1].numpy()]
        write_image(folder / "gtFine" / split / "town" / f"{name}_gtFine_labelIds.png", mask)
    return folder
