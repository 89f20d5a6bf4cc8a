"""ExecuTorch as a runtime: the packed and the portable program of a bundle."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from svf_edge.errors import BadFile
from svf_edge.program import Program
from svf_edge.runtimes.base import (
    Clip,
    RunResult,
    Runtime,
    Session,
    bundled_graph,
    bundled_library,
    check_clip,
    named_results,
)
from svf_edge.runtimes.core import check_core, kernel_set
from svf_edge.runtimes.executorch_check import Checked
from svf_edge.runtimes.process import ChildEnded, Worker
from svf_edge.runtimes.stream import StreamSession

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

LIBRARY = "svf_executorch"


class ExecuTorchHarness(Session):
    """A `.pte` program whose results are named."""

    def __init__(self, path: Path, program: Program, *, threads: int, library: Path | None) -> None:
        from svf_edge.runtimes.executorch import ExecuTorchSession

        self._program = program
        self._session = ExecuTorchSession(path, threads=threads, library=library)

    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`."""
        check_clip(self._program, frames)
        return named_results(self._program, self._session.run(frames))

    def close(self) -> None:
        """Free the program."""
        self._session.close()


class ExecuTorch(Runtime):
    """ExecuTorch on one of the bundle's programs; the packed one with the bundle's kernel library."""

    def __init__(self, dialect: Literal["packed", "portable"]) -> None:
        self.name = f"executorch {dialect}"
        self._dialect = dialect

    def available(self, bundle: Bundle) -> str | None:
        """Needs the package `executorch` and a program in the bundle."""
        if importlib.util.find_spec("executorch") is None:
            return "needs the package 'executorch' (pip install 'svf-edge[executorch]')"
        if bundled_graph(bundle, "executorch", self._dialect) is None:
            return f"the bundle has no {self._dialect} ExecuTorch program"
        return None

    def graph(self, bundle: Bundle) -> Path:
        """The program without taps."""
        return bundle.path(bundle.artefact("executorch", self._dialect).path)

    def open(self, bundle: Bundle, *, threads: int = 1, taps: bool = False) -> Session:
        """Load the program, or its tapped twin."""
        artefact = bundle.artefact("executorch", self._dialect)
        path = artefact.path
        if taps:
            if artefact.tapped is None:
                raise BadFile(f"{bundle.folder}: has no tapped twin of {path}; export the bundle again")
            path = artefact.tapped
        library = None
        if self._dialect == "packed":
            library = bundled_library(bundle, LIBRARY)
            check_core(bundle)
        if bundle.manifest.form == "clip":
            return ExecuTorchHarness(bundle.path(path), bundle.program(), threads=threads, library=library)
        from svf_edge.runtimes.executorch import ExecuTorchSession

        steps = ExecuTorchSession(bundle.path(path), threads=threads, library=library)
        channels_last = self._dialect == "packed"
        return StreamSession(
            bundle.program(), lambda inputs: steps.run(*inputs.values()), channels_last, close=steps.close
        )

    def prepare(self) -> None:
        """Import torch and ExecuTorch's extension."""
        import torch  # noqa: F401  (the extension needs its libraries)

        importlib.import_module("executorch.extension.pybindings._C")

    def verify(self, bundle: Bundle) -> None:
        """The program that carries the golden clips itself, where the bundle has one, passes ExecuTorch's own check.

        In a process of its own: ExecuTorch reads such a file unverified.
        """
        bundled = bundle.artefact("executorch", self._dialect).bundled
        if bundled is None:
            return
        with Worker(["svf_edge.runtimes.executorch_check", str(bundle.folder), self._dialect], {}, "checking") as child:
            try:
                child.read(Checked)
            except ChildEnded as error:
                raise BadFile(
                    f"{bundle.path(bundled)}: ExecuTorch cannot check it ({error}); export the bundle again"
                ) from error

    def conditions(self, bundle: Bundle) -> dict[str, str]:
        """Version of ExecuTorch, and the kernel set of our library."""
        kernels = kernel_set() if self._dialect == "packed" else {}
        return {"executorch": version("executorch"), **kernels}
