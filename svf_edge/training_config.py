"""Training runs as validated configurations: YAML or JSON files, and the recipes in the package."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.data.source import DataSource, SyntheticSource
from svf_edge.errors import BadFile, MissingPackage, UnsupportedInput
from svf_edge.model.config import SIZES, ModelConfig, Pose3dHead, PoseHead, first_complaint, model_config

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
PhaseName = Literal["dense", "image", "float", "qat"]

MACHINE: Final = frozenset({"accelerator", "devices", "num_nodes", "strategy", "workers", "threads", "pictures"})
"""Entries that say where a run computes, not what. A run may go on with others."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Phase(_Frozen):
    """One phase of training. An epoch is as many further clips between two checkpoints, rendered ones never twice."""

    epochs: Count
    clips_per_epoch: Count
    learning_rate: Positive
    warmup: Share = 0.05
    """Share of the steps over which the learning rate rises; it then falls to 0 along a cosine."""
    rate_weight: Annotated[float, Field(ge=0)] | None = None
    """In this phase, in place of the run's `rate_weight`."""


class Distillation(_Frozen):
    """Learning from another checkpoint's score distributions (Hinton et al. 2015)."""

    teacher: Path
    """A checkpoint (float or quantised) of the same task for the same frames: same joints and bins, or classes."""
    weight: Positive = 1.0
    temperature: Positive = 2.0


class TrainConfig(_Frozen):
    """A run: float training, BatchNorm folding and calibration, quantisation-aware training."""

    name: str
    model: ModelConfig
    dense_phase: Phase | None = None
    """Float training of the dense twin on single frames, whose weights the spiking network then starts from: a ReLU
    passes every gradient that a surrogate blurs."""
    image_phase: Phase | None = None
    """Float training ahead of the float phase, on single frames: as much work on four times as many different pictures
    as on clips of four frames, which hardly differ."""
    float_phase: Phase
    qat_phase: Phase
    initial: Path | None = None
    """A checkpoint of the same layers, whose weights the run starts from; with another head, a backbone to train a new
    head on. A quantised one is unfolded first."""
    data: DataSource = SyntheticSource()
    """Where training clips come from (`svf_edge.data.source`)."""
    val_data: DataSource | None = None
    """Where validation clips come from. None: the validation split of `data`."""
    batch_size: Count = 32
    """Clips of a step, over all devices together; in the image phase frames, `model.frames` times as many."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """muon: orthogonalised updates for convolutions (`training.optimisers`), AdamW for the rest."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    sigma: Positive = 1.5
    """Width of the target around a joint, in bins."""
    rate_target: Rate = 0.12
    """Mean spikes (per level) above which firing costs; low rates are what event-driven kernels live on."""
    rate_scope: Literal["layer", "network"] = "layer"
    """Whether `rate_target` is for every layer, or for the mean over the layers that `rate_layers` leaves."""
    rate_layers: Mapping[str, Rate] = {}
    """Own targets for layers by pattern of their module path, such as `backbone.0.*`; the first match counts."""
    rate_weight: Annotated[float, Field(ge=0)] = 0.3
    rate_warmup: Share = 0.0
    """Share of the float phase over which `rate_weight` rises from 0."""
    distillation: Distillation | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of an average of the weights, which is then what is validated and kept. None: no average."""
    stream_chunks: Count = 1
    """Clips of this many times `model.frames` are trained on chunk by chunk, the state of a stream carried over."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the float phase. The quantised network is exact, and trained, in float32 only."""
    fused_neurons: bool = False
    """Compile the neurons (`model.neurons.fused_neurons`): half a minute once, then a third less time a step."""
    weight_bits: Mapping[str, Literal[8, 4, 2]] = {}
    """Bits of weights by pattern of module path (`quant.expand_weight_bits`); the first match counts, 8 elsewhere."""
    sync_batchnorm: bool = False
    """Whether batch statistics are taken over all devices."""
    validation_clips: Count = 500
    """As many as there are, where there are fewer."""
    calibration_clips: Count = 512
    seed: Annotated[int, Field(ge=0, lt=2**32 - 1)] = 0

    accelerator: str = "auto"
    devices: Count = 1
    num_nodes: Count = 1
    strategy: str = "auto"
    """Lightning's name of how devices work together, such as `ddp`."""
    workers: Annotated[int, Field(ge=0)] = 1
    threads: Count = 1
    pictures: bool = True
    """Whether curves, rates and examples are drawn as it goes (by matplotlib, where it is installed)."""

    def on_images(self) -> TrainConfig:
        """The configuration of the image phase: clips of one frame, as many frames in a step."""
        steps = self.model.frames
        return self.model_copy(
            update={
                "model": self.model.model_copy(update={"frames": 1}),
                "batch_size": self.batch_size * steps,
                "stream_chunks": 1,
            }
        )

    def as_dense(self) -> TrainConfig:
        """The configuration of the dense phase: that of the image phase, for the dense twin."""
        images = self.on_images()
        return images.model_copy(update={"model": images.model.model_copy(update={"neuron": "relu"})})

    @property
    def phases(self) -> dict[PhaseName, Phase]:
        """The phases that the run has, in order."""
        given: dict[PhaseName, Phase | None] = {
            "dense": self.dense_phase,
            "image": self.image_phase,
            "float": self.float_phase,
            "qat": self.qat_phase,
        }
        return {name: phase for name, phase in given.items() if phase is not None}

    def first_clip(self, name: PhaseName) -> int:
        """Where a phase begins in the stream of training clips: behind those of the phases before."""
        before = list(self.phases)[: list(self.phases).index(name)]
        return sum(self.phases[other].epochs * self.phases[other].clips_per_epoch for other in before)

    @property
    def validation_source(self) -> DataSource:
        """Where validation clips come from."""
        return self.val_data if self.val_data is not None else self.data

    @property
    def processes(self) -> int:
        """Training processes on all nodes."""
        return self.devices * self.num_nodes

    @field_validator("model", mode="before")
    @classmethod
    def _named_size(cls, value: Any) -> Any:
        """A size's name with what differs from it, or every field spelt out (as a finished run records it)."""
        if not isinstance(value, dict) or "embed" in value:
            return value
        size = value.get("size")
        if not isinstance(size, str):
            raise ValueError(f"size: give the name of a size ({', '.join(SIZES)}), not {size!r}")
        try:
            return model_config(**{str(key): entry for key, entry in value.items()})
        except UnsupportedInput as error:
            raise ValueError(str(error)) from error

    @field_validator("model")
    @classmethod
    def _trainable(cls, model: ModelConfig) -> ModelConfig:
        """What the training clips ask of a model."""
        if isinstance(model.head, PoseHead | Pose3dHead) and model.head.joints != len(JOINT_NAMES):
            raise ValueError(f"head.joints: {model.head.joints}; the training clips have {len(JOINT_NAMES)} joints")
        return model

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        """The model takes what the data sets give."""
        for name, source in (("data", self.data), ("val_data", self.validation_source)):
            have, want = (self.model.channels, self.model.input), (source.channels, source.input)
            if have != want:
                raise ValueError(
                    f"model: channels: {have[0]} of {have[1]}; the clips of {name} have {want[0]} channels of {want[1]}"
                )
        return self

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        """Every process takes the same number of clips, or one would wait for the others for ever."""
        counts = {
            "batch_size": self.batch_size,
            **{f"{name}_phase.clips_per_epoch": phase.clips_per_epoch for name, phase in self.phases.items()},
            "validation_clips": self.validation_clips,
        }
        for name, count in counts.items():
            if count % self.processes:
                raise ValueError(f"{name}: {count} does not divide among {self.processes} processes")
        return self

    def same_run(self, other: TrainConfig) -> bool:
        """Whether both give the same model, wherever they compute."""
        return self.model_dump(exclude=set(MACHINE)) == other.model_dump(exclude=set(MACHINE))


