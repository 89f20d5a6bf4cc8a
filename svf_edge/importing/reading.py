"""State dicts out of other people's files: tensors only, and no code in them is run."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from svf_edge.errors import BadFile, UnsupportedInput

STEM: Final = "downsample1_1.encode_conv.weight"
"""The tensor by which a state dict of the family is recognised."""

_DEPTH: Final = 6
_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = b"\x80"


@dataclass(frozen=True)
class ForeignState:
    """The tensors of one network: `tensors` by the authors' names, `others` as the file names them.

    `place` says where in the file they lie.
    """

    place: str
    tensors: Mapping[str, Tensor]
    others: Mapping[str, Tensor]


def read_state(path: str | Path, entry: str | None = None) -> ForeignState:
    """The network in a safetensors file or a file of `torch.save`, on the CPU.

    Dictionaries around it and prefixes such as `module.` are seen through; `entry` names the place to take where there
    are several networks. Raises `BadFile` for a file that cannot be read, asks for code to be run, or holds no such
    network, and `UnsupportedInput` where the choice is open.
    """
    path = Path(path)
    found = {state.place: state for state in _states(_read(path), ())}
    if not found:
        raise BadFile(f"{path}: no tensor is called '...{STEM}', so this is no state dict of a SpikeVideoFormer")
    if entry is None and len(found) == 1:
        return next(iter(found.values()))
    if entry not in found:
        held = ", ".join(f"'{place}'" for place in found)
        asked = "" if entry is None else f"nothing at '{entry}'; "
        raise UnsupportedInput(f"{path}: {asked}it holds networks at {held}; choose one with --entry")
    return found[entry]


def _read(path: Path) -> Any:
    if not path.is_file():
        raise BadFile(f"{path}: no such file; give a .safetensors file or one of torch.save")
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] != _ZIP and start[:1] != _PICKLE:
        if start[8:] != b"{":
            raise BadFile(f"{path}: neither safetensors nor a file of torch.save")
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise BadFile(f"{path}: not a readable safetensors file ({error}); copy it again") from error
    try:
        # Training scripts store their options beside the weights; a Namespace is a bag of attributes and runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"(?:GLOBAL|global|class|function:?) ([\w.]+\.[\w.]+)", str(error))
        what = f"asks for `{asked[1]}` to be run while it is read" if asked else "holds more than tensors"
        raise BadFile(
            f"{path}: {what}, and was not loaded; where you trust it, store its state dict alone, as safetensors"
        ) from error
    except Exception as error:  # whatever a damaged file makes torch raise
        line = str(error).splitlines()[0] if str(error) else repr(error)
        raise BadFile(f"{path}: not a readable file of torch.save ({line}); copy it again") from error


def _states(tree: Any, place: tuple[str, ...]) -> Iterator[ForeignState]:
    if not isinstance(tree, Mapping) or len(place) > _DEPTH:
        return
    tensors = {name: value for name, value in tree.items() if isinstance(name, str) and isinstance(value, Tensor)}
    prefixes = [name.removesuffix(STEM) for name in tensors if name.endswith(STEM)]
    for prefix in prefixes:
        if prefix and not prefix.endswith("."):
            continue
        yield ForeignState(
            "/".join((*place, prefix.rstrip("."))).strip("/"),
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)},
            {name: value for name, value in tensors.items() if not name.startswith(prefix)},
        )
    for name, value in tree.items():
        yield from _states(value, (*place, str(name)))
