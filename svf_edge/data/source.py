"""One door to every data set: an entry of a configuration that opens as clips of the asked length and size.

    data: {kind: coco, folder: recordings, annotations: recordings/annotations.json}

Paths are relative to the working directory.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch.utils.data import Dataset, Subset

from svf_edge.data.augment import augment
from svf_edge.data.cache import CachedPoseDataset, render_cache
from svf_edge.data.events import EventCamera, EventClips
from svf_edge.data.formats import cityscapes, kinetics, vspw
from svf_edge.data.formats.clips import SPLITS
from svf_edge.data.formats.coco import CocoDataset
from svf_edge.data.formats.dhp19 import Dhp19Dataset
from svf_edge.data.formats.eventhpe import EventHpeDataset
from svf_edge.data.formats.mmhpsd import TEST_SUBJECTS, MmhpsdDataset
from svf_edge.data.mocap import MOTION_NAMES
from svf_edge.data.person import PART_CLASSES
from svf_edge.data.sample import Sample, stretch
from svf_edge.data.shards import ShardDataset, read_description
from svf_edge.data.synthetic import Motions, SyntheticPoseDataset
from svf_edge.errors import UnsupportedInput
from svf_edge.model.config import first_complaint

Count = Annotated[int, Field(ge=1)]
Input = Literal["pixels", "events"]
Label = Literal["joints", "joints3d", "class", "mask"]
"""Kinds of labels, by the field of a `Sample` ("class" is `label`)."""

_POSES: Final[frozenset[Label]] = frozenset({"joints", "joints3d"})
_RENDERED: Final[frozenset[Label]] = frozenset({"joints", "joints3d", "mask"})
_NAMED: Final[frozenset[Label]] = _RENDERED | {"class"}


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of a frame: what `channels` of a model has to be."""

    @property
    @abstractmethod
    def input(self) -> Input:
        """What `input` of a model has to be."""

    @property
    def labels(self) -> frozenset[Label]:
        """What its clips are labelled with."""
        return _POSES

    def class_names(self, label: Label) -> tuple[str, ...]:
        """The names of the classes of clips or of pixels, in order. Raises what opening the data set raises."""
        raise UnsupportedInput(f"data: the clips have no label of kind '{label}'")

    @abstractmethod
    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        """The clips that are there, each once."""

    def open(
        self, split: str, frames: int, size: tuple[int, int], seed: int = 0, clips: int | None = None
    ) -> Dataset[Sample]:
        """Clips of `frames` frames of `size` (height, width) of split "train" or "val".

        `clips` of them: for training the data set is gone through as often as that takes, each time in another order
        (drawn from `seed`); for validation they are at most those that are there. None: each clip once. Raises
        UnsupportedInput for arguments and BadFile for files that do not fit.
        """
        there = self.clips(split, frames, size, seed)
        if clips is None:
            return there
        if clips < 1:
            raise UnsupportedInput(f"{clips} clips: ask for at least one")
        if split == "train":
            return Passes(there, clips, seed)
        return Subset(there, range(min(clips, len(there))))  # type: ignore[arg-type]


class _Pixels(_Source):
    """A source of RGB frames, which `events` turns into simulated event frames."""

    events: EventCamera | None = None
    """An event camera that looks at the clips. Models then need `input: events` and its number of channels."""

    @property
    def channels(self) -> int:
        return self.events.channels if self.events else 3

    @property
    def input(self) -> Input:
        return "events" if self.events else "pixels"

    def open(
        self, split: str, frames: int, size: tuple[int, int], seed: int = 0, clips: int | None = None
    ) -> Dataset[Sample]:
        if self.events is None:
            return self.varied(super().open(split, frames, size, seed, clips), split, frames, seed)
        shown = self.varied(super().open(split, frames + 1, size, seed, clips), split, frames + 1, seed)
        return EventClips(shown, self.events, seed)

    def varied(self, clips: Dataset[Sample], split: str, frames: int, seed: int) -> Dataset[Sample]:
        """`clips` as they are shown, `frames` of each."""
        return clips


