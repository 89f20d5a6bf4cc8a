"""The integer program: nodes, reference interpreter, range proof and file format."""

from svf_edge.program.interpret import Trace, run
from svf_edge.program.ir import (
    Add,
    Attention,
    Conv,
    Frames,
    Lif,
    Node,
    Output,
    Pool,
    Program,
    TensorType,
)
from svf_edge.program.store import load_program, save_program

__all__ = [
    "Add",
    "Attention",
    "Conv",
    "Frames",
    "Lif",
    "Node",
    "Output",
    "Pool",
    "Program",
    "TensorType",
    "Trace",
    "load_program",
    "run",
    "save_program",
]
