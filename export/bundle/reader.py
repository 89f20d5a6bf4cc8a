"""Opening a bundle: nothing in it is used before its hash and versions were checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from svf_edge.contract import NUMERIC_VERSION, PACKING_VERSION, check_version
from svf_edge.errors import BadFile, SvfError
from svf_edge.export.bundle.manifest import FORMAT, MANIFEST, Artefact, Manifest
from svf_edge.files import sha256
from svf_edge.program import Program, load_program

PROGRAM = "program.safetensors"


@dataclass(frozen=True)
class Bundle:
    """A bundle folder whose files were checked against its manifest."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Open `folder` and check every file's size and SHA-256 and every version.

        Raises `BadFile` (naming the file) or `ContractMismatch`.
        """
        folder = Path(folder)
        path, manifest = folder / MANIFEST, read_manifest(folder)
        check_version("bundle", manifest.format, FORMAT, path)
        check_version("numeric", manifest.numeric, NUMERIC_VERSION, path)
        check_version("packing", manifest.packing, PACKING_VERSION, path)
        bundle = cls(folder, manifest)
        for name, entry in manifest.files.items():
            file = bundle.path(name)
            if not file.is_file():
                raise BadFile(f"{file}: listed in the manifest but missing; copy or export the bundle again")
            size = file.stat().st_size
            if size != entry.size or sha256(file) != entry.sha256:
                raise BadFile(
                    f"{file}: differs from the manifest ({size} bytes, {entry.size} expected, or another hash); "
                    "copy or export the bundle again"
                )
        return bundle

    def path(self, name: str) -> Path:
        """A file of the bundle. Raises `BadFile` when it is not in the manifest, or a link leads out of the folder."""
        if name not in self.manifest.files:
            raise BadFile(f"{self.folder}: the manifest lists no file '{name}'")
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise BadFile(f"{path}: leads out of the bundle; export the bundle again")
        return path

    def program(self) -> Program:
        """The integer program that the graphs were made from."""
        return load_program(self.path(PROGRAM))

    def artefact(self, runtime: str, dialect: str) -> Artefact:
        """The graph of a runtime and dialect. Raises `SvfError` when the bundle has none."""
        for artefact in self.manifest.artefacts:
            if (artefact.runtime, artefact.dialect) == (runtime, dialect):
                return artefact
        raise SvfError(
            f"{self.folder}: holds no {dialect} graph for {runtime}; export it with `svf-edge export --to {runtime}`"
        )

    def library(self, name: str, platform: str) -> Path | None:
        """The native library `name` for `platform`, or None when the bundle has none."""
        for library in self.manifest.libraries:
            if (library.name, library.platform) == (name, platform):
                return self.path(library.path)
        return None

    def golden(self, name: str) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int32]]]:
        """Frames `[T, C, H, W]` and expected outputs of a golden vector."""
        for golden in self.manifest.golden:
            if golden.name == name:
                return _read_golden(self.path(golden.path))
        known = ", ".join(golden.name for golden in self.manifest.golden)
        raise SvfError(f"{self.folder}: has no golden vector '{name}'; it has {known}")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle folder, its schema checked and nothing else. Raises `BadFile`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BadFile(f"{folder}: not a bundle (no {MANIFEST}); make one with `svf-edge export`")
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: not a valid manifest ({_first(error)}); export the bundle again") from error


def _read_golden(path: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int32]]]:
    try:
        arrays = load_file(path)
        frames = arrays.pop("frames")
    except (SafetensorError, KeyError) as error:
        raise BadFile(f"{path}: not a golden vector ({error}); export the bundle again") from error
    return frames, {name.removeprefix("output:"): array for name, array in arrays.items()}


def _first(error: ValidationError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
