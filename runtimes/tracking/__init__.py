"""Real-time pose tracking: `keypoints, scores = tracker(frame)`."""

from svf_edge.runtimes.tracking.tracker import PoseTracker

__all__ = ["PoseTracker"]
