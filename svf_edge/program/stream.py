"""The state of a stream as tensors that a step graph takes and gives back (docs/contract.md, "Streams")."""

from __future__ import annotations

from dataclasses import dataclass

from svf_edge.errors import UnsupportedInput
from svf_edge.program.ir import Attention, Lif, Program


@dataclass(frozen=True)
class StateTensor:
    """One int32 tensor of the state: a LIF's membrane `[C, H, W]`, or what causal attention remembers.

    Attention (`window` > 0) takes the sum of the last window - 1 summaries and gives back the summary of the present
    frame, both `[heads, d, d]`, row = key channel, column = value channel: the caller keeps the summaries, so that no
    graph copies them. For a membrane `window` is 0.
    """

    node: str
    shape: tuple[int, int, int]
    window: int

    def sizes(self, channels_last: bool) -> tuple[int, int, int]:
        """The shape in a graph: membranes may lie there as `[H, W, C]`."""
        channels, height, width = self.shape
        return (height, width, channels) if channels_last and not self.window else self.shape

    @property
    def taken(self) -> str:
        """Name of the graph's input."""
        return f"state:{self.node}"

    @property
    def given(self) -> str:
        """Name of the graph's output."""
        return f"next:{self.node}"


def state_tensors(program: Program) -> tuple[StateTensor, ...]:
    """The state of a stream through `program`, in running order.

    Raises `UnsupportedInput` unless the program runs frame by frame and takes one frame.
    """
    if not program.streams:
        raise UnsupportedInput(
            "this program's attention sees later frames, so it has no stream form; train a network with "
            "model.space_time=causal"
        )
    if program.frames.shape[0] != 1:
        raise UnsupportedInput(
            f"a step takes one frame, this program takes {program.frames.shape[0]}; freeze it with --steps 1"
        )
    found = []
    for node in program.nodes:
        _, channels, height, width = program.types[node.name].shape
        if isinstance(node, Lif):
            found.append(StateTensor(node.name, (channels, height, width), 0))
        elif isinstance(node, Attention) and node.scope == "causal":
            each = channels // node.heads
            found.append(StateTensor(node.name, (node.heads, each, each), node.window))
    return tuple(found)
