"""Building engines: the file that TensorRT makes of a qdq graph and our plug-ins, kept for the next time.

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
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from svf_edge.errors import BadFile, MissingLibrary, MissingPackage, SvfError
from svf_edge.files import atomic_write, sha256, write_text
from svf_edge.runtimes.base import Result
from svf_edge.runtimes.cuda import Driver, NoGpu
from svf_edge.runtimes.tensorrt.worker import Answer, Request, import_tensorrt

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


def build_engine(
    model: Path, library: Path, expected: Mapping[str, tuple[str, ...]], folder: Path | None = None
) -> Engine:
    """The engine of the ONNX file `model` with the plug-ins of `library`, from `folder` or built into it.

    An engine holds for one graph, plug-in library, TensorRT version and GPU, and is kept under a name made of these.
    `expected` are the plug-in layers it must have, with their outputs (`plugin_layers`). `folder` is `cache_folder()`
    by default. TF32 is allowed where the graph says that it is exact.

    Raises `MissingPackage` without TensorRT, `MissingLibrary` for a plug-in library that cannot be loaded, `BadFile`
    for a graph that TensorRT refuses or that has other plug-in layers, `SvfError` when the build fails.
    """
    package = find_package()
    if problem := unfit(package, _version(package)):
        raise SvfError(problem)
    for path, kind in ((model, BadFile), (library, MissingLibrary)):
        if not path.is_file():
            raise kind(f"{path}: not found; export the bundle again with the TensorRT plug-in library built")
    folder = cache_folder() if folder is None else folder
    name = _key(package, model, library)
    target, record = folder / f"{name}.engine", folder / f"{name}.json"
    answer = _recorded(record) if target.is_file() else None
    if answer is None:
        with atomic_write(target) as temporary:
            answer = _run_worker(package, model, library, dict(expected), temporary)
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


def unfit(package: str, version: str) -> str | None:
    """Why this version of `package` cannot take the plug-ins, or None. TensorRT-RTX has always taken them."""
    from svf_edge.export.tensorrt.run import too_old

    numbers = [int(part) for part in version.split(".")[:3] if part.isdigit()]
    if package == _RTX or len(numbers) < 3:
        return None
    major, minor, patch = numbers
    return too_old(10000 * major + 100 * minor + patch)


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


def _key(package: str, model: Path, library: Path) -> str:
    try:
        gpu = str(Driver().capability)
    except NoGpu:
        gpu = "none"
    parts = (package, _version(package), gpu, sha256(model), sha256(library))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _version(package: str) -> str:
    (distribution, *_) = importlib.metadata.packages_distributions()[package]
    return importlib.metadata.version(distribution)


def _recorded(record: Path) -> Answer | None:
    """What is kept beside a built engine, or None when it is absent or damaged."""
    try:
        return Answer.model_validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return None


def _run_worker(package: str, model: Path, library: Path, expected: dict[str, tuple[str, ...]], engine: Path) -> Answer:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answer = folder / "answer.json"
        request = Request(
            package=package,
            model=model,
            library=library.resolve(),
            expected=expected,
            tf32=_tf32_is_exact(model),
            engine=engine,
            answer=answer,
        )
        (folder / "request.json").write_text(request.model_dump_json())
        done = subprocess.run(
            [sys.executable, "-m", "svf_edge.runtimes.tensorrt.worker", str(folder / "request.json")],
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


def _tf32_is_exact(model: Path) -> bool:
    """What the exporter's proof says. A file that is no graph is for TensorRT to refuse."""
    import onnx

    try:
        found = onnx.load(model, load_external_data=False).metadata_props
    except Exception:  # protobuf's DecodeError
        return False
    return any((entry.key, entry.value) == ("tf32", "exact") for entry in found)


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


def _check(answer: Answer, model: Path, library: Path, expected: Mapping[str, tuple[str, ...]]) -> None:
    said = " ".join(" ".join(answer.errors).split())[:300] or "no message"
    if answer.failed == "library":
        raise MissingLibrary(
            f"{library}: TensorRT {answer.version} cannot load this plug-in library ({said}); build it on this machine"
        )
    if answer.failed == "parse":
        raise BadFile(f"{model}: TensorRT {answer.version} refuses this graph ({said}); export the bundle again")
    if answer.failed == "build":
        raise SvfError(f"{model}: TensorRT {answer.version} could not build the engine ({said})")
    if problem := _other_layers(answer.plugin_layers, expected):
        raise BadFile(f"{model}: {problem}; export the bundle again")


def _other_layers(found: Mapping[str, tuple[str, ...]], expected: Mapping[str, tuple[str, ...]]) -> str | None:
    if found.keys() != expected.keys():
        return f"its engine has the plug-in layers {sorted(found)}, the program has {sorted(expected)}"
    for name, outputs in expected.items():
        if found[name] != outputs:
            return f"its plug-in layer '{name}' gives {', '.join(found[name])}, the program {', '.join(outputs)}"
    return None
