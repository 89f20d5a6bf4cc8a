"""VSPW: videos of everyday scenes with a class for every pixel of every frame.

folder/train.txt, folder/val.txt                  one video a line
folder/data/VIDEO/origin/NUMBER.jpg               frames, in the order of their numbers
folder/data/VIDEO/mask/NUMBER.png                 1 to 124: the classes; 0 and 255: none
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from torch.utils.data import Dataset

from svf_edge.data.formats.clips import FormatDataset, numbered
from svf_edge.data.formats.files import existing_folder, inside, write_image
from svf_edge.data.formats.masks import masked_clip
from svf_edge.data.sample import UNKNOWN_PIXEL, Sample
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.files import write_text

CLASSES: Final = 124
"""Their names come with the data set (`label_num_dic_final.json`) and are not needed: classes go by number."""

_TABLE: Final = np.full(256, UNKNOWN_PIXEL, dtype=np.uint8)
_TABLE[1 : CLASSES + 1] = np.arange(CLASSES)


class VspwDataset(FormatDataset):
    """Clips of `frames` frames, `step` apart, out of the videos of a split.

    A frame without a mask, and a mask without a frame, is one of the `problems` and left out.
    """

    channels = 3

    def __init__(
        self,
        folder: str | Path,
        split: str,
        frames: int,
        size: tuple[int, int],
        *,
        stride: int | None = None,
        step: int = 1,
        cover: bool = False,
    ) -> None:
        super().__init__(split, frames, size, stride, cover)
        if step < 1:
            raise UnsupportedInput(f"step {step}: it is 1 or more")
        root = existing_folder(Path(folder), "train.txt, val.txt and data")
        self.clips: list[tuple[str, list[Path], list[Path]]] = []
        span = (frames - 1) * step + 1
        for video in _videos(root / f"{split}.txt"):
            place = inside(root / "data", video, root / f"{split}.txt")
            pictures, masks = numbered(place / "origin", r"(\d+)\.jpg"), numbered(place / "mask", r"(\d+)\.png")
            both = sorted(pictures.keys() & masks.keys())
            if lone := pictures.keys() ^ masks.keys():
                self.problems.append(
                    f"{place}: {len(lone)} frames without a mask or masks without a frame: {min(lone)}"
                )
            if not both:
                self.problems.append(f"{place}: no frame with a mask; is the video there?")
            for start in self.starts(len(both), span):
                numbers = both[start : start + span : step]
                self.clips.append((video, [pictures[n] for n in numbers], [masks[n] for n in numbers]))
        self.require_clips(root)

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        video, pictures, _ = self.clips[index]
        return f"{video} {pictures[0].name} to {pictures[-1].name}"

    def group(self, index: int) -> str:
        return self.clips[index][0]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.clips):
            raise IndexError(index)
        _, pictures, masks = self.clips[index]
        return masked_clip(pictures, list(masks), _TABLE, self.size)


def _videos(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: not readable ({error}); it names the videos of the split, one a line") from error
    return [line.strip() for line in lines if line.strip()]


def write_vspw(clips: Dataset[Sample], folder: str | Path) -> Path:
    """Write clips in the layout, every fourth one as validation, their classes as the first of the 124.

    Returns `folder`.
    """
    folder = Path(folder)
    videos: dict[str, list[str]] = {"train": [], "val": []}
    values = np.zeros(256, dtype=np.uint8)
    values[:CLASSES] = np.arange(1, CLASSES + 1)
    for index in range(len(clips)):  # type: ignore[arg-type]
        clip = clips[index]
        video = f"{index}_rendered"
        videos["val" if index % 4 == 3 else "train"].append(video)
        pairs = zip(clip["frames"].numpy(), clip["mask"].numpy(), strict=True)
        for number, (frame, mask) in enumerate(pairs):
            place = folder / "data" / video
            write_image(place / "origin" / f"{number:08d}.jpg", np.ascontiguousarray(frame.transpose(1, 2, 0)))
            write_image(place / "mask" / f"{number:08d}.png", values[mask])
    for split, names in videos.items():
        write_text(folder / f"{split}.txt", "\n".join(names) + "\n")
    return folder
