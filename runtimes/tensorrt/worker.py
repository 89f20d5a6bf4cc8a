"""Builds one TensorRT engine in a process of its own: `python -m svf_edge.runtimes.tensorrt.worker REQUEST`.

TensorRT aborts the process on some errors and keeps libraries and memory for good, so `svf_edge.runtimes.tensorrt`
never builds in the caller's process. REQUEST is a JSON file (`Request`); the answer goes to the path it names.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """What to build with which Python package, whether TF32 may be used, and where the engine and the answer go.

    Nothing is built of a graph that has other plug-in layers than `expected`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    model: Path
    library: Path
    expected: dict[str, tuple[str, ...]]
    tf32: bool
    engine: Path
    answer: Path


class Answer(BaseModel):
    """What came of it: the plug-in layers by name, with their outputs as TensorRT sees them ("INT32 [1, 4, 40]").

    When there is no engine, `failed` says at which stage, and `errors` what TensorRT said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    plugin_layers: dict[str, tuple[str, ...]] = {}
    build_seconds: float = 0.0
    failed: Literal["library", "parse", "layers", "build"] | None = None
    errors: list[str] = []


def import_tensorrt(package: str) -> Any:
    """The Python module `package`, with the libraries it needs loaded."""
    if package == "tensorrt_rtx_bindings":
        importlib.import_module("tensorrt_rtx_libs")
    return importlib.import_module(package)


def error_log(trt: Any) -> Any:
    """A logger of the module `trt` that keeps what goes wrong in its list `errors`."""
    serious = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                self.errors.append(message)

    return Log()


def build(request: Request) -> Answer:
    """Parse the graph, build the engine and write it."""
    trt = import_tensorrt(request.package)
    log = error_log(trt)
    errors = log.errors
    builder = trt.Builder(log)
    if trt.get_plugin_registry().load_library(str(request.library)) is None:
        return Answer(version=trt.__version__, failed="library", errors=errors)
    # Strong typing keeps the graph's own types: no float16, which would not hold the contract's integers. From
    # TensorRT 11 on it is the only mode, and the flag is gone.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(request.model.read_bytes()):
        said = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        return Answer(version=trt.__version__, failed="parse", errors=said or errors)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    plugins = {
        layer.name: tuple(_tensor(layer.get_output(i)) for i in range(layer.num_outputs))
        for layer in layers
        if layer.type == trt.LayerType.PLUGIN_V3
    }
    if plugins != request.expected:
        return Answer(version=trt.__version__, plugin_layers=plugins, failed="layers", errors=errors)
    config = builder.create_builder_config()
    if not request.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    start = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - start
    if plan is None:
        return Answer(version=trt.__version__, plugin_layers=plugins, failed="build", errors=errors)
    request.engine.write_bytes(memoryview(plan))
    return Answer(version=trt.__version__, plugin_layers=plugins, build_seconds=seconds)


def _tensor(tensor: Any) -> str:
    return f"{tensor.dtype.name} {list(tensor.shape)}"


def main() -> None:
    """Read the request, build, write the answer."""
    request = Request.model_validate_json(Path(sys.argv[1]).read_text())
    request.answer.write_text(build(request).model_dump_json())


if __name__ == "__main__":
    main()