class _Recorded(_Pixels):
    """Pixel clips that are the same every time they are read."""

    vary: bool = True
    """Vary training clips, anew whenever one is shown."""

    def varied(self, clips: Dataset[Sample], split: str, frames: int, seed: int) -> Dataset[Sample]:
        if self.vary and split == "train":
            return Varied(clips, frames, seed)
        return Shortened(clips, frames)


class SyntheticSource(_Pixels):
    """Rendered clips; `open(clips=...)` draws as many new ones and repeats none."""

    kind: Literal["synthetic"] = "synthetic"
    length: Count = 1000
    """Clips where nobody asks for a number."""
    motions: Motions = "split"
    """split: validation plays motions that training never shows. classes: both play all of them, under their names."""

    @property
    def labels(self) -> frozenset[Label]:
        return _NAMED if self.motions == "classes" else _RENDERED

    def class_names(self, label: Label) -> tuple[str, ...]:
        return _rendered_classes(label)

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        return SyntheticPoseDataset(split, self.length, frames, size, seed, self.motions)

    def open(
        self, split: str, frames: int, size: tuple[int, int], seed: int = 0, clips: int | None = None
    ) -> Dataset[Sample]:
        if clips is None or clips == self.length:
            return super().open(split, frames, size, seed)
        return self.model_copy(update={"length": clips}).open(split, frames, size, seed)


class CachedSource(_Recorded):
    """Clips rendered once, in `folder/train` and `folder/val` (`svf_edge.data.cache`)."""

    kind: Literal["cached"]
    folder: Path
    length: Count | None = None
    """Clips of a split that are rendered where they are missing, from the seed they are opened with. One process at a
    time may do that. None: what is there is taken."""
    frames: Count = 4
    """Frames of a clip that is rendered; who opens it may ask for fewer."""
    motions: Motions = "split"
    """As of rendered clips."""

    @property
    def labels(self) -> frozenset[Label]:
        return _NAMED if self.motions == "classes" else _RENDERED

    def class_names(self, label: Label) -> tuple[str, ...]:
        return _rendered_classes(label)

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        _require_split(split)
        folder = self.folder / split
        if self.length is not None:
            if frames > self.frames:
                raise UnsupportedInput(
                    f"data: frames: clips of {self.frames} are rendered into {self.folder} and {frames} are asked for; "
                    f"set frames to {frames} or more"
                )
            asked = SyntheticPoseDataset(split, self.length, self.frames, size, seed, self.motions)
            render_cache(folder, asked, processes=len(os.sched_getaffinity(0)))
        data = CachedPoseDataset(folder)
        held = data.identity
        if (held.split, (held.height, held.width), held.motions) != (split, size, self.motions) or held.frames < frames:
            raise UnsupportedInput(
                f"{folder}: holds clips of split '{held.split}' of {held.frames} frames of {held.height}x{held.width}, "
                f"motions '{held.motions}', and split '{split}' of {frames} frames of {size[0]}x{size[1]}, motions "
                f"'{self.motions}', is asked for; render those"
            )
        return data


class ShardSource(_Recorded):
    """Clips of any other source that `svf-edge data shard` cut into tar files (`svf_edge.data.shards`)."""

    kind: Literal["shards"]
    folder: Path

    @property
    def labels(self) -> frozenset[Label]:
        return parse_source(read_description(self.folder).source).labels

    def class_names(self, label: Label) -> tuple[str, ...]:
        return parse_source(read_description(self.folder).source).class_names(label)

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        data = ShardDataset(self.folder, split)
        held = data.description
        if (held.height, held.width) != size or held.frames < frames:
            raise UnsupportedInput(
                f"{self.folder}: holds clips of {held.frames} frames of {held.height}x{held.width}, and {frames} of "
                f"{size[0]}x{size[1]} are asked for; cut shards of those"
            )
        return data


