"""What devices say about themselves: parsers on text in each tool's own format, and the probes on a made-up sysfs.

The texts were written for these tests; the formats are those of NVIDIA's Jetson Linux developer guide (nvpmodel,
jetson_clocks, nv_tegra_release), the kernel's Documentation (cpufreq, thermal, hwmon/ina3221), the Raspberry Pi
documentation (vcgencmd) and AOSP's BatteryService and ThermalManagerService.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from svf_edge.runtimes.devices.conditions import android, identify, jetson, linux, observe, raspberry
from svf_edge.runtimes.devices.conditions.identity import parse_identity
from svf_edge.runtimes.devices.conditions.power import PowerMeter
from svf_edge.runtimes.devices.conditions.probe import pairs, sections
from svf_edge.runtimes.devices.conditions.snapshot import parse_conditions
from tests.runtimes.devices.conftest import Target

TEXTS = Path(__file__).parent / "texts"


def text(name: str) -> str:
    return (TEXTS / name).read_text(encoding="utf-8")


def test_sections_and_pairs() -> None:
    assert sections("noise\n@@ a\n\n x: 1\n\n@@ b\n@@ c d\ny\n") == {"a": "x: 1", "b": "", "c d": "y"}
    assert pairs('A="x y"\nB=1=2\nA=later\nno pair', "=") == {"A": "x y", "B": "1=2"}


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("NV Power Mode: MAXN\n0\n", "MAXN (mode 0)"),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: 15W\n2", "15W (mode 2)"),
        ("NV Power Mode: MODE_30W_ALL\n", "MODE_30W_ALL"),
        ("NVPM ERROR: Error opening /sys/fs: 13\n", None),
        ("", None),
    ],
)
def test_power_mode(said: str, mode: str | None) -> None:
    assert jetson.power_mode(said) == mode


def test_jetson_clocks() -> None:
    free = {clock.name: clock for clock in jetson.clocks(text("jetson_clocks_orin.txt"))}
    assert list(free) == ["cpu0", "cpu1", "cpu2", "cpu3", "GPU", "EMC"], "cores that are off have no clock"
    assert (free["cpu0"].mhz, free["cpu0"].min_mhz, free["cpu0"].max_mhz) == (1510.4, 729.6, 1510.4)
    assert (free["GPU"].mhz, free["EMC"].mhz) == (306.0, 2133.0)
    assert not free["cpu0"].locked and not free["GPU"].locked
    assert all(clock.locked for clock in jetson.clocks(text("jetson_clocks_orin_locked.txt")))
    assert jetson.clocks("Error: root privileges are required\n") == ()


def test_rails() -> None:
    idle = jetson.rail_powers("VDD_IN\t5072\t800\nVDD_CPU_GPU_CV\t5072\t120\nNC\t0\t0\nVDD_IN\t5072\t820\n")
    assert idle == {"VDD_IN": [4057.6, 4159.04], "VDD_CPU_GPU_CV": [608.64]}
    loaded = jetson.rail_powers("VDD_IN\t5072\t1600\nVDD_SOC\t5072\t300\ntruncated\t50")
    (rail,) = jetson.rails(idle, loaded)
    assert (rail.label, rail.samples) == ("VDD_IN", 1)
    assert rail.idle_mw == pytest.approx(4108.32) and rail.loaded_mw == pytest.approx(8115.2)
    assert rail.above_idle_mw == pytest.approx(rail.loaded_mw - rail.idle_mw)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("throttled=0x0", ()),
        (
            "throttled=0x50005",
            ("under-voltage now", "throttled now", "under-voltage since start", "throttled since start"),
        ),
        ("throttled=0x80000", ("soft temperature limit since start",)),
        ("VCHI initialization failed", None),
        ("temp=42.0'C", None),
        ("", None),
    ],
)
def test_raspberry_pi_throttling(said: str, found: tuple[str, ...] | None) -> None:
    assert raspberry.throttled(said) == found


def test_android_services() -> None:
    battery = android.battery(text("dumpsys_battery.txt"))
    assert battery == android.Battery(level=67, celsius=33.7, powered=True)
    assert android.battery("Can't find service: battery\n") is None
    thermal = text("dumpsys_thermalservice.txt")
    assert android.thermal_status(thermal) == "light"
    zones = {zone.name: zone.celsius for zone in android.thermal_zones(thermal)}
    assert zones == {"AP": 41.5, "BAT": 33.7, "SKIN": 36.2}, "current ones, not cached ones or thresholds"
    cached_only = thermal.partition("HAL Ready")[0]
    assert {zone.name for zone in android.thermal_zones(cached_only)} == {"AP", "SKIN", "USB"}
    assert android.thermal_status("Thermal Status: 99") is None and android.thermal_zones("") == ()
    props = android.properties(text("getprop.txt"))
    assert props["ro.soc.model"] == "SM8550" and props["ro.empty"] == ""


def test_identity_of_a_phone() -> None:
    found = {
        "getprop": text("getprop.txt"),
        "system": "Linux",
        "machine": "aarch64",
        "kernel": "5.15.123-android13-8",
        "cache": "/.cache\n/data/local/tmp",
        "/proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4d\nprocessor\t: 1\n",
        "/proc/meminfo": "MemTotal:       11455800 kB\n",
    }
    phone = parse_identity(found)
    assert (phone.model, phone.soc, phone.os) == ("Example Phone 5", "QTI SM8550", "Android 14")
    assert (phone.platform, phone.cores, phone.cache) == ("android-aarch64", 2, "/data/local/tmp")
    assert phone.cpu == "implementer 0x41 part 0xd4d" and phone.memory == 11455800 * 1024


def make(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def orin(root: Path) -> None:
    """The system files of a Jetson Orin Nano with two groups of cores."""
    make(
        root,
        {"etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n', "etc/nv_tegra_release": text("nv_tegra_release.txt")},
    )
    make(root, {"proc/loadavg": "0.42 0.30 0.25 1/300 4242\n", "proc/cpuinfo": "processor\t: 0\nprocessor\t: 1\n"})
    make(root, {"proc/meminfo": "MemTotal:  7633000 kB\nMemFree: 1 kB\nMemAvailable:  5814000 kB\n"})
    make(root / "proc/device-tree", {"model": "NVIDIA Jetson Orin Nano Developer Kit\0"})
    make(
        root / "proc/device-tree", {"compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"}
    )
    for policy, cpus, now in ((0, "0 1 2 3", "1510400"), (4, "4 5", "729600")):
        folder = root / f"sys/devices/system/cpu/cpufreq/policy{policy}"
        make(folder, {"affected_cpus": f"{cpus}\n", "scaling_governor": "schedutil\n", "scaling_cur_freq": f"{now}\n"})
        make(folder, {"scaling_min_freq": "729600\n", "scaling_max_freq": "1510400\n"})
    for index, (name, celsius) in enumerate(
        (("cpu-thermal", "48312\n"), ("gpu-thermal", "46875\n"), ("cv0-thermal", ""))
    ):
        make(root / f"sys/class/thermal/thermal_zone{index}", {"type": f"{name}\n", "temp": celsius})
    rails = root / "sys/class/hwmon/hwmon1"
    make(rails, {"name": "ina3221\n", "in1_label": "VDD_IN\n", "in1_input": "5072\n", "curr1_input": "904\n"})
    make(rails, {"in2_label": "VDD_CPU_GPU_CV\n", "in2_input": "5064\n", "curr2_input": "120\n", "in3_label": "NC\n"})
    make(
        root / "sys/class/hwmon/hwmon0",
        {"name": "tmp102\n", "in1_label": "no rail\n", "in1_input": "1\n", "curr1_input": "1\n"},
    )


def test_the_probes_read_a_jetsons_files(target: Target, tmp_path: Path) -> None:
    root = tmp_path / "jetson"
    orin(root)
    with target.transport() as device:
        board = identify(device, str(root))
        assert board.model == "NVIDIA Jetson Orin Nano Developer Kit" and board.soc == "nvidia,tegra234"
        assert board.os == "Ubuntu 22.04.5 LTS, Jetson Linux 36.4.3" and board.memory == 7633000 * 1024
        assert board.platform == f"linux-{os.uname().machine}" and board.kernel == os.uname().release
        state = observe(device, str(root))
        assert state.load == (0.42, 0.30, 0.25) and state.memory_available == 5814000 * 1024
        assert [(cpu.cpus, cpu.governor, cpu.mhz, cpu.locked) for cpu in state.cpus] == [
            ("0 1 2 3", "schedutil", 1510.4, False),
            ("4 5", "schedutil", 729.6, False),
        ]
        assert state.zones == (
            linux.Zone(name="cpu-thermal", celsius=48.312),
            linux.Zone(name="gpu-thermal", celsius=46.875),
        )
        assert state.hottest is not None and state.hottest.name == "cpu-thermal"
        meter = PowerMeter(device, str(root))
        assert meter.present
        meter.idle(0.3)
        (root / "sys/class/hwmon/hwmon1/curr1_input").write_text("1904\n")
        with meter:
            device.check("sleep 0.5", doing="testing")
        rails = {rail.label: rail for rail in meter.rails}
        assert list(rails) == ["VDD_IN", "VDD_CPU_GPU_CV"]
        assert rails["VDD_IN"].above_idle_mw == pytest.approx(5072) and rails["VDD_IN"].samples >= 2
        assert rails["VDD_CPU_GPU_CV"].above_idle_mw == 0


def test_a_machine_that_says_nothing(target: Target, tmp_path: Path) -> None:
    with target.transport() as device:
        nothing = observe(device, str(tmp_path))
        assert (nothing.load, nothing.cpus, nothing.zones, nothing.clocks, nothing.hottest) == (None, (), (), (), None)
        assert not PowerMeter(device, str(tmp_path)).present


def test_tools_that_refuse_are_remarked() -> None:
    found = {"jetson_clocks": "sudo: a password is required", "nvpmodel": "NVPM ERROR: no permission"}
    state = parse_conditions(found, datetime(2026, 1, 2, tzinfo=UTC))
    assert state.power_mode is None and state.clocks == ()
    first, second = state.remarks
    assert "a password is required" in first and "connect as root" in first and "no permission" in second
