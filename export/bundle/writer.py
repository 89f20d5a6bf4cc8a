"""Writing a bundle: all of it or nothing."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

import svf_edge
from svf_edge.contract import NUMERIC_VERSION, PACKING_VERSION
from svf_edge.errors import BadFile, MissingLibrary, SvfError, UnsupportedInput
from svf_edge.export.bundle.manifest import (
    MANIFEST,
    Artefact,
    Dialect,
    FileEntry,
    Form,
    FramesSpec,
    Golden,
    Library,
    Manifest,
    OutputSpec,
    StateSpec,
    Tap,
)
from svf_edge.export.bundle.native import RUNNER, library_name, native_files
from svf_edge.export.bundle.reader import PROGRAM, Bundle, read_manifest
from svf_edge.export.density import Rates
from svf_edge.export.libraries import find_native
from svf_edge.export.packable import check_packed
from svf_edge.files import atomic_write, sha256
from svf_edge.packing import digest, pack_spikes
from svf_edge.program import Program, run, save_program
from svf_edge.program.stream import state_tensors

TARGETS = ("onnx", "executorch", "tensorrt")
LIBRARIES = ("svf_core", "svf_ort", "svf_executorch", "svf_trt")
_RUNNER_FILES = (RUNNER, "libsvf_run_executorch.so")

Progress = Callable[[str], None]


def host_platform() -> str:
    """This machine in the manifest's spelling, such as `linux-x86_64`."""
    return f"{platform.system()}-{platform.machine()}".lower()


