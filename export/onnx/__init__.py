"""Program to ONNX, in the `packed` and `portable` dialects."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from svf_edge.errors import MissingPackage
from svf_edge.export.density import NO_RATES, Rates
from svf_edge.files import atomic_write
from svf_edge.program import Program

try:
    import onnx

    from svf_edge.export.onnx.packed import packed_model
    from svf_edge.export.onnx.portable import portable_model
    from svf_edge.export.onnx.taps import add_taps
except ModuleNotFoundError as error:
    if error.name != "onnx":
        raise
    raise MissingPackage("onnx", "onnx") from error

Dialect = Literal["packed", "portable"]


def export_onnx(
    program: Program,
    dialect: Dialect,
    path: str | Path,
    *,
    taps: bool = False,
    stream: bool = False,
    rates: Rates = NO_RATES,
) -> None:
    """Write `program` as an ONNX file in `dialect`, atomically.

    With `stream` it is a step of it; `taps` are those of `add_taps`, `rates` those of `packed_model`.

    Raises `RangeError` when a carrier could be inexact, and `UnsupportedInput` for more levels than the dialect takes
    or a program without a stream form.
    """
    program = program.for_steps(1) if stream else program
    model = packed_model(program, rates, stream) if dialect == "packed" else portable_model(program, stream)
    if taps:
        add_taps(model, program, dialect, path)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)


__all__ = ["Dialect", "add_taps", "export_onnx", "packed_model", "portable_model"]
