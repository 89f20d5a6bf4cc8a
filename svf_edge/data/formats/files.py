"""Untrusted files of a data set: bounded before memory is taken, never unpickled, never outside their folder."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from svf_edge.errors import BadFile, MissingPackage
from svf_edge.files import atomic_write

MAX_PIXELS: Final = 1 << 26
"""Pixels of the largest image that is decoded (8192 x 8192)."""


@dataclass(frozen=True)
class Expected:
    """What an array must be: `shape`, with None where any length is fine, of up to `most` elements; the kinds of dtype
    by numpy's letters and, where it matters, the bytes of an element."""

    shape: tuple[int | None, ...]
    kinds: str = "f"
    most: int = 1 << 20
    itemsize: int | None = None

    def complaint(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
        """What is wrong with an array of `shape` and `dtype`, or None."""
        if dtype.hasobject:
            return "holds Python objects, which are pickled and never loaded; save it as a plain numeric array"
        fits = len(shape) == len(self.shape) and all(
            want in (None, have) for want, have in zip(self.shape, shape, strict=True)
        )
        if not fits:
            return f"has shape {_shape(shape)}, {_shape(self.shape)} is needed"
        if math.prod(shape) > self.most:
            return f"declares shape {_shape(shape)}, more than the {self.most} elements that such an array can have"
        if dtype.kind not in self.kinds or self.itemsize not in (None, dtype.itemsize):
            wide = f" of {self.itemsize} byte(s)" if self.itemsize else ""
            return f"has dtype {dtype}, {' or '.join(_KINDS[kind] for kind in self.kinds)}{wide} is needed"
        return None


_KINDS: Final = {"f": "a float type", "u": "an unsigned integer type", "i": "an integer type"}


def _shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def inside(root: Path, name: str, named_in: Path) -> Path:
    """`root / name`. Raises BadFile if `name`, as written in file `named_in`, leads out of `root`."""
    path = root / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        raise BadFile(f"{named_in}: '{name}' leads out of {root}; name files by their path below that folder")
    return path


def existing_folder(path: Path, what: str) -> Path:
    """`path`. Raises BadFile, saying `what` it should hold, if it is no folder."""
    if not path.is_dir():
        raise BadFile(f"{path}: no such folder; give the folder that holds {what}")
    return path


def read_npz(path: Path, wanted: Mapping[str, Expected]) -> dict[str, NDArray[Any]]:
    """The arrays `wanted` of an .npz file; shapes and dtypes are compared before anything is allocated.

    Raises BadFile for a missing or truncated file, a missing key, and an array that is not as expected.
    """
    if not path.is_file():
        raise BadFile(f"{path}: no such file; the frame is missing from the data set")
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            return {key: _read_member(archive, names, path, key, expected) for key, expected in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise BadFile(f"{path}: not a readable .npz file ({error}); it may be truncated, copy it again") from error


def _read_member(archive: zipfile.ZipFile, names: set[str], path: Path, key: str, expected: Expected) -> NDArray[Any]:
    if f"{key}.npy" not in names:
        there = ", ".join(sorted(name.removesuffix(".npy") for name in names)[:10]) or "nothing"
        raise BadFile(f"{path}: key '{key}' is missing, the file holds {there}; is it a file of this data set?")
    with archive.open(f"{key}.npy") as file:
        try:
            version = npy.read_magic(file)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read_header(file)
        except ValueError as error:
            raise BadFile(f"{path}: key '{key}' is no numpy array ({error}); write the file again") from error
        if complaint := expected.complaint(shape, dtype):
            raise BadFile(f"{path}: key '{key}' {complaint}")
        size = math.prod(shape) * dtype.itemsize
        content = _read_exactly(file, size)
    if content is None:
        raise BadFile(f"{path}: key '{key}' does not hold the {size} bytes that its header declares; copy it again")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _read_exactly(file: IO[bytes], size: int) -> bytes | None:
    content = file.read(size + 1)
    return content if len(content) == size else None


def npz_bytes(**arrays: NDArray[Any]) -> bytes:
    """A compressed .npz file with `arrays`; the same arrays always give the same bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            npy.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def read_image(path: Path, mode: str) -> NDArray[np.uint8]:
    """An image as uint8 `[H, W]` (mode "L") or `[H, W, 3 or 4]` ("RGB", "RGBA"); other modes are converted to RGB or L.

    Raises BadFile for a missing, damaged or very large image and, for RGBA, one without an alpha channel.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "video") from error
    if not path.is_file():
        raise BadFile(f"{path}: no such file; the frame is missing from the data set")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadFile(f"{path}: {image.width}x{image.height} pixels are too many; make the image smaller")
            if mode == "RGBA" and image.mode != mode:
                raise BadFile(f"{path}: an image of mode {image.mode}; event frames are PNG files of 4 channels")
            return np.array(image.convert(mode), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadFile(f"{path}: not a readable image ({error}); it may be truncated, copy it again") from error


def read_indices(path: Path) -> NDArray[np.uint8]:
    """The values uint8 `[H, W]` of an image of one channel or with a palette. Raises BadFile as `read_image` does."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "video") from error
    if not path.is_file():
        raise BadFile(f"{path}: no such file; the mask is missing from the data set")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadFile(f"{path}: {image.width}x{image.height} pixels are too many; make the image smaller")
            if image.mode not in ("L", "P"):
                raise BadFile(
                    f"{path}: an image of mode {image.mode}; a mask has one channel of 8 bits, the class of every pixel"
                )
            return np.array(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadFile(f"{path}: not a readable image ({error}); it may be truncated, copy it again") from error


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write `[H, W, 3]` or `[H, W]`, atomically, in the format of the path's ending."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "video") from error
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary)
