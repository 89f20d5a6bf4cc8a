"""Pose data: synthetic clips from motion capture, their cache, and frames of real videos."""
