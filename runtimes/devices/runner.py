"""`svf-run` on a device: its command line, its exit codes, its documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import join, quote
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from svf_edge.errors import BadFile, MissingLibrary, SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.export.bundle.native import RUNNER
from svf_edge.runtimes.devices.card import SpikeAddress
from svf_edge.runtimes.devices.errors import DeviceError
from svf_edge.runtimes.devices.store import Store
from svf_edge.runtimes.devices.transport import Completed, Transport
from svf_edge.runtimes.runner_results import clip_parity
from svf_edge.runtimes.runner_schema import ExitCode, RunnerBench, RunnerParity, RunnerProfile

Document = TypeVar("Document", bound=BaseModel)

PARITY_SECONDS = 1800.0
LOADING_SECONDS = 300.0
MOST_RUNS = 1_000_000

_CANNOT_EXECUTE, _NOT_FOUND, _SIGNALLED = 126, 127, 128
_ERRORS: dict[int, type[SvfError]] = {
    ExitCode.USAGE: UnsupportedInput,
    ExitCode.BAD_BUNDLE: BadFile,
    ExitCode.MISSING_LIBRARY: MissingLibrary,
    ExitCode.MACHINE: DeviceError,
}


def program_for(bundle: Bundle, platform: str, device: str) -> str:
    """The path in `bundle` of the `svf-run` for `platform`. Raises `MissingLibrary` when it has none."""
    held = {library.platform: library.path for library in bundle.manifest.libraries if library.name == RUNNER}
    if platform not in held:
        raise MissingLibrary(
            f"{bundle.folder}: holds {RUNNER} for {', '.join(sorted(held)) or 'no platform'}, and {device} is "
            f"{platform}; export the bundle with `--native kits/{platform}` (tools/device_kit.py makes that folder)"
        )
    return held[platform]


class Runner:
    """`svf-run` in the bundle folder `folder` of a device."""

    def __init__(self, transport: Transport, store: Store, folder: str, program: str) -> None:
        self._transport = transport
        self._folder = folder
        self._spikes = f"{store.folder}/spikes"
        self._traces = f"{store.folder}/traces"
        self._program = f"./{program}"

    def parity(self, runtimes: Sequence[str], threads: int) -> RunnerParity:
        """Compare every layer's spikes on all golden clips. Raises `SvfError`."""
        self._transport.check(f"rm -rf {quote(self._spikes)}", doing="removing spikes of another run")
        arguments = ["parity", ".", "--threads", str(threads), "--spikes", self._spikes, *_named(runtimes)]
        return self._run(arguments, RunnerParity, "comparing spikes", PARITY_SECONDS)

    def addresses(self, bundle: Bundle, found: RunnerParity) -> tuple[SpikeAddress, ...]:
        """The first differing spike of every runtime and clip that differs. Raises `SvfError`."""
        addresses = []
        with TemporaryDirectory() as scratch:
            for runtime in found.runtimes:
                for clip in runtime.clips:
                    names = [layer.spikes for layer in clip.layers if layer.spikes is not None]
                    for name in names:
                        if Path(name).name != name:  # the device's word, and no path for this machine
                            raise DeviceError(f"{self._transport.address}: {RUNNER} names '{name}' as a file of spikes")
                        self._transport.fetch(f"{self._spikes}/{name}", Path(scratch) / name)
                    first = clip_parity(bundle, clip, Path(scratch)).first if names else None
                    if first is not None:
                        addresses.append(SpikeAddress(runtime=runtime.runtime, clip=clip.clip, first=first))
        return tuple(addresses)

    def bench(self, runtimes: Sequence[str], threads: int, runs: int, seconds: float) -> RunnerBench:
        """Measure latency, at most `seconds` a runtime. Raises `SvfError`."""
        return self._timed("bench", runtimes, threads, runs, seconds, RunnerBench)

    def profile(self, runtimes: Sequence[str], threads: int, runs: int, seconds: float) -> RunnerProfile:
        """What every operator takes; the runtimes' own profiles stay on the device, in `traces`. Raises `SvfError`."""
        self._transport.check(f"rm -rf {quote(self._traces)}", doing="removing profiles of another run")
        return self._timed("profile", runtimes, threads, runs, seconds, RunnerProfile, "--traces", self._traces)

    def _timed(
        self,
        command: str,
        runtimes: Sequence[str],
        threads: int,
        runs: int,
        seconds: float,
        kind: type[Document],
        *more: str,
    ) -> Document:
        arguments = [command, ".", "--threads", str(threads), "--runs", str(runs), "--seconds", str(seconds), *more]
        patience = LOADING_SECONDS + 10 * seconds  # every runtime there is, and turns that end late
        return self._run([*arguments, *_named(runtimes)], kind, "measuring", patience)

    def _run(self, arguments: list[str], kind: type[Document], doing: str, timeout: float) -> Document:
        script = f"cd {join([self._folder])} && exec {join([self._program, *arguments])}"
        done = self._transport.run(script, doing=doing, timeout=timeout)
        if done.code not in (ExitCode.OK, ExitCode.DIFFERS):
            raise self._failure(done, RUNNER)
        try:
            return kind.model_validate_json(done.stdout)
        except ValidationError as error:
            problem = error.errors()[0]
            raise DeviceError(
                f"{self._transport.address}: {RUNNER} printed no {kind.__name__} ("
                f"{'.'.join(map(str, problem['loc'])) or problem['msg']}); export the bundle again with this version"
            ) from error

    def _failure(self, done: Completed, program: str) -> SvfError:
        where = self._transport.address
        if done.code in (_CANNOT_EXECUTE, _NOT_FOUND):
            return DeviceError(
                f"{where}: the device cannot start {program} ({done.complaint}); the folder may forbid programs (name "
                "another in the address), or the C library is older than the one it was built with"
            )
        if done.code > _SIGNALLED:
            return DeviceError(
                f"{where}: {program} was killed by signal {done.code - _SIGNALLED}; look for want of memory in the "
                "device's kernel log"
            )
        return _ERRORS.get(done.code, DeviceError)(f"{where}: {done.complaint.removeprefix(f'{program}: ')}")


def _named(runtimes: Sequence[str]) -> list[str]:
    return [part for name in runtimes for part in ("--runtime", name)]
