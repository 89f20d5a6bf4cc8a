"""What all readers share: clips cut out of unbroken runs of frames, and a record of what was left out."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from torch.utils.data import Dataset

from svf_edge.data.sample import Sample
from svf_edge.errors import BadFile, UnsupportedInput

SPLITS: Final = ("train", "val")


class FormatDataset(Dataset[Sample]):
    """A data set read from files. Item i depends on the files and i alone.

    `problems` says what is wrong with the data set without making the other clips useless, such as missing frames;
    `notes` what is left out of a data set in order. A clip whose own files are bad raises BadFile when it is asked for.
    """

    problems: list[str]
    notes: list[str]
    channels: int

    def __init__(self, split: str, frames: int, size: tuple[int, int], stride: int | None, cover: bool = False) -> None:
        if split not in SPLITS:
            raise UnsupportedInput(f"data split '{split}' does not exist; use one of {', '.join(SPLITS)}")
        if frames < 1 or min(size) < 8 or (stride is not None and stride < 1):
            raise UnsupportedInput(
                f"clips need frames >= 1, stride >= 1 and a size of at least 8x8, not frames {frames}, stride "
                f"{stride}, size {size[0]}x{size[1]}"
            )
        self.split, self.frames, self.size, self.stride, self.cover = split, frames, size, stride, cover
        self.problems, self.notes = [], []

    def starts(self, length: int, span: int) -> list[int]:
        """Where clips that span `span` of `length` frames start: every `stride` frames (default: `span`).

        With `cover` a last one ends with the frames, so that none is left out.
        """
        found = list(range(0, length - span + 1, self.stride or span))
        if self.cover and found and found[-1] != length - span:
            found.append(length - span)
        return found

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """Which files, and where in them, clip `index` is made of."""

    def group(self, index: int) -> str:
        """What clip `index` shows, such as its video: clips of one group are not independent of one another."""
        return self.name(index)

    def require_clips(self, where: Path) -> None:
        """Raises BadFile if no clip was found, with what may be why."""
        if not len(self):
            known = self.problems + self.notes
            why = f" ({known[0]}{', ...' if len(known) > 1 else ''})" if known else ""
            raise BadFile(
                f"{where}: no clip of {self.frames} frames for split '{self.split}'{why}; ask for shorter clips or "
                f"`svf-edge data check` the folder"
            )


def runs(indices: Iterable[int], step: int = 1) -> Iterator[list[int]]:
    """Sorted `indices` in pieces in which each is `step` after the one before."""
    run: list[int] = []
    for index in sorted(indices):
        if run and index != run[-1] + step:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def missing_between(pieces: list[list[int]], step: int, limit: int = 5) -> str:
    """Where indices are missing between the `pieces`, in words; "" if they are one."""
    missing = [(before[-1] + step, after[0] - step) for before, after in pairwise(pieces)]
    words = [str(first) if first == last else f"{first} to {last}" for first, last in missing]
    return ", ".join(words[:limit]) + (f" and {len(words) - limit} more gaps" if len(words) > limit else "")


def numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Files of `folder` whose name matches `pattern`, by the number that is its first group. Empty if there is none."""
    if not folder.is_dir():
        return {}
    matcher = re.compile(pattern)
    return {int(match[1]): path for path in folder.iterdir() if (match := matcher.fullmatch(path.name))}
