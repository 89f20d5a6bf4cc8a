"""What comes with the package: a trained checkpoint, its program and real clips (licences lie beside them)."""

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"

CHECKPOINT = _ASSETS / "models" / "pose-mobile-s.safetensors"
STREAM_CHECKPOINT = _ASSETS / "models" / "pose-mobile-s-stream.safetensors"
"""The same network with causal attention, trained on for streams."""
PROGRAM = _ASSETS / "models" / "pose-mobile-s.program.safetensors"
NARROW_PROGRAM = _ASSETS / "models" / "pose-mobile-s.int4.program.safetensors"
"""With weights of 4 bits, calibrated from the same float network."""
CLIP = _ASSETS / "clips" / "walk.mp4"
REAL_LABELS = _ASSETS / "clips" / "real" / "labels.json"
"""Pseudo-labels of the evaluation clips beside it, in COCO's key point format."""
