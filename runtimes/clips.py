"""Clips to compare runtimes on: adversarial ones made here, golden ones of a bundle, and video files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svf_edge.errors import UnsupportedInput
from svf_edge.runtimes.base import Clip

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle
    from svf_edge.program import Program

Shape = tuple[int, int, int, int]


def noise(shape: Shape, seed: int = 0) -> Clip:
    """Independent uniform pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def black(shape: Shape) -> Clip:
    """Every pixel 0."""
    return np.zeros(shape, np.uint8)


def white(shape: Shape) -> Clip:
    """Every pixel 255."""
    return np.full(shape, 255, np.uint8)


def hot_pixel(shape: Shape, seed: int = 0) -> Clip:
    """Black but for one pixel of 255, in one frame and channel, at a seeded place."""
    clip = black(shape)
    rng = np.random.default_rng(seed)
    clip[tuple(int(rng.integers(size)) for size in shape)] = 255
    return clip


GENERATORS: Mapping[str, Callable[[Shape], Clip]] = {
    "noise": noise,
    "black": black,
    "white": white,
    "hot-pixel": hot_pixel,
}


def load_clips(bundle: Bundle, wanted: Sequence[str] = (), *, windows: int = 1) -> dict[str, Clip]:
    """Clips by name, in the shape `bundle` takes.

    Each of `wanted` is the name of a generator ("noise", "black", "white", "hot-pixel"), a video file, of which the
    first `windows` runs of T frames are taken, or the name of a golden clip of the bundle where no such file is.
    Without any, the golden clips.

    Raises `UnsupportedInput` for a name that is none of these or for two clips of one name, and `BadFile` for an
    unreadable video.
    """
    golden = sorted(entry.name for entry in bundle.manifest.golden)
    if not wanted:
        return {name: bundle.golden(name)[0] for name in golden}
    return _collect(bundle.program().frames.shape, wanted, windows, golden, lambda name: bundle.golden(name)[0])


def program_clips(program: Program, wanted: Sequence[str], *, windows: int = 1) -> dict[str, Clip]:
    """The same for a program on its own, which has no golden clips, so that some have to be wanted."""
    if not wanted:
        raise UnsupportedInput("a program holds no clips; give a video file, or one of " + ", ".join(GENERATORS))
    return _collect(program.frames.shape, wanted, windows)


def _collect(
    shape: Shape,
    wanted: Sequence[str],
    windows: int,
    golden: Sequence[str] = (),
    read: Callable[[str], Clip] | None = None,
) -> dict[str, Clip]:
    clips: dict[str, Clip] = {}
    for name in dict.fromkeys(wanted):
        if read is not None and name in golden and name not in GENERATORS and not Path(name).is_file():
            found = {name: read(name)}
        else:
            found = _named(shape, name, golden, windows)
        if twice := clips.keys() & found.keys():
            raise UnsupportedInput(f"{name}: a clip called '{min(twice)}' was given before; rename one of the files")
        clips |= found
    return clips


def _named(shape: Shape, name: str, golden: Sequence[str], windows: int) -> dict[str, Clip]:
    path = Path(name)
    if name in GENERATORS:
        return {name: GENERATORS[name](shape)}
    if path.suffix or path.exists():
        return _video(path, shape, windows)
    known = [*GENERATORS, *golden]
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known clips: {', '.join(known)}, or a video file"
    raise UnsupportedInput(f"no clip and no file is called '{name}'; {hint}")


def _video(path: Path, shape: Shape, windows: int) -> dict[str, Clip]:
    from svf_edge.data.video import read_clip

    steps, _channels, height, width = shape
    clips = {f"{path.name}[{i}]": read_clip(path, steps, (height, width), start=i * steps) for i in range(windows)}
    return {path.name: clips.popitem()[1]} if windows == 1 else clips
