"""Training runs as validated configuration files (YAML or JSON)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.errors import BadFile, MissingPackage, UnsupportedInput
from svf_edge.model.config import SIZES, ModelConfig, PoseHead, first_complaint, model_config

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Phase(_Frozen):
    """One phase of training. No clip is shown twice: an epoch is as many new clips between two checkpoints."""

    epochs: Count
    clips_per_epoch: Count
    learning_rate: Positive
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps over which the learning rate rises; it then falls to 0 along a cosine."""


class TrainConfig(_Frozen):
    """A run: float training, BatchNorm folding and calibration, quantisation-aware training."""

    name: str
    model: ModelConfig
    float_phase: Phase
    qat_phase: Phase
    batch_size: Count = 32
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    sigma: Positive = 1.5
    """Width of the target around a joint, in bins."""
    rate_target: Annotated[float, Field(gt=0, le=1)] = 0.12
    """Mean spikes (per level) of a layer above which it pays; low rates are what event-driven kernels live on."""
    rate_weight: Annotated[float, Field(ge=0)] = 0.3
    validation_clips: Count = 500
    calibration_clips: Count = 512
    seed: Annotated[int, Field(ge=0, lt=2**32 - 1)] = 0
    workers: Annotated[int, Field(ge=0)] = 1
    threads: Count = 1

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
        if not isinstance(model.head, PoseHead):
            raise ValueError(f"training of a {model.head.kind} head is not supported; use a pose head")
        if model.head.joints != len(JOINT_NAMES):
            raise ValueError(f"head.joints: {model.head.joints}; the training clips have {len(JOINT_NAMES)} joints")
        if model.channels != 3 or model.input != "pixels":
            raise ValueError(
                f"channels: {model.channels} of {model.input}; the training clips have 3 channels of pixels"
            )
        return model


def load_train_config(path: str | Path) -> TrainConfig:
    """Read a training configuration. Raises `BadFile` naming the file and the first bad entry."""
    try:
        import yaml
    except ImportError as error:
        raise MissingPackage("pyyaml", "train") from error
    path = Path(path)
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadFile(f"{path}: not a readable YAML file ({error}); see configs/ for examples") from error
    try:
        return TrainConfig.model_validate(entries)
    except ValidationError as error:
        raise BadFile(f"{path}: {first_complaint(error, 'the file')}") from error
