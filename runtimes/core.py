"""The kernel core in this process. The linker finds it by its name: whichever came first serves every library."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from svf_edge.errors import SvfError
from svf_edge.files import sha256
from svf_edge.runtimes.base import bundled_library

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

CORE = "svf_core"
FILE = f"lib{CORE}.so"


def check_core(bundle: Bundle) -> None:
    """Make sure that the bundle's operator libraries get the bundle's core; call it before loading one.

    Raises `SvfError` when another build is loaded, such as the installed one, and `MissingLibrary` for a bundle without
    a core for this machine.
    """
    path = bundled_library(bundle, CORE)
    wanted = sha256(path)
    for loaded in _loaded():
        if not loaded.is_file() or sha256(loaded) != wanted:
            raise SvfError(
                f"{path}: another build of this library is already loaded, from {loaded}; use a new process, or export "
                "the bundle again"
            )


def kernel_set() -> dict[str, str]:
    """The instruction set whose kernels the loaded operator libraries use."""
    function = ctypes.CDLL(FILE).svf_isa  # the bare name finds what is loaded, as it does for the libraries
    function.restype = ctypes.c_char_p
    name: bytes = function()
    return {"kernels": name.decode()}


def _loaded() -> set[Path]:
    """Cores mapped into this process; the kernel adds " (deleted)" to the path of one that was replaced since."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if "/" in line}
    return {path for path in paths if path.name.startswith(FILE)}
