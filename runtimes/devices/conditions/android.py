"""What Android adds: properties, battery and thermal services.

Formats: AOSP's BatteryService and ThermalManagerService as they dump themselves, and `getprop`.
"""

from __future__ import annotations

import re

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.devices.conditions.linux import Zone
from svf_edge.runtimes.devices.conditions.probe import number, pairs

SCRIPT = """c battery dumpsys battery
c thermal dumpsys thermalservice"""

_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_PROPERTY = re.compile(r"^\[(?P<name>[^\]]+)\]: \[(?P<value>.*)\]$", re.MULTILINE)
_TEMPERATURE = re.compile(r"Temperature\{mValue=(?P<value>[-\d.]+|NaN), mType=-?\d+, mName=(?P<name>[^,}]*)")


class Battery(Result):
    """Charge in percent, temperature in degrees Celsius, and whether a charger is connected."""

    level: int
    celsius: float | None
    powered: bool


def properties(text: str) -> dict[str, str]:
    """`getprop` without arguments: lines "[name]: [value]"."""
    return {match["name"]: match["value"] for match in _PROPERTY.finditer(text)}


def battery(text: str) -> Battery | None:
    """`dumpsys battery`; temperatures are in tenths of a degree."""
    found = pairs(text)
    level, scale, tenths = number(found.get("level")), number(found.get("scale")), number(found.get("temperature"))
    if level is None:
        return None
    return Battery(
        level=round(100 * level / scale) if scale else level,
        celsius=None if tenths is None else tenths / 10,
        powered=any(key.endswith(" powered") and value == "true" for key, value in found.items()),
    )


def thermal_status(text: str) -> str | None:
    """How strongly `dumpsys thermalservice` says that the device is throttled."""
    status = number(pairs(text).get("Thermal Status"))
    return _STATUS[status] if status is not None and 0 <= status < len(_STATUS) else None


def thermal_zones(text: str) -> tuple[Zone, ...]:
    """Sensors in `dumpsys thermalservice`: those read just now where there are any, else the cached ones."""
    _, current, rest = text.partition("Current temperatures from HAL:")
    part = rest.partition("Current cooling devices")[0] if current else text
    found = {match["name"]: match["value"] for match in _TEMPERATURE.finditer(part)}
    return tuple(Zone(name=name, celsius=float(value)) for name, value in found.items() if value != "NaN")
