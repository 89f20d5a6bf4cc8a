"""The reference interpreter as a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from svf_edge.packing import pack_spikes
from svf_edge.program import Program, run
from svf_edge.runtimes.base import Clip, RunResult, Runtime, Session

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle


class ReferenceSession(Session):
    """Runs an integer program in numpy."""

    def __init__(self, program: Program, taps: bool) -> None:
        self._program = program
        self._taps = taps

    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`."""
        trace = run(self._program, frames)
        if not self._taps:
            return RunResult(trace.outputs)
        levels = {lif.name: lif.levels for lif in self._program.lifs}
        return RunResult(trace.outputs, {name: pack_spikes(s, levels[name]) for name, s in trace.spikes.items()})


class ReferenceRuntime(Runtime):
    """`svf_edge.program.interpret` on the bundle's program."""

    name = "reference"

    def available(self, bundle: Bundle) -> str | None:
        """Always."""
        return None

    def graph(self, bundle: Bundle) -> Path:
        """The program file."""
        from svf_edge.export.bundle.reader import PROGRAM

        return bundle.path(PROGRAM)

    def open(self, bundle: Bundle, *, threads: int = 1, taps: bool = False) -> Session:
        """Load the program; `threads` has no effect."""
        return ReferenceSession(bundle.program(), taps)
