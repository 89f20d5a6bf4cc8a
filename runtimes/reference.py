"""The reference interpreter as a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.packing import pack_spikes
from svf_edge.program import Program, run
from svf_edge.program.interpret import State
from svf_edge.program.stream import state_tensors
from svf_edge.runtimes.base import Clip, RunResult, Runtime, Session
from svf_edge.runtimes.stream import StreamSession

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle


class ReferenceSession(Session):
    """Runs an integer program in numpy."""

    def __init__(self, program: Program, taps: bool) -> None:
        self._program = program
        self._taps = taps

    def run(self, frames: Clip, state: State | None = None) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`; with `state` they are the next piece of a stream."""
        trace = run(self._program, frames, state=state)
        if not self._taps:
            return RunResult(trace.outputs)
        levels = {lif.name: lif.levels for lif in self._program.lifs}
        return RunResult(trace.outputs, {name: pack_spikes(s, levels[name]) for name, s in trace.spikes.items()})


class ReferenceStep:
    """A step of `program`, which takes one frame, as a graph: see `svf_edge.program.stream`."""

    def __init__(self, program: Program, taps: bool) -> None:
        self._session = ReferenceSession(program, taps)
        self._program = program
        self._tensors = state_tensors(program)

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs, the next state and, if tapped, packed spikes."""
        state = State()
        for tensor in self._tensors:
            before = inputs[tensor.taken].astype(np.int64)
            if not tensor.window:
                state.membranes[tensor.node] = before
            elif tensor.window > 1:
                state.summaries[tensor.node] = before[None]  # one summary that is the sum of them
        result = self._session.run(inputs[self._program.frames.name], state)
        given = []
        for tensor in self._tensors:
            # A window of one frame remembers none.
            kept = state.summaries[tensor.node][-1:].sum(0) if tensor.window else state.membranes[tensor.node]
            given.append(kept.astype(np.int32))
        return [*result.outputs.values(), *given, *result.spikes.values()]


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
        program = bundle.program()
        if bundle.manifest.form == "clip":
            return ReferenceSession(program, taps)
        return StreamSession(program, ReferenceStep(program.for_steps(1), taps))
