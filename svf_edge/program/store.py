"""Programs as files. Weights of fewer than 8 bits are stored packed (`svf_edge.packing`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import BadFile
from svf_edge.packing import pack_weights, unpack_weights
from svf_edge.program.ir import Add, Attention, Conv, Frames, Lif, Node, Output, Pool, Program
from svf_edge.tensorfile import Arrays, read_tensors, write_tensors

_OPS: Mapping[str, type[Node]] = {"conv": Conv, "add": Add, "pool": Pool, "lif": Lif, "attention": Attention}
_NAMES = {kind: name for name, kind in _OPS.items()}


def save_program(program: Program, path: str | Path) -> None:
    """Write `program` to `path`, atomically."""
    arrays: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in program.nodes:
        entry: dict[str, Any] = {"op": _NAMES[type(node)]}
        for key, value in vars(node).items():
            if isinstance(node, Conv) and key == "weight" and node.weight_bits < 8:
                arrays[f"{node.name}:{key}"] = pack_weights(value, node.weight_bits)
                entry["weight_shape"] = value.shape
                continue
            if isinstance(value, np.ndarray):
                arrays[f"{node.name}:{key}"] = value
            else:
                entry[key] = value
        nodes.append(entry)
    header = {
        "frames": vars(program.frames),
        "nodes": nodes,
        "outputs": [vars(output) for output in program.outputs],
        "meta": dict(program.meta),
    }
    write_tensors(path, "program", header, arrays)


def load_program(path: str | Path) -> Program:
    """Read a program and check the whole of it. Raises `BadFile` or `ContractMismatch`."""
    header, arrays = read_tensors(path, "program")
    try:
        return Program(
            Frames(**_tuples(header["frames"])),
            tuple(_node(entry, arrays) for entry in header["nodes"]),
            tuple(Output(**entry) for entry in header["outputs"]),
            header["meta"],
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BadFile(f"{path}: not a valid program ({error}); freeze the checkpoint again") from error


def _node(entry: Mapping[str, Any], arrays: Arrays) -> Node:
    fields = {key: value for key, value in _tuples(entry).items() if key != "op"}
    prefix = f"{fields['name']}:"
    fields.update({key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)})
    shape = fields.pop("weight_shape", None)
    if shape is not None:
        fields["weight"] = unpack_weights(fields["weight"], fields["weight_bits"], shape)
    return _OPS[entry["op"]](**fields)


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
