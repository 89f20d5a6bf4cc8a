"""Run an exported program through ExecuTorch's Python runtime."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Self
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import BadFile, MissingLibrary, MissingPackage, SvfError, UnsupportedInput
from svf_edge.export.executorch import METHOD
from svf_edge.export.libraries import find_library
from svf_edge.files import sha256

# File identifiers, behind a flatbuffer's first offset.
PROGRAM = re.compile(rb"ET\d\d")
BUNDLED_PROGRAM = b"BP08"


class ExecuTorchSession:
    """One loaded `.pte` program.

    ExecuTorch keeps one registry of kernels and one thread pool per process. A kernel library is therefore loaded once
    and stays, and all sessions open at the same time share their number of threads.
    """

    _open: ClassVar[WeakSet[ExecuTorchSession]] = WeakSet()
    _library_digest: ClassVar[str | None] = None

    def __init__(self, pte_path: str | Path, *, threads: int = 1, library: Path | None = None) -> None:
        """Load `pte_path` to run on `threads` threads.

        `library` is libsvf_executorch; without it the installed one is taken, if the program calls our operators.

        Raises `BadFile` for a file that is missing, truncated or no program, `MissingLibrary` when an operator has no
        kernel, `MissingPackage` without executorch, `UnsupportedInput` for a thread count other than that of the
        sessions still open.
        """
        self.path = Path(pte_path)
        needed = _operators_of_ours(self.path)
        with _native_log() as log:
            self._runtime = _runtime()
            self._set_threads(threads)
            if needed:
                self._load_kernels(needed, library)
            try:
                verify = self._runtime.Verification.InternalConsistency
                # The method reads constants from the program's memory, so both are kept.
                self._program = self._runtime._load_program(str(self.path), program_verification=verify)
                self._method = self._program.load_method(METHOD)
            except RuntimeError as error:
                reason = " ".join([str(error), *log()[-1:]])
                raise BadFile(f"{self.path}: ExecuTorch cannot load it ({reason}); export the program again") from error
        self._open.add(self)

    def run(self, frames: NDArray[np.uint8], *state: NDArray[np.int32]) -> list[NDArray[Any]]:
        """Outputs of the program in order (then taps, if exported with them) for uint8 frames `[T, C, H, W]`.

        A step takes its state as well, and gives the next one after the outputs.

        Raises `UnsupportedInput` for frames of another shape or dtype.
        """
        import torch

        if self._method is None:
            raise SvfError(f"{self.path}: the session is closed; open a new one")
        shape = tuple(self._method.method_meta().input_tensor_meta(0).sizes())
        if frames.dtype != np.uint8 or frames.shape != shape:
            raise UnsupportedInput(
                f"{self.path} takes uint8 frames {list(shape)} ([T, C, H, W]), got {frames.dtype} "
                f"{list(frames.shape)}; resize or cut the clip, or export for that size"
            )
        inputs = tuple(torch.from_numpy(np.ascontiguousarray(values)) for values in (frames, *state))
        return [output.numpy() for output in self._method(inputs)]

    def close(self) -> None:
        """Free the program."""
        self._method = self._program = None
        self._open.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _set_threads(self, threads: int) -> None:
        if threads < 1:
            raise UnsupportedInput(f"{threads} threads; at least 1 is needed")
        current = self._runtime._threadpool_get_thread_count()
        if threads == current:
            return
        if self._open:
            # A loaded method keeps a pointer into the pool: changing it under an open session crashes the process.
            raise UnsupportedInput(
                f"{threads} threads, while an ExecuTorch session with {current} is open; close that one first"
            )
        self._runtime._unsafe_reset_threadpool(threads)

    def _load_kernels(self, needed: set[str], library: Path | None) -> None:
        """Load `library` unless its kernels are there: registering one twice would abort the process."""
        cls = type(self)
        present = not self._missing(needed)
        if library is None:
            if present:
                return
            library = find_library("svf_executorch")
        try:
            digest = sha256(library)
            if present:
                if cls._library_digest not in (None, digest):
                    raise SvfError(f"{library}: another build of this library is already loaded; use a new process")
                return
            ctypes.CDLL(str(library))
        except OSError as error:
            raise MissingLibrary(
                f"{library}: cannot be loaded ({error}); build it again against the installed executorch"
            ) from error
        if missing := self._missing(needed):
            raise MissingLibrary(
                f"{library}: has no kernel for {', '.join(missing)}, which {self.path} calls; take the library of the "
                "release that exported the program"
            )
        cls._library_digest = digest

    def _missing(self, needed: set[str]) -> Sequence[str]:
        """Operators without a kernel. Registered names carry an overload: `svf::lif.out`."""
        registered = {name.split(".")[0] for name in self._runtime._get_operator_names()}
        return sorted(needed - registered)


def verify_bundled_program(path: Path, cases: int) -> None:
    """Have ExecuTorch run the first `cases` cases of a bundled program, and compare without tolerance.

    What the program needs must be loaded already. Raises `BadFile` for a case that differs, or another file.
    """
    content = path.read_bytes()
    if content[4:8] != BUNDLED_PROGRAM:
        raise BadFile(f"{path}: is no bundled program of ExecuTorch; export the bundle again")
    case = 0
    with _native_log() as log:
        try:
            program = _runtime()._load_bundled_program_from_buffer(content)
            for case in range(cases):
                program.verify_result_with_bundled_expected_output(METHOD, case, 0.0, 0.0)
        except RuntimeError as error:
            reason = " ".join([str(error), *log()[-1:]])
            raise BadFile(f"{path}: fails its own case {case} ({reason}); export the bundle again") from error


def _operators_of_ours(path: Path) -> set[str]:
    """Names `svf::...` in a program file, looked for before loading: the runtime only logs what it lacks."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # ExecuTorch logs an identifier that it does not know, and its binding ends the process if that is no UTF-8.
            if not PROGRAM.match(data, 4):
                raise BadFile(f"{path}: is no program of ExecuTorch; export the program again")
            return {name.decode() for name in re.findall(rb"svf::\w+", data)}
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise BadFile(f"{path}: cannot be read ({error}); export the program again") from error


def _runtime() -> ModuleType:
    """The runtime's C++ extension itself: `executorch.runtime` would pull in the whole export stack, seconds of it."""
    try:
        import torch  # noqa: F401  the extension needs its libraries

        return import_module("executorch.extension.pybindings._C")
    except ModuleNotFoundError as error:
        raise MissingPackage("executorch", "executorch") from error


@contextmanager
def _native_log() -> Iterator[Callable[[], list[str]]]:
    """Keep what native code logs off the terminal; yields a function that returns the lines so far.

    ExecuTorch logs to the standard error of the process or, where its binding redirects that, to Python's: chatter and
    the reason of a failure alike, and nowhere else.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile("w+", buffering=1, errors="replace") as file:

        def lines() -> list[str]:
            file.flush()
            return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace").splitlines()

        os.dup2(file.fileno(), 2)
        try:
            with redirect_stderr(file):
                yield lines
        finally:
            os.dup2(saved, 2)
            os.close(saved)
