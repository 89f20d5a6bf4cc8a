"""Training runs as validated configuration files (YAML or JSON)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from svf_edge.errors import BadFile, MissingPackage
from svf_edge.model.config import ModelConfig, model_config

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    seed: int = 0
    workers: Annotated[int, Field(ge=0)] = 1
    threads: Count = 1

    @field_validator("model", mode="before")
    @classmethod
    def _named_size(cls, value: Any) -> Any:
        """A size's name with what differs from it, or every field spelt out (as a finished run records it)."""
        if isinstance(value, dict) and "embed" not in value:
            return model_config(**value)
        return value


def load_train_config(path: str | Path) -> TrainConfig:
    """Read a training configuration. Raises `BadFile` naming the file and the first bad entry."""
    try:
        import yaml
    except ImportError as error:
        raise MissingPackage("pyyaml", "train") from error
    path = Path(path)
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadFile(f"{path}: not a readable YAML file ({error}); see configs/ for examples") from error
    try:
        return TrainConfig.model_validate(entries)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadFile(f"{path}: {where}: {first['msg']} (got {first['input']!r})") from error
