"""The task of every kind of head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from svf_edge.model.config import ModelConfig
from svf_edge.tasks.classification import ClassificationTask
from svf_edge.tasks.pose import PoseTask
from svf_edge.tasks.pose3d import Pose3dTask
from svf_edge.tasks.segmentation import SegmentationTask
from svf_edge.tasks.task import Task

TASKS: Final[Mapping[str, type[Task]]] = {
    "pose": PoseTask,
    "pose3d": Pose3dTask,
    "classification": ClassificationTask,
    "segmentation": SegmentationTask,
}
"""By the head's `kind`."""


def make_task(config: ModelConfig, names: Sequence[str] = (), sigma: float = 1.5) -> Task:
    """The task of a model; `names` are those of its classes, `sigma` the width of a joint's target in bins."""
    return TASKS[config.head.kind](config, names, sigma)
