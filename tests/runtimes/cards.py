"""Device cards as `svf-edge bench --device` leaves them, of a device with or without power rails."""

from __future__ import annotations

from pathlib import Path

from svf_edge.export.bundle import Bundle
from svf_edge.runtimes.base import fingerprint
from svf_edge.runtimes.devices.card import DeviceCard
from svf_edge.runtimes.devices.conditions import Conditions, Identity
from svf_edge.runtimes.devices.conditions.jetson import Rail
from svf_edge.runtimes.latency import Distribution
from svf_edge.runtimes.runner_schema import RunnerBench, RunnerMachine, RunnerMeasurement, RunnerTiming, RunnerVariant

WHEN = "2026-11-27T12:00:00+00:00"


def card_of(bundle: Bundle, folder: Path, *, rails: bool, runtimes: int = 1) -> Path:
    """The path of a card of `bundle` with runs of 4 ms; its one rail draws 4000 mW idle and 5500 mW loaded."""
    machine = RunnerMachine(
        platform="linux-aarch64", cpu="a CPU", cores=4, affinity=(0, 1), governor=None, system="Linux", emulated=False
    )
    timing = RunnerTiming(
        open_ms=1,
        library_ms=1,
        load_ms=1,
        first_run_ms=5,
        first_pose_ms=8,
        rounds=((4.0, 4.0, 4.0),),
        clocks_mhz=(),
        distribution=Distribution.of([4.0, 4.0, 4.0]),
        judgement="good",
        remarks=(),
    )
    measurement = RunnerMeasurement(
        timing=timing, file_bytes=1, memory_before_load=1, peak_memory=2, outputs_exact=True, versions={}
    )
    bench = RunnerBench(
        svf_run="0.1.0",
        bundle="bundle",
        fingerprint=fingerprint(bundle),
        machine=machine,
        when=WHEN,
        clip="noise",
        threads=1,
        runs=3,
        warm_up=1,
        load_before=(0, 0, 0),
        load_after=(0, 0, 0),
        variants=tuple(
            RunnerVariant(runtime=f"runtime {place}", measurement=measurement, failure=None, reason=None)
            for place in range(runtimes)
        ),
    )
    state = Conditions(
        when=WHEN,
        load=None,
        memory_available=None,
        cpus=(),
        zones=(),
        power_mode=None,
        clocks=(),
        battery=None,
        thermal_status=None,
        firmware_throttling=None,
        remarks=(),
    )
    identity = Identity(
        host="orin",
        model="a board",
        soc=None,
        cpu="a CPU",
        cores=4,
        memory=1,
        os="Linux",
        kernel="6",
        platform="linux-aarch64",
        cache="/tmp",
    )
    card = DeviceCard(
        when=WHEN,
        device="ssh://orin",
        identity=identity,
        bundle="bundle",
        fingerprint=fingerprint(bundle),
        svf_run="0.1.0",
        emulated=False,
        before=state,
        after=state,
        benches=(bench,),
        rails=(Rail(label="VDD_IN", idle_mw=4000, loaded_mw=5500, samples=50),) if rails else (),
    )
    return card.store(folder / f"cards-{rails}-{runtimes}")
