"""The fusion pass: what it joins, and that joining changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svf_edge.export.density import DENSITIES
from svf_edge.export.fusion import AttentionLif, ConvLif, Step, fuse
from svf_edge.export.torch_graph import build_module
from svf_edge.model_store import load_model
from svf_edge.packing import pack_spikes
from svf_edge.program import Add, Attention, Conv, Frames, Lif, Output, Program, run
from svf_edge.program.freeze import freeze
from svf_edge.program.ir import sources
from svf_edge.shipped import CHECKPOINT
from tests.programs import Builder, noise_clip, random_program

CHANNELS = 6


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Programs of any topology: tensors are read never, once or often, by convolutions, sums, LIFs and outputs."""
    levels = draw(st.sampled_from([1, 2, 3]))
    frames = Frames((draw(st.integers(1, 3)), 2, 3, 4))
    b = Builder(frames, draw(st.integers(0, 1000)), levels=levels, reset=draw(st.sampled_from(["hard", "soft"])))
    fixed = [b.conv("stem", "frames", CHANNELS, 3, padding=(1, 1))]
    spikes = [b.lif("stem.lif", fixed[0])]
    for index in range(draw(st.integers(1, 14))):
        name = f"n{index}"
        match draw(st.sampled_from(["conv", "conv", "int8", "add", "add", "lif", "lif", "attention"])):
            case "conv":
                kernel = draw(st.sampled_from([1, 3]))
                source = draw(st.sampled_from(["frames", *spikes]))
                fixed.append(b.conv(name, source, CHANNELS, kernel, padding=(kernel // 2, kernel // 2)))
            case "int8":
                groups = draw(st.sampled_from([1, CHANNELS]))
                small = b.conv(f"{name}.int8", draw(st.sampled_from(spikes)), CHANNELS, groups=groups, out="int8")
                fixed.append(b.conv(name, small, CHANNELS))
            case "add":
                # Recent tensors: sums of a sum and a convolution that nothing else reads are the common case.
                fixed.append(b.add(name, draw(st.sampled_from(fixed[-3:])), draw(st.sampled_from(fixed[-2:]))))
            case "lif":
                spikes.append(b.lif(name, draw(st.sampled_from(fixed[-3:])), signed=draw(st.booleans())))
            case "attention":
                q, k, v = (draw(st.sampled_from(spikes)) for _ in range(3))
                mode, scope = draw(st.sampled_from(["hamming", "dot"])), draw(st.sampled_from(["joint", "spatial"]))
                scope = draw(st.sampled_from([scope, scope, "temporal"]))
                fixed.append(b.attention(name, q, k, v, 2, mode, scope, 0))
    outputs = draw(st.lists(st.sampled_from(fixed), min_size=1, max_size=2, unique=True))
    return Program(frames, tuple(b.nodes), tuple(Output(f"out{i}", name) for i, name in enumerate(outputs)))


def made(step: Step) -> set[str]:
    """Tensors that a step leaves for others to read."""
    match step:
        case ConvLif():
            return {step.lif.name, *([step.sum] if step.sum else [])}
        case AttentionLif():
            return {step.lif.name}
        case _:
            return {step.name}


def nodes(step: Step) -> tuple:
    return step.nodes if isinstance(step, ConvLif | AttentionLif) else (step,)


def check(program: Program) -> tuple[Step, ...]:
    """The steps of `program`, after making sure that they are a valid order that leaves out no tensor."""
    steps = fuse(program)
    present = {program.frames.name}
    for step in steps:
        inner = {node.name for node in nodes(step)}
        read = {name for node in nodes(step) for name in sources(node)} - inner
        assert read <= present, step
        present |= made(step)
    assert {output.source for output in program.outputs} <= present
    assert {lif.name for lif in program.lifs} <= present
    order = [node for step in steps for node in nodes(step)]
    assert Counter(node.name for node in order) == Counter(node.name for node in program.nodes)
    trace, fused = (run(p, noise_clip(program, 3)) for p in (program, replace(program, nodes=tuple(order))))
    for before, after in ((trace.outputs, fused.outputs), (trace.spikes, fused.spikes)):
        assert before.keys() == after.keys()
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values, err_msg=name)
    return steps


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_steps_are_the_program(program: Program) -> None:
    """And nothing that could be fused is left: a LIF stands alone only where a rule of the module says so."""
    steps = check(program)
    reads = Counter(name for node in program.nodes for name in sources(node))
    reads.update(output.source for output in program.outputs)
    by_name = {node.name: node for node in program.nodes}
    fused = {step.lif.source for step in steps if isinstance(step, ConvLif | AttentionLif)}
    for step in steps:
        if not isinstance(step, Lif) or step.source in fused:
            continue
        match by_name[step.source]:
            case Attention(scope=scope) as attention:
                assert scope == "temporal" or reads[attention.name] > 1
            case Add() as add:
                operands = [by_name.get(name) for name in (add.left, add.right)]
                assert not any(isinstance(node, Conv) and reads[node.name] == 1 for node in operands)
            case Conv() as conv:
                raise AssertionError(f"{conv.name} and {step.name} were not fused")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_operators_give_the_same_integers(program: Program) -> None:
    clip = noise_clip(program, 4)
    trace = run(program, clip)
    with torch.no_grad():
        found = build_module(program, "packed", taps=True)(torch.from_numpy(clip))
    wanted = [trace.outputs[output.name] for output in program.outputs]
    wanted += [pack_spikes(trace.spikes[lif.name], lif.levels) for lif in program.lifs]
    names = [*trace.outputs, *trace.spikes]
    for name, one, other in zip(names, found, wanted, strict=True):
        np.testing.assert_array_equal(one.numpy(), other, err_msg=name)


def start(**options: object) -> tuple[Builder, str, str]:
    """A builder with one convolution and its spikes."""
    b = Builder(Frames((2, 2, 3, 4)), 1)
    x = b.conv("x", "frames", CHANNELS)
    return b, x, b.lif("s", x)


def test_a_sum_read_by_a_lif_and_a_later_sum_is_kept() -> None:
    b, x, s = start()
    y = b.add("y", x, b.conv("c", s, CHANNELS))
    z = b.add("z", b.conv("d", b.lif("yl", y), CHANNELS), y)
    program = b.build(b.conv("end", b.lif("zl", z), CHANNELS))
    first, second, third, end = check(program)
    assert isinstance(first, ConvLif) and (first.residual, first.sum) == (None, "x")
    assert isinstance(second, ConvLif) and (second.residual, second.sum) == ("x", "y")
    assert isinstance(third, ConvLif) and (third.residual, third.sum) == ("y", None)
    assert isinstance(end, Conv)


def test_a_sum_of_two_convolutions_waits_for_both() -> None:
    b, _, s = start()
    y = b.add("y", b.conv("c", s, CHANNELS), b.conv("d", s, CHANNELS))
    _, conv, step, _ = check(b.build(b.conv("end", b.lif("yl", y), CHANNELS)))
    assert isinstance(conv, Conv) and conv.name == "c"
    assert isinstance(step, ConvLif) and (step.conv.name, step.residual) == ("d", "c")


def test_a_convolution_added_to_itself() -> None:
    b, _, s = start()
    c = b.conv("c", s, CHANNELS)
    program = b.build(b.conv("end", b.lif("l", b.add("y", c, c)), CHANNELS))
    assert [type(step) for step in check(program)] == [ConvLif, Conv, Add, Lif, Conv]


def test_the_second_lif_of_a_tensor_reads_what_the_first_keeps() -> None:
    b, _, s = start()
    c = b.conv("c", s, CHANNELS)
    l1, l2 = b.lif("l1", c), b.lif("l2", c, signed=True)
    steps = check(b.build(b.add("y", b.conv("d", l1, CHANNELS), b.conv("e", l2, CHANNELS))))
    assert isinstance(steps[1], ConvLif) and (steps[1].lif.name, steps[1].sum) == ("l1", "c")
    assert isinstance(steps[2], Lif)


def test_a_convolution_that_is_an_output_is_kept() -> None:
    b, x, _ = start()
    (step,) = check(b.build(x))
    assert isinstance(step, ConvLif) and step.sum == "x"


@pytest.mark.parametrize(("scope", "fused"), [("joint", True), ("spatial", True), ("temporal", False)])
def test_attention(scope: str, fused: bool) -> None:
    steps = check(random_program(scope=scope))
    assert any(isinstance(step, AttentionLif) for step in steps) == fused
    assert any(isinstance(step, Attention) for step in steps) != fused


def test_an_attention_that_is_an_output_is_left_alone() -> None:
    b, _, s = start()
    o = b.attention("o", s, s, s, 2, "hamming", "joint", 0)
    b.lif("l", o)
    assert [type(step) for step in check(b.build(o))] == [ConvLif, Attention, Lif]


def test_every_lif_of_the_shipped_model_is_fused() -> None:
    model, _ = load_model(CHECKPOINT)
    program = freeze(model)
    steps = fuse(program)
    assert not any(isinstance(step, Lif | Add | Attention) for step in steps)
    assert sum(isinstance(step, ConvLif | AttentionLif) for step in steps) == len(program.lifs)


def test_rates_choose_the_density_and_change_no_result() -> None:
    program = random_program()
    steps = [step for step in fuse(program) if isinstance(step, ConvLif)]
    assert {step.density for step in steps} == {"auto"}
    read = {step.conv.source for step in steps} - {program.frames.name}
    rates = dict(zip(sorted(read), [0.01, 0.2, 0.9] * len(read), strict=False))
    fused = [step for step in fuse(program, rates) if isinstance(step, ConvLif)]
    wanted = {0.01: "event", 0.2: "auto", 0.9: "dense", None: "auto"}
    assert [step.density for step in fused] == [wanted[rates.get(step.conv.source)] for step in fused]
    assert {step.density for step in fused} == set(DENSITIES)
    clip = torch.from_numpy(noise_clip(program))
    with torch.no_grad():
        plain, hinted = (build_module(program, "packed", True, rates=r)(clip) for r in ({}, rates))
    assert all(torch.equal(one, other) for one, other in zip(plain, hinted, strict=True))
