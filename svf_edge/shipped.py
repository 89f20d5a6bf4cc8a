"""What comes with the package: a trained checkpoint and a real clip (licences lie beside them)."""

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"

CHECKPOINT = _ASSETS / "models" / "pose-mobile-s.safetensors"
CLIP = _ASSETS / "clips" / "walk.mp4"
