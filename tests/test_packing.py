from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from svf_edge.contract import weight_limit
from svf_edge.packing import (
    digest,
    pack_last,
    pack_spikes,
    pack_weights,
    unpack_last,
    unpack_spikes,
    unpack_weights,
    word_count,
)

SPIKES = hnp.arrays(
    np.int32,
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 3), st.integers(1, 3)),
    elements=st.integers(0, 1),
)


@given(SPIKES)
def test_round_trip(spikes: np.ndarray) -> None:
    words = pack_spikes(spikes)
    steps, channels, height, width = spikes.shape
    assert words.dtype == np.int32
    assert words.shape == (steps, height, width, word_count(channels))
    np.testing.assert_array_equal(unpack_spikes(words, channels), spikes)


@given(SPIKES)
def test_each_bit_is_where_the_contract_says(spikes: np.ndarray) -> None:
    words = pack_spikes(spikes)
    for (t, c, h, w), spike in np.ndenumerate(spikes):
        assert (int(words[t, h, w, c // 32]) >> (c % 32)) & 1 == spike
    padding = spikes.shape[1] % 32
    if padding:
        assert not ((words[..., -1].astype(np.int64) & 0xFFFFFFFF) >> padding).any()


@given(hnp.arrays(np.int32, (2, 37, 2, 3), elements=st.integers(0, 3)))
def test_levels_are_thermometer_planes(spikes: np.ndarray) -> None:
    words = pack_spikes(spikes, levels=3)
    assert words.shape == (3, 2, 2, 3, 2)
    np.testing.assert_array_equal(unpack_spikes(words, 37, levels=3), spikes)
    np.testing.assert_array_equal(words[1], pack_spikes((spikes >= 2).astype(np.int32)))


def test_conformance_vectors() -> None:
    """Fixed vectors that any implementation of packing version 1 must reproduce."""
    np.testing.assert_array_equal(pack_last(np.array([1, 0, 1, 1])), np.array([0b1101], np.int32))
    top = np.zeros(33, np.uint8)
    top[[31, 32]] = 1
    np.testing.assert_array_equal(pack_last(top), np.array([-(2**31), 1], np.int32))
    np.testing.assert_array_equal(pack_last(np.ones(45)), np.array([-1, (1 << 13) - 1], np.int32))
    little = bytes([0x0D, 0, 0, 0])
    assert digest(pack_last(np.array([1, 0, 1, 1]))) == hashlib.sha256(little).hexdigest()


def test_set_padding_bits_and_wrong_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="padding bit beyond channel 4"):
        unpack_last(np.array([0b10000], np.int32), 4)
    with pytest.raises(ValueError, match="1 words do not hold 33 channels"):
        unpack_last(np.array([1], np.int32), 33)


WEIGHTS = st.sampled_from([4, 2]).flatmap(
    lambda bits: st.tuples(
        st.just(bits),
        hnp.arrays(
            np.int8,
            st.tuples(st.integers(0, 9), st.integers(1, 3), st.integers(1, 3)),
            elements=st.integers(-weight_limit(bits), weight_limit(bits)),
        ),
    )
)


@given(WEIGHTS)
def test_weights_round_trip(case: tuple[int, np.ndarray]) -> None:
    bits, weight = case
    packed = pack_weights(weight, bits)
    assert packed.dtype == np.uint8 and packed.size == -(-weight.size * bits // 8)
    np.testing.assert_array_equal(unpack_weights(packed, bits, weight.shape), weight)


def test_each_weight_is_where_the_contract_says() -> None:
    assert pack_weights(np.array([1, -1, 7], np.int8), 4).tolist() == [0xF1, 0x07]
    assert pack_weights(np.array([1, -1, 0, 1, -1], np.int8), 2).tolist() == [0b01001101, 0b11]


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"outside -7\.\.7"):
        pack_weights(np.array([-8], np.int8), 4)
    with pytest.raises(ValueError, match="behind the last weight"):
        unpack_weights(np.array([0x11], np.uint8), 4, (1,))
    with pytest.raises(ValueError, match="does not hold 3 weights of 4 bits"):
        unpack_weights(np.array([0x11], np.uint8), 4, (3,))
