from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from svf_edge.packing import digest, pack_last, pack_spikes, unpack_last, unpack_spikes, word_count

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
