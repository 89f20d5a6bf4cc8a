"""What a device needs beside the graphs to test itself with TensorRT: a script, the plug-in's sources, expectations."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import MissingLibrary
from svf_edge.export.libraries import find_native
from svf_edge.export.tensorrt.graph import packed_taps, plugin_layers
from svf_edge.export.tensorrt.precision import precision
from svf_edge.packing import pack_spikes
from svf_edge.program import Program
from svf_edge.program.stream import state_tensors

GRAPH, TAPPED = "tensorrt/qdq.onnx", "tensorrt/qdq.tap.onnx"
SCRIPT = "tensorrt/run.py"
SOURCES = "svf_trt_source"
"""Folder of the plug-in's sources among the native files."""

Digests = Sequence[Mapping[str, str]]


def tap_digests(program: Program, spikes: Mapping[str, NDArray[np.int32]], stream: bool) -> Digests:
    """SHA-256 of every LIF's spikes `[T, C, H, W]` as the tapped graph gives them, for a clip or each step of it."""
    packed = packed_taps(program)
    pieces = len(next(iter(spikes.values()))) if stream else 1

    def digest(layer: str, levels: int, piece: int) -> str:
        values = spikes[layer][piece : piece + 1] if stream else spikes[layer]
        data = pack_spikes(values, levels) if layer in packed else values.astype("<f4")
        return hashlib.sha256(data.tobytes()).hexdigest()

    return [{lif.name: digest(lif.name, lif.levels, piece) for lif in program.lifs} for piece in range(pieces)]


def write_device_files(program: Program, folder: Path, stream: bool, clips: Sequence[Mapping[str, Any]]) -> None:
    """Write the script, the plug-in's sources where they are installed, and what the script checks, into a bundle.

    `clips` are name, golden file and `tap_digests` (`steps`) of every golden vector.
    """
    shown = program.for_steps(1) if stream else program
    target = folder / SCRIPT
    shutil.copy(Path(__file__).with_name("run.py"), target)
    target.chmod(0o755)
    with suppress(MissingLibrary):  # a bundle with the library for its device needs no sources
        shutil.copytree(find_native(f"{SOURCES}/tensorrt/CMakeLists.txt").parents[1], folder / "tensorrt/source")
    packed = packed_taps(shown)
    check = {
        "graph": GRAPH,
        "tapped": TAPPED,
        "tf32": precision(shown).tf32 is None,
        "plugins": plugin_layers(shown, stream),
        "frames": program.frames.name,
        "outputs": [_tensor(output.name, shown.types[output.source].shape, "int32") for output in shown.outputs],
        "taps": [_tap(shown, lif.name, lif.levels, lif.name in packed) for lif in shown.lifs],
        "state": [
            {"taken": tensor.taken, "given": tensor.given, "shape": tensor.shape, "window": tensor.window}
            for tensor in (state_tensors(shown) if stream else ())
        ],
        "clips": list(clips),
    }
    (folder / "tensorrt/check.json").write_text(json.dumps(check, indent=1) + "\n", encoding="utf-8")


def _tensor(name: str, shape: Sequence[int], kind: str) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "type": kind}


def _tap(program: Program, layer: str, levels: int, packed: bool) -> dict[str, Any]:
    shape = program.types[layer].shape
    size = int(np.prod(shape))
    if not packed:
        return {**_tensor(layer, shape, "fp32"), "levels": levels, "size": size}
    words = pack_spikes(np.zeros(shape, np.int32), levels).shape
    return {**_tensor(layer, words, "int32"), "levels": levels, "size": size}
