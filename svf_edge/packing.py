"""The packing contract: spikes as int32 words (docs/contract.md, "Packing")."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

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
