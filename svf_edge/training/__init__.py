"""Training with Lightning: float phases on frames and clips, folding and calibration, a quantisation-aware phase.

All phases draw from one stream of clips, so a resumed run goes on with the clips it would have seen.
"""

from __future__ import annotations

from svf_edge.errors import MissingPackage

try:
    import lightning  # noqa: F401
except ImportError as error:
    raise MissingPackage("lightning", "train") from error

from svf_edge.training.clips import dataset
from svf_edge.training.module import TaskTraining
from svf_edge.training.run import start_model, train

__all__ = ["TaskTraining", "dataset", "start_model", "train"]
