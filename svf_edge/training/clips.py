"""The clips of a run: which ones an epoch draws, and how processes share them."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Dataset, Sampler, Subset

from svf_edge.data.sample import Sample, stack_samples, stretch
from svf_edge.errors import UnsupportedInput
from svf_edge.tasks.registry import make_task
from svf_edge.tasks.task import require_labels
from svf_edge.training_config import TrainConfig


def dataset(split: str, clips: int, config: TrainConfig, chunks: int = 1) -> Dataset[Sample]:
    """`clips` clips of `split` ("train" or "val") that a run's model takes in `chunks` pieces.

    There may be fewer in "val". Raises what the run's data source raises.
    """
    source = config.data if split == "train" else config.validation_source
    return source.open(split, chunks * config.model.frames, config.model.frame_size, config.seed, clips)


def class_names(config: TrainConfig) -> tuple[str, ...]:
    """The names of the classes that a run's model learns; none for joints.

    Raises `UnsupportedInput` where a data source does not label them, or labels others than the head has.
    """
    task = make_task(config.model)
    names = [
        require_labels(task, source, f"{config.name}: {entry}")
        for entry, source in (("data", config.data), ("val_data", config.validation_source))
    ]
    if names[0] != names[1]:
        raise UnsupportedInput(f"{config.name}: data and val_data have other classes; give two splits of one data set")
    return names[0]


def validation_clips(config: TrainConfig) -> Dataset[Sample]:
    """The validation clips of a run, as many for every process."""
    clips = dataset("val", config.validation_clips, config)
    count = len(clips)  # type: ignore[arg-type]
    if count < config.processes:
        raise UnsupportedInput(f"{config.name}: {count} validation clips for {config.processes} processes; add some")
    return clips if count % config.processes == 0 else Subset(clips, range(count - count % config.processes))


def first_clips(config: TrainConfig) -> Sample:
    """The first `calibration_clips` of the training clips as one batch, of the model's length."""
    clips = stack_samples(dataset("train", config.calibration_clips, config, config.stream_chunks))
    return stretch(clips, 0, config.model.frames)


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
