"""Device cards and devices as tables for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table

from svf_edge.runtimes.devices.card import DeviceCard
from svf_edge.runtimes.devices.conditions import Conditions, Identity
from svf_edge.runtimes.devices.tensorrt_results import TensorRTBench
from svf_edge.runtimes.runner_schema import RunnerProfile, RunnerRuntime, RunnerVariant
from svf_edge.runtimes.tables import coloured, mebibytes, millions, milliseconds, plain_table, runtime_table


def card_tables(card: DeviceCard) -> Group:
    """What was found on a device, and under it the conditions."""
    parts: list[RenderableType] = []
    notes = [*_device_notes(card.identity), *_condition_notes(card.before, card.after), *_power_notes(card)]
    if card.emulated:
        notes.insert(0, "emulated: the bits are those of this CPU, and no time is a device's, so none was measured")
    if card.parity is not None:
        parts.append(_parity(card, card.parity.runtimes, notes))
    if card.benches:
        parts.append(_bench(card, notes))
    if card.profile is not None:
        parts.append(_layers(card, card.profile))
    if card.tensorrt is not None:
        parts.append(_tensorrt(card, card.tensorrt, notes))
    return Group(*parts)


def device_lines(url: str, identity: Identity | str) -> list[str]:
    """A device's address, and under it what it is, or a sentence why that is not known."""
    notes = [identity.removeprefix(f"{url}: ")] if isinstance(identity, str) else _device_notes(identity)
    return [url, *(f"    {note}" for note in notes)]


def _parity(card: DeviceCard, runtimes: Iterable[RunnerRuntime], notes: list[str]) -> Table:
    found = list(runtimes)
    remarks = [_why(entry) for entry in found]
    remarks += [f"{entry.runtime}: {entry.clip}: first at {entry.first}" for entry in card.differences]
    headings = ("spikes\nM", "layers\nequal", "outputs")
    table = runtime_table(f"Parity on {card.device}", headings, "verdict", [*filter(None, remarks), *notes])
    for entry in found:
        layers = [layer for clip in entry.clips for layer in clip.layers]
        if not layers:
            table.add_row(entry.runtime, "-", "-", "-", coloured(entry.verdict))
            continue
        equal = sum(layer.equal for layer in layers)
        exact = not any(output.differing for clip in entry.clips for output in clip.outputs)
        table.add_row(
            entry.runtime,
            millions(sum(layer.size for layer in layers)),
            f"{equal} of {len(layers)}" if equal == len(layers) else f"[bold red]{equal} of {len(layers)}[/]",
            "exact" if exact else "[bold red]differ[/]",
            coloured(entry.verdict),
        )
    return table


def _why(entry: RunnerRuntime) -> str | None:
    if entry.failure or entry.reason:
        return f"{entry.runtime}: {entry.failure or f'not run: {entry.reason}'}"
    for clip in entry.clips:
        for output in clip.outputs:
            if output.differing:
                return f"{entry.runtime}: {clip.clip}: {output}"
    return None


def _bench(card: DeviceCard, notes: list[str]) -> Table:
    headings = ("first\npose", "p50", "p90", "p99", "max", "vary", "peak\nMiB")
    kept = {entry.runtime: entry for entry in card.retention}
    remarks = []
    for variant in card.variants:
        if variant.measurement is None:
            remarks.append(f"{variant.runtime}: {variant.failure or f'not run: {variant.reason}'}")
        elif variant.measurement.timing is not None and variant.measurement.timing.remarks:
            timing = variant.measurement.timing
            remarks.append(f"{variant.runtime}: measurement is {timing.judgement}: {'; '.join(timing.remarks)}")
        if variant.runtime in kept:
            entry = kept[variant.runtime]
            remarks.append(
                f"{variant.runtime}: {entry.last:.1f} runs a second in the last 30 s, {entry.first:.1f} in the first: "
                f"{entry.kept:.0%} kept"
            )
    table = runtime_table(f"Latency of one clip on {card.device}, ms", headings, "measured", [*remarks, *notes])
    for variant in card.variants:
        table.add_row(variant.runtime, *_bench_cells(variant))
    return table


