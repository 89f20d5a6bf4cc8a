"""What training, evaluation and pictures ask of a task; `make_task` gives that of a model's head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from svf_edge.data.sample import Sample
from svf_edge.data.source import DataSource, Label
from svf_edge.errors import UnsupportedInput
from svf_edge.model.config import ModelConfig
from svf_edge.tasks.bootstrap import Measure


class Task(ABC):
    """A task: its loss, its metrics, how scores are read and predictions drawn.

    Scores are `[B, T, K]` or maps `[B, T, K, h, w]` as the model gives them; a prediction is what they stand for, with
    the clip in front. `clips` are stacked samples, every field with B (or N) in front.
    """

    needs: ClassVar[Label]
    """The label that it learns from."""
    headline: ClassVar[str]
    """The metric that stands for the others; more is better."""

    def __init__(self, config: ModelConfig, names: Sequence[str] = (), sigma: float = 1.5) -> None:
        self.config = config
        self.size = config.frame_size
        self.names = tuple(names)
        self.sigma = sigma

    @abstractmethod
    def loss(self, scores: Tensor, clips: Sample) -> Tensor:
        """The mean loss over what is labelled, 0 where nothing is."""

    @abstractmethod
    def distributions(self, scores: Tensor) -> Tensor:
        """Scores as logits `[..., K]` of distributions, every one an answer of its own."""

    @abstractmethod
    def frequency(self, clips: Sample) -> Tensor:
        """How often every answer occurs: what a head may know before it looks, as its `start_from` takes it.

        All zero where nothing is labelled.
        """

    @abstractmethod
    def read(self, scores: NDArray[Any], exponent: int = 0) -> Tensor:
        """Predictions, from scores in units of `2^-exponent` (integers), or floats with exponent 0."""

    @abstractmethod
    def measures(self, predicted: Tensor, clips: Sample, groups: Sequence[int]) -> dict[str, Measure]:
        """Metrics by name. Clips of a group show the same thing."""

    @abstractmethod
    def parts(self, predicted: Tensor, clips: Sample) -> dict[str, dict[str, float]]:
        """Metrics of parts (joints, classes), by name and part."""

    @abstractmethod
    def baselines(self, clips: Sample, known: Sample) -> dict[str, Tensor]:
        """Predictions that look at no frame of `clips`, fitted on the training clips `known`; the plainest first."""

    @abstractmethod
    def show(self, axes: Any, predicted: Tensor, clips: Sample, step: int) -> None:
        """Draw the prediction and the label of frame `step` of one clip (no N in front) onto its picture."""

    def metrics(self, predicted: Tensor, clips: Sample) -> dict[str, float]:
        """The values of `measures`, every clip a group of its own."""
        found = self.measures(predicted, clips, range(len(predicted)))
        return {name: measure.value() for name, measure in found.items()}

    def class_name(self, index: int) -> str:
        """The name of a class, or its number where names are not known."""
        return self.names[index] if index < len(self.names) else f"class {index}"


def require_labels(task: Task, source: DataSource, where: str) -> tuple[str, ...]:
    """The names of the classes that `source` labels; none for joints.

    Raises `UnsupportedInput` where `source` does not label what `task` learns from, or other classes.
    """
    head = task.config.head
    if task.needs not in source.labels:
        raise UnsupportedInput(
            f"{where}: its clips have no label of kind '{task.needs}', which a {head.kind} head learns from; take "
            "another data set, or for rendered clips motions: classes"
        )
    classes = getattr(head, "classes", None)
    if classes is None:
        return ()
    names = source.class_names(task.needs)
    if len(names) != classes:
        raise UnsupportedInput(f"{where}: it has {len(names)} classes, the head has {classes}; set head.classes")
    return names


def per_clip(value: Tensor, counted: Tensor) -> Measure:
    """The mean over all values `[N, ...]` that count."""
    value, counted = (part.reshape(len(part), -1) for part in (value, counted))
    total = value.where(counted, value.new_zeros(())).double().sum(1, keepdim=True)
    return Measure(total.numpy(), counted.sum(1, keepdim=True).double().numpy())
