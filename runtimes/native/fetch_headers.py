"""Puts the headers of a library that this build needs into a folder, from Debian's development package.

    python fetch_headers.py onnxruntime|nlohmann-json DESTINATION

Works without root: apt is pointed at a private state folder, with the Debian mirror and the keys that this machine
already uses, and the package is unpacked, not installed. apt checks the archive's signatures; the headers are then
checked against the digest below. Prints what was done; exits with 1 and one sentence when it cannot be done.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

RELEASE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = ("apt-get", "dpkg-deb")


class Headers(NamedTuple):
    """Files or folders `names` below `root` of a Debian package; `digest` is that of `tree_digest`."""

    package: str
    root: str
    names: tuple[str, ...]
    digest: str


LIBRARIES = {
    # Its wheel has none.
    "onnxruntime": Headers(
        "libonnxruntime-dev",
        "usr/include/onnxruntime",
        (
            "onnxruntime_c_api.h",
            "onnxruntime_cxx_api.h",
            "onnxruntime_cxx_inline.h",
            "onnxruntime_float16.h",
        ),
        "be261197ae7a773a17b392e909fefa769615c6b9973b063ca1058f806c867bf3",
    ),
    "nlohmann-json": Headers(
        "nlohmann-json3-dev",
        "usr/include",
        ("nlohmann",),
        "a26eabc8794b5b7c30b14843217c6efd158ce9187d2e61e9a984874adfcc2af0",
    ),
}


class CannotFetch(Exception):
    """One sentence why the headers cannot be had."""


def tree_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files below `folder`."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def complete(folder: Path, headers: Headers) -> bool:
    """Whether `folder` holds every header, unchanged, and nothing else."""
    return tree_digest(folder) == headers.digest


def _run(command: list[str], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if result.returncode:
        detail = (result.stderr or result.stdout).strip().splitlines()
        raise CannotFetch(f"'{' '.join(command[:1] + command[-2:])}' failed: {detail[-1] if detail else 'no output'}")
    return result.stdout


def mirror(folder: Path) -> str:
    """The Debian mirror this machine is set up to use."""
    targets = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT)", "Created-By: Packages"], folder)
    for line in targets.splitlines():
        uri, component = line.rsplit(" ", 1)
        if component == "main" and uri.rstrip("/").endswith("/debian"):
            return uri
    raise CannotFetch("no Debian mirror is set up for apt on this machine")


def download(folder: Path, headers: Headers) -> Path:
    """Downloads and unpacks the package below `folder`; returns the folder that has its headers."""
    for name in ("lists/partial", "cache/archives/partial", "unpacked"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror(folder)} {RELEASE} main\n")
    private = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get"] + [part for key, value in private.items() for part in ("-o", f"{key}={value}")]
    _run([*apt, "-qq", "update"], folder)
    _run([*apt, "-qq", "download", headers.package], folder)
    (archive,) = folder.glob(f"{headers.package}_*.deb")
    _run(["dpkg-deb", "-x", str(archive), str(folder / "unpacked")], folder)
    return folder / "unpacked" / headers.root


def fetch(destination: Path, headers: Headers) -> None:
    """Fills `destination`, all or nothing. Raises `CannotFetch`."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise CannotFetch(f"'{tool}' is not installed (this is not Debian or a relative of it)")
    if not KEYRING.is_file():
        raise CannotFetch(f"Debian's archive keys are not in {KEYRING}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as temporary:
        found = download(Path(temporary), headers)
        ready = Path(temporary) / "ready"
        ready.mkdir()
        for name in headers.names:
            (shutil.copytree if (found / name).is_dir() else shutil.copy)(found / name, ready / name)
        if not complete(ready, headers):
            raise CannotFetch(
                f"the headers in {headers.package} of {RELEASE} are not those this project was written for"
            )
        shutil.rmtree(destination, ignore_errors=True)
        ready.replace(destination)


def main() -> int:
    """Command line; see the module's text."""
    library, destination = sys.argv[1], Path(sys.argv[2]).resolve()
    headers = LIBRARIES[library]
    if complete(destination, headers):
        print(f"headers of {library}: already in {destination}")
        return 0
    try:
        fetch(destination, headers)
    except (CannotFetch, OSError, subprocess.TimeoutExpired) as error:
        print(f"headers of {library}: {error}", file=sys.stderr)
        return 1
    print(f"headers of {library}: fetched into {destination}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
