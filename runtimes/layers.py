"""What every layer takes: the operators that a runtime's own profiler saw, joined with the program's layers.

A row is a step of the packed dialect (`svf_edge.export.fusion`), so that all runtimes of a program have the same
rows. How operators find their step depends on what a runtime keeps of names:

- ONNX Runtime names nodes as the exporter did: after the layer, with a suffix for its pieces.
- ExecuTorch keeps no names. In a packed program the kernels of `svf` run in the order of the steps. In a portable one
  XNNPACK's convolutions and matrix products run in the order of the program's, and what follows one (LIF, additions)
  belongs to it.

Where numbers do not match, nothing is joined: a wrong name would be worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from svf_edge.export.fusion import Step, fuse
from svf_edge.program import Attention, Conv, Node, Program
from svf_edge.runtimes.base import Result
from svf_edge.runtimes.runner_schema import RunnerOperator

_KINDS = {"Conv": "convolution", "Add": "add", "Lif": "LIF", "Attention": "attention"}
_STEP = re.compile(r"svf::(?!channels_last|unpack_weights)|native_call_add\.out")
_CONVOLUTION = re.compile(r"(Convolution|Fully Connected) ")
_PRODUCT = re.compile(r"Batch Matrix Multiply ")
_BLOCKED = re.compile(r"_nchwc$")  # ONNX Runtime's convolution in another layout


class LayerTime(Result):
    """One step: its number, its last layer, what it computes, its operators and the sum of their medians in ms."""

    step: int
    layer: str
    computes: str
    operators: int
    milliseconds: float


class RuntimeLayers(Result):
    """One runtime: its steps in running order, and ms of all that belongs to none. None of them joined: no `layers`."""

    runtime: str
    layers: tuple[LayerTime, ...]
    other: float

    @property
    def total(self) -> float:
        """Milliseconds of all operators."""
        return sum(layer.milliseconds for layer in self.layers) + self.other


def layer_times(program: Program, runtime: str, operators: Sequence[RunnerOperator]) -> RuntimeLayers | None:
    """Join the operators of `runtime` with the layers of `program`; None when they were not timed (an emulator)."""
    if not operators or not all(operator.milliseconds for operator in operators):
        return None
    times = [float(np.median(operator.milliseconds)) for operator in operators]
    whole = sum(time for time, operator in zip(times, operators, strict=True) if not operator.part)
    steps = fuse(program)
    found: dict[int, list[float]] = {}
    for time, place in zip(times, _places(program, steps, operators), strict=True):
        if place is not None:
            found.setdefault(place, []).append(time)
    layers = tuple(
        LayerTime(
            step=place,
            layer=_nodes(steps[place])[-1].name,
            computes=" + ".join(_KINDS[type(node).__name__] for node in _nodes(steps[place])),
            operators=len(found[place]),
            milliseconds=sum(found[place]),
        )
        for place in sorted(found)
    )
    return RuntimeLayers(
        runtime=runtime, layers=layers, other=max(whole - sum(layer.milliseconds for layer in layers), 0.0)
    )


def _nodes(step: Step) -> tuple[Node, ...]:
    return (step,) if isinstance(step, Node) else step.nodes


def _places(program: Program, steps: Sequence[Step], operators: Sequence[RunnerOperator]) -> list[int | None]:
    """The step of every operator, by its index; None for what belongs to no step."""
    if any(operator.node for operator in operators):
        return _by_name(steps, operators)
    if any(operator.part for operator in operators):
        convs = [index for index, step in enumerate(steps) for node in _nodes(step) if isinstance(node, Conv)]
        products = [index for index, step in enumerate(steps) for node in _nodes(step) if isinstance(node, Attention)]
        twice = [index for index in products for _ in range(2)]
        marks = _in_order(operators, {_CONVOLUTION: convs, _PRODUCT: twice})
        return _until_the_next(operators, marks)
    marks = _in_order(operators, {_STEP: range(len(steps))})
    return [marks.get(position) for position in range(len(operators))]


def _by_name(steps: Sequence[Step], operators: Sequence[RunnerOperator]) -> list[int | None]:
    names = {node.name: index for index, step in enumerate(steps) for node in _nodes(step)}
    return [names.get(_BLOCKED.sub("", operator.node.partition(":")[0])) for operator in operators]


def _in_order(operators: Sequence[RunnerOperator], kinds: dict[re.Pattern[str], Sequence[int]]) -> dict[int, int]:
    """The step whose turn it is for the operators of each kind, by position; nothing when a number differs."""
    marks: dict[int, int] = {}
    for kind, steps in kinds.items():
        positions = [position for position, operator in enumerate(operators) if kind.match(operator.kind)]
        if len(positions) != len(steps):
            return {}
        marks.update(zip(positions, steps, strict=True))
    return marks


def _until_the_next(operators: Sequence[RunnerOperator], marks: dict[int, int]) -> list[int | None]:
    """Parts belong to the last mark before them."""
    places: list[int | None] = []
    for position, operator in enumerate(operators):
        last = places[-1] if places else None
        places.append(marks.get(position, last) if operator.part else None)
    return places