def _layers(card: DeviceCard, profile: RunnerProfile) -> Table:
    remarks = [
        f"{entry.runtime}: {entry.failure or f'not run: {entry.reason}'}"
        for entry in profile.variants
        if entry.profile is None
    ]
    remarks += [f"{entry.runtime}: its operators keep no name to join" for entry in card.layers if not entry.layers]
    table = plain_table(f"Medians by layer on {card.device}, ms, under the runtimes' own profilers", remarks)
    table.add_column("layer")
    rows: dict[tuple[int, str], dict[str, str]] = {}
    for entry in card.layers:
        table.add_column(entry.runtime.replace(" ", "\n"), justify="right")
        for layer in entry.layers:
            name = f"{layer.layer}  [dim]{layer.computes}[/]"
            rows.setdefault((layer.step, name), {})[entry.runtime] = f"{layer.milliseconds:.3f}"
    for (_, name), cells in sorted(rows.items()):
        table.add_row(name, *(cells.get(entry.runtime, "-") for entry in card.layers))
    table.add_section()
    table.add_row("[dim]belongs to no layer[/]", *(f"{entry.other:.3f}" for entry in card.layers))
    table.add_row("all", *(f"{entry.total:.3f}" for entry in card.layers))
    return table


def _tensorrt(card: DeviceCard, found: TensorRTBench, notes: list[str]) -> Table:
    remarks = [
        f"TensorRT {found.tensorrt} on {found.gpu}: engine of {found.engine_bytes} bytes built in "
        f"{found.build_seconds:.1f} s, plug-in layers {len(found.plugin_layers)} of {found.expected_plugin_layers}, "
        f"outputs {'exact' if found else 'differ'}",
        *(f"{mode.mode}: {remark}" for mode in found.modes for remark in mode.remarks),
    ]
    headings = ("p50", "p90", "p99", "max", "vary")
    table = runtime_table(f"TensorRT, latency on {card.device}, ms", headings, "runs", [*remarks, *notes])
    for mode in found.modes:
        stats = mode.distribution
        times = map(milliseconds, (stats.p50, stats.p90, stats.p99, stats.max))
        table.add_row(mode.mode, *times, f"{stats.variation:.0%}", str(stats.count))
    return table


def _bench_cells(variant: RunnerVariant) -> list[str]:
    found = variant.measurement
    if found is None:
        return ["-"] * 7 + [coloured("failed" if variant.failure else "not run")]
    peak = mebibytes(found.peak_memory)
    word = None if found.outputs_exact else coloured("differs")
    if found.timing is None:
        return ["-"] * 6 + [peak, word or coloured("emulated")]
    stats = found.timing.distribution
    times = [found.timing.first_pose_ms, stats.p50, stats.p90, stats.p99, stats.max]
    return [*map(milliseconds, times), f"{stats.variation:.0%}", peak, word or coloured(found.timing.judgement)]


def _device_notes(identity: Identity) -> list[str]:
    soc = f", {identity.soc}" if identity.soc else ""
    return [
        f"{identity.model}{soc}: {identity.cores} x {identity.cpu}, {identity.memory / 2**30:.1f} GiB",
        f"{identity.os}, kernel {identity.kernel}, {identity.platform}",
    ]


def _condition_notes(before: Conditions, after: Conditions) -> list[str]:
    notes = []
    if before.power_mode:
        notes.append(f"power mode {before.power_mode}")
    for cpu in before.cpus:
        now = f"{cpu.mhz:.0f} MHz" if cpu.mhz is not None else "unknown clock"
        bounds = f", {cpu.min_mhz:.0f} to {cpu.max_mhz:.0f}" if cpu.min_mhz and cpu.max_mhz else ""
        notes.append(f"cores {cpu.cpus}: {cpu.governor}, {now}{' (locked)' if cpu.locked else bounds}")
    for clock in before.clocks:
        if not clock.name.startswith("cpu"):
            notes.append(f"{clock.name}: {clock.mhz:.0f} MHz{' (locked)' if clock.locked else ''}")
    if before.hottest and after.hottest:
        notes.append(
            f"hottest before {before.hottest.name} {before.hottest.celsius:.1f} C, after {after.hottest.name} "
            f"{after.hottest.celsius:.1f} C"
        )
    if after.battery is not None:
        charger = "on the charger" if after.battery.powered else "on battery"
        notes.append(f"battery {after.battery.level} %, {charger}")
    if after.thermal_status is not None:
        notes.append(f"thermal throttling: {after.thermal_status}")
    if after.firmware_throttling:
        notes.append(f"firmware: {', '.join(after.firmware_throttling)}")
    if before.load is not None:
        notes.append(f"load average {before.load[0]:.1f} before")
    return [*notes, *before.remarks]


def _power_notes(card: DeviceCard) -> list[str]:
    return [
        f"{rail.label}: {rail.idle_mw:.0f} mW idle, {rail.loaded_mw:.0f} mW in the run ({rail.above_idle_mw:+.0f})"
        for rail in card.rails
    ]
