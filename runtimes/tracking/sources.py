"""Where frames come from: a camera, a video file, a folder of images, or a stream on the network.

Needs PyAV and Pillow (extra `track`). Every source numbers its frames, says when their data arrived, and counts what it
could not decode.
"""

from __future__ import annotations

import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from svf_edge.data.video import upright
from svf_edge.errors import BadFile, MissingPackage, SvfError

if TYPE_CHECKING:
    import av

IMAGES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
FOLDER_RATE = 30.0
"""Images a second of a folder."""
SILENCE = 10.0
"""Seconds without data after which a stream on the network counts as lost."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    number: int
    """From 0, over all frames that could be decoded."""
    pixels: NDArray[np.uint8]
    """RGB `[H, W, 3]`."""
    seconds: float
    """When it is shown, on the source's own clock."""
    arrived: float
    """`time.perf_counter()` when its data arrived, before it was decoded."""
    decode_ms: float


class Source(ABC):
    """A stream of frames, to be read once, by one thread."""

    name: str
    live: bool
    """Whether frames come when they come, and are lost if nobody takes them; a recording waits."""
    damaged: int = 0
    """Packets or images that could not be decoded so far."""

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The frames in order. Raises `SvfError` when the source breaks off."""

    def close(self) -> None:  # noqa: B027 (a folder holds nothing)
        """Let go of the source."""


def open_source(text: str) -> Source:
    """A camera index ("0") or device ("/dev/video0"), a URL, a folder of images, or a video file.

    Raises `BadFile` for what cannot be opened, and `MissingPackage` without PyAV.
    """
    if text.isdecimal() or text.startswith("/dev/video"):
        device = f"/dev/video{text}" if text.isdecimal() else text
        if not sys.platform.startswith("linux"):
            raise BadFile(f"camera {text}: cameras are read on Linux only; give the URL of a stream")
        return MediaSource(device, f"camera {device}", camera=True)
    if _URL.match(text):
        return MediaSource(text, text)
    path = Path(text)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise BadFile(f"{path}: no such file; give a camera index, a video file, a folder of images or a URL")
    return MediaSource(str(path), text)


class MediaSource(Source):
    """Anything FFmpeg opens."""

    def __init__(self, where: str, name: str, *, camera: bool = False) -> None:
        try:
            import av
        except ModuleNotFoundError as error:
            raise MissingPackage("av", "track") from error
        self.name = name
        self._camera = camera
        self._errors: type[Exception] = av.FFmpegError
        remote = bool(_URL.match(where))
        camera_like = where.lower().startswith("rtsp")
        # `nobuffer` drops what was read while the stream was recognised: right for a camera, wrong for a recording.
        options: Mapping[str, str] = {"rtsp_transport": "tcp", "fflags": "nobuffer"} if camera_like else {}
        try:
            self._container: av.container.InputContainer = av.open(
                where, format="v4l2" if camera else None, options=dict(options), timeout=SILENCE if remote else None
            )
        except (av.FFmpegError, OSError) as error:
            raise BadFile(f"{name}: cannot be opened ({_reason(error)}); {self._advice(remote)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise BadFile(f"{name}: has no video; give a source with a video stream")
        self.live = camera or (remote and self._container.duration is None)
        self._stream = self._container.streams.video[0]

    def _advice(self, remote: bool) -> str:
        if self._camera:
            return "check that it is plugged in, that no other program uses it and that you may read it"
        return "check the address and that it is on" if remote else "give a video that plays elsewhere"

    def frames(self) -> Iterator[Frame]:
        """Decoded frames; damaged packets are counted and passed over."""
        number, rate = 0, float(self._stream.average_rate or FOLDER_RATE)
        arrivals: dict[int | None, float] = {}
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._errors as error:
                raise SvfError(
                    f"{self.name}: broke off after {number} frames ({_reason(error)}); what was tracked is kept"
                ) from error
            if packet is None:
                break
            arrivals[packet.pts] = began = time.perf_counter()
            try:
                decoded = packet.decode()
            except self._errors:
                self.damaged += 1
                continue
            for frame in decoded:
                pixels = upright(frame)
                ended = time.perf_counter()
                seconds = frame.time if frame.time is not None else number / rate
                # A frame may come packets later than its own data (frames that are stored out of order).
                arrived = arrivals.pop(frame.pts, began)
                yield Frame(number, pixels, seconds, arrived if self.live else began, 1e3 * (ended - began))
                number += 1
                began = time.perf_counter()
        if not number:
            raise BadFile(f"{self.name}: no frame could be decoded; give a video that plays elsewhere")
        if self.live:
            advice = "plug it in again" if self._camera else "check that it is on"
            raise SvfError(f"{self.name}: gives no more frames after {number}; {advice} and start anew")

    def close(self) -> None:
        """Close the file, device or connection."""
        self._container.close()


class FolderSource(Source):
    """The images of a folder in natural order ("2.png" before "10.png"), `FOLDER_RATE` a second."""

    live = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._paths = sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGES), key=_natural)
        if not self._paths:
            raise BadFile(f"{folder}: holds no image ({', '.join(sorted(IMAGES))}); give a folder with images")

    def frames(self) -> Iterator[Frame]:
        """Images; those that cannot be read are counted and passed over."""
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            raise MissingPackage("pillow", "track") from error
        number = 0
        for index, path in enumerate(self._paths):
            began = time.perf_counter()
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB"))
            except (OSError, SyntaxError):  # Pillow raises either for broken files
                self.damaged += 1
                continue
            yield Frame(number, pixels, index / FOLDER_RATE, began, 1e3 * (time.perf_counter() - began))
            number += 1
        if not number:
            raise BadFile(f"{self.name}: no image could be read; give a folder with whole images")


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
