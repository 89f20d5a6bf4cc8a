"""Fusion: which nodes of a program the packed dialect computes in one step.

A convolution and the LIF that reads it become one `ConvLif`, with the residual addition between them where there is
one; an attention and its LIF become one `AttentionLif`. Everything else stays the node it is. A fused step computes its
nodes one after the other (`nodes`), so fusing changes no integer; it only keeps what nothing else reads out of memory.

What is left alone, and why:

- a convolution that only an addition reads, where the sum has no LIF (an output, or one more addition);
- the second operand of a sum of two convolutions: the later one is fused, the earlier one is its residual;
- all LIFs but the first that read one tensor: the others read the sum that the step keeps for them;
- an attention whose result is read twice, or whose scope is temporal: its rows are not in (t, h, w) order, so that a
  LIF over time could only start when all of it is there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from svf_edge.export.density import NO_RATES, Density, Rates, choose
from svf_edge.program import Add, Attention, Conv, Lif, Node, Program
from svf_edge.program.ir import sources


@dataclass(frozen=True, eq=False)
class ConvLif:
    """`lif` of `conv`, or of `add`, which adds the tensor `residual` to `conv`.

    `sum` names what the LIF reads, where others read it as well, so that it has to be kept. `density` is how the
    convolution is to be computed, if it reads spikes.
    """

    conv: Conv
    lif: Lif
    add: Add | None = None
    sum: str | None = None
    density: Density = "auto"

    @property
    def residual(self) -> str | None:
        """The tensor that is added to the convolution."""
        if self.add is None:
            return None
        return self.add.right if self.add.left == self.conv.name else self.add.left

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What the step computes, in order."""
        return (self.conv, self.lif) if self.add is None else (self.conv, self.add, self.lif)


@dataclass(frozen=True, eq=False)
class AttentionLif:
    """`lif` of `attention`, which is of any scope but `temporal`."""

    attention: Attention
    lif: Lif

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What the step computes, in order."""
        return (self.attention, self.lif)


Step = Node | ConvLif | AttentionLif


def fuse(program: Program, rates: Rates = NO_RATES) -> tuple[Step, ...]:
    """The steps of `program` in an order in which they can run; together they compute each of its nodes once.

    `rates` say in which density convolutions on spikes are to be computed.
    """
    by_name = {node.name: node for node in program.nodes}
    reads = Counter(name for node in program.nodes for name in sources(node))
    reads.update(output.source for output in program.outputs)
    steps: dict[str, Step] = {}  # by the node in whose place a step runs
    inside: set[str] = set()
    for lif in program.lifs:
        step = _step(lif, by_name, reads, inside)
        if step is None:
            continue
        if isinstance(step, ConvLif):
            step = replace(step, density=choose(rates.get(step.conv.source)))
        inside.update(node.name for node in step.nodes)
        # A sum must wait for its residual, while a convolution runs where it stood: others may read its sum before
        # the LIF's own turn comes.
        place = step.add or step.conv if isinstance(step, ConvLif) else step.attention
        steps[place.name] = step
    return tuple(steps.get(node.name, node) for node in program.nodes if node.name in steps or node.name not in inside)


def _step(lif: Lif, by_name: dict[str, Node], reads: Counter[str], inside: set[str]) -> ConvLif | AttentionLif | None:
    """The step that ends in `lif`, if its source can be fused with it and belongs to no other step."""
    source = by_name[lif.source]
    if source.name in inside:
        return None
    kept = source.name if reads[source.name] > 1 else None
    match source:
        case Conv():
            return ConvLif(source, lif, sum=kept)
        case Add():
            conv = _added_conv(source, by_name, reads)
            return None if conv is None else ConvLif(conv, lif, source, kept)
        case Attention():
            return AttentionLif(source, lif) if kept is None and source.scope != "temporal" else None
        case _:
            return None


def _added_conv(add: Add, by_name: dict[str, Node], reads: Counter[str]) -> Conv | None:
    """The later of the operands of `add` that are convolutions which nothing else reads."""
    operands = [by_name.get(name) for name in (add.left, add.right)]
    convs = [node for node in operands if isinstance(node, Conv) and reads[node.name] == 1]
    order = list(by_name)
    return max(convs, key=lambda node: order.index(node.name), default=None)
