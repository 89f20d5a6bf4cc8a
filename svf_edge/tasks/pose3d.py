"""3-D joints of one person in every frame, about the middle of the hips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from svf_edge.data.sample import Sample
from svf_edge.data.source import Label
from svf_edge.model.config import Pose3dHead
from svf_edge.tasks.bootstrap import Measure
from svf_edge.tasks.decoding import decode3d
from svf_edge.tasks.drawing import draw_skeleton
from svf_edge.tasks.pose import by_joint
from svf_edge.tasks.pose_metrics import HIPS, Values, acceleration_errors, joint_errors, mean_pose, procrustes_align
from svf_edge.tasks.simcc import bin_frequency, bin_loss
from svf_edge.tasks.task import Task, per_clip

NEAR = 0.15
"""Metres within which a joint counts as found (PCK of Mehta et al. 2017)."""


class Pose3dTask(Task):
    """Scores are SimCC bins of three axes, predictions joints `[N, T, 13, 3]` in metres; camera axes.

    Where a person stands is not asked, so joints count whose frame has both hips.
    """

    needs: ClassVar[Label] = "joints3d"
    headline: ClassVar[str] = "pck@150mm"

    @property
    def head(self) -> Pose3dHead:
        """The model's head."""
        assert isinstance(self.config.head, Pose3dHead)
        return self.config.head

    def loss(self, scores: Tensor, clips: Sample) -> Tensor:
        place, counted = self._places(clips)
        return bin_loss(scores, place, counted, self.head.bins, self.sigma)

    def distributions(self, scores: Tensor) -> Tensor:
        return scores.unflatten(-1, (self.head.joints * 3, self.head.bins))

    def frequency(self, clips: Sample) -> Tensor:
        place, counted = self._places(clips)
        return bin_frequency(place, counted, self.head.bins)

    def read(self, scores: NDArray[Any], exponent: int = 0) -> Tensor:
        return torch.from_numpy(decode3d(scores, self.head, exponent))

    def measures(self, predicted: Tensor, clips: Sample, groups: Sequence[int]) -> dict[str, Measure]:
        return {name: per_clip(*values) for name, values in self._values(predicted, clips).items()}

    def parts(self, predicted: Tensor, clips: Sample) -> dict[str, dict[str, float]]:
        return by_joint(self._values(predicted, clips))

    def baselines(self, clips: Sample, known: Sample) -> dict[str, Tensor]:
        """The mean pose about the hips."""
        target, counted = about_hips(known["joints3d"])
        return {"mean pose": mean_pose(target, counted).expand_as(clips["joints3d"]).contiguous()}

    def show(self, axes: Any, predicted: Tensor, clips: Sample, step: int) -> None:
        """Both as they look from the camera, far away, in the middle of the picture."""
        label, counted = about_hips(clips["joints3d"][step])
        height, width = self.size
        middle = torch.tensor([width / 2, height / 2])
        scale = min(self.size) / (2 * self.head.reach)
        draw_skeleton(axes, (label[..., :2] * scale + middle).numpy(), counted.numpy(), label=True)
        draw_skeleton(axes, (predicted[step, :, :2] * scale + middle).numpy())

    def _places(self, clips: Sample) -> tuple[Tensor, Tensor]:
        joints, known = about_hips(clips["joints3d"])
        place = (joints / self.head.reach + 1) * (self.head.bins / 2)
        return place, known & ((place >= 0) & (place < self.head.bins)).all(-1)

    def _values(self, predicted: Tensor, clips: Sample) -> dict[str, Values]:
        target, counted = about_hips(clips["joints3d"])
        predicted, _ = about_hips(predicted)
        errors = joint_errors(predicted, target)
        values: dict[str, Values] = {
            "pck@150mm": ((errors <= NEAR).float(), counted),
            "pel_mpjpe_mm": (1000 * errors, counted),
            "pa_mpjpe_mm": (1000 * joint_errors(procrustes_align(predicted, target, counted), target), counted),
        }
        if target.shape[-3] >= 3:
            jitter, steady = acceleration_errors(predicted, target, counted)
            values["jitter_mm"] = (1000 * jitter, steady)
        return values


def about_hips(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Joints `[..., 13, 3]` about the middle of the hips, 0 where unknown, and which are known `[..., 13]`."""
    hips = joints[..., list(HIPS), :]
    known = joints.isfinite().all(-1) & hips.isfinite().all(-1).all(-1, keepdim=True)
    moved = joints - hips.mean(-2, keepdim=True)
    return moved.where(known[..., None], moved.new_zeros(())), known
