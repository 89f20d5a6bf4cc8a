"""The manifest of a bundle: a schema-checked description of every file a device needs."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MANIFEST = "manifest.json"
FORMAT = 1

RuntimeName = Literal["onnxruntime", "executorch", "tensorrt"]
Dialect = Literal["packed", "portable", "qdq"]
Form = Literal["clip", "stream"]


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise ValueError(f"path {path!r} leaves the bundle")
    return path


BundlePath = Annotated[str, AfterValidator(_inside)]
"""A path inside the bundle, POSIX style, that cannot lead out of it."""

Shape = tuple[int, int, int, int]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FramesSpec(_Entry):
    """The input: uint8 `[T, C, H, W]`."""

    name: str
    shape: Shape
    zero_point: int
    exponent: int


class OutputSpec(_Entry):
    """An output: int32 `shape`, in units of `2^-exponent`."""

    name: str
    shape: Shape
    exponent: int


class Tap(_Entry):
    """A LIF whose spikes are compared; `shape` is logical `[T, C, H, W]`."""

    layer: str
    shape: Shape
    levels: int


class StateSpec(_Entry):
    """One int32 tensor of a stream's state: `svf_edge.program.stream.StateTensor`."""

    layer: str
    shape: tuple[int, int, int]
    window: int


class Artefact(_Entry):
    """A graph for one runtime.

    `tapped` is its twin that also returns spikes, for who cannot add taps on loading. `bundled` is the same ExecuTorch
    program together with the golden clips and their outputs, for ExecuTorch's own tools.
    """

    runtime: RuntimeName
    dialect: Dialect
    path: BundlePath
    tapped: BundlePath | None = None
    bundled: BundlePath | None = None


class Library(_Entry):
    """A native library, or the program `svf-run`, for a platform such as `linux-x86_64`."""

    name: str
    platform: str
    path: BundlePath


class Golden(_Entry):
    """A golden vector: a clip, its outputs (in the file), and a digest of every layer's packed spikes."""

    name: str
    path: BundlePath
    source: str
    digests: dict[str, str]


class FileEntry(_Entry):
    """Size in bytes and SHA-256 of a file."""

    sha256: str
    size: int


class Manifest(_Entry):
    """Everything a device must know to test and run the bundle."""

    format: int = FORMAT
    svf_edge: str
    numeric: int
    packing: int
    form: Form = "clip"
    """Whether a graph takes a clip, or one frame and the state of a stream. Golden vectors are clips either way."""
    frames: FramesSpec
    outputs: list[OutputSpec]
    taps: list[Tap]
    state: list[StateSpec] = []
    """Of a stream, in the order in which graphs take it after the frame; empty for a clip."""
    artefacts: list[Artefact]
    libraries: list[Library]
    golden: list[Golden]
    model: dict[str, Any] = Field(description="The program's meta: task, configuration, how it was trained")
    files: dict[BundlePath, FileEntry]
