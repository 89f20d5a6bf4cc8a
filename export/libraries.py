"""Where the native libraries lie. Needs neither them nor PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

import svf_edge
from svf_edge.errors import MissingLibrary

DIRECTORY_VARIABLE = "SVF_NATIVE_DIR"


def search_directories() -> list[Path]:
    """Folders looked at for native libraries: `SVF_NATIVE_DIR` alone when it is set, else the installed package."""
    override = os.environ.get(DIRECTORY_VARIABLE)
    if override:
        return [Path(override)]
    return [Path(root) / "runtimes" / "lib" for root in svf_edge.__path__]


def find_library(name: str) -> Path:
    """Path of `lib<name>.so`, for example `find_library("svf_ort")`.

    Raises `MissingLibrary` naming the folders looked at and the fix.
    """
    return find_native(f"lib{name}.so")


def find_native(file: str) -> Path:
    """Path of a native file, for example `find_native("svf-run")`. Raises `MissingLibrary` as `find_library` does."""
    directories = search_directories()
    for directory in directories:
        path = directory / file
        if path.is_file():
            return path
    looked = ", ".join(str(directory) for directory in directories)
    raise MissingLibrary(
        f"{file} was not found (looked in: {looked}); build it with 'pip install --no-build-isolation -e .' "
        f"or set {DIRECTORY_VARIABLE} to the folder that holds it"
    )
