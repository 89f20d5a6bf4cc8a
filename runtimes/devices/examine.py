"""Examining devices: push the bundle, record the state, run, record again; several devices at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from svf_edge.errors import SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes.base import Progress, no_progress
from svf_edge.runtimes.devices.address import Address
from svf_edge.runtimes.devices.card import SUSTAINED_SECONDS, DeviceCard, Retention, SpikeAddress, retention
from svf_edge.runtimes.devices.conditions import identify, observe
from svf_edge.runtimes.devices.conditions.power import PowerMeter
from svf_edge.runtimes.devices.connect import transport
from svf_edge.runtimes.devices.runner import MOST_RUNS, Runner, program_for
from svf_edge.runtimes.devices.store import Store
from svf_edge.runtimes.devices.tensorrt import NAME as TENSORRT
from svf_edge.runtimes.devices.tensorrt import TensorRTRunner, check_tensorrt
from svf_edge.runtimes.devices.tensorrt_results import TensorRTDocument
from svf_edge.runtimes.layers import RuntimeLayers, layer_times
from svf_edge.runtimes.runner_schema import RunnerBench, RunnerParity, RunnerProfile

_IDLE_SECONDS = 5.0
_LONGER = 1.05  # the device's clock also runs between runs, which is no part of them, and two windows must be full
_PROFILED_RUNS = 100  # a profile holds every operator of every run
_SENT, _READY, _RAN = 0.4, 0.5, 0.95


@dataclass(frozen=True)
class Task:
    """What to do on a device. `sustained` seconds for each of `runtimes` replace `runs` and `seconds`.

    `per_layer` measures once more, under the runtimes' own profilers.
    """

    kind: Literal["parity", "bench"]
    runtimes: tuple[str, ...] = ()
    threads: int = 1
    runs: int = 100
    seconds: float = 20.0
    sustained: float | None = None
    per_layer: bool = False
    clean: bool = False
    ssh_config: Path | None = None

    def __post_init__(self) -> None:
        if self.sustained is not None and self.sustained < SUSTAINED_SECONDS:
            raise UnsupportedInput(f"sustained is {self.sustained:g} s; at least {SUSTAINED_SECONDS:g} s are needed")
        if self.sustained is not None and not self.runtimes:
            raise UnsupportedInput("a sustained run needs its runtimes named, each runs alone; add --runtime")
        if TENSORRT in self.runtimes and (len(self.runtimes) > 1 or self.sustained is not None or self.per_layer):
            raise UnsupportedInput(
                f"{TENSORRT} is examined alone on a device, by trtexec and not by svf-run; give it as the only "
                "--runtime, without --sustained and --per-layer"
            )

    @property
    def tensorrt(self) -> bool:
        """Whether it is TensorRT's, which svf-run has no part in."""
        return self.runtimes == (TENSORRT,)


def examine(address: Address, bundle: Bundle, task: Task, progress: Progress = no_progress) -> DeviceCard:
    """Do `task` with `bundle` on one device. Raises `SvfError`."""
    progress("connecting", 0.0)
    with transport(address, task.ssh_config) as device:
        identity = identify(device)
        if task.tensorrt:
            check_tensorrt(bundle)
            program = ""
        else:
            program = program_for(bundle, identity.platform, address.url)
        store = Store(device, address.folder or identity.cache)
        installed = store.install(bundle, lambda what, part: progress(what, _SENT * part))
        runner = Runner(device, store, installed.folder, program)
        engines = TensorRTRunner(device, store, installed.folder)
        progress("recording the device's state", _SENT)
        before = observe(device)
        parity: RunnerParity | None = None
        differences: tuple[SpikeAddress, ...] = ()
        benches: tuple[RunnerBench, ...] = ()
        profile: RunnerProfile | None = None
        measured: TensorRTDocument | None = None
        meter: PowerMeter | None = None
        if task.kind == "parity":
            progress("comparing spikes", _READY)
            parity = engines.compare() if task.tensorrt else runner.parity(task.runtimes, task.threads)
            differences = runner.addresses(bundle, parity)
        else:
            meter = PowerMeter(device)
            if meter.present:
                progress("measuring idle power", _SENT)
                meter.idle(_IDLE_SECONDS)
            progress("measuring", _READY)
            with meter if meter.present else nullcontext():
                if task.tensorrt:
                    measured = engines.measure(task.runs)
                else:
                    benches = _measure(runner, task, progress)
            if task.per_layer:
                progress("measuring every layer", _RAN)
                profile = runner.profile(task.runtimes, task.threads, min(task.runs, _PROFILED_RUNS), task.seconds)
        progress("recording the device's state", _RAN)
        after = observe(device)
        if task.clean:
            store.remove()
    first: RunnerParity | RunnerBench | TensorRTDocument = parity or measured or benches[0]
    progress("done", 1.0)
    return DeviceCard(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        device=address.url,
        identity=identity,
        bundle=str(bundle.folder),
        fingerprint=first.fingerprint,
        svf_run=first.svf_run,
        emulated=first.machine.emulated,
        before=before,
        after=after,
        parity=parity,
        differences=differences,
        benches=benches,
        tensorrt=measured.bench if measured is not None else None,
        rails=meter.rails if meter is not None else (),
        retention=_retention(benches) if task.sustained is not None else (),
        profile=profile,
        layers=_layers(bundle, profile) if profile is not None else (),
    )


def examine_all(
    addresses: Sequence[Address], bundle: Bundle, task: Task, progress: Callable[[Address], Progress]
) -> list[tuple[Address, DeviceCard | SvfError]]:
    """Do `task` on every device at the same time; a device that fails does not stop the others.

    Raises `UnsupportedInput` when an address is given twice.
    """
    if len({address.url for address in addresses}) < len(addresses):
        raise UnsupportedInput("a device is given twice; name each once")

    def one(address: Address) -> DeviceCard | SvfError:
        try:
            return examine(address, bundle, task, progress(address))
        except SvfError as error:
            return error

    with ThreadPoolExecutor(max_workers=len(addresses)) as pool:
        return list(zip(addresses, pool.map(one, addresses), strict=True))


def _measure(runner: Runner, task: Task, progress: Progress) -> tuple[RunnerBench, ...]:
    if task.sustained is None:
        return (runner.bench(task.runtimes, task.threads, task.runs, task.seconds),)
    found = []
    for index, runtime in enumerate(task.runtimes):
        progress(f"{runtime}, {task.sustained:g} s", _READY + (_RAN - _READY) * index / len(task.runtimes))
        found.append(runner.bench([runtime], task.threads, MOST_RUNS, task.sustained * _LONGER))
    return tuple(found)


def _retention(benches: Sequence[RunnerBench]) -> tuple[Retention, ...]:
    kept = (
        retention(variant.runtime, [run for turn in variant.measurement.timing.rounds for run in turn])
        for bench in benches
        for variant in bench.variants
        if variant.measurement is not None and variant.measurement.timing is not None
    )
    return tuple(entry for entry in kept if entry is not None)


def _layers(bundle: Bundle, profile: RunnerProfile) -> tuple[RuntimeLayers, ...]:
    program = bundle.program()
    joined = (
        layer_times(program, entry.runtime, entry.profile.operators)
        for entry in profile.variants
        if entry.profile is not None
    )
    return tuple(entry for entry in joined if entry is not None)
