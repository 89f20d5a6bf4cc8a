"""TensorRT as one of the runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from svf_edge.errors import MissingLibrary, MissingPackage
from svf_edge.runtimes.base import Runtime, Session, bundled_graph, bundled_library
from svf_edge.runtimes.stream import StreamSession
from svf_edge.runtimes.tensorrt.engine import LIBRARY, build_engine, find_package, unable_to_run
from svf_edge.runtimes.tensorrt.session import ClipSession, EngineGraph

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle
    from svf_edge.program import Program


class TensorRT(Runtime):
    """TensorRT on the bundle's qdq graph. The engine is built when it is first opened."""

    name = "tensorrt"

    def available(self, bundle: Bundle) -> str | None:
        """Needs a TensorRT package, a qdq graph and plug-in library in the bundle, and a GPU."""
        if bundled_graph(bundle, "tensorrt", "qdq") is None:
            return "the bundle has no qdq graph"
        try:
            package = find_package()
            bundled_library(bundle, LIBRARY)
        except (MissingPackage, MissingLibrary) as error:
            return str(error)
        return unable_to_run(package)

    def graph(self, bundle: Bundle) -> Path:
        """The ONNX file the engine is built from."""
        return bundle.path(bundle.artefact("tensorrt", "qdq").path)

    def open(self, bundle: Bundle, *, threads: int = 1, taps: bool = False) -> Session:
        """Build or reuse the engine and load it. `threads` means nothing here. With taps it is another engine."""
        from svf_edge.export.tensorrt import plugin_layers

        program, artefact = bundle.program(), bundle.artefact("tensorrt", "qdq")
        stream = bundle.manifest.form == "stream"
        shown = program.for_steps(1) if stream else program
        library = bundled_library(bundle, LIBRARY)
        model = bundle.path(artefact.tapped) if taps and artefact.tapped else self.graph(bundle)
        engine = build_engine(model, library, plugin_layers(shown, stream))
        graph = EngineGraph(engine, library, _results(shown, stream, taps))
        return StreamSession(program, graph, close=graph.close) if stream else ClipSession(program, graph)


def _results(program: Program, stream: bool, taps: bool) -> list[str]:
    """Names of a graph's results in the order that sessions take them: outputs, the next state, spikes."""
    from svf_edge.program.stream import state_tensors

    outputs = [output.name for output in program.outputs]
    state = [tensor.given for tensor in state_tensors(program)] if stream else []
    return outputs + state + [lif.name for lif in program.lifs if taps]
