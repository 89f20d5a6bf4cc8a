"""The interpreter against the contract's formulas written as plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svf_edge.errors import RangeError, UnsupportedInput
from svf_edge.program import Add, Attention, Conv, Frames, Lif, Output, Program, interpret, run
from tests.programs import assert_not_silent, noise_clip, random_program


def naive_conv(node: Conv, x: np.ndarray) -> np.ndarray:
    steps, _, height, width = x.shape
    outs, per_group, kh, kw = node.weight.shape
    oh = (height + 2 * node.padding[0] - kh) // node.stride[0] + 1
    ow = (width + 2 * node.padding[1] - kw) // node.stride[1] + 1
    y = np.zeros((steps, outs, oh, ow), dtype=object)
    for t, o, i, j in itertools.product(range(steps), range(outs), range(oh), range(ow)):
        first = o // (outs // node.groups) * per_group
        acc = 0
        for c, a, b in itertools.product(range(per_group), range(kh), range(kw)):
            h, w = i * node.stride[0] + a - node.padding[0], j * node.stride[1] + b - node.padding[1]
            if 0 <= h < height and 0 <= w < width:
                acc += int(node.weight[o, c, a, b]) * int(x[t, first + c, h, w])
        shift = int(node.shift[o])
        value = ((acc * 2 ** max(-shift, 0)) + int(node.bias[o])) // 2 ** max(shift, 0)
        y[t, o, i, j] = max(-127, min(127, value)) if node.out == "int8" else value
    return y.astype(np.int64)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    out=st.sampled_from(["fixed", "int8"]),
)
def test_conv(seed: int, groups: int, kernel: tuple, stride: tuple, padding: tuple, out: str) -> None:
    rng = np.random.default_rng(seed)
    node = Conv(
        "c",
        "x",
        rng.integers(-127, 128, (4, 4 // groups, *kernel)).astype(np.int8),
        rng.integers(-500, 500, 4).astype(np.int32),
        rng.integers(-3, 8, 4).astype(np.int32),
        0,
        stride,
        padding,
        groups,
        out,  # type: ignore[arg-type]
    )
    x = rng.integers(-128, 128, (2, 4, 4, 5))
    np.testing.assert_array_equal(interpret.conv(node, x), naive_conv(node, x))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20), reset=st.sampled_from(["hard", "soft"]), levels=st.integers(1, 4))
def test_lif(seed: int, reset: str, levels: int) -> None:
    rng = np.random.default_rng(seed)
    gain, bias = rng.integers(-3, 4, 5), rng.integers(-9, 10, 5)
    theta = rng.integers(1, 30, 5)
    x = rng.integers(-60, 61, (6, 5, 1, 2))
    node = Lif("l", "x", *(v.astype(np.int32) for v in (gain, bias, theta)), reset, levels)  # type: ignore[arg-type]
    spikes, after = interpret.lif(node, x)
    for c, w in itertools.product(range(5), range(2)):
        membrane = 0
        for t in range(6):
            potential = (membrane + int(gain[c]) * int(x[t, c, 0, w]) + int(bias[c])) // 2
            spike = max(0, min(levels, potential // int(theta[c])))
            assert spikes[t, c, 0, w] == spike
            left = potential - spike * int(theta[c])
            membrane = left if reset == "soft" or not spike else 0
        assert after[c, 0, w] == membrane


@pytest.mark.parametrize("mode", ["hamming", "dot"])
@pytest.mark.parametrize("scope", ["joint", "spatial", "temporal"])
def test_attention_equals_the_quadratic_form(mode: str, scope: str) -> None:
    """Token by token: similarity of q_n and k_m times v_m. Hamming similarity is d - 2 * distance."""
    rng = np.random.default_rng(3)
    q, k, v = rng.integers(0, 2, (3, 3, 6, 2, 2))
    node = Attention("a", "q", "k", "v", 2, mode, scope)  # type: ignore[arg-type]
    result = interpret.attention(node, q, k, v)
    tokens = list(itertools.product(range(3), range(2), range(2)))
    for n, m_group in ((n, [m for m in tokens if _same_group(n, m, scope)]) for n in tokens):
        for head in range(2):
            at = slice(3 * head, 3 * head + 3)
            expected = np.zeros(3, dtype=np.int64)
            for m in m_group:
                a, b = q[n[0], at, n[1], n[2]], k[m[0], at, m[1], m[2]]
                similarity = 3 - 2 * int((a != b).sum()) if mode == "hamming" else int((a & b).sum())
                expected += similarity * v[m[0], at, m[1], m[2]]
            np.testing.assert_array_equal(result[n[0], at, n[1], n[2]], expected)


@pytest.mark.parametrize("mode", ["hamming", "dot"])
@pytest.mark.parametrize("window", [1, 2, 5])
def test_causal_attention_sees_the_last_frames_alone(mode: str, window: int) -> None:
    rng = np.random.default_rng(4)
    q, k, v = rng.integers(0, 3, (3, 4, 6, 2, 2))
    result, _ = interpret.causal_attention(Attention("a", "q", "k", "v", 2, mode, "causal", window), q, k, v, None)  # type: ignore[arg-type]
    for t in range(4):
        seen = slice(max(t - window + 1, 0), t + 1)
        pair = (np.concatenate([x[seen], x[t : t + 1]]) for x in (q, k, v))  # t again, so that no clip is empty
        whole = interpret.attention(Attention("a", "q", "k", "v", 2, mode, "joint"), *pair)[-2]  # type: ignore[arg-type]
        once = interpret.attention(Attention("a", "q", "k", "v", 2, mode, "spatial"), q, k, v)[t]  # type: ignore[arg-type]
        np.testing.assert_array_equal(result[t], whole - once)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 99),
    pieces=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    window=st.integers(1, 6),
    reset=st.sampled_from(["hard", "soft"]),
    levels=st.sampled_from([1, 3]),
)
def test_a_stream_in_pieces_is_one_clip(seed: int, pieces: list[int], window: int, reset: str, levels: int) -> None:
    program = random_program(
        seed,
        steps=sum(pieces),
        channels=16,
        scope="causal",
        window=window,
        reset=reset,
        levels=levels,  # type: ignore[arg-type]
    )
    clip = noise_clip(program, seed + 1)
    state, expected_state = interpret.State(), interpret.State()
    expected = run(program, clip, state=expected_state)
    at = 0
    for steps in pieces:
        trace = run(program.for_steps(steps), clip[at : at + steps], state=state)
        for name, spikes in expected.spikes.items():
            np.testing.assert_array_equal(trace.spikes[name], spikes[at : at + steps], err_msg=name)
        np.testing.assert_array_equal(trace.outputs["logits"], expected.outputs["logits"][at : at + steps])
        at += steps
    for ours, theirs in ((state.membranes, expected_state.membranes), (state.summaries, expected_state.summaries)):
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            np.testing.assert_array_equal(ours[name], values, err_msg=name)
    assert all(len(values) == min(window - 1, len(clip)) for values in state.summaries.values())
    assert_not_silent(expected.spikes)


def test_a_state_needs_a_causal_program() -> None:
    program = random_program()
    with pytest.raises(UnsupportedInput, match="sees later frames"):
        run(program, noise_clip(program), state=interpret.State())


def _same_group(n: tuple[int, ...], m: tuple[int, ...], scope: str) -> bool:
    return scope == "joint" or (n[0] == m[0] if scope == "spatial" else n[1:] == m[1:])


def test_run_returns_every_lif_and_observes_every_node() -> None:
    program = random_program()
    seen: dict[str, np.ndarray] = {}
    trace = run(program, noise_clip(program), lambda name, values: seen.update({name: values}))
    assert list(trace.spikes) == [node.name for node in program.lifs]
    assert list(seen) == [node.name for node in program.nodes]
    assert all(seen[name].shape == program.types[name].shape for name in seen)
    assert_not_silent(trace.spikes)


def test_wrong_clips_are_refused() -> None:
    program = random_program()
    with pytest.raises(UnsupportedInput, match=r"uint8 \[2, 3, 13, 9\].*takes uint8 \[2, 3, 13, 10\]"):
        run(program, np.zeros((2, 3, 13, 9), np.uint8))
    with pytest.raises(UnsupportedInput, match="float32"):
        run(program, np.zeros(program.frames.shape, np.float32))  # type: ignore[arg-type]


def test_values_that_leave_int32_are_refused() -> None:
    weight, zero = np.full((1, 1, 1, 1), 127, np.int8), np.zeros(1, np.int32)
    nodes = (Conv("a", "frames", weight, zero, np.full(1, -20, np.int32), 0), Add("twice", "a", "a"))
    program = Program(Frames((1, 1, 1, 1), zero_point=0), nodes, (Output("y", "twice"),))
    with pytest.raises(RangeError, match="a: a value of"):
        run(program, np.full((1, 1, 1, 1), 255, np.uint8))
