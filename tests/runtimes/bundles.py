"""Bundles for the tests of harnesses, and ways of damaging them that keep the manifest in order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from svf_edge.errors import MissingLibrary
from svf_edge.export.bundle import Bundle, Manifest
from svf_edge.export.bundle.manifest import MANIFEST, FileEntry
from svf_edge.export.ops import find_library
from svf_edge.files import sha256
from svf_edge.program import Lif, Program


def needs_library(name: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where our operator library `name` is not built."""
    try:
        find_library(name)
    except MissingLibrary as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.skipif(False, reason="")


def forge(bundle: Bundle, folder: Path, name: str, edit: Callable[[Path], None]) -> Bundle:
    """A copy of `bundle` whose file `name` was edited and whose manifest says so: a bundle exported wrongly."""
    shutil.copytree(bundle.folder, folder)
    path = folder / name
    edit(path)
    entry = FileEntry(sha256=sha256(path), size=path.stat().st_size)
    return rewrite(folder, bundle.manifest.model_copy(update={"files": {**bundle.manifest.files, name: entry}}))


def rewrite(folder: Path, manifest: Manifest) -> Bundle:
    """Put another manifest into a bundle folder."""
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return Bundle.open(folder)


def edit_initializer(name: str, change: Callable[[np.ndarray], None]) -> Callable[[Path], None]:
    """An edit of an ONNX file that changes one initialiser in place."""

    def edit(path: Path) -> None:
        model = onnx.load(path)
        (found,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
        values = numpy_helper.to_array(found).copy()
        change(values)
        found.CopyFrom(numpy_helper.from_array(values, name))
        onnx.save(model, path)

    return edit


def silent(program: Program, layers: Collection[str] | None = None) -> Program:
    """The same program with thresholds that no membrane reaches, in `layers` or in all."""
    nodes = tuple(
        replace(node, theta=np.full_like(node.theta, 2**20))
        if isinstance(node, Lif) and (layers is None or node.name in layers)
        else node
        for node in program.nodes
    )
    return Program(program.frames, nodes, program.outputs)
