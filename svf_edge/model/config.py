"""What a model is made of: a frozen, JSON-able configuration, and the sizes that have names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from svf_edge.errors import UnsupportedInput

Positive = Annotated[int, Field(ge=1)]
SpaceTime = Literal["joint", "causal", "spatial", "factorised", "hierarchical", "none"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PoseHead(_Frozen):
    """2-D joints of every frame by per-axis classification (SimCC, Li et al. 2022)."""

    kind: Literal["pose"] = "pose"
    joints: Positive = 13
    bins: Positive = 64
    """Bins per axis; bin i of an axis stands for the i-th of `bins` equal slices of the frame."""
    maps: Positive = 8
    """Feature maps per joint between the two convolutions."""

    @property
    def axes(self) -> int:
        """Coordinates of a joint."""
        return 2

    @property
    def scores(self) -> int:
        """Channels of the output."""
        return self.joints * self.axes * self.bins


class Pose3dHead(_Frozen):
    """3-D joints of every frame about the middle of the hips, by classification along three axes."""

    kind: Literal["pose3d"] = "pose3d"
    joints: Positive = 13
    bins: Positive = 64
    """Bins per axis (x right, y down, z away): equal slices of -reach to reach."""
    reach: Annotated[float, Field(gt=0)] = 1.25
    """Metres from the middle of the hips to the last bin's end."""
    maps: Positive = 8
    """As of a pose head."""

    @property
    def axes(self) -> int:
        """Coordinates of a joint."""
        return 3

    @property
    def scores(self) -> int:
        """Channels of the output."""
        return self.joints * self.axes * self.bins


class ClassificationHead(_Frozen):
    """Class scores of every frame; the clip's score is their mean over time."""

    kind: Literal["classification"] = "classification"
    classes: Positive = 1000
    pool: Literal["spikes", "membrane"] = "spikes"
    """Whether the mean over space is taken of the last neurons' spikes, or of their input, as the authors do it."""

    @property
    def scores(self) -> int:
        """Channels of the output."""
        return self.classes


class SegmentationHead(_Frozen):
    """A class for every pixel of every frame."""

    kind: Literal["segmentation"] = "segmentation"
    classes: Annotated[int, Field(ge=2, le=255)] = 7
    cell: Positive = 4
    """A position of the features answers for `cell` times `cell` places: channel `(class * cell + y) * cell + x`."""
    width: Positive = 128
    """Channels between the two convolutions."""

    @property
    def scores(self) -> int:
        """Channels of the output."""
        return self.classes * self.cell**2


AnyHead = PoseHead | Pose3dHead | ClassificationHead | SegmentationHead
Head = Annotated[AnyHead, Field(discriminator="kind")]


