"""Random operator cases with the shapes that break kernels, for hypothesis and for fixed lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from svf_edge.contract import MAX_LEVELS
from svf_edge.packing import Words, pack_last

LEVELS = [1, 2, 3, 4, 5, MAX_LEVELS]
# Around the widths of words and vectors; 45 is a real head width.
CHANNELS = [1, 3, 8, 13, 16, 31, 32, 33, 45, 64, 90, 96, 130]
RATES = [0.0, 0.05, 0.2, 0.6, 1.0]


def random_spikes(rng: np.random.Generator, shape: tuple[int, ...], rate: float, levels: int) -> NDArray[np.uint8]:
    """Spikes in 0..levels: zero but at `rate`, where every level is as likely."""
    active = rng.random(shape) < rate
    return active.astype(np.uint8) if levels == 1 else (active * rng.integers(1, levels + 1, shape)).astype(np.uint8)


def pack_levels(spikes: NDArray[np.uint8], levels: int) -> Words:
    """Spikes `[..., C]` to words `[..., ceil(C / 32)]`, with a leading axis of planes for `levels` > 1."""
    if levels == 1:
        return pack_last(spikes)
    return np.stack([pack_last(spikes >= level) for level in range(1, levels + 1)])


@dataclass(frozen=True)
class ConvCase:
    """One convolution: sizes, and the seed and firing rate of its random content."""

    frames: int
    height: int
    width: int
    group_in: int
    group_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    rate: float
    seed: int

    def rng(self) -> np.random.Generator:
        """A generator that depends on the case only."""
        return np.random.default_rng(self.seed)

    def weights(self) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int32]]:
        """Weight `[kh, kw, Cin / groups, Cout]` in -127..127, bias and shift `[Cout]`, shifts of both signs."""
        rng = np.random.default_rng(self.seed + 1)
        out_channels = self.group_out * self.groups
        weight = rng.integers(-127, 128, (*self.kernel, self.group_in, out_channels), dtype=np.int8)
        bias = rng.integers(-2000, 2000, out_channels, dtype=np.int32)
        return weight, bias, rng.integers(-3, 12, out_channels, dtype=np.int32)

    def spikes(self, levels: int = 1) -> NDArray[np.uint8]:
        """Input `[T, H, W, Cin]` in 0..levels, active at the case's rate."""
        shape = (self.frames, self.height, self.width, self.group_in * self.groups)
        return random_spikes(self.rng(), shape, self.rate, levels)

    def integers(self, dtype: type[np.uint8] | type[np.int8]) -> NDArray[np.uint8] | NDArray[np.int8]:
        """Dense input `[T, H, W, Cin]` over the whole range of `dtype`."""
        limits = np.iinfo(dtype)
        shape = (self.frames, self.height, self.width, self.group_in * self.groups)
        return self.rng().integers(limits.min, limits.max + 1, shape).astype(dtype)

    @property
    def arguments(self) -> tuple[list[int], list[int], int]:
        """stride, padding and groups as the operators take them."""
        return list(self.stride), list(self.padding), self.groups


@st.composite
def conv_cases(draw: st.DrawFn) -> ConvCase:
    """Convolutions of every form: ordinary, grouped, depthwise, with a kernel as large as the frame."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 11))
    form = draw(st.sampled_from(["ordinary", "grouped", "depthwise", "multiplier", "whole frame"]))
    group_in, group_out, groups = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS)), 1
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (7, 7), (1, 3), (3, 2)]))
    if form == "grouped":
        group_in, group_out, groups = draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(2, 5))
    elif form == "depthwise":
        groups, group_in, group_out = group_in, 1, 1
    elif form == "multiplier":
        group_in, group_out, groups = 1, draw(st.integers(2, 70)), draw(st.integers(2, 13))
    elif form == "whole frame":
        kernel = (height, width)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    padding = (
        max(padding[0], -(-(kernel[0] - height) // 2)),
        max(padding[1], -(-(kernel[1] - width) // 2)),
    )
    return ConvCase(
        frames=draw(st.integers(1, 3)),
        height=height,
        width=width,
        group_in=group_in,
        group_out=group_out,
        kernel=kernel,
        stride=draw(st.sampled_from([(1, 1), (2, 2), (1, 2)])),
        padding=padding,
        groups=groups,
        rate=draw(st.sampled_from(RATES)),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


# (name, case): each a shape of the real networks, or a limit of the kernels.
FIXED_CONVS = {
    "stem 7x7": ConvCase(1, 16, 16, 3, 32, (7, 7), (2, 2), (3, 3), 1, 0.1, 0),
    "pointwise": ConvCase(2, 5, 5, 64, 256, (1, 1), (1, 1), (0, 0), 1, 0.1, 1),
    "1x1 padded (RepConv)": ConvCase(2, 5, 5, 64, 96, (1, 1), (1, 1), (1, 1), 1, 0.1, 2),
    "depthwise 7x7": ConvCase(2, 9, 9, 1, 1, (7, 7), (1, 1), (3, 3), 96, 0.1, 3),
    "depthwise 3x3": ConvCase(2, 9, 9, 1, 1, (3, 3), (1, 1), (1, 1), 45, 0.3, 4),
    "pose head": ConvCase(4, 4, 4, 1, 128, (4, 4), (1, 1), (0, 0), 13, 0.3, 5),
    "3x3 of all ones, sums past int16": ConvCase(1, 3, 3, 300, 70, (3, 3), (1, 1), (1, 1), 1, 1.0, 6),
    "depthwise of all ones, sums past int16": ConvCase(1, 20, 20, 1, 1, (20, 20), (1, 1), (0, 0), 40, 1.0, 7),
    "depthwise 9x9 of all ones, sums past int16 with levels": ConvCase(
        1, 12, 12, 1, 1, (9, 9), (1, 1), (4, 4), 40, 1.0, 9
    ),
    "silent": ConvCase(2, 4, 4, 40, 40, (3, 3), (1, 1), (1, 1), 1, 0.0, 8),
}
