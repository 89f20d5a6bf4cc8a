"""TensorRT: builds the engine of a bundle's qdq graph, counts its plug-in layers, and runs it where a GPU is.

Two Python packages can build: `tensorrt` (JetPack, or NVIDIA's wheels) and TensorRT-RTX (`tensorrt_rtx_bindings`, an
x86 wheel), which also builds on a machine without a GPU. TensorRT itself is taken first.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from svf_edge.errors import BadFile, MissingLibrary, MissingPackage, SvfError
from svf_edge.files import atomic_write, sha256, write_text
from svf_edge.program import Program
from svf_edge.runtimes.base import (
    Clip,
    Result,
    RunResult,
    Runtime,
    Session,
    bundled_graph,
    bundled_library,
    check_clip,
    named_results,
)
from svf_edge.runtimes.cuda import Context, Driver, NoGpu
from svf_edge.runtimes.onnxruntime import with_taps
from svf_edge.runtimes.tensorrt_worker import Answer, Request, import_tensorrt

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

LIBRARY = "svf_trt"
PACKAGES = {"tensorrt": "TensorRT", "tensorrt_rtx_bindings": "TensorRT-RTX"}
_RTX = "tensorrt_rtx_bindings"


class Engine(Result):
    """A built engine on disk. `builder` is the product and its version, "TensorRT-RTX 1.7.1.116"."""

    path: Path
    package: str
    builder: str
    plugin_layers: tuple[str, ...]
    build_seconds: float


class TensorRTReport(Result):
    """What TensorRT made of a bundle on this machine.

    `ran` tells whether the engine ran a clip with the right outputs; if not, `reason` is why, as a clause. True when
    the engine was built with all its plug-in layers.
    """

    builder_version: str | None = None
    engine_bytes: int = 0
    plugin_layers: tuple[str, ...] = ()
    expected_plugin_layers: int
    ran: bool = False
    reason: str | None = None
    build_seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.builder_version is not None and len(self.plugin_layers) == self.expected_plugin_layers

    def __str__(self) -> str:
        if self.builder_version is None:
            return f"engine not built: {self.reason}"
        built = (
            f"engine built by {self.builder_version} in {self.build_seconds:.1f} s, {self.engine_bytes} bytes, "
            f"plug-in layers {len(self.plugin_layers)} of {self.expected_plugin_layers}"
        )
        return f"{built}; ran, outputs exact" if self.ran else f"{built}; not run: {self.reason}"


def find_package() -> str:
    """The Python package to build with. Raises `MissingPackage`."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is not None:
            return package
    raise MissingPackage("tensorrt", "tensorrt")


def cache_folder() -> Path:
    """Where engines are kept between runs: `$XDG_CACHE_HOME/svf-edge/tensorrt`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "svf-edge" / "tensorrt"


def build_engine(model: Path, library: Path, expected: Sequence[str], folder: Path | None = None) -> Engine:
    """The engine of the ONNX file `model` with the plug-ins of `library`, from `folder` or built into it.

    An engine holds for one graph, plug-in library, TensorRT version and GPU, and is kept under a name made of these.
    `expected` are the names of the plug-in layers it must have. `folder` is `cache_folder()` by default.

    Raises `MissingPackage` without TensorRT, `MissingLibrary` for a plug-in library that cannot be loaded, `BadFile`
    for a graph that TensorRT refuses or that has other plug-in layers, `SvfError` when the build fails.
    """
    package = find_package()
    for path, kind in ((model, BadFile), (library, MissingLibrary)):
        if not path.is_file():
            raise kind(f"{path}: not found; export the bundle again with the TensorRT plug-in library built")
    folder = cache_folder() if folder is None else folder
    name = _key(package, model, library)
    target, record = folder / f"{name}.engine", folder / f"{name}.json"
    answer = _recorded(record) if target.is_file() else None
    if answer is None:
        with atomic_write(target) as temporary:
            answer = _run_worker(package, model, library, temporary)
            _check(answer, model, library, expected)
        write_text(record, answer.model_dump_json())
    _check(answer, model, library, expected)
    return Engine(
        path=target,
        package=package,
        builder=f"{PACKAGES[package]} {answer.version}",
        plugin_layers=tuple(answer.plugin_layers),
        build_seconds=answer.build_seconds,
    )


def unable_to_run(package: str) -> str | None:
    """None when engines of `package` can run on this machine, else why not, as a clause ("needs ...")."""
    try:
        capability = Driver().capability
    except NoGpu as error:
        return str(error)
    if package == _RTX:
        served = import_tensorrt(package).ComputeCapability.__members__
        if f"SM{capability}" not in served:
            return f"needs TensorRT itself: TensorRT-RTX does not serve this GPU's compute capability {capability / 10}"
    return None


def tensorrt_report(bundle: Bundle, folder: Path | None = None) -> TensorRTReport:
    """Build the engine of `bundle`, and run its first golden clip where a GPU allows it.

    Raises `BadFile`, `MissingLibrary` or `SvfError` as `build_engine` does; a missing TensorRT is a reason, no error.
    """
    from svf_edge.export.tensorrt import plugin_layers

    program = bundle.program()
    expected = plugin_layers(program)
    try:
        engine = build_engine(_graph(bundle), bundled_library(bundle, LIBRARY), expected, folder)
    except MissingPackage as error:
        return TensorRTReport(expected_plugin_layers=len(expected), reason=str(error))
    reason = unable_to_run(engine.package)
    if reason is None:
        name = bundle.manifest.golden[0].name
        frames, outputs = bundle.golden(name)
        with TensorRTSession(engine, bundled_library(bundle, LIBRARY), program, taps=False) as session:
            result = session.run(frames).outputs
        wrong = [key for key, values in outputs.items() if not np.array_equal(values, result[key])]
        reason = f"output '{wrong[0]}' differs from golden clip '{name}'" if wrong else None
    return TensorRTReport(
        builder_version=engine.builder,
        engine_bytes=engine.path.stat().st_size,
        plugin_layers=engine.plugin_layers,
        expected_plugin_layers=len(expected),
        ran=reason is None,
        reason=reason,
        build_seconds=engine.build_seconds,
    )


class TensorRTSession(Session):
    """An engine on GPU 0. Not yet seen on hardware (docs/tensorrt.md)."""

    def __init__(self, engine: Engine, library: Path, program: Program, *, taps: bool) -> None:
        """Load `engine`. Raises `NoGpu`, `MissingLibrary`, or `BadFile` for an engine of another GPU or version."""
        self._program = program
        self._results: dict[str, np.ndarray[Any, Any]] = {
            output.name: np.empty(program.types[output.source].shape, np.int32) for output in program.outputs
        }
        if taps:
            self._results |= {lif.name: np.empty(program.types[lif.name].shape, np.float32) for lif in program.lifs}
        sizes = {program.frames.name: int(np.prod(program.frames.shape))}
        sizes |= {name: array.nbytes for name, array in self._results.items()}
        trt = import_tensorrt(engine.package)
        self._log = trt.Logger(trt.Logger.ERROR)
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
                raise BadFile(f"{engine.path}: TensorRT cannot load this engine; delete it, and it is built again")
            self._context = self._engine.create_execution_context()
            for name, size in sizes.items():
                self._context.set_tensor_address(name, self._cuda.allocate(name, size))
            undo.pop_all()

    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`, copies to and from the GPU included."""
        check_clip(self._program, frames)
        self._cuda.upload(self._program.frames.name, frames)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise SvfError("TensorRT could not run the engine; its log above says why")
        self._cuda.synchronize()
        for name, array in self._results.items():
            self._cuda.download(name, array)
        return named_results(self._program, [array.copy() for array in self._results.values()])

    def close(self) -> None:
        """Free the engine and its GPU memory."""
        self._context = self._engine = self._runtime = None
        self._cuda.close()


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
        return _graph(bundle)

    def open(self, bundle: Bundle, *, threads: int = 1, taps: bool = False) -> Session:
        """Build or reuse the engine and load it. `threads` means nothing here. With taps it is another engine."""
        from svf_edge.export.tensorrt import plugin_layers

        program = bundle.program()
        library = bundled_library(bundle, LIBRARY)
        expected = plugin_layers(program)
        if not taps:
            return TensorRTSession(build_engine(_graph(bundle), library, expected), library, program, taps=False)
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "tapped.onnx"
            model.write_bytes(with_taps(_graph(bundle), program, "portable"))  # qdq spikes are float32 as well
            return TensorRTSession(build_engine(model, library, expected), library, program, taps=True)


