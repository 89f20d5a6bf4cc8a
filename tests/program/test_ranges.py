from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svf_edge.errors import RangeError
from svf_edge.program import Attention, Conv, Frames, Lif, Output, Program, run
from svf_edge.program.ranges import bounds, prove, prove_floats
from tests.programs import far_sighted_program, loud_program, noise_clip, random_program


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    scope=st.sampled_from(["joint", "spatial", "temporal", "causal"]),
    mode=st.sampled_from(["hamming", "dot"]),
    reset=st.sampled_from(["hard", "soft"]),
    levels=st.integers(1, 3),
    pool_shift=st.sampled_from([None, 0, 2]),
)
def test_no_run_exceeds_its_bounds(
    seed: int, scope: str, mode: str, reset: str, levels: int, pool_shift: int | None
) -> None:
    options: dict[str, Any] = {
        "scope": scope,
        "window": 2 * (scope == "causal"),
        "mode": mode,
        "reset": reset,
        "levels": levels,
        "pool_shift": pool_shift,
    }
    program = random_program(seed, channels=16, **options)
    proven = {(b.layer, b.quantity): b.value for b in bounds(program)}
    clips = [
        noise_clip(program, seed),
        np.zeros(program.frames.shape, np.uint8),
        np.full(program.frames.shape, 255, np.uint8),
    ]
    for clip in clips:

        def check(name: str, values: np.ndarray) -> None:
            quantity = next((q for q in ("output", "sum") if (name, q) in proven), None)
            if quantity is not None:
                assert np.abs(values).max() <= proven[name, quantity]

        run(program, clip, check)


def test_the_bound_of_a_convolution_is_reached() -> None:
    """Worst case by construction: pixels at the extreme that each weight's sign asks for."""
    weight = np.array([[[[127]], [[-127]]]], np.int8)
    nodes = (Conv("c", "frames", weight, np.array([5], np.int32), np.array([-1], np.int32), 0),)
    program = Program(Frames((1, 2, 1, 1)), nodes, (Output("y", "c"),))
    clip = np.array([255, 0], np.uint8).reshape(1, 2, 1, 1)
    reached = abs(int(run(program, clip).outputs["y"].item()))
    assert reached == 2 * 127 * (128 + 127) + 5
    by_name = {b.quantity: b.value for b in bounds(program)}
    assert by_name["output"] == reached
    assert by_name["accumulator"] == 127 * 256, (
        "sum of absolute values: either pixel may be 128 away from the zero point"
    )


def _attention(steps: int, side: int, width: int) -> Program:
    weight = np.ones((width, 3, 1, 1), np.int8)
    one, zero = np.ones(width, np.int32), np.zeros(width, np.int32)
    nodes = (
        Conv("stem", "frames", weight, zero, zero, 0),
        Lif("lif", "stem", one, zero, one),
        Attention("block3.attn", "lif", "lif", "lif", 1),
    )
    return Program(Frames((steps, 3, side, side)), nodes, (Output("y", "block3.attn"),))


def test_too_many_tokens_are_refused_by_name() -> None:
    prove(_attention(4, 64, 64), "float32")
    with pytest.raises(RangeError, match=r"layer 'block3.attn': output can reach 33554432.*float32.*16777216"):
        prove(_attention(8, 64, 1024), "float32")
    prove(_attention(8, 64, 1024), "int32")


def test_what_needs_float64_is_an_attention_and_its_lifs() -> None:
    assert prove_floats(far_sighted_program(window=8)) == frozenset()
    assert prove_floats(far_sighted_program(window=64)) == {"attn", "attn.lif"}
    with pytest.raises(RangeError, match=r"layer 'block3.attn': output .* the float32 carrier"):
        prove_floats(_attention(8, 64, 1024))  # an output of the program: it stays float32
    with pytest.raises(RangeError, match=r"layer 'attn': key-value summary .* the float32 carrier"):
        prove_floats(far_sighted_program(window=10_000))
    with pytest.raises(RangeError, match=r"layer 'attn': output .* the int32 carrier"):
        prove_floats(far_sighted_program(window=6_000))


def test_too_large_weights_are_refused_by_name() -> None:
    with pytest.raises(RangeError, match=r"layer 'stem': .* can reach \d+, the float32 carrier"):
        prove(loud_program(), "float32")
