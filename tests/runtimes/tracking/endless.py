"""A recording that is played round and round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from svf_edge.runtimes.tracking.sources import Frame, Source, open_source


class Endless(Source):
    """The frames of a file again and again, their times going on."""

    live = False

    def __init__(self, path: Path) -> None:
        self.name = f"{path.name}, endlessly"
        self._path = path

    def frames(self) -> Iterator[Frame]:
        number, began = 0, 0.0
        while True:
            source = open_source(str(self._path))
            for frame in source.frames():
                seconds = began + frame.seconds
                yield replace(frame, number=number, seconds=seconds)
                number += 1
            source.close()
            began = seconds + 1 / 30
