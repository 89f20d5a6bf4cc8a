"""A step graph and the state of one stream: frame after frame, or a whole clip from a stream's begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.packing import Words
from svf_edge.program import Program
from svf_edge.program.interpret import check_frames
from svf_edge.program.stream import StateTensor, state_tensors
from svf_edge.runtimes.base import Clip, RunResult, Session, check_clip, named_results

StepGraph = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]
"""Runs a step: inputs by name in the graph's order; outputs, the next state and, if tapped, spikes."""


class StreamSession(Session):
    """A stream through a step graph.

    The cost of a step does not depend on the window: of the summaries that causal attention remembers, the newest is
    added to their sum and the oldest taken from it.
    """

    def __init__(
        self,
        program: Program,
        graph: StepGraph,
        channels_last: bool = False,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """`program` is the one whose clips `run` takes; `graph` is a step of it. `close` lets go of the graph.

        With `channels_last` membranes are `[H, W, C]` in the graph.
        """
        self._program = program
        self._step = program.for_steps(1)
        self._graph = graph
        self._channels_last = channels_last
        self._close = close
        self._tensors = state_tensors(self._step)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self._taken = {tensor.taken: np.zeros(tensor.sizes(self._channels_last), np.int32) for tensor in self._tensors}
        self._summaries: dict[str, deque[NDArray[np.int32]]] = {
            tensor.node: deque() for tensor in self._tensors if tensor.window
        }

    def step(self, frame: Clip) -> RunResult:
        """Outputs `[1, C, H, W]`, and spikes if tapped, of the stream's next frame, uint8 `[1, C, H, W]`.

        Raises `UnsupportedInput` for another shape or dtype; the stream is then as it was.
        """
        check_frames(self._step.frames, frame)
        arrays = list(self._graph({self._step.frames.name: frame, **self._taken}))
        first = len(self._step.outputs)
        given, arrays[first : first + len(self._tensors)] = arrays[first : first + len(self._tensors)], []
        result = named_results(self._step, arrays)
        for tensor, values in zip(self._tensors, given, strict=True):
            self._taken[tensor.taken] = self._remember(tensor, values) if tensor.window else values
        return result

    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]` as a stream of its own."""
        check_clip(self._program, frames)
        self.reset()
        results = [self.step(frames[t : t + 1]) for t in range(len(frames))]
        outputs = {name: np.concatenate([result.outputs[name] for result in results]) for name in results[0].outputs}
        spikes = {lif.name: _joined(results, lif.name, lif.levels) for lif in self._program.lifs if results[0].spikes}
        return RunResult(outputs, spikes)

    def state(self) -> dict[str, NDArray[np.int32]]:
        """The state by node: membranes `[C, H, W]`, and the summaries `[n, heads, d, d]` that attention remembers."""
        found = {}
        for tensor in self._tensors:
            if tensor.window:
                kept = self._summaries[tensor.node]
                found[tensor.node] = np.stack(kept) if kept else np.zeros((0, *tensor.shape), np.int32)
            else:
                membrane = self._taken[tensor.taken]
                found[tensor.node] = np.moveaxis(membrane, -1, 0) if self._channels_last else membrane
        return found

    def close(self) -> None:
        """Let go of the graph."""
        self._close()

    def _remember(self, tensor: StateTensor, summary: NDArray[np.int32]) -> NDArray[np.int32]:
        """The sum of the last window - 1 summaries, the present frame's included."""
        kept, total = self._summaries[tensor.node], self._taken[tensor.taken]
        kept.append(summary)
        total = total + summary
        return total - kept.popleft() if len(kept) == tensor.window else total


def _joined(results: Sequence[RunResult], layer: str, levels: int) -> Words:
    return np.concatenate([result.spikes[layer] for result in results], axis=0 if levels == 1 else 1)
