"""Operators with a LIF stage in the same pass, on every kernel set, against their definition in steps."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from svf_edge.export import ops
from svf_edge.export.ops import library
from tests.native import definitions
from tests.native.cases import FIXED_CONVS, LEVELS, RATES, ConvCase, conv_cases, pack_levels, random_spikes
from tests.native.core_calls import (
    AUTO,
    DENSE,
    EVENT,
    Stage,
    checked,
    conv2d_lif,
    conv_params,
    pointer,
    prepared_weights,
    threads,
)

generated = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def stages(draw: st.DrawFn) -> dict[str, int | bool]:
    """The choices of a stage; its numbers follow from the result that it gets."""
    return {
        "residual": draw(st.booleans()),
        "keep_sum": draw(st.booleans()),
        "soft_reset": draw(st.booleans()),
        "unit_gain": draw(st.booleans()),
        "levels": draw(st.sampled_from(LEVELS)),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def make_stage(result: NDArray[np.int64], choices: dict[str, int | bool]) -> Stage:
    """A stage for `result`, `[T, ..., C]`, whose neurons reach all levels now and then."""
    rng = np.random.default_rng(choices["seed"])
    channels = result.shape[-1]
    spread = int(np.abs(result).max()) + 1
    gain = np.ones(channels) if choices["unit_gain"] else rng.choice([-3, -1, 1, 2], channels)
    return Stage(
        gain=gain.astype(np.int32),
        bias=rng.integers(-spread, spread + 1, (channels,), dtype=np.int32),
        theta=rng.integers(1, max(2, spread // choices["levels"]), (channels,), dtype=np.int32),
        residual=rng.integers(-spread, spread + 1, result.shape, dtype=np.int32) if choices["residual"] else None,
        keep_sum=bool(choices["keep_sum"]),
        soft_reset=bool(choices["soft_reset"]),
        levels=int(choices["levels"]),
    )


def expected(result: NDArray[np.int64], stage: Stage) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Words with a leading axis of planes also where it is one, and the sum."""
    total = result if stage.residual is None else result + stage.residual
    spikes = definitions.lif(
        total.astype(np.int32), stage.gain, stage.bias, stage.theta, stage.soft_reset, stage.levels
    )
    words = pack_levels(spikes.astype(np.uint8), stage.levels)
    return words.reshape(stage.levels, *total.shape[:-1], -1), total


def check(
    got: tuple[NDArray[np.int32], NDArray[np.int32] | None], wanted: tuple[NDArray[np.int32], NDArray[np.int64]]
) -> None:
    np.testing.assert_array_equal(got[0], wanted[0])
    if got[1] is not None:
        np.testing.assert_array_equal(got[1], wanted[1])


