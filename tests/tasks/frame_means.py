"""Metrics of joints in single frames, each as one number."""

from torch import Tensor

from svf_edge.tasks.pose_metrics import frame_values, mean_of


def frame_means(predicted: Tensor, target: Tensor, visible: Tensor) -> dict[str, float]:
    """The means of `frame_values`, which the functions under test give joint by joint."""
    return {name: mean_of(values) for name, values in frame_values(predicted, target, visible.bool()).items()}
