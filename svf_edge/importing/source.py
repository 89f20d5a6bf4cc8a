"""Taking tensors out of a state dict by name, each checked, with an account of what was used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from svf_edge.errors import BadFile
from svf_edge.importing.reading import ForeignState

DOWN: Final = ("downsample1_1", "downsample1_2", "downsample2", "downsample3", "downsample4")
BLOCKS: Final = (("ConvBlock1_1",), ("ConvBlock1_2",), ("ConvBlock2_1", "ConvBlock2_2"), ("block3",), ("block4",))
"""The authors' names of the five convolutions and of the lists of blocks behind each."""


class Source:
    """Tensors by the authors' names, with an account of which were used."""

    def __init__(self, state: ForeignState) -> None:
        self.state = state
        self.used: set[str] = set()

    def take(self, name: str, *shape: int) -> Tensor:
        """A finite tensor of `shape`, float32; axes of size 1 at the end may be missing or more."""
        value = self.find(name)
        if value is None:
            raise BadFile(f"tensor '{name}' is missing from the state dict; it is not of this network, or cut short")
        want = list(shape)
        while want and want[-1] == 1 and len(want) > 1:
            want.pop()
        if value.layout != torch.strided:
            raise BadFile(f"tensor '{name}' is sparse ({value.layout}); store it dense")
        have = list(value.shape)
        while len(have) > len(want) and have[-1] == 1:
            have.pop()
        if have != want:
            raise BadFile(f"tensor '{name}' is {list(value.shape)}, {list(shape)} is needed beside the others")
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise BadFile(f"tensor '{name}' holds values that are not finite numbers ({value.dtype})")
        self.used.add(name)
        return value.reshape(shape).float()

    def find(self, name: str) -> Tensor | None:
        """The tensor called so, inside the network or beside it."""
        return self.state.tensors.get(name, self.state.others.get(name))

    def count(self, lists: Sequence[str]) -> list[tuple[str, int]]:
        """(list, index) of every block in `lists`, which must be numbered without a gap."""
        found = []
        for name in lists:
            pattern = re.compile(rf"{name}\.(\d+)\.")
            places = sorted({int(match[1]) for key in self.state.tensors if (match := pattern.match(key))})
            if places != list(range(len(places))):
                raise BadFile(f"the blocks of '{name}' are numbered {places}; one in between is missing")
            found += [(name, place) for place in places]
        return found

    def nothing_left_inside(self) -> None:
        """Raise `BadFile` where a block has a tensor that was not used: its arithmetic would be left out."""
        inside = re.compile(rf"({'|'.join(DOWN)}|{'|'.join(name for names in BLOCKS for name in names)}|lif)\.")
        for name in self.state.tensors:
            if inside.match(name) and name not in self.used and not name.endswith("num_batches_tracked"):
                raise BadFile(
                    f"tensor '{name}' has no place in the network, so what it does would be left out; only the "
                    "published blocks and neurons without parameters can be imported"
                )

    def unused(self) -> tuple[str, ...]:
        """Names of the tensors that were not used, counters of BatchNorm left out."""
        names = (*self.state.tensors, *self.state.others)
        return tuple(name for name in names if name not in self.used and not name.endswith("num_batches_tracked"))
