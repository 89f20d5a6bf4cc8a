"""ONNX Runtime: the packed graph with and without our operator library, and the portable graph."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from svf_edge.errors import BadFile, MissingLibrary, MissingPackage, SvfError
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
from svf_edge.runtimes.stream import StreamSession

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

Dialect = Literal["packed", "portable"]
LIBRARY = "svf_ort"
_ERROR = 3  # onnxruntime's log severity


class OnnxRuntimeGraph:
    """An inference session with deterministic options: sequential, one inter-op thread, `threads` intra-op threads.

    Called with inputs by name, it returns the outputs of the file and, with `taps`, the spikes of every LIF.
    """

    def __init__(
        self, path: Path, program: Program, dialect: Dialect, *, threads: int, taps: bool, library: Path | None
    ) -> None:
        try:
            import onnxruntime as ort
        except ModuleNotFoundError as error:
            raise MissingPackage("onnxruntime", "onnxruntime") from error
        self._path = path
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = _ERROR
        # A pool that spins after a run would steal time from whatever is measured next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if library is not None:
            try:
                options.register_custom_ops_library(str(library))
            except Exception as error:  # onnxruntime raises its own classes, one per status code
                raise MissingLibrary(
                    f"{library}: ONNX Runtime {ort.__version__} cannot load this operator library "
                    f"({_one_line(error)}); export the bundle again on this machine"
                ) from error
        model: str | bytes = with_taps(path, program, dialect) if taps else str(path)
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BadFile(
                f"{path}: ONNX Runtime {ort.__version__} cannot load it ({_one_line(error)}); export the bundle again"
            ) from error
        tapped = [lif.name for lif in program.lifs] if taps else []
        names = [output.name for output in self._session.get_outputs()]
        self._names = [name for name in names if name not in tapped] + tapped

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run it once. Raises `SvfError` when ONNX Runtime does."""
        try:
            arrays: list[NDArray[Any]] = self._session.run(self._names, dict(inputs))
        except Exception as error:
            raise SvfError(f"{self._path}: ONNX Runtime stopped while running it ({_one_line(error)})") from error
        return arrays


class OnnxRuntimeSession(Session):
    """A clip graph whose results are named."""

    def __init__(self, program: Program, graph: OnnxRuntimeGraph) -> None:
        self._program = program
        self._graph = graph

    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`."""
        check_clip(self._program, frames)
        return named_results(self._program, self._graph({self._program.frames.name: frames}))


def with_taps(path: Path, program: Program, dialect: Dialect) -> bytes:
    """The model at `path` with the spikes of every LIF of `program` as further graph outputs, serialised.

    Raises `BadFile` when the file is no ONNX model or lacks a LIF's tensor, and `MissingPackage` without onnx.
    """
    from svf_edge.export.onnx import add_taps  # raises MissingPackage

    import onnx  # isort: skip

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's DecodeError, or OSError
        raise BadFile(f"{path}: not a readable ONNX file ({_one_line(error)}); export the bundle again") from error
    add_taps(model, program, dialect, path)
    return bytes(model.SerializeToString())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class OnnxRuntime(Runtime):
    """ONNX Runtime on one of the bundle's ONNX graphs.

    With `library=False` the packed graph runs through its function bodies, as it does where our operators are unknown.
    """

    def __init__(self, name: str, dialect: Dialect, *, library: bool) -> None:
        self.name = name
        self._dialect: Dialect = dialect
        self._library = library

    def available(self, bundle: Bundle) -> str | None:
        """Needs the package `onnxruntime` and a graph in the bundle."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "needs the package 'onnxruntime' (pip install 'svf-edge[onnxruntime]')"
        if bundled_graph(bundle, "onnxruntime", self._dialect) is None:
            return f"the bundle has no {self._dialect} ONNX graph"
        return None

    def graph(self, bundle: Bundle) -> Path:
        """The ONNX file."""
        return bundle.path(bundle.artefact("onnxruntime", self._dialect).path)

    def open(self, bundle: Bundle, *, threads: int = 1, taps: bool = False) -> Session:
        """Load the graph, with the bundle's operator library if this variant uses it."""
        library = None
        if self._library:
            library = bundled_library(bundle, LIBRARY)
            check_core(bundle)
        program, stream = bundle.program(), bundle.manifest.form == "stream"
        shown = program.for_steps(1) if stream else program
        graph = OnnxRuntimeGraph(self.graph(bundle), shown, self._dialect, threads=threads, taps=taps, library=library)
        return (
            StreamSession(program, graph, self._dialect == "packed") if stream else OnnxRuntimeSession(program, graph)
        )

    def prepare(self) -> None:
        """Import ONNX Runtime."""
        import onnxruntime  # noqa: F401  (only whether it is there)

    def conditions(self, bundle: Bundle) -> dict[str, str]:
        """Version of ONNX Runtime, and the kernel set of our library."""
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__, **(kernel_set() if self._library else {})}
