"""A class for every pixel of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from svf_edge.data.sample import UNKNOWN_PIXEL, Sample
from svf_edge.data.source import Label
from svf_edge.model.config import SegmentationHead
from svf_edge.tasks.bootstrap import Measure
from svf_edge.tasks.decoding import label_map
from svf_edge.tasks.drawing import draw_mask
from svf_edge.tasks.task import Task, per_clip


class SegmentationTask(Task):
    """Scores are maps `[B, T, classes * cell^2, h, w]`, predictions classes uint8 `[N, T, H, W]`."""

    needs: ClassVar[Label] = "mask"
    headline: ClassVar[str] = "miou"

    @property
    def head(self) -> SegmentationHead:
        """The model's head."""
        assert isinstance(self.config.head, SegmentationHead)
        return self.config.head

    def loss(self, scores: Tensor, clips: Sample) -> Tensor:
        """Cross-entropy over labelled places, and one minus the soft intersection over union of the classes there.

        The second is what is measured, made smooth: it weighs a class that covers few pixels like any other.
        """
        logits = self.distributions(scores).movedim(-1, 0).flatten(1)
        label = self._labels(clips, scores).flatten()
        known = label != UNKNOWN_PIXEL
        if not known.any():
            return scores.sum() * 0
        logits, label = logits[:, known], label[known]
        entropy = F.cross_entropy(logits.T, label)
        share, truth = logits.softmax(0), F.one_hot(label, self.head.classes).T
        both = (share * truth).sum(1)
        overlap = both / (share.sum(1) + truth.sum(1) - both).clamp(min=1e-6)
        return entropy + 1 - overlap[truth.any(1)].mean()

    def distributions(self, scores: Tensor) -> Tensor:
        """One for every place: `[B, T, h * cell, w * cell, classes]`."""
        return F.pixel_shuffle(scores, self.head.cell).movedim(-3, -1)

    def frequency(self, clips: Sample) -> Tensor:
        mask = clips["mask"]
        return torch.bincount(mask[mask != UNKNOWN_PIXEL].long(), minlength=self.head.classes).float()

    def read(self, scores: NDArray[Any], exponent: int = 0) -> Tensor:
        return torch.from_numpy(label_map(scores, self.head, self.size))

    def measures(self, predicted: Tensor, clips: Sample, groups: Sequence[int]) -> dict[str, Measure]:
        mask = clips["mask"]
        known = mask != UNKNOWN_PIXEL
        right = (predicted == mask) & known
        found = {"miou": self._overlap(predicted, mask), "pixel_accuracy": per_clip(right.float(), known)}
        steps = mask.shape[1]
        if steps > 1:  # video consistency (Miao et al. 2021) over the whole clip: where the label stays, it is right
            still = known.all(1) & (mask == mask[:, :1]).all(1)
            found[f"vc{steps}"] = per_clip(right.all(1).float(), still)
        return found

    def parts(self, predicted: Tensor, clips: Sample) -> dict[str, dict[str, float]]:
        overlap = self._overlap(predicted, clips["mask"])
        total, count = overlap.total.sum(0), overlap.count.sum(0)
        return {
            "iou": {self.class_name(i): float(total[i] / count[i]) for i in range(self.head.classes) if count[i] > 0}
        }

    def baselines(self, clips: Sample, known: Sample) -> dict[str, Tensor]:
        """The most frequent class everywhere, and the most frequent one of every place in the frame."""
        shape = clips["mask"].shape
        common = self.frequency(known).argmax().to(torch.uint8)
        votes = torch.stack([(known["mask"] == index).flatten(0, 1).sum(0) for index in range(self.head.classes)])
        place = votes.argmax(0).to(torch.uint8)
        return {
            "most frequent class": common.expand(shape).contiguous(),
            "most frequent class of a place": place.expand(shape).contiguous(),
        }

    def show(self, axes: Any, predicted: Tensor, clips: Sample, step: int) -> None:
        draw_mask(axes, clips["mask"][step].numpy(), label=True)
        draw_mask(axes, predicted[step].numpy())

    def _labels(self, clips: Sample, scores: Tensor) -> Tensor:
        """The classes int64 `[B, T, h * cell, w * cell]` in the middle of every place that is answered for."""
        mask, cell = clips["mask"], self.head.cell
        rows, columns = (
            (2 * torch.arange(size * cell, device=mask.device) + 1) * have // (2 * size * cell)
            for size, have in zip(scores.shape[-2:], mask.shape[-2:], strict=True)
        )
        return mask[..., rows[:, None], columns].long()

    def _overlap(self, predicted: Tensor, mask: Tensor) -> Measure:
        """Intersections and unions `[N, classes]`."""
        classes = self.head.classes
        known = mask != UNKNOWN_PIXEL
        place = torch.arange(len(mask)).view(-1, 1, 1, 1).expand(mask.shape)
        pairs = (place * classes + mask.long()) * classes + predicted.long()
        counts = torch.bincount(pairs[known], minlength=len(mask) * classes**2).view(-1, classes, classes).double()
        both = counts.diagonal(dim1=1, dim2=2)
        return Measure(both.numpy(), (counts.sum(1) + counts.sum(2) - both).numpy())
