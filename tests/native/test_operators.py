"""Every operator, on every kernel set, against its definition."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from svf_edge.contract import MAX_LEVELS
from svf_edge.export.ops import RESULTS, library
from svf_edge.packing import unpack_last
from tests.native import definitions
from tests.native.cases import (
    CHANNELS,
    FIXED_CONVS,
    LEVELS,
    RATES,
    ConvCase,
    conv_cases,
    pack_levels,
    random_spikes,
)
from tests.native.examples import ADDS, VARIANTS, arguments, call, example, tensors

svf = torch.ops.svf
generated = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check_spike_conv(case: ConvCase, levels: int = 1) -> NDArray[np.int64]:
    spikes, (weight, bias, shift) = case.spikes(levels), case.weights()
    arguments = (*tensors(pack_levels(spikes, levels), weight, bias, shift), *case.arguments)
    expected = definitions.conv2d(spikes, weight, bias, shift, case.stride, case.padding, case.groups)
    wide, narrow = svf.spike_conv2d(*arguments), svf.spike_conv2d_s8(*arguments)
    assert (wide.dtype, narrow.dtype) == (torch.int32, torch.int8)
    np.testing.assert_array_equal(wide.numpy(), expected)
    np.testing.assert_array_equal(narrow.numpy(), definitions.saturate(expected))
    return expected


def check_dense_conv(case: ConvCase, dtype: type[np.uint8] | type[np.int8], zero_point: int) -> NDArray[np.int64]:
    x, (weight, bias, shift) = case.integers(dtype), case.weights()
    arguments = (*tensors(x, weight, bias, shift), *case.arguments, zero_point)
    centred = x.astype(np.int64) - zero_point
    expected = definitions.conv2d(centred, weight, bias, shift, case.stride, case.padding, case.groups)
    wide, narrow = svf.conv2d(*arguments), svf.conv2d_s8(*arguments)
    assert (wide.dtype, narrow.dtype) == (torch.int32, torch.int8)
    np.testing.assert_array_equal(wide.numpy(), expected)
    np.testing.assert_array_equal(narrow.numpy(), definitions.saturate(expected))
    return expected


@pytest.mark.parametrize("name", FIXED_CONVS)
def test_convolutions_of_the_networks(isa: str, name: str) -> None:
    case = FIXED_CONVS[name]
    check_spike_conv(case, MAX_LEVELS)
    spiking = check_spike_conv(case)
    if name == "silent":
        _, bias, shift = case.weights()
        assert (spiking == bias >> np.maximum(shift, 0)).all()
    else:
        assert np.unique(spiking).size > 20
    assert np.unique(check_dense_conv(case, np.uint8, 128)).size > 20
    assert np.unique(check_dense_conv(case, np.int8, 0)).size > 20


@generated
@given(case=conv_cases(), levels=st.sampled_from(LEVELS))
def test_spike_conv2d(isa: str, case: ConvCase, levels: int) -> None:
    check_spike_conv(case, levels)


@generated
@given(case=conv_cases(), zero_point=st.sampled_from([0, 1, 128, 255]))
def test_conv2d_uint8(isa: str, case: ConvCase, zero_point: int) -> None:
    check_dense_conv(case, np.uint8, zero_point)


@generated
@given(case=conv_cases(), zero_point=st.sampled_from([0, -128, 127]))
def test_conv2d_int8(isa: str, case: ConvCase, zero_point: int) -> None:
    check_dense_conv(case, np.int8, zero_point)


def test_largest_products_do_not_saturate(isa: str) -> None:
    """255 and -127 everywhere: pairs of products leave int16, where some instruction sets saturate."""
    x = np.full((1, 4, 4, 96), 255, np.uint8)
    zeros = np.zeros(40, np.int32)
    for value in (-127, 127):
        weight = np.full((3, 3, 96, 40), value, np.int8)
        y = svf.conv2d(*tensors(x, weight, zeros, zeros), [1, 1], [0, 0], 1, 0)
        assert (y == 255 * value * 9 * 96).all()
    depthwise = svf.conv2d(*tensors(x, np.full((3, 3, 1, 96), -127, np.int8), np.zeros(96, np.int32),
                                    np.zeros(96, np.int32)), [1, 1], [0, 0], 96, 0)  # fmt: skip
    assert (depthwise == 255 * -127 * 9).all()


@generated
@given(
    frames=st.sampled_from([1, 2, 5, 8]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.sampled_from(CHANNELS),
    soft_reset=st.booleans(),
    levels=st.sampled_from(LEVELS),
    seed=st.integers(0, 2**32 - 1),
)
def test_lif(
    isa: str, frames: int, height: int, width: int, channels: int, soft_reset: bool, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-600, 900, (frames, height, width, channels), dtype=np.int32)
    gain = rng.choice(np.array([1, 1, -1, 64, -64], np.int32), channels)
    bias = rng.integers(-300, 300, channels, dtype=np.int32)
    theta = rng.integers(1, 600, channels, dtype=np.int32)
    arguments = tensors(x, gain, bias, theta)
    words = (
        svf.lif(*arguments, soft_reset) if levels == 1 else svf.integer_lif(*arguments, soft_reset, levels)
    ).numpy()
    expected = definitions.lif(x, gain, bias, theta, soft_reset, levels)
    np.testing.assert_array_equal(words, pack_levels(expected.astype(np.uint8), levels))


@pytest.mark.parametrize("levels", LEVELS[1:])
def test_lif_reaches_every_level(isa: str, levels: int) -> None:
    """And one beyond, which is cut; a threshold near 2^31 must not overflow."""
    theta = np.full(40, 10, np.int32)
    theta[33] = 2**31 - 1
    x = np.broadcast_to(np.arange(0, 20 * (levels + 2), 5, dtype=np.int32), (40, 4 * (levels + 2))).T
    x = np.ascontiguousarray(x.reshape(1, -1, 1, 40))
    one = np.ones(40, np.int32)
    for soft_reset in (False, True):
        words = svf.integer_lif(*tensors(x, one, 0 * one, theta), soft_reset, levels).numpy()
        spikes = unpack_last(words, 40).sum(0)
        assert np.unique(spikes[..., 0]).tolist() == list(range(levels + 1))
        assert not spikes[..., 33].any()


def test_lif_keeps_its_membrane(isa: str) -> None:
    """Values worked out by hand: theta 4, input 6: H = 3, (3 + 6) >> 1 = 4 fires, then from 0 or from 4 - 4."""
    x = np.full((4, 1, 1, 1), 6, np.int32)
    x[3] = 8
    one = np.ones(1, np.int32)
    for soft_reset in (False, True):
        words = svf.lif(*tensors(x, one, 0 * one, 4 * one), soft_reset)
        assert words.flatten().tolist() == [0, 1, 0, 1]
    # theta 3, input 8: H = 4 fires; hard starts again from 0, soft from 1: (1 + 4) >> 1 = 2 against 4 >> 1 = 2;
    # with input 5 it is (1 + 5) >> 1 = 3 against 5 >> 1 = 2.
    x = np.array([8, 5], np.int32).reshape(2, 1, 1, 1)
    hard, soft = (svf.lif(*tensors(x, one, 0 * one, 3 * one), reset) for reset in (False, True))
    assert (hard.flatten().tolist(), soft.flatten().tolist()) == ([1, 0], [1, 1])


def test_packing_of_kernels(isa: str) -> None:
    """Conformance vectors: channel c is bit c % 32 of word c // 32, padding bits are zero."""
    one = np.ones(70, np.int32)
    for channel, words in {
        0: [1, 0, 0],
        31: [-(2**31), 0, 0],
        32: [0, 1, 0],
        45: [0, 1 << 13, 0],
        69: [0, 0, 32],
    }.items():
        x = np.full((1, 1, 1, 70), -8, np.int32)
        x[..., channel] = 8
        assert svf.lif(*tensors(x, one, 0 * one, one), False).flatten().tolist() == words
        # Read back: a 1x1 identity convolution turns the bit into a one in its channel.
        spikes = np.array(words, np.int32).reshape(1, 1, 1, 3)
        identity = np.eye(70, dtype=np.int8).reshape(1, 1, 70, 70)
        y = svf.spike_conv2d(*tensors(spikes, identity, 0 * one, 0 * one), [1, 1], [0, 0], 1)
        assert y.flatten().nonzero().flatten().tolist() == [channel]
    every = svf.lif(*tensors(np.full((1, 1, 1, 70), 8, np.int32), one, 0 * one, one), False)
    assert every.flatten().tolist() == [-1, -1, 63]


