"""Data sets and video input."""
