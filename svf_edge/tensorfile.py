"""One file format for what svf-edge stores: arrays in safetensors with a JSON header of ours. Nothing is unpickled.

The header says which kind of file it is and under which contract it was written, and both are checked on reading, so
a checkpoint given where a program is wanted is named as such.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from svf_edge.contract import NUMERIC_VERSION, check_version
from svf_edge.errors import BadFile
from svf_edge.files import atomic_write

Kind = Literal["checkpoint", "program"]
Arrays = dict[str, NDArray[np.generic]]

_HEADER = "svf_edge"
_MAKERS: Mapping[Kind, str] = {"checkpoint": "svf-edge train", "program": "svf-edge freeze"}


def write_tensors(path: str | Path, kind: Kind, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` and the JSON-able `header` to `path`, atomically."""
    text = json.dumps({"kind": kind, "contract": NUMERIC_VERSION, **header}, sort_keys=True)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        with atomic_write(path) as temporary:
            save_file(contiguous, temporary, metadata={_HEADER: text})
    except SafetensorError as error:
        raise BadFile(f"{path}: could not be written ({error}); check the free space and permissions") from error


def read_tensors(path: str | Path, kind: Kind) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a file written by `write_tensors`.

    Raises `BadFile` when the file is missing, not safetensors, truncated, not ours, or of another kind, and
    `ContractMismatch` when it was written under another contract version.
    """
    path = Path(path)
    if not path.is_file():
        raise BadFile(f"{path}: no such file; give the path of a file made by `{_MAKERS[kind]}`")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_HEADER)
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise BadFile(
            f"{path}: not a readable safetensors file ({error}); it may be truncated, make it again with "
            f"`{_MAKERS[kind]}`"
        ) from error
    if text is None:
        raise BadFile(f"{path}: a safetensors file, but not one of svf-edge; make one with `{_MAKERS[kind]}`")
    try:
        header = json.loads(text)
        found = header["kind"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadFile(f"{path}: its svf-edge header is damaged ({error!r}); make it again") from error
    if found != kind:
        raise BadFile(f"{path}: holds a {found}, a {kind} is needed; make one with `{_MAKERS[kind]}`")
    check_version("numeric", header.get("contract"), NUMERIC_VERSION, path)
    return header, arrays