@dataclass
class _Draft:
    """A bundle under construction in a temporary folder."""

    program: Program
    folder: Path
    form: Form
    wanted: Sequence[Dialect]
    with_cases: bool  # whether ExecuTorch programs also come with the golden clips inside
    typical: bool  # whether the golden clips show how often the program fires in use
    artefacts: list[Artefact] = field(default_factory=list)
    libraries: list[Library] = field(default_factory=list)
    golden: list[Golden] = field(default_factory=list)
    cases: list[tuple[NDArray[np.uint8], dict[str, NDArray[np.int32]]]] = field(default_factory=list)
    fired: list[dict[str, float]] = field(default_factory=list)  # spikes per neuron and step, by clip and LIF
    spikes: dict[str, Mapping[str, NDArray[np.int32]]] = field(default_factory=dict)  # by golden clip and LIF

    @property
    def rates(self) -> Rates:
        """Means over the golden clips."""
        layers = self.fired[0] if self.typical and self.fired else ()
        return {layer: float(np.mean([rates[layer] for rates in self.fired])) for layer in layers}

    @property
    def dialects(self) -> tuple[Literal["packed", "portable"], ...]:
        """Those wanted; a program that the packed operators do not take is portable only."""
        try:
            check_packed(self.program)
        except UnsupportedInput:
            return ("portable",)
        return tuple(dialect for dialect in ("packed", "portable") if dialect in self.wanted)

    def add_onnx(self) -> None:
        from svf_edge.export.onnx import export_onnx

        for dialect in self.dialects:
            path, tapped, stream = f"onnx/{dialect}.onnx", f"onnx/{dialect}.tap.onnx", self.form == "stream"
            for file, taps in ((path, False), (tapped, True)):
                export_onnx(self.program, dialect, self.folder / file, taps=taps, stream=stream, rates=self.rates)
            self.artefacts.append(Artefact(runtime="onnxruntime", dialect=dialect, path=path, tapped=tapped))

    def add_executorch(self) -> None:
        from svf_edge.export.executorch import export_executorch

        for dialect in self.dialects:
            path, tapped = f"executorch/{dialect}.pte", f"executorch/{dialect}.tap.pte"
            stream = self.form == "stream"
            for file, taps in ((path, False), (tapped, True)):
                export_executorch(self.program, dialect, self.folder / file, taps, stream, self.rates)
            bundled = self.add_bundled_program(dialect) if self.with_cases else None
            entry = Artefact(runtime="executorch", dialect=dialect, path=path, tapped=tapped, bundled=bundled)
            self.artefacts.append(entry)

    def add_bundled_program(self, dialect: Dialect) -> str:
        from svf_edge.export.bundled_program import write_bundled_program

        path = f"executorch/{dialect}.bpte"
        write_bundled_program(self.folder / f"executorch/{dialect}.pte", self.cases, self.folder / path)
        return path

    def add_tensorrt(self) -> None:
        from svf_edge.export.tensorrt import GRAPH, TAPPED, export_tensorrt, tap_digests, write_device_files

        stream = self.form == "stream"
        for path, taps in ((GRAPH, False), (TAPPED, True)):
            export_tensorrt(self.program, self.folder / path, taps=taps, stream=stream)
        self.artefacts.append(Artefact(runtime="tensorrt", dialect="qdq", path=GRAPH, tapped=TAPPED))
        clips = [
            {
                "name": golden.name,
                "golden": golden.path,
                "steps": tap_digests(self.program, self.spikes[golden.name], stream),
            }
            for golden in self.golden
        ]
        write_device_files(self.program, self.folder, stream, clips)

    def add_libraries(self) -> None:
        """What was built here, for this platform."""
        files = {}
        for file in (*(f"lib{name}.so" for name in LIBRARIES), *_RUNNER_FILES):
            # A graph still runs without what is missing; a harness that needs it says so.
            with suppress(MissingLibrary):
                files[library_name(file) or file] = find_native(file)
        if files:
            self.add_native(host_platform(), files)

    def add_native(self, target: str, files: Mapping[str, Path]) -> None:
        """Native files by name, for the platform `target`."""
        (self.folder / "lib" / target).mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            path = f"lib/{target}/{source.name}"
            shutil.copy(source, self.folder / path)  # with its mode: svf-run is a program
            self.libraries.append(Library(name=name, platform=target, path=path))

    def add_golden(self, name: str, clip: NDArray[np.uint8]) -> None:
        trace = run(self.program, clip)
        levels = {node.name: node.levels for node in self.program.lifs}
        digests = {layer: digest(pack_spikes(spikes, levels[layer])) for layer, spikes in trace.spikes.items()}
        path = f"golden/{len(self.golden)}.safetensors"
        # safetensors stores memory as it lies, whatever the strides say.
        outputs = {f"output:{key}": np.ascontiguousarray(values) for key, values in trace.outputs.items()}
        with atomic_write(self.folder / path) as temporary:
            save_file({"frames": np.ascontiguousarray(clip), **outputs}, temporary)
        self.cases.append((np.ascontiguousarray(clip), dict(trace.outputs)))
        self.fired.append({layer: float(spikes.mean()) for layer, spikes in trace.spikes.items()})
        self.spikes[name] = trace.spikes
        self.golden.append(Golden(name=name, path=path, source=name, digests=digests))

    def manifest(self) -> Manifest:
        program, frames = self.program, self.program.frames
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return Manifest(
            svf_edge=svf_edge.__version__,
            numeric=NUMERIC_VERSION,
            packing=PACKING_VERSION,
            form=self.form,
            frames=FramesSpec(
                name=frames.name, shape=frames.shape, zero_point=frames.zero_point, exponent=frames.exponent
            ),
            outputs=[
                OutputSpec(name=output.name, shape=kind.shape, exponent=kind.exponent)
                for output in program.outputs
                for kind in [program.types[output.source]]
            ],
            taps=[
                Tap(layer=node.name, shape=program.types[node.name].shape, levels=node.levels) for node in program.lifs
            ],
            state=[
                StateSpec(layer=tensor.node, shape=tensor.shape, window=tensor.window)
                for tensor in (state_tensors(program.for_steps(1)) if self.form == "stream" else ())
            ],
            artefacts=self.artefacts,
            libraries=self.libraries,
            golden=self.golden,
            model=dict(program.meta),
            files={
                path.relative_to(self.folder).as_posix(): FileEntry(sha256=sha256(path), size=path.stat().st_size)
                for path in files
            },
        )


