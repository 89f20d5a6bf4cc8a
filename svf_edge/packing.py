"""The packing contract: spikes as int32 words, small weights as bytes (docs/contract.md, "Packing")."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from svf_edge.contract import weight_limit

WORD_BITS = 32

Words = NDArray[np.int32]


def word_count(channels: int) -> int:
    """Words needed for `channels` bits."""
    return -(-channels // WORD_BITS)


def pack_last(bits: NDArray[np.generic]) -> Words:
    """Pack 0/1 values `[..., C]` of any dtype into int32 words `[..., ceil(C / 32)]`, bit 0 first."""
    channels = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], word_count(channels) * WORD_BITS), dtype=np.uint8)
    padded[..., :channels] = bits != 0
    return np.packbits(padded, axis=-1, bitorder="little").view("<i4").astype(np.int32, copy=False)


def unpack_last(words: Words, channels: int) -> NDArray[np.uint8]:
    """Inverse of `pack_last`: int32 words `[..., W]` to 0/1 uint8 `[..., channels]`.

    Raises `ValueError` when the words do not hold `channels` bits, or a padding bit is set.
    """
    if words.shape[-1] != word_count(channels):
        raise ValueError(f"{words.shape[-1]} words do not hold {channels} channels")
    raw = np.ascontiguousarray(words.astype("<i4", copy=False)).view(np.uint8)
    bits = np.unpackbits(raw, axis=-1, bitorder="little")
    if bits[..., channels:].any():
        raise ValueError(f"a padding bit beyond channel {channels} is set")
    return bits[..., :channels]


def pack_spikes(spikes: NDArray[np.integer], levels: int = 1) -> Words:
    """Pack spikes `[T, C, H, W]` into words `[T, H, W, ceil(C / 32)]`.

    With `levels > 1` the result has a leading axis of thermometer planes: plane l - 1 holds `spikes >= l`.
    """
    last = np.moveaxis(spikes, 1, -1)
    if levels == 1:
        return pack_last(last)
    return np.stack([pack_last(last >= level) for level in range(1, levels + 1)])


def unpack_spikes(words: Words, channels: int, levels: int = 1) -> NDArray[np.int32]:
    """Inverse of `pack_spikes`: words to int32 spikes `[T, C, H, W]` in 0..levels."""
    bits = unpack_last(words, channels).astype(np.int32)
    if levels > 1:
        bits = bits.sum(axis=0, dtype=np.int32)
    return np.ascontiguousarray(np.moveaxis(bits, -1, 1))


def digest(words: Words) -> str:
    """SHA-256 of packed words as little-endian bytes in row order."""
    return hashlib.sha256(np.ascontiguousarray(words.astype("<i4", copy=False)).tobytes()).hexdigest()


def pack_weights(weight: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Weights of `bits` (4 or 2) bits as bytes `[ceil(size * bits / 8)]`: two's complement fields in row order.

    The first weight lies in the lowest bits of the first byte; the last byte is filled with zeros. Raises `ValueError`
    for a weight that does not fit.
    """
    limit = weight_limit(bits)
    if weight.size and int(np.abs(weight.astype(np.int16)).max()) > limit:
        raise ValueError(f"a weight is outside -{limit}..{limit}, which {bits} bits hold")
    per_byte = 8 // bits
    fields = np.zeros(-(-weight.size // per_byte) * per_byte, dtype=np.uint8)
    fields[: weight.size] = weight.reshape(-1).view(np.uint8) & (2**bits - 1)
    places = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    return np.bitwise_or.reduce(fields.reshape(-1, per_byte) << places, axis=1)


def unpack_weights(packed: NDArray[np.uint8], bits: int, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Inverse of `pack_weights`: int8 of `shape`. Raises `ValueError` for a wrong size or bits set behind the end."""
    per_byte = 8 // bits
    size = int(np.prod(shape, dtype=np.int64))
    if packed.dtype != np.uint8 or packed.shape != (-(-size // per_byte),):
        raise ValueError(f"{packed.dtype} {list(packed.shape)} does not hold {size} weights of {bits} bits")
    places = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    fields = ((packed[:, None] >> places) & np.uint8(2**bits - 1)).reshape(-1)
    if fields[size:].any():
        raise ValueError("a bit behind the last weight is set")
    high = 1 << (bits - 1)
    return ((fields[:size].astype(np.int16) ^ high) - high).astype(np.int8).reshape(shape)
