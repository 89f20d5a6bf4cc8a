"""Which device this is: board, SoC, system, and the platform whose programs it runs."""

from __future__ import annotations

from collections.abc import Mapping

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.devices.conditions.android import properties
from svf_edge.runtimes.devices.conditions.linux import memory
from svf_edge.runtimes.devices.conditions.probe import ask, number, pairs
from svf_edge.runtimes.devices.transport import Transport

_SCRIPT = """c system uname -s
c machine uname -m
c kernel uname -r
c host uname -n
c cores nproc --all
c lscpu lscpu
c getprop getprop
f {root}/etc/os-release {root}/etc/nv_tegra_release {root}/proc/cpuinfo {root}/proc/meminfo
f {root}/proc/device-tree/model {root}/proc/device-tree/compatible
f {root}/sys/class/dmi/id/sys_vendor {root}/sys/class/dmi/id/product_name
printf '\\n@@ cache\\n%s\\n' "${XDG_CACHE_HOME:-$HOME/.cache}"
[ -w /data/local/tmp ] && printf '\\n@@ cache\\n%s\\n' /data/local/tmp"""


class Identity(Result):
    """A device. `platform` is spelled as in a bundle's manifest; `cache` is where files lie that may go any time."""

    host: str
    model: str
    soc: str | None
    cpu: str
    cores: int
    memory: int
    os: str
    kernel: str
    platform: str
    cache: str


def identify(transport: Transport, root: str = "") -> Identity:
    """Ask a device who it is; `root` is put before the paths of system files. Raises `DeviceError`."""
    return parse_identity(ask(transport, _SCRIPT, doing="asking the device what it is", root=root), root)


def parse_identity(found: Mapping[str, str], root: str = "") -> Identity:
    """The identity in a probe's sections."""
    props = properties(found.get("getprop", ""))
    cpuinfo, total = pairs(found.get(f"{root}/proc/cpuinfo", "")), memory(found.get(f"{root}/proc/meminfo", ""))
    compatible = found.get(f"{root}/proc/device-tree/compatible", "").split()
    vendor = found.get(f"{root}/sys/class/dmi/id/sys_vendor", "")
    board = f"{vendor} {found.get(f'{root}/sys/class/dmi/id/product_name', '')}".strip()
    system, machine = found.get("system", "unknown").lower(), found.get("machine", "unknown")
    android = props.get("ro.build.version.release")
    cpu = _cpu(pairs(found.get("lscpu", "")), cpuinfo)
    return Identity(
        host=found.get("host", "unknown"),
        model=_android_model(props) or found.get(f"{root}/proc/device-tree/model") or board or cpu,
        soc=_android_soc(props) or (compatible[-1] if compatible else None),
        cpu=cpu,
        cores=number(found.get("cores")) or found.get(f"{root}/proc/cpuinfo", "").count("processor\t") or 1,
        memory=total.get("MemTotal", 0),
        os=_system(found, android, root),
        kernel=found.get("kernel", "unknown"),
        platform=f"{'android' if android else system}-{machine}",
        cache=found["cache"].splitlines()[-1],
    )


def _android_model(props: Mapping[str, str]) -> str | None:
    maker, model = props.get("ro.product.manufacturer", ""), props.get("ro.product.model", "")
    return f"{maker} {model}".strip() or None


def _android_soc(props: Mapping[str, str]) -> str | None:
    named = f"{props.get('ro.soc.manufacturer', '')} {props.get('ro.soc.model', '')}".strip()
    return named or props.get("ro.board.platform") or None


def _cpu(lscpu: Mapping[str, str], cpuinfo: Mapping[str, str]) -> str:
    """lscpu knows the names of Arm's cores; the kernel gives numbers only."""
    named = lscpu.get("Model name") or cpuinfo.get("model name") or cpuinfo.get("Hardware")
    if named and named != "-":
        return named
    if "CPU part" in cpuinfo:
        return f"implementer {cpuinfo.get('CPU implementer', '?')} part {cpuinfo['CPU part']}"
    return "unknown"


def _system(found: Mapping[str, str], android: str | None, root: str) -> str:
    if android:
        return f"Android {android}"
    name = pairs(found.get(f"{root}/etc/os-release", ""), "=").get("PRETTY_NAME", found.get("system", "unknown"))
    tegra = found.get(f"{root}/etc/nv_tegra_release", "")
    if tegra:  # "# R36 (release), REVISION: 4.3, GCID: ..."
        release, _, rest = tegra.lstrip("# ").partition(" ")
        name += f", Jetson Linux {release.lstrip('R')}.{pairs(rest.replace(',', chr(10))).get('REVISION', '?')}"
    return name
