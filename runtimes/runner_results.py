"""From what `svf-run` saw to what a person can act on: the address of the first spike that differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svf_edge.errors import BadFile
from svf_edge.packing import Words, pack_spikes
from svf_edge.program import run as interpret
from svf_edge.runtimes.base import RunResult
from svf_edge.runtimes.parity import ClipParity, compare
from svf_edge.runtimes.runner_schema import RunnerClip, RunnerLayer

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle


def clip_parity(bundle: Bundle, found: RunnerClip, spikes: Path) -> ClipParity:
    """Compare what a device found on a golden clip with the reference interpreter, neuron by neuron.

    `spikes` is the folder that `svf-run parity --spikes` filled. Layers whose digest was the golden one are equal
    without their words. Raises `BadFile` when a layer's words are missing or of another size.
    """
    program = bundle.program()
    frames, _ = bundle.golden(found.clip)
    trace = interpret(program, frames)
    words = {}
    for lif, layer in zip(program.lifs, found.layers, strict=True):
        expected = pack_spikes(trace.spikes[lif.name], lif.levels)
        words[lif.name] = expected if layer.equal else _read(spikes, layer, expected)
    compared = compare(program, frames, trace, RunResult(trace.outputs, words), found.clip)
    return compared.model_copy(update={"outputs": found.outputs})


def _read(folder: Path, layer: RunnerLayer, expected: Words) -> Words:
    path = folder / (layer.spikes or f"the spikes of layer '{layer.layer}'")
    try:
        words = np.fromfile(path, "<i4")
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror}); run svf-run parity again with --spikes") from error
    if words.size != expected.size:
        raise BadFile(f"{path}: {words.size} words, {expected.size} expected; run svf-run parity again with --spikes")
    return words.astype(np.int32, copy=False).reshape(expected.shape)
