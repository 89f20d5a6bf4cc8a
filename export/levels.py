"""Which programs the packed operators take (docs/contract.md, "Operators")."""

from __future__ import annotations

from svf_edge.contract import MAX_LEVELS
from svf_edge.errors import UnsupportedInput
from svf_edge.program import Attention, Program


def check_levels(program: Program) -> None:
    """Raise `UnsupportedInput` naming the first LIF of more than `MAX_LEVELS` levels."""
    for lif in program.lifs:
        if lif.levels > MAX_LEVELS:
            raise UnsupportedInput(
                f"layer '{lif.name}' is an integer LIF with {lif.levels} levels; packed operators take {MAX_LEVELS} "
                "at most, export the portable dialect"
            )


def check_causal(program: Program) -> None:
    """Raise `UnsupportedInput` naming the first causal attention: only ONNX has packed operators for it."""
    for node in program.nodes:
        if isinstance(node, Attention) and node.scope == "causal":
            raise UnsupportedInput(
                f"layer '{node.name}': the packed operators of torch and ExecuTorch take no causal attention; export "
                "the portable dialect, or ONNX"
            )
