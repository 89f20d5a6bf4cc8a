"""Which of TensorRT's shorter number formats a program's values would survive.

TF32 and float16 have 11 bits of significand, so they hold every integer to 2048. TF32 rounds what a convolution
multiplies and adds up in float32: the qdq graph stays exact while both factors are short enough and the float32 range
proof holds. float16 would have to hold every sum as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from svf_edge.contract import INT8_MAX
from svf_edge.program import Conv, Program
from svf_edge.program.ranges import Bound, bounds

SHORT_LIMIT = 2**11


@dataclass(frozen=True)
class Precision:
    """Why each format would not be exact, as a clause; None where it is."""

    tf32: str | None
    float16: str | None

    @property
    def properties(self) -> dict[str, str]:
        """The same as properties of an ONNX file: "exact", or "inexact: ..."."""
        found = {"tf32": self.tf32, "float16": self.float16}
        return {name: "exact" if why is None else f"inexact: {why}" for name, why in found.items()}


def precision(program: Program) -> Precision:
    """What the range proof of `program` says of TF32 and float16 in its qdq graph."""
    factors = tuple(bound for node in program.nodes if isinstance(node, Conv) for bound in _factors(program, node))
    return Precision(_beyond(factors), _beyond((*factors, *bounds(program))))


def _factors(program: Program, node: Conv) -> Iterable[Bound]:
    """The largest value that a convolution multiplies, and its largest weight in units of the channel's scale."""
    source, zero = program.types[node.source], program.frames.zero_point
    largest = {"frames": max(zero, 255 - zero), "spikes": source.levels}.get(source.kind, INT8_MAX)
    yield Bound(node.name, "input", largest)
    yield Bound(node.name, "weight", int(np.abs(node.weight.astype(np.int32)).max()))


def _beyond(found: Iterable[Bound]) -> str | None:
    for bound in found:
        if bound.value > SHORT_LIMIT:
            return f"layer '{bound.layer}': {bound.quantity} can reach {bound.value}, exact only to {SHORT_LIMIT}"
    return None
