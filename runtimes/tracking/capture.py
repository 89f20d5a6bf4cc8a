"""Frames decoded in a thread of their own, the newest of which waits to be taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from svf_edge.errors import SvfError
from svf_edge.runtimes.tracking.sources import Frame, Source

PATIENCE = 15.0
"""Seconds without a frame after which a source counts as stuck."""
_TURN = 0.2


@dataclass(frozen=True)
class Taken:
    """A frame, and what it waited between decoding and being taken."""

    frame: Frame
    queue_ms: float


class Capture:
    """Decodes `source` in the background and hands frames to one consumer.

    At most one frame waits, so nothing ever queues up. With `every`, decoding pauses until it is taken. Otherwise a
    newer frame replaces it and the old one counts as dropped, and a recording is played at its own speed: its frames
    then arrive as those of a camera would, and their age includes the time that decoding took.
    """

    def __init__(self, source: Source, *, every: bool, patience: float = PATIENCE) -> None:
        self.source = source
        self.dropped = 0
        """Decoded frames that were replaced before anyone took them."""
        self._every = every
        self._paced = not every and not source.live
        self._patience = patience
        self._change = threading.Condition()
        self._waiting: tuple[Frame, float] | None = None
        self._asleep = False
        self._ended = False
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        # A daemon: a driver that never returns must not keep the program alive.
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.request_stop()
        self._thread.join(timeout=2)

    def request_stop(self) -> None:
        """End soon: decoding stops, and `take` gives None. It takes no lock, so a signal handler may call it."""
        self._stopping.set()

    def __iter__(self) -> Iterator[Taken]:
        while (taken := self.take()) is not None:
            yield taken

    def take(self) -> Taken | None:
        """The next frame, or None at the end. Raises what the source raised, and `SvfError` when it is stuck."""
        with self._change:
            since = time.perf_counter()
            while self._waiting is None:
                if self._stopping.is_set():
                    return None
                if self._ended:
                    if self._failure is not None:
                        raise self._failure
                    return None
                if not self._thread.is_alive():
                    raise SvfError(f"{self.source.name}: its decoder ended without a word; start again")
                if self._asleep:
                    since = time.perf_counter()
                elif time.perf_counter() - since > self._patience:
                    raise SvfError(
                        f"{self.source.name}: gave no frame for {self._patience:.0f} seconds; check that it is on and "
                        "start again"
                    )
                self._change.wait(_TURN)
            frame, since = self._waiting
            self._waiting = None
            self._change.notify_all()
        return Taken(frame, 1e3 * (time.perf_counter() - since))

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._decode()
        except BaseException as error:  # whatever it is, the consumer must hear of it
            failure = error
        finally:
            self.source.close()
            with self._change:
                self._failure, self._ended = failure, True
                self._change.notify_all()

    def _decode(self) -> None:
        began = None
        for frame in self.source.frames():
            if self._paced:
                began = time.perf_counter() - frame.seconds if began is None else began
                self._sleep_until(began + frame.seconds)
                frame = replace(frame, arrived=time.perf_counter() - frame.decode_ms / 1e3)
            ready = time.perf_counter()
            with self._change:
                while self._every and self._waiting is not None and not self._stopping.is_set():
                    self._change.wait(_TURN)
                if self._stopping.is_set():
                    return
                self.dropped += self._waiting is not None
                self._waiting = frame, ready
                self._change.notify_all()

    def _sleep_until(self, due: float) -> None:
        self._asleep = True
        self._stopping.wait(max(due - time.perf_counter(), 0))
        self._asleep = False