def recipes() -> dict[str, Path]:
    """The configurations in the package, by name."""
    folder = Path(str(resources.files("svf_edge").joinpath("assets/recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipe_path(name: str) -> Path:
    """The file of a recipe. Raises `UnsupportedInput` naming the closest."""
    found = recipes()
    if name not in found:
        close = difflib.get_close_matches(name, found, n=1, cutoff=0.3)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise UnsupportedInput(f"unknown recipe '{name}'; {hint}there are {', '.join(found)}")
    return found[name]


def recipe_summary(path: Path) -> str:
    """What the comment at the top of a recipe says."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line.lstrip("# ") for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")]]
    return " ".join(comment)


def load_train_config(path: str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a training configuration; `overrides` are `key=value` with dots into sections and YAML values.

    Raises `BadFile` naming the file and the first bad entry, `UnsupportedInput` naming an override that cannot be read.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingPackage("pyyaml", "train") from error
    path = Path(path)
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadFile(
            f"{path}: not a readable YAML file ({error}); `svf-edge train --list-recipes` names examples"
        ) from error
    changed = [_override(entries, override) for override in overrides]
    try:
        return TrainConfig.model_validate(entries)
    except ValidationError as error:
        where = f"{path} with --set {', '.join(changed)}" if changed else str(path)
        raise BadFile(f"{where}: {first_complaint(error, 'the file')}") from error


def _override(entries: Any, override: str) -> str:
    """Set one `key=value` in `entries`, in place; returns the override."""
    import yaml

    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    for section in sections:
        entries = entries.setdefault(section, {}) if isinstance(entries, dict) else None
    if not equals or not last or not isinstance(entries, dict):
        raise UnsupportedInput(f"--set {override}: write key=value, such as float_phase.epochs=10 or model.levels=4")
    try:
        entries[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UnsupportedInput(f"--set {override}: {text!r} is not a YAML value") from error
    return override