def check_spike_conv(
    case: ConvCase, levels: int, density: int, choices: dict[str, int | bool]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Prepared or not, on one thread or three."""
    spikes = case.spikes(levels)
    weight, bias, shift = case.weights()
    result = definitions.conv2d(spikes, weight, bias, shift, case.stride, case.padding, case.groups)
    stage = make_stage(result, choices)
    wanted = expected(result, stage)
    x = pack_levels(spikes, levels)
    check(conv2d_lif(case, x, stage, levels, density), wanted)
    params = conv_params(case, levels, density, x, 0)
    with threads(3) as parallel, prepared_weights(params, True, weight) as prepared:
        check(conv2d_lif(case, x, stage, levels, density, prepared=prepared, parallel=parallel), wanted)
    return wanted


@generated
@given(
    case=conv_cases(),
    levels=st.sampled_from(LEVELS),
    density=st.sampled_from([AUTO, EVENT, DENSE]),
    choices=stages(),
)
def test_spike_conv2d_lif(isa: str, case: ConvCase, levels: int, density: int, choices: dict[str, int | bool]) -> None:
    check_spike_conv(case, levels, density, choices)


# Tiles of several lines and columns, tails of channels, long clips.
LARGE = {
    "two words and a tail, wide": ConvCase(2, 7, 40, 33, 72, (3, 3), (1, 1), (1, 1), 1, 0.15, 10),
    "stride 2 over tiles": ConvCase(2, 17, 37, 33, 64, (3, 3), (2, 2), (1, 1), 1, 0.3, 11),
    "32 time steps": ConvCase(32, 8, 8, 96, 96, (1, 1), (1, 1), (0, 0), 1, 0.2, 12),
    "one position, many channels": ConvCase(4, 1, 1, 300, 260, (1, 1), (1, 1), (0, 0), 1, 0.3, 13),
}


@pytest.mark.parametrize("density", [AUTO, EVENT, DENSE])
@pytest.mark.parametrize("name", LARGE)
def test_tiles(isa: str, name: str, density: int) -> None:
    choices = {"residual": True, "keep_sum": True, "soft_reset": True, "unit_gain": True, "levels": 4, "seed": 0}
    for levels in (1, 4):
        words, _ = check_spike_conv(LARGE[name], levels, density, choices)
        assert all(plane.any() for plane in words)


@generated
@given(case=conv_cases(), signed=st.booleans(), choices=stages())
def test_conv2d_lif(isa: str, case: ConvCase, signed: bool, choices: dict[str, int | bool]) -> None:
    x, zero_point = case.integers(np.int8 if signed else np.uint8), 0 if signed else 128
    weight, bias, shift = case.weights()
    centred = x.astype(np.int64) - zero_point
    result = definitions.conv2d(centred, weight, bias, shift, case.stride, case.padding, case.groups)
    stage = make_stage(result, choices)
    wanted = expected(result, stage)
    check(conv2d_lif(case, x, stage, zero_point=zero_point), wanted)
    params = conv_params(case, 1, AUTO, x, zero_point)
    with threads(3) as parallel, prepared_weights(params, False, weight) as prepared:
        check(conv2d_lif(case, x, stage, zero_point=zero_point, prepared=prepared, parallel=parallel), wanted)


@generated
@given(
    groups=st.sampled_from([1, 3]),
    frames=st.sampled_from([1, 3]),
    tokens=st.sampled_from([3, 33, 96]),
    width=st.sampled_from([7, 16, 45]),
    heads=st.integers(1, 3),
    hamming=st.booleans(),
    rate=st.sampled_from(RATES),
    levels=st.sampled_from(LEVELS),
    choices=stages(),
)
def test_attention_lif(
    isa: str,
    groups: int,
    frames: int,
    tokens: int,
    width: int,
    heads: int,
    hamming: bool,
    rate: float,
    levels: int,
    choices: dict[str, int | bool],
) -> None:
    rng = np.random.default_rng(choices["seed"])
    channels = width * heads
    q, k, v = (random_spikes(rng, (groups, tokens, channels), rate, levels) for _ in range(3))
    rows = groups * tokens
    result = definitions.attention(q, k, v, heads, hamming).reshape(frames, rows // frames, channels)
    stage = make_stage(result, choices)
    spikes, total = stage.outputs(result.shape)
    params = library.AttentionParams(
        groups=groups, tokens=tokens, channels=channels, heads=heads, kind=0 if hamming else 1, levels=levels
    )
    packed = [pack_levels(x, levels) for x in (q, k, v)]
    struct = stage.struct(spikes, total)
    arrays = [pointer(array) for array in packed]
    with threads(3) as parallel:
        status = library.core().svf_attention_lif(ctypes.byref(params), frames, *arrays, ctypes.byref(struct), parallel)
    checked(status)
    check((spikes, total), expected(result, stage))


CASE = FIXED_CONVS["pointwise"]


def a_stage(**changes: object) -> Stage:
    ones = np.ones(CASE.group_out, np.int32)
    fields: dict[str, object] = {
        "gain": ones,
        "bias": ones,
        "theta": ones,
        "residual": None,
        "keep_sum": False,
        "soft_reset": False,
        "levels": 1,
    }
    return Stage(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_sum_may_replace_the_residual(isa: str) -> None:
    """One tensor for both, as a runtime that reuses memory may pass it."""
    weight, bias, shift = CASE.weights()
    result = definitions.conv2d(CASE.spikes(), weight, bias, shift, CASE.stride, CASE.padding, CASE.groups)
    residual = np.arange(result.size, dtype=np.int32).reshape(result.shape) % 1000
    stage = a_stage(residual=residual.copy(), keep_sum=True)
    wanted = expected(result, stage)
    spikes, _ = stage.outputs(result.shape)
    params = conv_params(CASE, 1, AUTO, np.empty(0, np.int32), 0)
    x = pack_levels(CASE.spikes(), 1)
    struct = stage.struct(spikes, residual)
    struct.residual = residual.ctypes.data
    arrays = (pointer(x), pointer(weight), None, pointer(bias), pointer(shift))
    checked(library.core().svf_spike_conv2d_lif(ctypes.byref(params), *arrays, ctypes.byref(struct), None))
    check((spikes, residual), wanted)


def test_weights_prepared_by_another_kernel_set(isa: str) -> None:
    """They are ordered again, and the results are the same."""
    weight, _, _ = CASE.weights()
    x = pack_levels(CASE.spikes(), 1)
    params = conv_params(CASE, 1, AUTO, x, 0)
    wanted, _ = conv2d_lif(CASE, x, a_stage())
    for other in ops.available_isas():
        with ops.force_isa(other), prepared_weights(params, True, weight) as prepared, ops.force_isa(isa):
            np.testing.assert_array_equal(conv2d_lif(CASE, x, a_stage(), prepared=prepared)[0], wanted)


def test_what_is_wrong_with_a_stage_is_named() -> None:
    x = pack_levels(CASE.spikes(), 1)
    weight, bias, shift = CASE.weights()
    params = conv_params(CASE, 1, AUTO, x, 0)
    with pytest.raises(ValueError, match="levels=16 is outside"):
        conv2d_lif(CASE, x, a_stage(levels=16))
    with pytest.raises(ValueError, match="a tensor of the LIF stage is null"):
        conv2d_lif(CASE, x, a_stage(theta=None))
    with pytest.raises(ValueError, match="density 3 is neither"):
        conv2d_lif(CASE, x, a_stage(), density=3)
    with (
        prepared_weights(params, False, weight) as prepared,
        pytest.raises(ValueError, match="prepared weights are of another convolution"),
    ):
        conv2d_lif(CASE, x, a_stage(), prepared=prepared)
    arrays = (pointer(x), pointer(weight), None, pointer(bias), pointer(shift))
    call = library.core().svf_spike_conv2d_lif
    with pytest.raises(ValueError, match="LIF stage is null"):
        checked(call(ctypes.byref(params), *arrays, None, None))
    params.output_type = 1
    spikes, _ = a_stage().outputs((CASE.frames, CASE.height, CASE.width, CASE.group_out))
    with pytest.raises(ValueError, match="has output type SVF_INT32"):
        checked(call(ctypes.byref(params), *arrays, ctypes.byref(a_stage().struct(spikes, None)), None))
    attention = library.AttentionParams(groups=1, tokens=7, channels=32, heads=1, kind=0, levels=1)
    with pytest.raises(ValueError, match="T=2 does not divide the 7 rows"):
        checked(library.core().svf_attention_lif(ctypes.byref(attention), 2, *[pointer(x)] * 3, None, None))


def test_scratch_memory_is_counted(isa: str) -> None:
    core = library.core()
    core.svf_reset_scratch_peak()
    assert core.svf_scratch_peak() == 0
    conv2d_lif(CASE, pack_levels(CASE.spikes(), 1), a_stage())
    once = core.svf_scratch_peak()
    conv2d_lif(CASE, pack_levels(CASE.spikes(), 1), a_stage())
    assert core.svf_scratch_peak() == once > 0
