"""Makes svf_edge/assets/backgrounds from the panoramas of npm's @pmndrs/assets and textures of scikit-image.

Usage: pip install OpenEXR; npm pack @pmndrs/assets@1.7.0 and unpack it; pip download --no-deps scikit-image==0.26.0
and unzip the wheel; then
    python tools/make_background_assets.py <npm package>/hdri <wheel>/skimage/data svf_edge/assets/backgrounds

Panoramas are high dynamic range: they are exposed for the median of their middle band, compressed and stored as
JPEG. Textures are grey and halved in size.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import OpenEXR  # type: ignore[import-not-found]
from PIL import Image

from svf_edge.files import atomic_write

LEFT_OUT = {"sky", "studio"}  # no ground to stand on; mostly lamps
TEXTURES = ("brick", "grass", "gravel")
QUALITY = 78


def panorama(module: Path) -> np.ndarray:
    """The equirectangular image uint8 [H, W, 3] that a JavaScript `module` carries."""
    found = re.search(r"base64,([A-Za-z0-9+/=]+)", module.read_text())
    if found is None:
        raise SystemExit(f"{module}: carries no base64 data")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panorama.exr"
        path.write_bytes(base64.b64decode(found.group(1)))
        with OpenEXR.File(str(path)) as file:
            light = file.channels()["RGB"].pixels.astype(np.float32)
    height = len(light)
    # Lossy compression rings below zero around lamps; such values take the brightest of their neighbourhood.
    around = np.pad(light, ((2, 2), (2, 2), (0, 0)), mode="edge")
    brightest = np.lib.stride_tricks.sliding_window_view(around, (5, 5), axis=(0, 1)).max(axis=(-2, -1))
    rings = (light < 0.02 * brightest) & (brightest > 20 * np.median(light))
    light = np.maximum(np.where(rings | (light < 0), brightest, light), 0)
    middle = light[height // 4 : 3 * height // 4].mean(axis=-1)
    light *= 0.35 / np.median(middle)
    shown = np.clip(1.1 * light / (1 + 0.35 * light), 0, 1) ** (1 / 2.2)
    return np.asarray(shown * 255, dtype=np.uint8)


def save(image: Image.Image, path: Path) -> None:
    with atomic_write(path) as temporary:
        image.save(temporary, format="JPEG", quality=QUALITY, optimize=True)


def main(panoramas: Path, textures: Path, target: Path) -> None:
    for module in sorted(panoramas.glob("*.exr.js")):
        name = module.name.removesuffix(".exr.js")
        if name not in LEFT_OUT:
            save(Image.fromarray(panorama(module)), target / f"panorama_{name}.jpg")
    for name in TEXTURES:
        with Image.open(textures / f"{name}.png") as image:
            half = image.convert("L").resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        save(half, target / f"texture_{name}.jpg")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
