"""Bundles on a device: whole or absent, and only what the device lacks is sent.

Files arrive in `incoming` under their SHA-256, each checked and then renamed; a bundle is put together beside its place
out of them and of what an older bundle already holds, and renamed when it is whole. A connection that breaks leaves
complete files that the next push goes on from, and never half a bundle.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from svf_edge.errors import BadFile
from svf_edge.export.bundle import Bundle
from svf_edge.export.bundle.manifest import MANIFEST
from svf_edge.files import sha256
from svf_edge.runtimes.base import Progress, fingerprint, no_progress
from svf_edge.runtimes.devices.errors import DeviceError, DeviceFull, DeviceLost
from svf_edge.runtimes.devices.transport import Transport

FOLDER = "svf-edge-device"
"""Everything of ours on a device lies in a folder of this name, and nothing else does."""

BACK_OFF = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each new try of what is safe to repeat."""

_LEAST_BYTES_PER_SECOND = 50_000
_SPARE_BYTES = 1 << 20

_SCAN = """mkdir -p {folder}/incoming {folder}/bundles && cd {folder} || exit 1
command -v sha256sum >/dev/null || { echo "no sha256sum; install coreutils or busybox" >&2; exit 1; }
find bundles incoming -type f ! -name '*.part' -exec sha256sum {} +
df -Pk . | tail -n 1"""
_RECEIVE = """cd {folder}/incoming && cat > {name}.part || { c=$?; rm -f {name}.part; exit $c; }
set -- $(sha256sum < {name}.part)
[ "$1" = {name} ] && mv {name}.part {name} || { rm -f {name}.part; echo "the file arrived damaged" >&2; exit 1; }"""


@dataclass(frozen=True)
class Installed:
    """A bundle on the device: its folder there, and how much had to be sent."""

    folder: str
    files_sent: int
    bytes_sent: int


@dataclass(frozen=True)
class _Held:
    """What lies on the device: a path by SHA-256, SHA-256 by path, and free space in bytes."""

    by_hash: Mapping[str, str]
    by_path: Mapping[str, str]
    free: int | None


class Store:
    """Our folder on a device, below `parent`."""

    def __init__(self, transport: Transport, parent: str) -> None:
        self._transport = transport
        self.folder = f"{parent.rstrip('/')}/{FOLDER}"

    def install(self, bundle: Bundle, progress: Progress = no_progress) -> Installed:
        """Make the device hold exactly `bundle`, and no other bundle.

        A broken connection is made anew and the push goes on, a few times. Raises `DeviceError`, `DeviceFull` when
        the space does not suffice, or `BadFile` when a file of the bundle changes meanwhile.
        """
        sent: dict[str, int] = {}
        waits = iter(BACK_OFF)
        while True:
            try:
                return self._install(bundle, progress, sent)
            except DeviceLost as error:
                broken = error
            if not self._reached_again(waits, progress):
                raise broken

    def remove(self) -> None:
        """Remove everything of ours from the device."""
        self._transport.check(f"rm -rf {quote(self.folder)}", doing="removing svf-edge's files")

    def _reached_again(self, waits: Iterator[float], progress: Progress) -> bool:
        for wait in waits:
            progress("the connection broke, trying again", 0.0)
            time.sleep(wait)
            with suppress(DeviceLost):
                self._transport.open()
                return True
        return False

    def _install(self, bundle: Bundle, progress: Progress, sent: dict[str, int]) -> Installed:
        mark = fingerprint(bundle)
        wanted = {MANIFEST: (mark, (bundle.folder / MANIFEST).stat().st_size)}
        wanted |= {name: (entry.sha256, entry.size) for name, entry in bundle.manifest.files.items()}
        place = f"bundles/{mark[:16]}"
        held = self._scan()
        there = {path for path in held.by_path if path.startswith(f"{place}/")}
        if there == {f"{place}/{name}" for name in wanted} and all(
            held.by_path[f"{place}/{name}"] == digest for name, (digest, _) in wanted.items()
        ):
            return Installed(f"{self.folder}/{place}", len(sent), sum(sent.values()))
        missing = {digest: (name, size) for name, (digest, size) in wanted.items() if digest not in held.by_hash}
        total = sum(size for _, size in missing.values())
        if held.free is not None and total + _SPARE_BYTES > held.free:
            raise DeviceFull(
                f"{self._transport.address}: {self.folder} has {held.free / 1e6:.1f} MB free, the bundle needs "
                f"{total / 1e6:.1f} MB more; free some, or name another folder in the address"
            )
        done = 0
        for digest, (name, size) in missing.items():
            progress(f"sending {name}", done / max(total, 1))
            self._send(bundle.folder / name, digest, size)
            sent[digest] = size
            done += size
        progress("putting the bundle together", 1.0)
        executables = [library.path for library in bundle.manifest.libraries]
        self._assemble(place, {name: digest for name, (digest, _) in wanted.items()}, held, executables)
        return Installed(f"{self.folder}/{place}", len(sent), sum(sent.values()))

    def _scan(self) -> _Held:
        text = self._transport.check(
            _SCAN.replace("{folder}", quote(self.folder)), doing="looking at what the device holds", timeout=120
        )
        *lines, space = text.splitlines()
        by_path = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
        try:
            free = int(space.split()[3]) * 1024
        except (IndexError, ValueError):
            free = None
        return _Held({digest: path for path, digest in by_path.items()}, by_path, free)

    def _send(self, source: Path, digest: str, size: int) -> None:
        script = _RECEIVE.replace("{folder}", quote(self.folder)).replace("{name}", digest)
        try:
            self._transport.check(
                script, doing=f"sending {source.name}", timeout=60 + size / _LEAST_BYTES_PER_SECOND, stdin=source
            )
        except (DeviceFull, DeviceLost):
            raise
        except DeviceError:
            if sha256(source) != digest:
                raise BadFile(f"{source}: changed while it was sent; export the bundle again") from None
            raise

    def _assemble(self, place: str, wanted: Mapping[str, str], held: _Held, executables: list[str]) -> None:
        """One script of the device's own: link (or, where links are forbidden, copy) every file, then rename."""
        part = f"{place}.part"
        folders = sorted({f"{part}/{name}".rpartition("/")[0] for name in wanted})
        steps = [f"cd {quote(self.folder)}", f"rm -rf bundles/*.part; mkdir -p {' '.join(map(quote, folders))}"]
        for name, digest in wanted.items():
            source, target = quote(held.by_hash.get(digest, f"incoming/{digest}")), quote(f"{part}/{name}")
            steps.append(f"{{ ln {source} {target} 2>/dev/null || cp {source} {target}; }}")
        steps += [f"chmod 755 {quote(f'{part}/{name}')}" for name in executables]
        steps.append(f"rm -rf {quote(place)} && mv {quote(part)} {quote(place)}")
        others = f'for b in bundles/*; do [ "$b" = {quote(place)} ] || rm -rf "$b"; done; rm -rf incoming'
        self._transport.check(
            " &&\n".join(steps) + "\n[ $? = 0 ] || exit 1\n" + others, doing="putting the bundle together"
        )
