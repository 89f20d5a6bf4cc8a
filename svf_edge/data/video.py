"""Frames of real videos in the form the model takes. Needs PyAV and Pillow (extra `video`).

A frame is cropped around its centre to the aspect ratio asked for (nothing is added at the borders) and resized
with an anti-aliasing filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import BadFile, MissingPackage, UnsupportedInput
from svf_edge.files import atomic_write

if TYPE_CHECKING:
    import av

Frames = NDArray[np.uint8]


def read_clip(path: str | Path, frames: int, size: tuple[int, int], start: int = 0, stride: int = 1) -> Frames:
    """RGB frames start, start + stride, ... of a video as uint8 [frames, 3, H, W]; `size` is (height, width).

    Raises BadFile for a missing, unreadable or too short video, UnsupportedInput for bad arguments and
    MissingPackage without PyAV.
    """
    path = Path(path)
    _check_arguments(frames, size, start, stride)
    wanted = islice(_decoded(path), start, start + (frames - 1) * stride + 1, stride)
    found = [_fit(frame, size) for frame in wanted]
    if len(found) < frames:
        needed = start + (frames - 1) * stride + 1
        raise BadFile(
            f"{path} is too short: {frames} frames from frame {start} at stride {stride} need {needed} frames, of "
            f"which only {len(found)} could be read; use a longer video, an earlier start or a smaller stride"
        )
    return np.stack(found)


def iter_clips(path: str | Path, frames: int, size: tuple[int, int], stride: int = 1) -> Iterator[Frames]:
    """All whole windows of `frames` frames, one after the other without overlap, each as of `read_clip`.

    Raises BadFile also when not even one window fits.
    """
    path = Path(path)
    _check_arguments(frames, size, 0, stride)
    window: list[Frames] = []
    whole = 0
    for frame in islice(_decoded(path), 0, None, stride):
        window.append(_fit(frame, size))
        if len(window) == frames:
            whole += 1
            yield np.stack(window)
            window = []
    if not whole:
        raise BadFile(
            f"{path} is too short: a window needs {frames} frames at stride {stride} and the video gives "
            f"{len(window)}; use a longer video or a smaller stride"
        )


def read_frames(path: str | Path, indices: Sequence[int]) -> Frames:
    """Whole RGB frames uint8 [N, 3, H, W] of a video, upright, at strictly ascending `indices`.

    Decodes from the beginning, since seeking by frame number is not exact in every container. Raises BadFile for a
    missing, unreadable or too short video and for one that changes its size on the way.
    """
    path = Path(path)
    wanted = set(indices)
    found = [upright(frame) for k, frame in enumerate(islice(_decoded(path), indices[-1] + 1)) if k in wanted]
    if len(found) < len(wanted):
        raise BadFile(f"{path} is too short: frame {indices[-1]} is wanted and cannot be read; convert the video again")
    for pixels in found:
        if pixels.shape != found[0].shape:
            raise BadFile(
                f"{path} changes its frame size from {found[0].shape[1]}x{found[0].shape[0]} to "
                f"{pixels.shape[1]}x{pixels.shape[0]}; convert it to one size"
            )
    return np.ascontiguousarray(np.stack(found).transpose(0, 3, 1, 2))


def _check_arguments(frames: int, size: tuple[int, int], start: int, stride: int) -> None:
    if frames < 1 or min(size) < 1 or start < 0 or stride < 1:
        raise UnsupportedInput(
            f"a clip needs frames >= 1, start >= 0, stride >= 1 and a positive size, not frames {frames}, "
            f"start {start}, stride {stride}, size {size[0]}x{size[1]}"
        )


def _decoded(path: Path) -> Iterator[av.VideoFrame]:
    """Every frame of the first video stream, lazily."""
    with _opened(path) as (container, errors):
        frames = container.decode(container.streams.video[0])
        while True:
            try:
                frame = next(frames, None)
            except errors as error:
                raise BadFile(f"{path} is damaged ({_reason(error)}); convert or copy the video again") from error
            if frame is None:
                return
            yield frame


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, type[Exception]]]:
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingPackage("av", "video") from error
    if not path.is_file():
        raise BadFile(f"{path} is not a file; give the path of a video")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise BadFile(f"{path} is no readable video ({_reason(error)}); give an .mp4, .webm or .avi file") from error
    with container:
        if not container.streams.video:
            raise BadFile(f"{path} has no video stream; give a file with one")
        yield container, av.FFmpegError


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _fit(frame: av.VideoFrame, size: tuple[int, int]) -> Frames:
    """uint8 [3, *size]: the largest centred region of the same aspect ratio, resized; upright as a player shows it."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackage("pillow", "video") from error
    pixels = upright(frame)
    (height, width), (target_height, target_width) = pixels.shape[:2], size
    scale = min(height / target_height, width / target_width)
    high, wide = min(round(target_height * scale), height), min(round(target_width * scale), width)
    top, left = (height - high) // 2, (width - wide) // 2
    region = Image.fromarray(np.ascontiguousarray(pixels[top : top + high, left : left + wide]))
    resized = region.resize((target_width, target_height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1))


def upright(frame: av.VideoFrame) -> Frames:
    """The picture of a frame as a player shows it: RGB uint8 [H, W, 3]."""
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    return np.rot90(pixels, frame.rotation // 90)  # phones store portrait video lying down; both count anticlockwise


def count_frames(path: str | Path) -> int:
    """Frames of a video, as its header says or else by its packets, without decoding any. Raises as `read_frames`."""
    path = Path(path)
    with _opened(path) as (container, errors):
        stream = container.streams.video[0]
        if stream.frames > 0:
            return int(stream.frames)
        try:
            return sum(packet.size > 0 for packet in container.demux(stream))
        except errors as error:
            raise BadFile(f"{path} is damaged ({_reason(error)}); convert or copy the video again") from error


def write_video(path: Path, pixels: Frames, rate: int = 25) -> None:
    """Write RGB frames uint8 [T, H, W, 3] without loss (FFV1), atomically."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingPackage("av", "video") from error
    with atomic_write(path) as temporary, av.open(str(temporary), "w") as out:
        stream = out.add_stream("ffv1", rate=rate)
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "bgr0"
        for frame in pixels:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
