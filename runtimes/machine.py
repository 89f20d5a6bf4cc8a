"""What the machine says about itself: the conditions of a measurement."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from svf_edge.runtimes.base import Result

_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_CPUINFO = Path("/proc/cpuinfo")
_STATUS = Path("/proc/self/status")


class Machine(Result):
    """CPU and system. None where the machine does not say."""

    cpu: str
    cores: int
    affinity: tuple[int, ...]
    governor: str | None
    system: str
    python: str


def machine() -> Machine:
    """The machine at hand."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        affinity=tuple(sorted(os.sched_getaffinity(0))),
        governor=_read(_FREQUENCY / "scaling_governor"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def frequency_mhz() -> float | None:
    """Clock of the first core in MHz, from cpufreq or /proc/cpuinfo."""
    text = _read(_FREQUENCY / "scaling_cur_freq")
    if text is not None:
        return int(text) / 1000
    value = _cpuinfo("cpu MHz")
    return float(value) if value else None


def peak_memory() -> int:
    """Largest resident set of this process so far, in bytes (VmHWM)."""
    return _status("VmHWM")


def resident_memory() -> int:
    """Resident set of this process, in bytes (VmRSS)."""
    return _status("VmRSS")


def _status(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {key}")


def _cpu() -> str:
    # /proc/cpuinfo names the part on x86; on ARM the device tree names the board.
    board = _read(Path("/proc/device-tree/model"))
    return _cpuinfo("model name") or (board.strip("\0") if board else None) or platform.processor() or "unknown"


def _cpuinfo(key: str) -> str | None:
    for line in (_read(_CPUINFO) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
