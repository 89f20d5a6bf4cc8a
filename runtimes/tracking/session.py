"""One frame in, the outputs of that frame out: what a tracker drives, whatever form the graph has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import SvfError, UnsupportedInput
from svf_edge.runtimes.base import Session
from svf_edge.runtimes.registry import RUNTIMES, find_runtime
from svf_edge.runtimes.stream import StreamSession

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

Shape = tuple[int, int, int, int]

PREFERRED = (
    "onnxruntime packed",
    "executorch packed",
    "onnxruntime portable",
    "executorch portable",
    "reference",
)
"""Where a bundle is tracked if nothing else is asked for: the first that can."""


class FrameSession(Protocol):
    """One stream of frames. All that is kept of earlier frames is state of this object."""

    runtime: str
    """The name of the runtime underneath."""

    def step(self, frame: NDArray[np.uint8]) -> Mapping[str, NDArray[np.int32]]:
        """Outputs int32 `[C, H, W]` by name of the next frame, uint8 `[C, h, w]`.

        Raises `UnsupportedInput` for another shape or dtype.
        """

    def reset(self) -> None:
        """Forget all frames."""

    def close(self) -> None:
        """Let go of the graph."""


class SlidingClip:
    """The clip graph on the last T frames, of which the newest one's outputs are taken.

    Exact in the clip form's sense: every step gives what the graph says of those T frames. A step costs the whole clip.
    At the start, and after `reset`, the first frame stands for those that are missing before it.
    """

    def __init__(self, session: Session, shape: Shape, runtime: str) -> None:
        """Slide over `session`, whose clips are of `shape` `[T, C, h, w]`; the session is closed with this object."""
        self.runtime = runtime
        self._session = session
        self._clip = np.empty(shape, np.uint8)
        self._begun = False

    def step(self, frame: NDArray[np.uint8]) -> Mapping[str, NDArray[np.int32]]:
        """Outputs of `frame` as the last of the clip."""
        _check(frame, self._clip.shape[1:])
        if self._begun:
            self._clip[:-1] = self._clip[1:]
            self._clip[-1] = frame
        else:
            self._clip[:] = frame
            self._begun = True
        return {name: values[-1] for name, values in self._session.run(self._clip).outputs.items()}

    def reset(self) -> None:
        """Forget all frames."""
        self._begun = False

    def close(self) -> None:
        """Close the graph's session."""
        self._session.close()


class Steps:
    """A step graph, which takes one frame and the state of the stream: a step costs one frame, whatever the window."""

    def __init__(self, session: StreamSession, shape: Shape, runtime: str) -> None:
        """Step through `session`, whose clips are of `shape` `[T, C, h, w]`; it is closed with this object."""
        self.runtime = runtime
        self._session = session
        self._shape = shape[1:]

    def step(self, frame: NDArray[np.uint8]) -> Mapping[str, NDArray[np.int32]]:
        """Outputs of `frame` as the next of the stream."""
        _check(frame, self._shape)
        return {name: values[0] for name, values in self._session.step(frame[None]).outputs.items()}

    def reset(self) -> None:
        """Begin a new stream."""
        self._session.reset()

    def close(self) -> None:
        """Close the graph's session."""
        self._session.close()


def _check(frame: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.shape != shape:
        raise UnsupportedInput(
            f"a step takes a uint8 frame {list(shape)} ([C, H, W]), got {frame.dtype} {list(frame.shape)}; crop and "
            "resize it first"
        )


def open_frames(bundle: Bundle, runtime: str | None = None, threads: int = 1) -> FrameSession:
    """A session for one stream on `runtime`, or on the first of `PREFERRED` that can run the bundle.

    A bundle of the form "stream" is stepped through, one of clips is slid over.

    Raises `UnsupportedInput` when the runtime asked for cannot run it, and what opening its graph raises.
    """
    failure: SvfError | None = None
    for name in (runtime,) if runtime is not None else PREFERRED:
        candidate = find_runtime(name) if runtime is not None else RUNTIMES[name]
        try:
            why = candidate.available(bundle)
            if why is not None:
                raise UnsupportedInput(f"'{candidate.name}' cannot run {bundle.folder}: {why}")
            session = candidate.open(bundle, threads=threads)
            if isinstance(session, StreamSession):
                return Steps(session, bundle.manifest.frames.shape, candidate.name)
        except SvfError as error:
            failure = failure or error
            continue
        return SlidingClip(session, bundle.manifest.frames.shape, candidate.name)
    assert failure is not None
    raise failure
