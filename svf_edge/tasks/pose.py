"""2-D joints of one person in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from svf_edge.data.sample import Sample
from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.data.source import Label
from svf_edge.model.config import PoseHead
from svf_edge.tasks.bootstrap import Measure
from svf_edge.tasks.decoding import decode
from svf_edge.tasks.drawing import draw_skeleton
from svf_edge.tasks.pose_metrics import Values, clip_values, from_box, mean_of, mean_pose, to_box
from svf_edge.tasks.simcc import bin_frequency, bin_loss
from svf_edge.tasks.task import Task, per_clip


class PoseTask(Task):
    """Scores are SimCC bins, predictions joints `[N, T, 13, 2]` in pixels."""

    needs: ClassVar[Label] = "joints"
    headline: ClassVar[str] = "pck@0.2"

    @property
    def head(self) -> PoseHead:
        """The model's head."""
        assert isinstance(self.config.head, PoseHead)
        return self.config.head

    def loss(self, scores: Tensor, clips: Sample) -> Tensor:
        """SimCC cross-entropy over the joints inside the frame."""
        place, counted = self._places(clips)
        return bin_loss(scores, place, counted, self.head.bins, self.sigma)

    def distributions(self, scores: Tensor) -> Tensor:
        return scores.unflatten(-1, (self.head.joints * 2, self.head.bins))

    def frequency(self, clips: Sample) -> Tensor:
        place, counted = self._places(clips)
        return bin_frequency(place, counted, self.head.bins)

    def read(self, scores: NDArray[Any], exponent: int = 0) -> Tensor:
        return torch.from_numpy(decode(scores, self.head, self.size, exponent).points)

    def measures(self, predicted: Tensor, clips: Sample, groups: Sequence[int]) -> dict[str, Measure]:
        return {name: per_clip(*values) for name, values in self._values(predicted, clips).items()}

    def parts(self, predicted: Tensor, clips: Sample) -> dict[str, dict[str, float]]:
        return by_joint(self._values(predicted, clips))

    def baselines(self, clips: Sample, known: Sample) -> dict[str, Tensor]:
        """The mean pose in the frame, scaled with it, and the mean pose within the person's box.

        The second is put into the box that the labels themselves have: it is told where and how large the person is,
        which no model is.
        """
        target, visible = clips["joints"], clips["visible"].bool()
        frame, here = (_frame_size(sample) for sample in (known, clips))
        placed = mean_pose(known["joints"] / frame, known["visible"].bool()) * here
        boxed = mean_pose(to_box(known["joints"], known["visible"].bool()), known["visible"].bool())
        return {
            "mean pose": placed.expand_as(target).contiguous(),
            "mean pose in the labelled box": from_box(boxed, target, visible),
        }

    def show(self, axes: Any, predicted: Tensor, clips: Sample, step: int) -> None:
        labels, visible = clips["joints"][step].numpy(), clips["visible"][step].bool().numpy()
        draw_skeleton(axes, labels, visible, label=True)
        draw_skeleton(axes, predicted[step].numpy())

    def _places(self, clips: Sample) -> tuple[Tensor, Tensor]:
        """Joints in bins, and which of them lie inside the frame."""
        joints = clips["joints"].nan_to_num(-1.0)  # unknown ones lie outside
        limit = joints.new_tensor([self.size[1], self.size[0]])
        return joints * self.head.bins / limit, ((joints >= 0) & (joints < limit)).all(-1)

    def _values(self, predicted: Tensor, clips: Sample) -> dict[str, Values]:
        return clip_values(predicted, clips["joints"], clips["visible"].bool())


def by_joint(values: dict[str, Values]) -> dict[str, dict[str, float]]:
    """Means by metric and joint."""
    return {
        name: {joint: mean_of((value[..., i], counted[..., i])) for i, joint in enumerate(JOINT_NAMES)}
        for name, (value, counted) in values.items()
    }


def _frame_size(clips: Sample) -> Tensor:
    height, width = clips["frames"].shape[-2:]
    return torch.tensor([width, height], dtype=torch.float32)
