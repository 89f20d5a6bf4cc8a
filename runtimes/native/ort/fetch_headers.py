"""Puts the C and C++ headers of ONNX Runtime into a folder: its wheel has none, Debian's development package does.

    python fetch_headers.py DESTINATION

Works without root: apt is pointed at a private state folder, with the Debian mirror and the keys that this machine
already uses, and the package is unpacked, not installed. apt checks the archive's signatures; the headers are then
checked against the digests below. Prints what was done; exits with 1 and one sentence when it cannot be done.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RELEASE = "trixie"
PACKAGE = "libonnxruntime-dev"
HEADERS = {
    "onnxruntime_c_api.h": "7783e9664bdb0b1b36145b5c8587dd1bc9a399aa000edf2e3dd03003cafc6882",
    "onnxruntime_cxx_api.h": "b3b27d6a6fced0725e3f188379cca008b1d7a456997684756374d4b388f2cf05",
    "onnxruntime_cxx_inline.h": "7f448e994c732eacd9e49900365fefa8f1ac998a6d6eb78e5f4aab1b8d9d8900",
    "onnxruntime_float16.h": "6c4db3d1954b266c4febe413351af86cac922e3448538e7e452e51d646e56a4a",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = ("apt-get", "dpkg-deb")


class CannotFetch(Exception):
    """One sentence why the headers cannot be had."""


def complete(folder: Path) -> bool:
    """Whether `folder` holds every header, unchanged."""
    return all(
        (folder / name).is_file() and hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        for name, digest in HEADERS.items()
    )


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


def download(folder: Path) -> Path:
    """Downloads and unpacks the package below `folder`; returns the folder of its headers."""
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
    _run([*apt, "-qq", "download", PACKAGE], folder)
    (archive,) = folder.glob(f"{PACKAGE}_*.deb")
    _run(["dpkg-deb", "-x", str(archive), str(folder / "unpacked")], folder)
    return folder / "unpacked" / "usr" / "include" / "onnxruntime"


def fetch(destination: Path) -> None:
    """Fills `destination`, all or nothing. Raises `CannotFetch`."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise CannotFetch(f"'{tool}' is not installed (this is not Debian or a relative of it)")
    if not KEYRING.is_file():
        raise CannotFetch(f"Debian's archive keys are not in {KEYRING}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as temporary:
        headers = download(Path(temporary))
        if not complete(headers):
            raise CannotFetch(f"the headers in {PACKAGE} of {RELEASE} are not those this project was written for")
        ready = Path(temporary) / "ready"
        ready.mkdir()
        for name in HEADERS:
            shutil.copy(headers / name, ready)
        shutil.rmtree(destination, ignore_errors=True)
        ready.replace(destination)


def main() -> int:
    """Command line; see the module's text."""
    destination = Path(sys.argv[1]).resolve()
    if complete(destination):
        print(f"ONNX Runtime headers: already in {destination}")
        return 0
    try:
        fetch(destination)
    except (CannotFetch, OSError, subprocess.TimeoutExpired) as error:
        print(f"ONNX Runtime headers: {error}", file=sys.stderr)
        return 1
    print(f"ONNX Runtime headers: fetched into {destination}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
