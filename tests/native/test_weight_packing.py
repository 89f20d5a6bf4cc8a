"""`svf::unpack_weights` against the packing of `svf_edge.packing`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svf_edge.contract import weight_limit
from svf_edge.export import ops
from svf_edge.packing import pack_weights

assert ops.OPERATORS


@settings(deadline=None)  # the first call loads the library
@given(
    bits=st.sampled_from([4, 2]),
    shape=st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 70)),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_unpacks_what_was_packed(bits: int, shape: tuple[int, int, int, int], seed: int) -> None:
    limit = weight_limit(bits)
    weight = np.random.default_rng(seed).integers(-limit, limit + 1, shape).astype(np.int8)
    packed = torch.from_numpy(pack_weights(weight, bits))
    torch.testing.assert_close(torch.ops.svf.unpack_weights(packed, bits, list(shape)), torch.from_numpy(weight))
    out = torch.empty(0, dtype=torch.int8)
    torch.ops.svf.unpack_weights.out(packed, bits, list(shape), out=out)
    torch.testing.assert_close(out, torch.from_numpy(weight))


def test_opcheck() -> None:
    packed = torch.from_numpy(pack_weights(np.ones((1, 2, 3, 5), np.int8), 4))
    torch.library.opcheck(torch.ops.svf.unpack_weights.default, (packed, 4, [1, 2, 3, 5]))


@pytest.mark.parametrize(
    ("size", "bits", "shape", "message"),
    [
        (3, 4, [1, 1, 1, 7], "3 bytes do not hold"),
        (3, 8, [1, 1, 1, 3], "must be 2 or 4"),
        (3, 4, [1, 1, 1, -6], "four positive sizes"),
    ],
)
def test_wrong_arguments_are_named(size: int, bits: int, shape: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torch.ops.svf.unpack_weights(torch.zeros(size, dtype=torch.uint8), bits, shape)