def _graph(bundle: Bundle) -> Path:
    return bundle.path(bundle.artefact("tensorrt", "qdq").path)


def _key(package: str, model: Path, library: Path) -> str:
    try:
        gpu = str(Driver().capability)
    except NoGpu:
        gpu = "none"
    (distribution, *_) = importlib.metadata.packages_distributions()[package]
    version = importlib.metadata.version(distribution)
    parts = (package, version, gpu, sha256(model), sha256(library))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _recorded(record: Path) -> Answer | None:
    """What is kept beside a built engine, or None when it is absent or damaged."""
    try:
        return Answer.model_validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return None


def _run_worker(package: str, model: Path, library: Path, engine: Path) -> Answer:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answer = folder / "answer.json"
        request = Request(package=package, model=model, library=library.resolve(), engine=engine, answer=answer)
        (folder / "request.json").write_text(request.model_dump_json())
        done = subprocess.run(
            [sys.executable, "-m", "svf_edge.runtimes.tensorrt_worker", str(folder / "request.json")],
            env=_worker_environment(package, folder),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if not answer.is_file():
            said = " ".join(done.stderr.split())[-300:]
            raise SvfError(f"{model}: {PACKAGES[package]} ended with status {done.returncode} ({said or 'no message'})")
        found = Answer.model_validate_json(answer.read_text())
        # TensorRT does not pass on what a plug-in says; it is on standard error.
        ours = [line for line in done.stderr.splitlines() if line.startswith("svf: ")]
        return found.model_copy(update={"errors": ours + found.errors})


def _worker_environment(package: str, folder: Path) -> dict[str, str]:
    environment = dict(os.environ)
    if package != _RTX:
        return environment
    # The RTX parser opens "libtensorrt_rtx.so" by that name, but its wheel holds only "libtensorrt_rtx.so.1".
    spec = importlib.util.find_spec("tensorrt_rtx_libs")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for library in Path(place).glob("libtensorrt_rtx.so.*"):
            (folder / "libtensorrt_rtx.so").symlink_to(library)
            break
    paths = [str(folder), environment.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _check(answer: Answer, model: Path, library: Path, expected: Sequence[str]) -> None:
    said = " ".join(" ".join(answer.errors).split())[:300] or "no message"
    if answer.failed == "library":
        raise MissingLibrary(
            f"{library}: TensorRT {answer.version} cannot load this plug-in library ({said}); build it on this machine"
        )
    if answer.failed == "parse":
        raise BadFile(f"{model}: TensorRT {answer.version} refuses this graph ({said}); export the bundle again")
    if answer.failed == "build":
        raise SvfError(f"{model}: TensorRT {answer.version} could not build the engine ({said})")
    if sorted(answer.plugin_layers) != sorted(expected):
        raise BadFile(
            f"{model}: its engine has the plug-in layers {sorted(answer.plugin_layers)}, the program has "
            f"{sorted(expected)}; export the bundle again"
        )
