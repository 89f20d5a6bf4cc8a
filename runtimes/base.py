"""The one interface every harness has: open a bundle, run clips, hand back outputs and spikes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from svf_edge.errors import BadFile, MissingLibrary
from svf_edge.files import sha256
from svf_edge.packing import Words, pack_spikes
from svf_edge.program import Program
from svf_edge.program.interpret import check_frames

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle
    from svf_edge.export.bundle.manifest import Artefact

Clip = NDArray[np.uint8]
Progress = Callable[[str, float], None]
"""Told what is being done and which part of the whole (0..1) lies behind."""


def no_progress(_what: str, _part: float) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True)
class RunResult:
    """What one run leaves: outputs int32 `[T, C, H, W]` by name, and packed spikes by LIF name when tapped."""

    outputs: Mapping[str, NDArray[np.int32]]
    spikes: Mapping[str, Words] = field(default_factory=dict)


class Result(BaseModel):
    """Base of stored results: immutable, and JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Session(ABC):
    """A loaded graph. Use it as a context manager, or call `close`."""

    @abstractmethod
    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`. Raises `UnsupportedInput` for another shape or dtype."""

    def close(self) -> None:  # noqa: B027 (most sessions hold nothing that must be let go)
        """Let go of what the session holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class Runtime(ABC):
    """One way of running a bundle: a runtime together with the dialect of graph it is given."""

    name: str

    @abstractmethod
    def available(self, bundle: Bundle) -> str | None:
        """None when this runtime can run `bundle`, else why not, as a clause ("needs ...", "the bundle has no ...")."""

    @abstractmethod
    def graph(self, bundle: Bundle) -> Path:
        """The file whose size is this variant's file size."""

    @abstractmethod
    def open(self, bundle: Bundle, *, threads: int = 1, taps: bool = False) -> Session:
        """Load the graph on `threads` threads; with `taps` every LIF's spikes are part of the result.

        Raises `BadFile`, `MissingLibrary` or `MissingPackage`.
        """

    def prepare(self) -> None:  # noqa: B027 (the reference needs nothing)
        """Import what `open` needs, so that importing and loading can be told apart."""

    def verify(self, bundle: Bundle) -> None:  # noqa: B027 (most runtimes have no such file)
        """Check what else the bundle holds for this runtime. Raises `SvfError`."""

    def conditions(self, bundle: Bundle) -> dict[str, str]:
        """Versions and kernel sets that belong beside a measurement; called after `open`."""
        return {}


def named_results(program: Program, arrays: list[NDArray[np.generic]]) -> RunResult:
    """Name the arrays of a graph whose results are the outputs, then (if tapped) the spikes of every LIF in order.

    Spikes come as int32 words or as float carriers `[T, C, H, W]`, which are packed here.
    """
    count = len(program.outputs)
    expected = (count, count + len(program.lifs))
    if len(arrays) not in expected:
        raise BadFile(
            f"the graph returns {len(arrays)} tensors, its program has {count} outputs and {len(program.lifs)} LIFs; "
            "export the bundle again"
        )
    outputs = {
        output.name: array.astype(np.int32, copy=False)
        for output, array in zip(program.outputs, arrays[:count], strict=True)
    }
    spikes = {}
    for lif, array in zip(program.lifs, arrays[count:], strict=False):
        if np.issubdtype(array.dtype, np.floating):
            array = pack_spikes(array.astype(np.int32), lif.levels)
        spikes[lif.name] = array.astype(np.int32, copy=False)
    return RunResult(outputs, spikes)


def check_clip(program: Program, frames: Clip) -> None:
    """Raise `UnsupportedInput` unless `frames` is exactly what `program` takes."""
    check_frames(program.frames, frames)


def bundled_graph(bundle: Bundle, runtime: str, dialect: str) -> Artefact | None:
    """The bundle's graph for `runtime` in `dialect`, if it has one."""
    for artefact in bundle.manifest.artefacts:
        if (artefact.runtime, artefact.dialect) == (runtime, dialect):
            return artefact
    return None


def fingerprint(bundle: Bundle) -> str:
    """SHA-256 of the bundle's manifest, and so of everything in it: stored results say by it what they belong to."""
    from svf_edge.export.bundle.manifest import MANIFEST

    return sha256(bundle.folder / MANIFEST)


def bundled_library(bundle: Bundle, name: str) -> Path:
    """The operator library `name` of the bundle for this machine. Raises `MissingLibrary` when it has none."""
    from svf_edge.export.bundle import host_platform

    here = host_platform()
    path = bundle.library(name, here)
    if path is None:
        held = [library.platform for library in bundle.manifest.libraries if library.name == name]
        raise MissingLibrary(
            f"{bundle.folder}: holds the operator library '{name}' for {', '.join(held) or 'no platform'}, not for "
            f"{here}; export the bundle on such a machine with the library built, or use a portable runtime"
        )
    return path