def write_bundle(
    program: Program,
    folder: str | Path,
    clips: Mapping[str, NDArray[np.uint8]],
    *,
    form: Form = "clip",
    targets: Sequence[str] | None = None,
    dialects: Sequence[Dialect] = ("packed", "portable"),
    native: Sequence[Path] = (),
    typical: bool = False,
    bundled_program: bool = False,
    progress: Progress = lambda message: None,
) -> Bundle:
    """Export `program` for `targets` with golden vectors from `clips`; return the opened bundle.

    With the form "stream" graphs are steps of one frame, and the clips show what a stream from its begin gives. Without
    `targets` a bundle holds all.

    The bundle is built beside `folder` and moved into place when it is whole, so a failure leaves nothing behind and
    an older bundle at `folder` stays until it is replaced.

    `dialects` are those of the ONNX and ExecuTorch graphs; one is enough, and exported sooner than both.
    `native` are folders of native files for devices (`native_files`). The bundle also gets what was built on this
    machine, unless one of them is for its platform.

    `typical` clips are like those that the program will see: how often it fires on them says how packed graphs are to
    compute each convolution, which changes its time and no result. Others (noise) leave that to the device.

    With `bundled_program` every ExecuTorch program comes once more with the golden clips inside, for ExecuTorch's own
    tools (`write_bundled_program`); a stream has no such file.

    Raises `RangeError` (a carrier could be inexact), `UnsupportedInput` (a clip of another shape), `MissingPackage`
    (a target's exporter is not installed), or `SvfError` when `folder` exists and is not a bundle.
    """
    folder = Path(folder).absolute()
    targets = TARGETS if targets is None else targets
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        raise SvfError(f"unknown target '{unknown[0]}'; choose from {', '.join(TARGETS)}")
    if bundled_program and form == "stream":
        raise UnsupportedInput("a bundled program runs one clip and a stream many steps; export the form 'clip'")
    kits = dict(native_files(kit) for kit in native)
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        draft = _Draft(program, Path(scratch) / "bundle", form, dialects, bundled_program, typical)
        draft.folder.mkdir()
        save_program(program, draft.folder / PROGRAM)
        for name, clip in clips.items():
            progress(f"golden vector {name}")
            draft.add_golden(name, clip)
        for target in TARGETS:
            if target in targets:
                progress(f"export to {target}")
                {"onnx": draft.add_onnx, "executorch": draft.add_executorch, "tensorrt": draft.add_tensorrt}[target]()
        if host_platform() not in kits:
            draft.add_libraries()
        for target, files in kits.items():
            draft.add_native(target, files)
        text = draft.manifest().model_dump_json(indent=1)
        (draft.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        _replace(folder, draft.folder, Path(scratch) / "previous")
    return Bundle.open(folder)


def _check_replaceable(folder: Path) -> None:
    """Raise `SvfError` unless `folder` is absent, empty, or a bundle with nothing else in it."""
    if Path.cwd().is_relative_to(folder):
        raise SvfError(f"{folder}: is the current folder or holds it and cannot be replaced; give another path")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        known = {MANIFEST, *read_manifest(folder).files}
    except BadFile:
        raise SvfError(f"{folder}: exists and is not a bundle; give another path or remove it") from None
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in known:
            raise SvfError(f"{path}: is no part of the bundle there, which would be replaced; move it away first")


def _replace(folder: Path, draft: Path, previous: Path) -> None:
    """Move `draft` to `folder`; what was there goes to `previous`, and comes back when the move fails."""
    existed = folder.exists()
    if existed:
        folder.rename(previous)
    try:
        draft.rename(folder)
    except BaseException:
        if existed:
            previous.rename(folder)
        raise
