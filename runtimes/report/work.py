"""Where a program's multiply-accumulates are, and which of them a spike makes unnecessary."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from svf_edge.program import Attention, Conv, Program
from svf_edge.runtimes.base import Result


class Work(Result):
    """Multiply-accumulates of one clip by kind of input, and the additions that the spikes of a run call for.

    `additions` counts weights that meet a spike: MACs times the firing rate and the levels of the layer read.
    """

    spikes: int
    frames: int
    int8: int
    attention: int
    additions: int

    @property
    def total(self) -> int:
        """All multiply-accumulates of a dense network of this shape."""
        return self.spikes + self.frames + self.int8 + self.attention

    @property
    def packed_share(self) -> float:
        """Part of the work that operators on packed spikes do."""
        return (self.spikes + self.attention) / self.total


def work(program: Program, rates: Mapping[str, float]) -> Work:
    """Count the work of `program`; `rates` are firing rates (spikes per neuron, step and level) by LIF name."""
    counts = {"spikes": 0, "frames": 0, "int8": 0}
    attention = 0
    additions = 0.0
    for node in program.nodes:
        match node:
            case Conv():
                source = program.types[node.source]
                macs = int(np.prod(program.types[node.name].shape)) * int(np.prod(node.weight.shape[1:]))
                counts[source.kind] += macs
                if source.kind == "spikes":
                    additions += macs * rates[node.source] * source.levels
            case Attention():
                steps, channels, height, width = program.types[node.name].shape
                # K^T V and Q M: every token meets d x d numbers twice in each head.
                attention += 2 * steps * height * width * channels * (channels // node.heads)
            case _:
                pass
    return Work(**counts, attention=attention, additions=round(additions))