class ModelConfig(_Frozen):
    """A spiking video transformer for one clip length and frame size.

    `embed` is E0..E3 of the backbone; `conv_blocks` counts the blocks at E0/2, E0 and E1, `transformer_blocks` those
    at E2 and E3; `strides` belong to the five down-sampling convolutions. Heads are `heads` per block, or as many as
    `head_width` gives.
    """

    size: str = "custom"
    embed: tuple[Positive, Positive, Positive, Positive]
    conv_blocks: tuple[int, int, int] = (1, 1, 2)
    transformer_blocks: tuple[int, int] = (6, 2)
    strides: tuple[Positive, Positive, Positive, Positive, Positive] = (2, 2, 2, 2, 1)
    heads: Positive | None = 8
    head_width: Positive | None = None
    conv_ratio: Positive = 4
    mlp_ratio: Positive = 4
    rep_conv: bool | Literal["merged"] = True
    """Whether attention projects by RepConv or by a plain 1x1; "merged" is RepConv as the 3x3 that it amounts to."""

    attention: Literal["hamming", "dot"] = "hamming"
    space_time: SpaceTime = "joint"
    """"causal" looks back over the last `window` frames alone, so that the network can run frame by frame; "none"
    leaves attention out, for comparison."""
    window: Positive = 8
    """Frames that causal attention sees, the present one included."""
    neuron: Literal["lif", "relu"] = "lif"
    """"relu" makes the dense twin, for comparison and as a teacher: it has no integer program."""
    reset: Literal["hard", "soft"] = "hard"
    levels: Positive = 1
    surrogate: Literal["sigmoid", "atan"] = "sigmoid"
    surrogate_width: Annotated[float, Field(gt=0)] = 1.0

    head: Head
    frames: Positive = 4
    frame_size: tuple[Positive, Positive] = (64, 64)
    channels: Positive = 3
    input: Literal["pixels", "events"] = "pixels"
    frame_offset: bool = False
    """The stem also reads a plane of ones: weights that were trained on frames normalised to another middle than
    `zero_point` need it to see what they know beyond the border. Such a stem has its BatchNorm folded."""

    norm_gain: Annotated[float, Field(gt=0)] = 2.0
    """Initial BatchNorm gain ahead of a LIF. At 1 the deep layers of an untrained network stay silent: the first
    membrane is half the input, so a spike needs an input of two standard deviations."""
    fraction_bits: Annotated[int, Field(ge=4, le=12)] = 8

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.heads is None) == (self.head_width is None):
            raise ValueError("give either heads or head_width")
        if self.embed[0] % 2:
            raise ValueError(f"embed[0] = {self.embed[0]} must be even: the stem has half of it")
        if min(self.conv_blocks) < 0 or min(self.transformer_blocks) < 0:
            raise ValueError("a number of blocks is negative")
        for width in self.embed[2:]:
            if width % (self.heads or self.head_width or 1):
                raise ValueError(f"a width of {width} does not divide into heads ({self.heads=}, {self.head_width=})")
        return self

    def heads_at(self, width: int) -> int:
        """Attention heads of a block that is `width` channels wide."""
        return self.heads if self.heads is not None else width // (self.head_width or width)

    @property
    def feature_size(self) -> tuple[int, int]:
        """Height and width of the backbone's output."""
        height, width = self.frame_size
        for stride in self.strides:  # every kernel is odd and padded by half of it
            height, width = (height - 1) // stride + 1, (width - 1) // stride + 1
        return height, width

    @property
    def zero_point(self) -> int:
        """Pixel value that stands for 0."""
        return 128 if self.input == "pixels" else 0

    @property
    def input_exponent(self) -> int:
        """An input integer stands for `(x - zero_point) * 2^-input_exponent`."""
        return 7 if self.input == "pixels" else 0


_MOBILE: Mapping[str, Any] = {
    "heads": None,
    "head_width": 32,
    "conv_blocks": (0, 1, 1),  # E0/2 channels at the finest resolution: half-empty words, a third of the time
    "strides": (2, 2, 2, 1, 1),
    "conv_ratio": 2,
    "mlp_ratio": 2,
    "rep_conv": False,
}

SIZES: Mapping[str, Mapping[str, Any]] = {
    "15M": {"embed": (64, 128, 256, 360)},
    "31M": {"embed": (96, 192, 384, 480)},
    "55M": {"embed": (128, 256, 512, 640)},
    "mobile-s": {**_MOBILE, "embed": (32, 64, 96, 128), "transformer_blocks": (2, 1)},
    "mobile-m": {**_MOBILE, "embed": (64, 96, 160, 224), "transformer_blocks": (3, 1)},
    "tiny": {
        **_MOBILE,
        "embed": (16, 32, 32, 64),
        "head_width": 16,
        "conv_blocks": (0, 1, 0),
        "strides": (2, 2, 2, 2, 1),
        "transformer_blocks": (1, 1),
    },
}
"""Published sizes, the mobile family (channels from E0 on in whole 32-bit words), and `tiny` for quick trials."""


def model_config(size: str, **overrides: Any) -> ModelConfig:
    """The configuration of a named size with `overrides`; `head` defaults to pose.

    Raises `UnsupportedInput` for an unknown size (naming the closest) or values that do not fit together.
    """
    if size not in SIZES:
        close = difflib.get_close_matches(size, SIZES, n=1, cutoff=0.3)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise UnsupportedInput(f"unknown model size '{size}'; {hint}there are {', '.join(SIZES)}")
    return parse_config({"head": {"kind": "pose"}, **SIZES[size], **overrides, "size": size})


def parse_config(entries: Mapping[str, Any]) -> ModelConfig:
    """A `ModelConfig` from JSON-like entries. Raises `UnsupportedInput` naming the first bad entry."""
    try:
        return ModelConfig.model_validate(entries)
    except ValidationError as error:
        raise UnsupportedInput(first_complaint(error, "model configuration")) from error


def first_complaint(error: ValidationError, whole: str) -> str:
    """The first bad entry, a wrong one ahead of a missing one, as a sentence that begins with its place.

    `whole` names the place of what belongs to no single entry.
    """
    first = min(error.errors(), key=lambda entry: entry["type"] == "missing")
    where = ".".join(str(part) for part in first["loc"]) or whole
    got = f" (got {first['input']!r})" if isinstance(first["input"], str | int | float | list | None) else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{got}"
