"""A video of what was drawn, encoded in a thread of its own."""

from __future__ import annotations

import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import MissingPackage, SvfError, UnsupportedInput
from svf_edge.files import atomic_write

if TYPE_CHECKING:
    import av

PENDING = 8
"""Frames that may wait for the encoder; with more, the tracker waits, so no frame that was tracked is left out."""
CLOCK = Fraction(1, 1000)
_TURN = 0.2

Pixels = NDArray[np.uint8]


class Recorder:
    """Writes every frame it is given to an MP4 file, with the times of the source.

    The file appears when it is whole. Where writing fails on the way (a full disk), what could be written stays beside
    it as `NAME.partial.mp4`. A slow disk makes `write` wait; it leaves nothing out. Frames of another size than the
    first are fitted into that one.
    """

    def __init__(self, path: str | Path, rate: float = 30.0) -> None:
        """Raises `UnsupportedInput` for a name that does not end in .mp4, `MissingPackage` without PyAV."""
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise UnsupportedInput(f"{self.path}: videos are saved as .mp4; give a name that ends in it")
        try:
            import av  # noqa: F401  (only whether it is there)
        except ModuleNotFoundError as error:
            raise MissingPackage("av", "track") from error
        self.frames = 0
        self._rate = rate
        self._pending: queue.Queue[tuple[Pixels, float] | None] = queue.Queue(PENDING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="save", daemon=True)
        self._thread.start()

    @property
    def partial(self) -> Path:
        """Where an unfinished video is kept."""
        return self.path.with_suffix(".partial.mp4")

    def write(self, pixels: Pixels, seconds: float) -> None:
        """Take the frame RGB uint8 `[H, W, 3]` shown at `seconds`. Raises `SvfError` when writing has failed."""
        self._hand_over((pixels, seconds))

    def close(self) -> None:
        """Write what is pending and finish the file. Raises `SvfError` when writing has failed."""
        if self._thread.is_alive():
            self._hand_over(None)
            self._thread.join()
        self._raise()

    def _hand_over(self, item: tuple[Pixels, float] | None) -> None:
        while True:
            self._raise()
            try:
                self._pending.put(item, timeout=_TURN)
                return
            except queue.Full:
                continue

    def _raise(self) -> None:
        if self._failure is None:
            return
        kept = f"; what could be written is in {self.partial}" if self.partial.exists() else ""
        reason = getattr(self._failure, "strerror", None) or str(self._failure) or type(self._failure).__name__
        raise SvfError(
            f"{self.path}: saving failed after {self.frames} frames ({reason}){kept}; make room or save elsewhere"
        ) from self._failure

    def _run(self) -> None:
        try:
            first = self._pending.get()
            if first is not None:
                self._save(*first)
        except BaseException as error:  # whoever writes or closes must hear of it
            self._failure = error

    def _save(self, pixels: Pixels, seconds: float) -> None:
        with atomic_write(self.path) as temporary:
            try:
                self._encode_all(temporary, pixels, seconds)
            except BaseException:
                if temporary.stat().st_size:
                    temporary.replace(self.partial)
                raise

    def _encode_all(self, path: Path, pixels: Pixels, seconds: float) -> None:
        import av

        height, width = (size + size % 2 for size in pixels.shape[:2])  # 4:2:0 needs even sizes
        # In fragments, so that what was written before a failure can be played.
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        with av.open(str(path), "w", format="mp4", options=options) as out:
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            stream = out.add_stream(codec, rate=Fraction(self._rate).limit_denominator(1001))
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = CLOCK
            stream.codec_context.gop_size = max(1, round(self._rate))
            if codec == "libx264":
                stream.options = {"preset": "veryfast", "crf": "20", "threads": "1", "bf": "0"}
            origin, last = seconds, -1
            item: tuple[Pixels, float] | None = (pixels, seconds)
            while item is not None:
                last = max(last + 1, round((item[1] - origin) / CLOCK))
                self._encode(out, stream, fitted(item[0], (height, width)), last)
                item = self._pending.get()
            out.mux(stream.encode(None))

    def _encode(self, out: av.container.OutputContainer, stream: av.VideoStream, pixels: Pixels, moment: int) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = moment, CLOCK
        out.mux(stream.encode(frame))
        self.frames += 1


def fitted(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """`pixels` (RGB `[H, W, 3]`) in a picture of `size` (height, width): as they are where they miss one row or column
    at most, else scaled to fit; black around."""
    if pixels.shape[:2] == size:
        return np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    if not (size[0] - height in (0, 1) and size[1] - width in (0, 1)):
        from PIL import Image

        scale = min(size[0] / height, size[1] / width)
        height, width = max(1, int(height * scale)), max(1, int(width * scale))
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height)))
    picture = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    picture[top : top + height, left : left + width] = pixels
    return picture