class CocoSource(_Recorded):
    """Your own videos or images with key points in COCO's JSON; the options are those of `CocoDataset`."""

    kind: Literal["coco"]
    folder: Path
    annotations: Path
    val_annotations: Path | None = None
    """Annotations of the validation split. None: `val_share` of the videos in `annotations`."""
    val_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    stride: Count | None = None
    cover: bool = False
    """Let the last clip of a sequence overlap the one before, so that no frame is left out."""
    step: Count = 1
    margin: Annotated[float, Field(ge=0)] = 0.15

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        annotations, share = self.annotations, self.val_share
        if self.val_annotations is not None:
            annotations, share = (self.val_annotations, 1.0) if split == "val" else (annotations, 0.0)
        return CocoDataset(
            self.folder,
            annotations,
            split,
            frames,
            size,
            stride=self.stride,
            cover=self.cover,
            step=self.step,
            margin=self.margin,
            val_share=share,
        )


class _Events(_Source):
    folder: Path
    gaps: tuple[Count, ...] | None = None
    """Event frames that are made one. None: 1, 2 and 3 in training, 2 in validation, as the authors do."""
    stride: Count | None = None
    cover: bool = False
    """Let the last clip of a sequence overlap the one before, so that no frame is left out."""
    mirror: bool = False
    """Add every training clip mirrored."""
    test_subjects: frozenset[str] = TEST_SUBJECTS


class MmhpsdSource(_Events):
    """MMHPSD or SynEventHPD, or with `event_folder` and `image_folder` another set in its layout.

    The options are those of `MmhpsdDataset`.
    """

    kind: Literal["mmhpsd"]
    modality: Literal["events", "synthesis", "grey"] = "events"
    """What training clips are made of; validation clips are recorded events where this is "synthesis"."""
    bit_order: Literal["big", "little"] = "big"
    event_folder: str = "mmhpsd_events"
    image_folder: str = "mmhpsd_grayscale_img"

    @property
    def channels(self) -> int:
        return 3 if self.modality == "grey" else 4

    @property
    def input(self) -> Input:
        return "pixels" if self.modality == "grey" else "events"

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        return MmhpsdDataset(
            self.folder,
            split,
            frames,
            size,
            modality="events" if (self.modality, split) == ("synthesis", "val") else self.modality,
            gaps=self.gaps,
            stride=self.stride,
            cover=self.cover,
            mirror=self.mirror and split == "train",
            bit_order=self.bit_order,
            test_subjects=self.test_subjects,
            event_folder=self.event_folder,
            image_folder=self.image_folder,
        )


class EventHpeSource(_Events):
    """EventHPE's PNG files with converted poses; see `EventHpeDataset`."""

    kind: Literal["eventhpe"]

    @property
    def channels(self) -> int:
        return 4

    @property
    def input(self) -> Input:
        return "events"

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        return EventHpeDataset(
            self.folder,
            split,
            frames,
            size,
            gaps=self.gaps,
            stride=self.stride,
            cover=self.cover,
            mirror=self.mirror and split == "train",
            test_subjects=self.test_subjects,
        )


class Dhp19Source(_Source):
    """DHP19 seen by one camera; see `Dhp19Dataset`."""

    kind: Literal["dhp19"]
    folder: Path
    camera: Annotated[int, Field(ge=0, le=3)] = 2
    projection: Path | None = None
    stride: Count | None = None
    cover: bool = False
    """Let the last clip of a sequence overlap the one before, so that no frame is left out."""

    @property
    def channels(self) -> int:
        return 1

    @property
    def input(self) -> Input:
        return "events"

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        return Dhp19Dataset(
            self.folder,
            split,
            frames,
            size,
            camera=self.camera,
            projection=self.projection,
            stride=self.stride,
            cover=self.cover,
        )


class KineticsSource(_Recorded):
    """Kinetics, or other videos of one class each in its layout; see `KineticsDataset`."""

    kind: Literal["kinetics"]
    folder: Path
    step: Count = 1
    train_views: Count = 4
    """Places of a video that training clips are cut at."""
    views: Count = 1
    """The same of validation clips; a video's score is the mean over its views."""
    crops: Literal[1, 3] = 1
    """Squares side by side that every view of a validation clip is seen through."""

    @property
    def labels(self) -> frozenset[Label]:
        return frozenset({"class"})

    def class_names(self, label: Label) -> tuple[str, ...]:
        return kinetics.class_names(self.folder)

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        views, crops = (self.train_views, 1) if split == "train" else (self.views, self.crops)
        return kinetics.KineticsDataset(self.folder, split, frames, size, step=self.step, views=views, crops=crops)


