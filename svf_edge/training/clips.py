"""The clips of a run: which ones an epoch draws, and how processes share them."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Dataset, Sampler

from svf_edge.data.sample import PoseSample
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.training_config import TrainConfig


def dataset(split: str, clips: int, config: TrainConfig, chunks: int = 1) -> Dataset[PoseSample]:
    """`clips` clips of `split` ("train" or "val") that a run's model takes in `chunks` pieces."""
    return SyntheticPoseDataset(split, clips, chunks * config.model.frames, config.model.frame_size, config.seed)


class NewClips(Sampler[int]):
    """Indices of `clips` clips that no other epoch draws, starting at `first`; Lightning calls `set_epoch`.

    Of `world` processes, number `rank` takes every `world`-th: step for step they see together what one would see.
    """

    def __init__(self, clips: int, first: int = 0, rank: int = 0, world: int = 1) -> None:
        assert clips % world == 0
        self.clips, self.first, self.rank, self.world = clips, first, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        start = self.first + self.epoch * self.clips
        return iter(range(start + self.rank, start + self.clips, self.world))

    def __len__(self) -> int:
        return self.clips // self.world
