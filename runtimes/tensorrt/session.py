"""Running an engine on GPU 0: clips, and steps of a stream. Not yet seen on hardware (docs/tensorrt.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import BadFile, MissingLibrary, SvfError
from svf_edge.program import Program
from svf_edge.runtimes.base import Clip, RunResult, Session, check_clip, named_results
from svf_edge.runtimes.cuda import Context
from svf_edge.runtimes.tensorrt.engine import Engine
from svf_edge.runtimes.tensorrt.worker import error_log, import_tensorrt


class EngineGraph:
    """A loaded engine with a buffer on the GPU for every tensor.

    Called with inputs by name, it returns the tensors of `names`, copies to and from the GPU included.
    """

    def __init__(self, engine: Engine, library: Path, names: Sequence[str]) -> None:
        """Raises `NoGpu`, `MissingLibrary`, or `BadFile` for an engine of another GPU or version or without `names`."""
        trt = import_tensorrt(engine.package)
        self._log = error_log(trt)
        self._inputs: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        self._outputs: dict[str, NDArray[Any]] = {}
        self._names = tuple(names)
        with ExitStack() as undo:
            self._cuda = Context()
            undo.callback(self._cuda.close)
            registry = trt.get_plugin_registry()
            known = {creator.name for creator in registry.all_creators}
            if "HammingAttention" not in known and registry.load_library(str(library)) is None:
                raise MissingLibrary(f"{library}: TensorRT cannot load this plug-in library; build it on this machine")
            self._runtime = trt.Runtime(self._log)
            self._engine = self._runtime.deserialize_cuda_engine(engine.path.read_bytes())
            if self._engine is None:
                raise BadFile(f"{engine.path}: {self._complaint()}")
            self._context = self._engine.create_execution_context()
            for index in range(self._engine.num_io_tensors):
                name = self._engine.get_tensor_name(index)
                shape = tuple(self._engine.get_tensor_shape(name))
                dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
                if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                    self._inputs[name] = (shape, dtype)
                else:
                    self._outputs[name] = np.empty(shape, dtype)
                size = int(np.prod(shape)) * dtype.itemsize
                self._context.set_tensor_address(name, self._cuda.allocate(name, size))
            if missing := [name for name in names if name not in self._outputs]:
                raise BadFile(f"{engine.path}: has no output '{missing[0]}'; export the bundle again")
            undo.pop_all()

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run it once. Raises `SvfError` when TensorRT does not."""
        for name, values in inputs.items():
            shape, dtype = self._inputs[name]
            if (values.shape, values.dtype) != (shape, dtype):
                raise SvfError(
                    f"tensor '{name}' is {values.dtype} {list(values.shape)}, the engine was built for {dtype} "
                    f"{list(shape)}; export the bundle for that shape"
                )
            self._cuda.upload(name, values)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise SvfError(f"TensorRT could not run the engine: {self._complaint()}")
        self._cuda.synchronize()
        for name in self._names:
            self._cuda.download(name, self._outputs[name])
        return [self._outputs[name].copy() for name in self._names]

    def _complaint(self) -> str:
        from svf_edge.export.tensorrt.run import explain

        return explain("\n".join(self._log.errors))

    def close(self) -> None:
        """Free the engine and its GPU memory."""
        self._context = self._engine = self._runtime = None
        self._cuda.close()


class ClipSession(Session):
    """A clip engine whose results are named."""

    def __init__(self, program: Program, graph: EngineGraph) -> None:
        self._program = program
        self._graph = graph

    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`."""
        check_clip(self._program, frames)
        return named_results(self._program, self._graph({self._program.frames.name: frames}))

    def close(self) -> None:
        """Free the engine and its GPU memory."""
        self._graph.close()