class CityscapesSource(_Recorded):
    """CityScapes sequences; see `CityscapesDataset`."""

    kind: Literal["cityscapes"]
    folder: Path
    step: Count = 1

    @property
    def labels(self) -> frozenset[Label]:
        return frozenset({"mask"})

    def class_names(self, label: Label) -> tuple[str, ...]:
        return tuple(cityscapes.CLASSES)

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        return cityscapes.CityscapesDataset(self.folder, split, frames, size, step=self.step)


class VspwSource(_Recorded):
    """VSPW, or other videos with masks in its layout; see `VspwDataset`."""

    kind: Literal["vspw"]
    folder: Path
    step: Count = 1
    stride: Count | None = None
    cover: bool = False
    """Let the last clip of a video overlap the one before, so that no frame is left out."""

    @property
    def labels(self) -> frozenset[Label]:
        return frozenset({"mask"})

    def class_names(self, label: Label) -> tuple[str, ...]:
        return tuple(f"class {number}" for number in range(1, vspw.CLASSES + 1))

    def clips(self, split: str, frames: int, size: tuple[int, int], seed: int) -> Dataset[Sample]:
        return vspw.VspwDataset(self.folder, split, frames, size, stride=self.stride, step=self.step, cover=self.cover)


DataSource = Annotated[
    SyntheticSource
    | CachedSource
    | ShardSource
    | CocoSource
    | MmhpsdSource
    | EventHpeSource
    | Dhp19Source
    | KineticsSource
    | CityscapesSource
    | VspwSource,
    Field(discriminator="kind"),
]
"""A data set by its `kind` and options; a field of this type takes `{kind: coco, folder: ...}`."""

KINDS: Final = (
    "synthetic",
    "cached",
    "shards",
    "coco",
    "mmhpsd",
    "eventhpe",
    "dhp19",
    "kinetics",
    "cityscapes",
    "vspw",
)

_ADAPTER: Final[TypeAdapter[Any]] = TypeAdapter(DataSource)


def parse_source(entries: Mapping[str, Any]) -> DataSource:
    """A data source from JSON-like entries. Raises UnsupportedInput naming the first bad entry."""
    try:
        source: DataSource = _ADAPTER.validate_python(dict(entries))
    except ValidationError as error:
        raise UnsupportedInput(f"data: {first_complaint(error, 'kind')}") from error
    return source


class Passes(Dataset[Sample]):
    """`length` clips: all of `clips` again and again, each time in another order that `seed` and the pass decide."""

    def __init__(self, clips: Dataset[Sample], length: int, seed: int) -> None:
        self.clips, self.length, self.seed = clips, length, seed
        self.there = len(clips)  # type: ignore[arg-type]
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        turn, place = divmod(index, self.there)
        if self._order is None or self._order[0] != turn:
            self._order = turn, np.random.default_rng([self.seed, turn]).permutation(self.there)
        return self.clips[int(self._order[1][place])]


class Varied(Dataset[Sample]):
    """A random variation of `frames` successive frames of every clip, which (`seed`, item) decide."""

    def __init__(self, clips: Dataset[Sample], frames: int, seed: int) -> None:
        self.clips, self.frames, self.seed = clips, frames, seed

    def __len__(self) -> int:
        return len(self.clips)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        clip = self.clips[index]
        spare = len(clip["frames"]) - self.frames
        begin = int(rng.integers(spare + 1)) if spare else 0
        return augment(stretch(clip, begin, begin + self.frames), rng)


class Shortened(Dataset[Sample]):
    """The first `frames` frames of every clip."""

    def __init__(self, clips: Dataset[Sample], frames: int) -> None:
        self.clips, self.frames = clips, frames

    def __len__(self) -> int:
        return len(self.clips)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        return stretch(self.clips[index], 0, self.frames)


def _rendered_classes(label: Label) -> tuple[str, ...]:
    return MOTION_NAMES if label == "class" else PART_CLASSES


def _require_split(split: str) -> None:
    if split not in SPLITS:
        raise UnsupportedInput(f"data split '{split}' does not exist; use one of {', '.join(SPLITS)}")
