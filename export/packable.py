"""Which programs the packed operators take (docs/contract.md, "Operators")."""

from __future__ import annotations

from svf_edge.contract import MAX_LEVELS
from svf_edge.errors import UnsupportedInput
from svf_edge.export.fusion import fuse
from svf_edge.program import Attention, Program


def check_packed(program: Program) -> None:
    """Raise `UnsupportedInput` naming the first layer that has no packed operator.

    That is a LIF of more than `MAX_LEVELS` levels, or causal attention whose result is not read by one LIF alone.
    """
    for lif in program.lifs:
        if lif.levels > MAX_LEVELS:
            raise UnsupportedInput(
                f"layer '{lif.name}' is an integer LIF with {lif.levels} levels; packed operators take {MAX_LEVELS} "
                "at most, export the portable dialect"
            )
    for step in fuse(program):
        if isinstance(step, Attention) and step.scope == "causal":
            raise UnsupportedInput(
                f"layer '{step.name}': its result has other readers than one LIF, and causal attention has a packed "
                "operator with a LIF alone; export the portable dialect"
            )