def check_attention(
    groups: int, tokens: int, width: int, heads: int, rates: tuple[float, float, float], seed: int, levels: int = 1
) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    channels = width * heads
    q, k, v = (random_spikes(rng, (groups, tokens, channels), rate, levels) for rate in rates)
    packed = tensors(*(pack_levels(spikes, levels) for spikes in (q, k, v)))
    hamming = definitions.attention(q, k, v, heads, True)
    np.testing.assert_array_equal(svf.hamming_attention(*packed, channels, heads).numpy(), hamming)
    dot = definitions.attention(q, k, v, heads, False)
    np.testing.assert_array_equal(svf.dot_attention(*packed, channels, heads).numpy(), dot)
    return hamming


@pytest.mark.parametrize(
    ("groups", "tokens", "width", "heads"),
    [(1, 64, 16, 8), (1, 196, 45, 8), (4, 49, 64, 2), (30, 4, 32, 3), (1, 1, 45, 2), (2, 33, 1, 5), (1, 130, 90, 1)],
)
def test_attention_of_the_networks(isa: str, groups: int, tokens: int, width: int, heads: int) -> None:
    assert np.unique(check_attention(groups, tokens, width, heads, (0.2, 0.3, 0.4), 0)).size > 2


@generated
@given(
    groups=st.integers(1, 5),
    tokens=st.sampled_from([1, 2, 5, 31, 32, 33, 64, 65, 100]),
    width=st.sampled_from([1, 7, 16, 31, 32, 33, 45, 64, 80]),
    heads=st.integers(1, 4),
    rates=st.tuples(*[st.sampled_from(RATES)] * 3),
    levels=st.sampled_from(LEVELS),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention(
    isa: str,
    groups: int,
    tokens: int,
    width: int,
    heads: int,
    rates: tuple[float, float, float],
    levels: int,
    seed: int,
) -> None:
    check_attention(groups, tokens, width, heads, rates, seed, levels)


@pytest.mark.parametrize(("name", "levels", "residual"), VARIANTS)
def test_torch_registration(name: str, levels: int, residual: bool) -> None:
    """Schema, shape function and tracing agree with the kernel, and `.out` fills its outputs."""
    inputs, attributes = example(name, levels=levels, residual=residual)
    given = arguments(name, inputs, attributes)
    torch.library.opcheck(getattr(svf, name).default, given)
    results = call(name, inputs, attributes)
    names = RESULTS.get(name, ("out",))
    outs = {key: torch.empty(0, dtype=result.dtype) for key, result in zip(names, results, strict=True)}
    returned = getattr(svf, name).out(*given, **outs)
    for out, again, result in zip(outs.values(), returned if name in RESULTS else [returned], results, strict=True):
        assert again is out
        assert torch.equal(out, result)
    assert results[0].unique().numel() > 1
    assert name not in ADDS or results[1].numel() > 0 or not residual


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("spike_conv2d", {0: torch.zeros(1, 5, 5, 3, dtype=torch.int32)}, "3 words"),
        ("spike_conv2d", {2: torch.zeros(5, dtype=torch.int32)}, "bias must have 96 entries"),
        ("spike_conv2d", {6: 7}, "groups=7"),
        ("spike_conv2d", {1: torch.zeros(9, 9, 64, 96, dtype=torch.int8)}, "larger than the frame"),
        ("conv2d", {0: torch.zeros(1, 5, 5, 64)}, "float32"),
        ("conv2d", {7: 256}, "zero point 256"),
        ("conv2d", {7: 2**32 + 128}, "zero_point 4294967424 does not fit in 32 bits"),
        ("conv2d", {4: [0, 1]}, "stride"),
        ("conv2d", {4: [2**32 + 1, 1]}, "stride 4294967297 does not fit in 32 bits"),
        ("conv2d", {4: [1, 2**31 - 1], 5: [0, 2**31 - 1]}, "padded input has 2\\^30 elements"),
        ("lif", {3: torch.ones(39, dtype=torch.int32)}, "theta must have 40 entries"),
        ("integer_lif", {5: 1}, "levels=1 is outside 2..15"),
        ("integer_lif", {5: 16}, "levels=16 is outside 2..15"),
        ("spike_conv2d", {0: torch.zeros(16, 1, 5, 5, 2, dtype=torch.int32)}, "levels=16 is outside 1..15"),
        ("spike_conv2d", {0: torch.zeros(2, 2, 1, 5, 5, 2, dtype=torch.int32)}, "rank 4, or 5 with a leading axis"),
        (
            "dot_attention",
            {0: torch.zeros(2, 2, 9, 2, dtype=torch.int32)},
            r"k has sizes \(2, 9\)",
        ),
        ("hamming_attention", {3: 70}, "2 words per token"),
        ("dot_attention", {4: 2}, "heads=2 must divide channels=45"),
        ("dot_attention", {1: torch.zeros(2, 8, 2, dtype=torch.int32)}, "k has"),
        ("spike_conv2d_lif", {7: torch.zeros(2, 7, 7, 95, dtype=torch.int32)}, r"residual has sizes \(2, 7, 7, 95\)"),
        ("spike_conv2d_lif", {7: torch.zeros(2, 7, 7, 96)}, "residual must be torch.int32"),
        ("conv2d_lif", {9: torch.ones(95, dtype=torch.int32)}, "gain must have 96 entries"),
        ("spike_conv2d_lif", {12: 16}, "levels=16 is outside 1..15"),
        ("spike_conv2d_lif", {14: 3}, r"density=3 is outside 0..2 \(auto, event, dense\)"),
        ("hamming_attention_lif", {0: torch.zeros(2, 9, 2, dtype=torch.int32)}, "q must be torch.int32 of rank 4"),
        ("dot_attention_lif", {10: 0}, "levels=0 is outside 1..15"),
        ("lif_from", {6: torch.zeros(2, 2, 39, dtype=torch.int32)}, r"before has sizes \(2, 2, 39\), not \(2, 2, 40\)"),
        ("lif_from", {5: 0}, "levels=0 is outside 1..15"),
        ("conv2d_lif_from", {15: torch.zeros(7, 7, 96)}, "before must be torch.int32 of rank 3"),
        ("dot_causal_attention_lif", {5: 0}, "a window of 0 frames is below 1"),
        ("hamming_attention_lif_step", {10: torch.zeros(3, 9, 15, dtype=torch.int32)}, "summaries has sizes"),
        ("hamming_attention_lif_step", {11: torch.zeros(3, 9, 45, dtype=torch.int32)}, "before has sizes"),
        ("dot_attention_lif_step", dict.fromkeys(range(3), torch.zeros(2, 3, 3, 2, dtype=torch.int32)), "one frame"),
    ],
)
def test_bad_arguments_are_named(name: str, change: dict[int, object], says: str) -> None:
    given = arguments(name, *example(name))
    for position, value in change.items():
        given[position] = value
    with pytest.raises(ValueError, match=says):
        getattr(svf, name)(*given)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (1, 3, 65, 64), (3, 2, 64, 64), (1, 40, 3, 3)])
