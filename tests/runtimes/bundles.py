"""Bundles for the tests of harnesses, comparisons of runtimes, and ways of damaging that keep the manifest in order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from svf_edge.errors import MissingLibrary
from svf_edge.export.bundle import Bundle, Manifest, write_bundle
from svf_edge.export.bundle.manifest import MANIFEST, FileEntry
from svf_edge.export.executorch import export_executorch
from svf_edge.export.golden import golden_clips
from svf_edge.export.ops import find_library
from svf_edge.export.torch_graph import TorchDialect
from svf_edge.files import sha256
from svf_edge.program import Lif, Program, load_program, run
from svf_edge.runtimes.executorch_harness import ExecuTorchHarness
from svf_edge.runtimes.parity import compare, run_parity
from svf_edge.shipped import CHECKPOINT, CLIP
from tests.once import once
from tests.programs import assert_not_silent, noise_clip, random_program

_ONNX = ("reference", "onnxruntime packed", "onnxruntime packed, no library", "onnxruntime portable")


def needs_library(name: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where our operator library `name` is not built."""
    try:
        find_library(name)
    except MissingLibrary as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.skipif(False, reason="")


def every_runtime(factory: pytest.TempPathFactory) -> Bundle:
    """A small program for ONNX Runtime and ExecuTorch in both dialects, with two golden clips and bundled programs."""
    pytest.importorskip("executorch")
    program = random_program(3)
    clips = {"first": noise_clip(program, 7), "second": noise_clip(program, 8)}

    def make(folder: Path) -> None:
        write_bundle(program, folder, clips, targets=("onnx", "executorch"), bundled_program=True)

    return Bundle.open(once(factory, "every-runtime", make))


def shipped_packed(factory: pytest.TempPathFactory) -> Bundle:
    """The shipped model and clip in the packed dialect: its portable ExecuTorch program takes minutes to export."""
    pytest.importorskip("executorch")
    program = load_program(CHECKPOINT.with_suffix(".program.safetensors"))

    def make(folder: Path) -> None:
        clips = golden_clips(program.frames, [CLIP])
        write_bundle(program, folder, clips, targets=("onnx", "executorch"), dialects=("packed",), typical=True)

    return Bundle.open(once(factory, "shipped-packed", make))


def assert_on_onnxruntime(program: Program, clips: Mapping[str, NDArray[np.uint8]], folder: Path) -> Bundle:
    """Export `program` into a bundle at `folder` and compare spikes and outputs on `clips`, in both dialects."""
    bundle = write_bundle(program, folder, clips, targets=("onnx",))
    report = run_parity(bundle, clips, _ONNX)
    assert report, "\n".join(map(str, report.runtimes))
    assert [entry.verdict for entry in report.runtimes] == ["equal"] * len(_ONNX)
    return bundle


def assert_on_executorch(program: Program, clip: NDArray[np.uint8], dialect: TorchDialect, folder: Path) -> None:
    """Compare the tapped program alone, spikes and outputs: exporting is what takes long."""
    trace = run(program, clip)
    assert_not_silent(trace.spikes)
    path = folder / f"{dialect}.pte"
    export_executorch(program, dialect, path, taps=True)
    library = find_library("svf_executorch") if dialect == "packed" else None
    with ExecuTorchHarness(path, program, threads=1, library=library) as session:
        found = compare(program, clip, trace, session.run(clip))
    assert found, f"{dialect}: {found.first}"


def with_native(bundle: Bundle, folder: Path, kit: Path) -> Bundle:
    """The graphs of `bundle` in a bundle that carries the native files of `kit`, which is written anew."""
    clips = {golden.name: bundle.golden(golden.name)[0] for golden in bundle.manifest.golden}
    made = write_bundle(bundle.program(), folder, clips, targets=(), native=[kit])
    graphs = [path for entry in bundle.manifest.artefacts for path in (entry.path, entry.tapped) if path is not None]
    for path in graphs:
        (folder / path).parent.mkdir(exist_ok=True)
        shutil.copy(bundle.path(path), folder / path)
    files = {**made.manifest.files, **{path: bundle.manifest.files[path] for path in graphs}}
    changes = {"artefacts": bundle.manifest.artefacts, "files": files}
    return rewrite(folder, made.manifest.model_copy(update=changes))


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
