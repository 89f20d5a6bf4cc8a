"""Clocks, temperatures, memory and load, as every Linux kernel reports them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.devices.conditions.probe import number

SCRIPT = """f {root}/proc/loadavg {root}/proc/meminfo
for p in {root}/sys/devices/system/cpu/cpufreq/policy*; do
f $p/affected_cpus $p/scaling_governor $p/scaling_cur_freq $p/scaling_min_freq $p/scaling_max_freq; done
for p in {root}/sys/class/thermal/thermal_zone*; do f $p/type $p/temp; done"""


class CpuClock(Result):
    """A group of cores that share a clock. MHz; `min_mhz` and `max_mhz` are the governor's limits."""

    cpus: str
    governor: str
    mhz: float | None
    min_mhz: float | None
    max_mhz: float | None

    @property
    def locked(self) -> bool:
        """The clock cannot move."""
        return self.min_mhz is not None and self.min_mhz == self.max_mhz


class Zone(Result):
    """A thermal zone, in degrees Celsius."""

    name: str
    celsius: float


def cpu_clocks(found: Mapping[str, str]) -> tuple[CpuClock, ...]:
    """Clocks in a probe's sections (`.../cpufreq/policy0/scaling_governor`, frequencies in kHz)."""
    return tuple(
        CpuClock(
            cpus=" ".join(policy.get("affected_cpus", "?").split()),
            governor=policy.get("scaling_governor", "unknown"),
            mhz=_thousandth(policy.get("scaling_cur_freq")),
            min_mhz=_thousandth(policy.get("scaling_min_freq")),
            max_mhz=_thousandth(policy.get("scaling_max_freq")),
        )
        for policy in _folders(found, "policy")
    )


def zones(found: Mapping[str, str]) -> tuple[Zone, ...]:
    """Thermal zones in a probe's sections (`.../thermal_zone0/temp`, in thousandths), without those that are off."""
    return tuple(
        Zone(name=zone.get("type", "unknown"), celsius=celsius)
        for zone in _folders(found, "thermal_zone")
        if (celsius := _thousandth(zone.get("temp"))) is not None
    )


def memory(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in text.splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and (size := number(words[1])) is not None:
            found[words[0]] = size * 1024
    return found


def load(text: str) -> tuple[float, float, float] | None:
    """/proc/loadavg: of one, five and fifteen minutes."""
    try:
        one, five, fifteen = (float(word) for word in text.split()[:3])
    except ValueError:
        return None
    return one, five, fifteen


def _folders(found: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
    """Files of every folder `prefix` + number, in the order of the numbers."""
    folders: dict[int, dict[str, str]] = {}
    for name, text in found.items():
        path = PurePosixPath(name)
        index = number(path.parent.name.removeprefix(prefix)) if path.parent.name.startswith(prefix) else None
        if index is not None:
            folders.setdefault(index, {})[path.name] = text
    return [folders[index] for index in sorted(folders)]


def _thousandth(text: str | None) -> float | None:
    value = number(text)
    return None if value is None else value / 1000
