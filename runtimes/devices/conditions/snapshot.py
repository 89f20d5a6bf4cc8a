"""The state a device is in at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.devices.conditions import android, jetson, linux, raspberry
from svf_edge.runtimes.devices.conditions.probe import ask
from svf_edge.runtimes.devices.transport import Transport

_SCRIPT = "\n".join((linux.SCRIPT, jetson.SCRIPT, raspberry.SCRIPT, android.SCRIPT))


class Conditions(Result):
    """What a measurement on a device depends on. Empty or None where the device does not say."""

    when: str
    load: tuple[float, float, float] | None
    memory_available: int | None
    cpus: tuple[linux.CpuClock, ...]
    zones: tuple[linux.Zone, ...]
    power_mode: str | None
    clocks: tuple[jetson.Clock, ...]
    battery: android.Battery | None
    thermal_status: str | None
    firmware_throttling: tuple[str, ...] | None
    remarks: tuple[str, ...]

    @property
    def hottest(self) -> linux.Zone | None:
        """The zone with the highest temperature."""
        return max(self.zones, key=lambda zone: zone.celsius, default=None)


def observe(transport: Transport, root: str = "") -> Conditions:
    """Ask a device for its state; `root` is put before the paths of system files. Raises `DeviceError`."""
    found = ask(transport, _SCRIPT, doing="recording the device's state", root=root)
    return parse_conditions(found, datetime.now(UTC), root)


def parse_conditions(found: Mapping[str, str], when: datetime, root: str = "") -> Conditions:
    """The state in a probe's sections."""
    thermal, shown = found.get("thermal", ""), found.get("jetson_clocks")
    clocks = jetson.clocks(shown or "")
    remarks = []
    if shown is not None and not clocks:
        remarks.append(f"jetson_clocks --show told nothing ({_last(shown)}); connect as root to record all clocks")
    if "nvpmodel" in found and jetson.power_mode(found["nvpmodel"]) is None:
        remarks.append(f"nvpmodel -q told nothing ({_last(found['nvpmodel'])})")
    return Conditions(
        when=when.isoformat(timespec="seconds"),
        load=linux.load(found.get(f"{root}/proc/loadavg", "")),
        memory_available=linux.memory(found.get(f"{root}/proc/meminfo", "")).get("MemAvailable"),
        cpus=linux.cpu_clocks(found),
        zones=(*linux.zones(found), *android.thermal_zones(thermal)),
        power_mode=jetson.power_mode(found.get("nvpmodel", "")),
        clocks=clocks,
        battery=android.battery(found.get("battery", "")),
        thermal_status=android.thermal_status(thermal),
        firmware_throttling=raspberry.throttled(found.get("vcgencmd", "")),
        remarks=tuple(remarks),
    )


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no output"
