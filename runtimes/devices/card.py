"""The device card: what a device is, the state it was in, what was found on it. One JSON file per device and date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from svf_edge.files import write_text
from svf_edge.runtimes.base import Result
from svf_edge.runtimes.devices.conditions import Conditions, Identity
from svf_edge.runtimes.devices.conditions.jetson import Rail
from svf_edge.runtimes.devices.tensorrt_results import TensorRTBench
from svf_edge.runtimes.layers import RuntimeLayers
from svf_edge.runtimes.parity import Address
from svf_edge.runtimes.runner_schema import RunnerBench, RunnerParity, RunnerProfile, RunnerVariant

FORMAT = 1
WINDOW_SECONDS = 30.0
SUSTAINED_SECONDS = 60.0


class Retention(Result):
    """Throughput of a sustained run, in runs per second over its first and its last 30 s."""

    runtime: str
    first: float
    last: float

    @property
    def kept(self) -> float:
        """The last 30 s over the first."""
        return self.last / self.first


class SpikeAddress(Result):
    """Where a runtime first differs on a golden clip."""

    runtime: str
    clip: str
    first: Address


class DeviceCard(Result):
    """One examination of one device. True when all that ran is equal or was measured, and something was.

    `emulated` when the device is an emulator of another CPU: then no time was measured.
    """

    format: int = FORMAT
    when: str
    device: str
    identity: Identity
    bundle: str
    fingerprint: str
    svf_run: str
    emulated: bool
    before: Conditions
    after: Conditions
    parity: RunnerParity | None = None
    differences: tuple[SpikeAddress, ...] = ()
    benches: tuple[RunnerBench, ...] = ()
    rails: tuple[Rail, ...] = ()
    retention: tuple[Retention, ...] = ()
    profile: RunnerProfile | None = None
    layers: tuple[RuntimeLayers, ...] = ()
    tensorrt: TensorRTBench | None = None

    def __bool__(self) -> bool:
        equal = self.parity is None or self.parity.equal
        sound = [_sound(variant) for variant in self.variants if variant.reason is None]
        profiled = self.profile.variants if self.profile is not None else ()
        sound += [
            entry.profile is not None and entry.profile.outputs_exact for entry in profiled if entry.reason is None
        ]
        if self.tensorrt is not None:
            sound.append(bool(self.tensorrt))
        return equal and all(sound) and (self.parity is not None or bool(sound))

    @property
    def variants(self) -> tuple[RunnerVariant, ...]:
        """Everything that was to be measured."""
        return tuple(variant for bench in self.benches for variant in bench.variants)

    @property
    def file_name(self) -> str:
        """`MODEL-HOST/WHEN-parity.json` or `...-bench.json`."""
        device = re.sub(r"[^a-z0-9]+", "-", f"{self.identity.model} {self.identity.host}".lower()).strip("-")
        when = re.sub(r"[^0-9T]", "", self.when.partition("+")[0])
        return f"{device}/{when}-{'bench' if self.parity is None else 'parity'}.json"

    def store(self, folder: Path) -> Path:
        """Write the card below `folder`, whole or not at all; a card of the same second is not replaced."""
        path = folder / self.file_name
        count = 1
        while path.exists():
            count += 1
            path = path.with_name(f"{Path(self.file_name).stem}-{count}.json")
        write_text(path, self.model_dump_json(indent=1) + "\n")
        return path


def retention(runtime: str, milliseconds: Sequence[float]) -> Retention | None:
    """Throughput kept by back-to-back runs; None when they are too few or too short for two windows of 30 s."""
    ends: list[float] = []
    now = 0.0
    for run in milliseconds:
        now += run / 1e3
        ends.append(now)
    if now < 2 * WINDOW_SECONDS:
        return None
    first = sum(end <= WINDOW_SECONDS for end in ends)
    last = sum(end > now - WINDOW_SECONDS for end in ends)
    if not first:
        return None
    return Retention(runtime=runtime, first=first / WINDOW_SECONDS, last=last / WINDOW_SECONDS)


def _sound(variant: RunnerVariant) -> bool:
    return variant.measurement is not None and variant.measurement.outputs_exact
