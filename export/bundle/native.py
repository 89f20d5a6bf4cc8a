"""Native files for a device: a folder per platform, made by `tools/device_kit.py` or by `cmake --install`."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from svf_edge.errors import BadFile, SvfError

RUNNER = "svf-run"
"""File name of the harness that needs no Python, and its name among a bundle's libraries."""

_PLATFORM = re.compile(r"(linux|android)-(x86_64|aarch64)")
_MACHINES = {"x86_64": 62, "aarch64": 183}
_LIBRARY = re.compile(r"lib([\w.+-]+?)\.so(\.\d+)*")


def library_name(file: str) -> str | None:
    """A library's name in the manifest: `svf_core` for `libsvf_core.so`, `svf-run` for itself, None for other files."""
    if file == RUNNER:
        return RUNNER
    match = _LIBRARY.fullmatch(file)
    return match[1] if match else None


def native_files(folder: Path) -> tuple[str, dict[str, Path]]:
    """The platform of a folder such as `kits/linux-aarch64`, and its files by their names in a manifest.

    Raises `SvfError` for a folder of another name or without `svf-run`, and `BadFile` for a file that was built for
    another CPU.
    """
    folder = folder.absolute()
    match = _PLATFORM.fullmatch(folder.name)
    if match is None:
        raise SvfError(f"{folder}: a folder of native files is called after its platform, such as linux-aarch64")
    if not folder.is_dir():
        raise SvfError(f"{folder}: no such folder; tools/device_kit.py makes one")
    files = {name: path for path in sorted(folder.iterdir()) if (name := library_name(path.name)) is not None}
    if RUNNER not in files:
        raise SvfError(f"{folder}: holds no {RUNNER}; tools/device_kit.py makes such a folder")
    for path in files.values():
        if _machine(path) != _MACHINES[match[2]]:
            raise BadFile(f"{path}: was not built for {folder.name}; build the folder again with tools/device_kit.py")
    return folder.name, files


def _machine(path: Path) -> int | None:
    """The CPU number in an ELF file's header, None for any other file."""
    with path.open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or not header.startswith(b"\x7fELF"):
        return None
    (number,) = struct.unpack_from("<H", header, 18)
    return int(number)