def test_channels_last(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(svf.channels_last(torch.from_numpy(x)).numpy(), x.transpose(0, 2, 3, 1))


LIMIT = 2**30


@pytest.mark.parametrize("function", ["svf_spike_conv2d", "svf_conv2d"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"padding": (0, 2**31 - 1), "stride": (1, 2**31 - 1)}, "the padded input has 2^30 elements"),
        ({"padding": (2**14, 2**14), "stride": (2**14, 2**14)}, "the padded input has 2^30 elements"),
        ({"in_channels": 2**31 - 1}, "the padded input has 2^30 elements"),
        ({"frames": LIMIT}, "the padded input has 2^30 elements"),
        ({"height": 2**15, "width": 2**14, "out_channels": 2}, "the output has 2^30 elements"),
        ({"out_channels": 2**31 - 1}, "the output has 2^30 elements"),
        # One channel a group: a kernel set that widens groups to a vector would hold 32 times the weights.
        ({"in_channels": 2**26, "out_channels": 2**25, "groups": 2**25}, "has 2^30 weights"),
        ({"height": 2**9, "width": 2**10, "kernel": (2**9, 2**10), "in_channels": 2, "out_channels": 2**10}, "weights"),
    ],
)
def test_convolution_sizes_beyond_the_kernels_are_refused(
    isa: str, function: str, change: dict[str, int | tuple[int, ...]], says: str
) -> None:
    """Refused before any tensor is read: there is none."""
    sizes: dict[str, int | tuple[int, ...]] = {
        **dict.fromkeys(("frames", "height", "width", "in_channels", "out_channels", "groups"), 1),
        "kernel": (1, 1),
        "stride": (1, 1),
        "padding": (0, 0),
        "output_type": 2,
        "levels": 1,
    }
    params = library.Conv2dParams(**{**sizes, **change})
    assert getattr(library.core(), function)(ctypes.byref(params), *[None] * 7) == 1
    assert says in library.last_error()


