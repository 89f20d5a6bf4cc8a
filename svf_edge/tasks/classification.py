"""What happens in a clip: one of a list of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from svf_edge.data.sample import UNKNOWN_CLASS, Sample
from svf_edge.data.source import Label
from svf_edge.model.config import ClassificationHead
from svf_edge.tasks.bootstrap import Measure
from svf_edge.tasks.decoding import class_shares
from svf_edge.tasks.drawing import draw_text
from svf_edge.tasks.task import Task, per_clip


class ClassificationTask(Task):
    """Scores of every frame are averaged over time; predictions are shares of classes `[N, classes]`.

    Clips of one group are views of one video (other times, other crops). `video_top1` and `video_top5` average their
    shares first, as video networks are tested.
    """

    needs: ClassVar[Label] = "class"
    headline: ClassVar[str] = "top1"

    @property
    def head(self) -> ClassificationHead:
        """The model's head."""
        assert isinstance(self.config.head, ClassificationHead)
        return self.config.head

    def loss(self, scores: Tensor, clips: Sample) -> Tensor:
        """Cross-entropy of the mean scores."""
        label = clips["label"]
        known = (label != UNKNOWN_CLASS).sum().clamp(min=1)
        return F.cross_entropy(scores.mean(1), label, ignore_index=UNKNOWN_CLASS, reduction="sum") / known

    def distributions(self, scores: Tensor) -> Tensor:
        return scores.mean(1)

    def frequency(self, clips: Sample) -> Tensor:
        label = clips["label"]
        return torch.bincount(label[label != UNKNOWN_CLASS], minlength=self.head.classes).float()

    def read(self, scores: NDArray[Any], exponent: int = 0) -> Tensor:
        return torch.from_numpy(class_shares(scores, exponent))

    def measures(self, predicted: Tensor, clips: Sample, groups: Sequence[int]) -> dict[str, Measure]:
        label = clips["label"]
        known = label != UNKNOWN_CLASS
        found = {f"top{k}": per_clip(_within(predicted, label, k), known) for k in (1, 5)}
        first, index = np.unique(np.asarray(groups), return_index=True, return_inverse=True)[1:]
        if len(first) < len(label):
            whole = torch.zeros(len(first), predicted.shape[1]).index_add_(0, torch.from_numpy(index), predicted)
            once = torch.zeros_like(known)
            once[torch.from_numpy(first)] = True
            views = whole[torch.from_numpy(index)]
            found |= {f"video_top{k}": per_clip(_within(views, label, k), known & once) for k in (1, 5)}
        return found

    def parts(self, predicted: Tensor, clips: Sample) -> dict[str, dict[str, float]]:
        label, right = clips["label"], _within(predicted, clips["label"], 1)
        shown = sorted(set(label[label != UNKNOWN_CLASS].tolist()))
        return {"top1": {self.class_name(index): float(right[label == index].mean()) for index in shown}}

    def baselines(self, clips: Sample, known: Sample) -> dict[str, Tensor]:
        """The most frequent classes, and chance: a guess that a seed draws."""
        share = self.frequency(known) / self.frequency(known).sum().clamp(min=1)
        count = len(clips["label"])
        chance = torch.rand(count, self.head.classes, generator=torch.Generator().manual_seed(0))
        return {"most frequent class": share.expand(count, -1).contiguous(), "chance": chance}

    def show(self, axes: Any, predicted: Tensor, clips: Sample, step: int) -> None:
        best = int(predicted.argmax())
        label = int(clips["label"])
        if label != UNKNOWN_CLASS:
            draw_text(axes, self.class_name(label), label=True)
        draw_text(axes, f"{self.class_name(best)} {float(predicted[best]):.0%}")


def _within(predicted: Tensor, label: Tensor, places: int) -> Tensor:
    """1 where the class is among the `places` greatest shares, else 0, `[N]`; of equal shares the first wins."""
    order = predicted.argsort(dim=1, descending=True, stable=True)[:, :places]
    return (order == label[:, None]).any(1).float()
