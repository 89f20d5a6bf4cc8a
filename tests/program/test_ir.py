from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from svf_edge.program import Add, Attention, Conv, Frames, Lif, Output, Pool, Program

ONE = np.ones(2, np.int32)
ZERO = np.zeros(2, np.int32)
CONV = Conv("c", "frames", np.ones((2, 1, 1, 1), np.int8), ZERO, ZERO, 0)
LIF = Lif("l", "c", ONE, ZERO, ONE)


def build(*nodes: object, output: str = "c") -> Program:
    return Program(Frames((1, 1, 2, 2)), nodes, (Output("y", output),))  # type: ignore[arg-type]


def test_types_follow_the_nodes() -> None:
    strided = dataclasses.replace(CONV, stride=(2, 2), exponent=5)
    assert build(strided).types["c"].shape == (1, 2, 1, 1)
    assert build(strided).types["c"].exponent == 5
    pooled = build(dataclasses.replace(CONV, exponent=5), Pool("p", "c", 2)).types["p"]
    assert (pooled.kind, pooled.shape, pooled.exponent) == ("fixed", (1, 2, 1, 1), 3)
    assert build(CONV, LIF).types["l"].kind == "spikes"
    assert [node.name for node in build(CONV, LIF).lifs] == ["l"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((CONV, CONV), "c: the name is used twice"),
        ((dataclasses.replace(CONV, source="x"),), "c: reads 'x', which no earlier node makes"),
        ((dataclasses.replace(CONV, bias=ZERO.astype(np.int64)),), "c: bias is not int32"),
        ((dataclasses.replace(CONV, shift=ZERO[:1]),), "c: shift is not int32"),
        ((dataclasses.replace(CONV, shift=ZERO + 31),), "c: a shift is outside"),
        ((dataclasses.replace(CONV, weight=CONV.weight * np.int8(-128)),), "c: weight -128"),
        ((dataclasses.replace(CONV, groups=2),), "c: weight .* with 2 groups does not fit 1 channels"),
        ((dataclasses.replace(CONV, weight=np.ones((2, 1, 3, 3), np.int8)),), "c: a 3x3 kernel does not fit 2x2"),
        ((CONV, dataclasses.replace(CONV, name="d", source="c")), "d: reads a fixed tensor"),
        ((CONV, dataclasses.replace(LIF, theta=ZERO)), "l: theta 0 is below 1"),
        ((CONV, dataclasses.replace(LIF, reset="odd")), "l: unknown reset 'odd'"),
        ((dataclasses.replace(CONV, stride=(1,)),), r"c: stride \(1,\) is no pair"),
        ((dataclasses.replace(CONV, padding=(0, 0.5)),), "c: padding .* is no pair"),
        ((dataclasses.replace(CONV, groups=True),), "c: groups True"),
        ((dataclasses.replace(CONV, exponent=None),), "c: .*exponent None"),
        ((CONV, dataclasses.replace(LIF, levels=1.5)), "l: levels 1.5"),
        ((CONV, LIF, Add("a", "c", "l")), "a: adds only fixed tensors"),
        ((CONV, LIF, dataclasses.replace(LIF, name="m", source="l")), "m: reads a tensor of kind spikes"),
        ((CONV, LIF, Pool("p", "l")), "p: reads a tensor of kind spikes"),
        ((CONV, Pool("p", "c", -1)), "p: shift -1"),
        ((CONV, LIF, Attention("a", "l", "l", "l", 3)), "a: 3 heads do not divide C"),
        ((CONV, LIF, Attention("a", "l", "l", "c", 1)), "a: reads only spikes"),
    ],
)
def test_a_bad_node_is_named(nodes: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(*nodes)


def test_outputs_must_exist_and_be_fixed() -> None:
    with pytest.raises(ValueError, match="reads 'x', which no node makes"):
        build(CONV, output="x")
    with pytest.raises(ValueError, match="not of kind fixed"):
        build(CONV, LIF, output="l")
    with pytest.raises(ValueError, match="output 'c' has the name of a tensor"):
        Program(Frames((1, 1, 2, 2)), (CONV,), (Output("c", "c"),))