@pytest.mark.parametrize(
    "sizes", [(2**15, 2**15, 1, 1), (1, 2**15, 2**15, 1), (1, 1, 2**31 - 1, 1), (LIMIT, 1, 1, 1), (2**14, 2**14, 1, 4)]
)
def test_lif_sizes_beyond_the_kernels_are_refused(isa: str, sizes: tuple[int, int, int, int]) -> None:
    frames, positions, channels, levels = sizes
    params = library.LifParams(frames=frames, positions=positions, channels=channels, soft_reset=0, levels=levels)
    assert library.core().svf_lif(ctypes.byref(params), *[None] * 6) == 1
    assert "LIF input has 2^30 elements" in library.last_error()


@pytest.mark.parametrize(
    "sizes",
    [
        (2**15, 2**15, 1, 1, 1),
        (1, 2**15, 2**15, 2**15, 1),
        (1, 1, 2**31 - 1, 2**31 - 1, 1),
        (1, 1, 2**16, 2, 1),
        (2**14, 2**14, 1, 1, 4),
    ],
)
def test_attention_sizes_beyond_the_kernels_are_refused(isa: str, sizes: tuple[int, int, int, int, int]) -> None:
    for kind in (0, 1):
        groups, tokens, channels, heads, levels = sizes
        params = library.AttentionParams(
            groups=groups, tokens=tokens, channels=channels, heads=heads, kind=kind, levels=levels
        )
        assert library.core().svf_attention(ctypes.byref(params), *[None] * 5) == 1
        assert "2^30 elements" in library.last_error()


@pytest.mark.parametrize("levels", [0, MAX_LEVELS + 1])
def test_the_core_refuses_other_levels(levels: int) -> None:
    """One number in Python and C: the largest is taken (above), the next is not."""
    sizes = {"frames": 1, "positions": 1, "channels": 1, "soft_reset": 0, "levels": levels}
    assert library.core().svf_lif(ctypes.byref(library.LifParams(**sizes)), *[None] * 6) == 1
    assert library.last_error() == f"levels={levels} is outside 1..{MAX_LEVELS}"
