"""Keeps generated pose clips on disk as memory-mapped arrays, so that training need not wait for them."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from svf_edge.data.synthetic import GENERATOR_VERSION, PoseSample, SyntheticPoseDataset
from svf_edge.errors import BadFile
from svf_edge.files import atomic_write

SHARD_CLIPS: Final[int] = 256
_FIELDS: Final[tuple[str, ...]] = ("joints", "visible", "frames")
"""Arrays of a shard in the order they are written: a shard is complete when its frames are there."""


@dataclass(frozen=True)
class _Shard:
    """Clips `first` to `last` (excluded) of a data set, as three .npy files."""

    folder: Path
    first: int
    last: int

    def path(self, field: str) -> Path:
        return self.folder / f"{self.first:07d}-{self.last:07d}.{field}.npy"

    @property
    def complete(self) -> bool:
        return self.path("frames").exists()

    def write(self, source: SyntheticPoseDataset) -> None:
        clips = [source.render(i) for i in range(self.first, self.last)]
        frames, joints, visible = (np.stack(arrays) for arrays in zip(*clips, strict=True))
        arrays = {"frames": frames, "joints": joints, "visible": visible}
        for field in _FIELDS:
            with atomic_write(self.path(field)) as temporary, temporary.open("wb") as file:
                np.save(file, arrays[field], allow_pickle=False)

    def read(self) -> tuple[NDArray[np.generic], ...]:
        arrays = []
        for field in _FIELDS:
            path = self.path(field)
            try:
                arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise BadFile(
                    f"cached training data {path} cannot be read ({error}); delete the file and run again"
                ) from error
        return tuple(arrays)


class CachedPoseDataset(Dataset[PoseSample]):
    """The clips of `source`, rendered once into `directory` and read from there afterwards.

    Every parameter that changes a clip is in the folder's name, so data sets share a directory. Shards that
    an earlier, perhaps interrupted, run completed are kept. `workers` > 1 renders in that many processes.
    Raises BadFile when a shard is damaged.
    """

    def __init__(self, source: SyntheticPoseDataset, directory: str | Path, workers: int = 1) -> None:
        self.source = source
        height, width = source.size
        name = f"{source.split}-v{GENERATOR_VERSION}-T{source.frames}-{height}x{width}-seed{source.seed}"
        self.folder = Path(directory) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._shards = [
            _Shard(self.folder, first, min(first + SHARD_CLIPS, len(source)))
            for first in range(0, len(source), SHARD_CLIPS)
        ]
        self._fill(workers)
        self._arrays = [shard.read() for shard in self._shards]

    def _fill(self, workers: int) -> None:
        missing = [shard for shard in self._shards if not shard.complete]
        if workers <= 1 or len(missing) <= 1:
            for shard in missing:
                shard.write(self.source)
            return
        # spawn: a forked child of a process that has run torch threads can hang
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(missing)), mp_context=context) as pool:
            list(pool.map(_Shard.write, missing, [self.source] * len(missing)))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> PoseSample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        joints, visible, frames = self._arrays[index // SHARD_CLIPS]
        row = index % SHARD_CLIPS
        return PoseSample(
            frames=torch.from_numpy(np.array(frames[row])),
            joints=torch.from_numpy(np.array(joints[row])),
            visible=torch.from_numpy(np.array(visible[row])),
        )
