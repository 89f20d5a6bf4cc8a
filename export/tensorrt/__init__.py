"""Program to the graph that TensorRT builds an engine from, checked for the oldest TensorRT that is served."""

from __future__ import annotations

from pathlib import Path

from svf_edge.errors import MissingPackage
from svf_edge.files import atomic_write
from svf_edge.program import Program

try:
    import onnx

    from svf_edge.export.onnx.taps import add_taps
    from svf_edge.export.tensorrt.device_files import GRAPH, TAPPED, tap_digests, write_device_files
    from svf_edge.export.tensorrt.graph import plugin_layers, qdq_model
    from svf_edge.export.tensorrt.subset import check_subset
except ModuleNotFoundError as error:
    if error.name != "onnx":
        raise
    raise MissingPackage("onnx", "onnx") from error


def export_tensorrt(program: Program, path: str | Path, *, taps: bool = False, stream: bool = False) -> None:
    """Write `program` as an ONNX file for TensorRT, atomically; `taps` are those of `add_taps`.

    With `stream` it is a step of it. Raises what `qdq_model` and `check_subset` raise.
    """
    model = qdq_model(program.for_steps(1) if stream else program, stream=stream)
    if taps:
        add_taps(model, program.for_steps(1) if stream else program, "qdq", path)
    check_subset(model, path)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)


__all__ = [
    "GRAPH",
    "TAPPED",
    "check_subset",
    "export_tensorrt",
    "plugin_layers",
    "qdq_model",
    "tap_digests",
    "write_device_files",
]
