"""What a Jetson adds: power mode, locked clocks, and power rails measured by INA3221 chips.

Formats: `nvpmodel -q` and `jetson_clocks --show` as in NVIDIA's Jetson Linux developer guide; the rails' files as in
the kernel's Documentation/hwmon/ina3221.rst.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.devices.conditions.probe import number

# As root they tell more; sudo is used only where it asks for no password.
SCRIPT = """c nvpmodel nvpmodel -q
command -v jetson_clocks >/dev/null 2>&1 && { printf '\\n@@ jetson_clocks\\n'
if [ "$(id -u)" = 0 ]; then jetson_clocks --show 2>&1; else sudo -n jetson_clocks --show 2>&1; fi; }"""

# Prints a line "label<tab>mV<tab>mA" per rail, again and again until it is ended.
RAILS_SCRIPT = """while :; do
for h in {root}/sys/class/hwmon/hwmon*; do
read -r n 2>/dev/null < $h/name || continue; [ "$n" = ina3221 ] || continue
for i in 1 2 3; do
read -r l 2>/dev/null < $h/in${i}_label && read -r v 2>/dev/null < $h/in${i}_input && \
read -r a 2>/dev/null < $h/curr${i}_input && printf '%s\\t%s\\t%s\\n' "$l" "$v" "$a"
done; done
{then}
done"""

_UNUSED_LABELS = ("NC", "")


class Clock(Result):
    """One line of `jetson_clocks --show`, in MHz."""

    name: str
    mhz: float
    min_mhz: float
    max_mhz: float

    @property
    def locked(self) -> bool:
        """The clock cannot move."""
        return self.min_mhz == self.max_mhz


class Rail(Result):
    """Mean power of a rail in mW: idle before the run, and during it."""

    label: str
    idle_mw: float
    loaded_mw: float
    samples: int

    @property
    def above_idle_mw(self) -> float:
        """What the run added."""
        return self.loaded_mw - self.idle_mw


def power_mode(text: str) -> str | None:
    """Mode and number from `nvpmodel -q` ("NV Power Mode: MAXN" and "0" on the next line)."""
    match = re.search(r"NV Power Mode:\s*(.+?)\s*(?:\n\s*(\d+)\s*(?:\n|$)|\n|$)", text)
    if match is None:
        return None
    return f"{match[1]} (mode {match[2]})" if match[2] else match[1]


def clocks(text: str) -> tuple[Clock, ...]:
    """Clocks from `jetson_clocks --show`: kHz for cores, Hz for everything else."""
    found = []
    for line in text.splitlines():
        values = {key: number(value) for key, value in re.findall(r"(\w+Freq)=(\d+)", line)}
        low, high, now = (values.get(key) for key in ("MinFreq", "MaxFreq", "CurrentFreq"))
        if low is None or high is None or now is None or re.search(r"\bOnline=0\b", line):
            continue
        name = line.split()[0].rstrip(":")
        unit = 1e3 if name.startswith("cpu") else 1e6
        found.append(Clock(name=name, mhz=now / unit, min_mhz=low / unit, max_mhz=high / unit))
    return tuple(found)


def rail_powers(text: str) -> dict[str, list[float]]:
    """Samples in mW by label from what `RAILS_SCRIPT` printed; channels that are not connected are left out."""
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        label, _, rest = line.partition("\t")
        volts, _, amperes = rest.partition("\t")
        mv, ma = number(volts), number(amperes)
        if label not in _UNUSED_LABELS and mv is not None and ma is not None:
            found.setdefault(label, []).append(mv * ma / 1000)
    return found


def rails(idle: Mapping[str, Sequence[float]], loaded: Mapping[str, Sequence[float]]) -> tuple[Rail, ...]:
    """Means of every rail that was sampled both times."""
    return tuple(
        Rail(
            label=label,
            idle_mw=sum(idle[label]) / len(idle[label]),
            loaded_mw=sum(samples) / len(samples),
            samples=len(samples),
        )
        for label, samples in loaded.items()
        if idle.get(label) and samples
    )
