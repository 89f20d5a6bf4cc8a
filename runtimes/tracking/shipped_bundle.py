"""The shipped model as a bundle, exported on first use and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import svf_edge
from svf_edge.errors import SvfError
from svf_edge.export.libraries import search_directories
from svf_edge.files import sha256
from svf_edge.shipped import PROGRAM

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle


def shipped_bundle(progress: Callable[[str], None] = lambda message: None) -> Bundle:
    """The shipped pose model for ONNX Runtime, from the user's cache folder or exported into it (seconds).

    The folder is `$XDG_CACHE_HOME/svf-edge` (`~/.cache/svf-edge`). A new model, release or build of the operator
    libraries gets a bundle of its own. Raises what exporting raises.
    """
    from svf_edge.export.bundle import Bundle, write_bundle
    from svf_edge.program import load_program

    folder = _cache() / f"{PROGRAM.name.partition('.')[0]}-{_key()}"
    try:
        return Bundle.open(folder)
    except SvfError:  # not there, or damaged
        progress("exporting the shipped model (once)")
        return write_bundle(load_program(PROGRAM), folder, {}, targets=("onnx",), progress=progress)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svf-edge"


def _key() -> str:
    """Names everything the bundle is made of."""
    libraries = sorted(path for folder in search_directories() for path in folder.glob("*.so"))
    parts = [svf_edge.__version__, *(sha256(path) for path in (PROGRAM, *libraries))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
