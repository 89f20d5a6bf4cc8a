"""An energy report: three numbers side by side, and what they do not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from svf_edge.errors import BadFile
from svf_edge.program import Program
from svf_edge.runtimes.base import Clip, Result
from svf_edge.runtimes.energy.counts import Counts, LayerWork, count, spikes_of
from svf_edge.runtimes.energy.models import Comparison, operations, with_memory


class Measured(Result):
    """What a power rail of a device says of one clip: millijoules above idle, and with what the device draws idle."""

    device: str
    runtime: str
    rail: str
    above_idle_mj: float
    whole_mj: float


class EnergyReport(Result):
    """The energy of a clip, means over `clips`. Energies inside are picojoules; see `models`."""

    format: int = 1
    program: str
    clips: tuple[str, ...]
    macs: int
    multiplied: int
    additions: float
    rate: float
    operations: Comparison
    with_memory: Comparison
    measured: tuple[Measured, ...]
    layers: tuple[LayerWork, ...]

    @property
    def sentence(self) -> str:
        """What a sceptic would want to read."""
        paper, memory = self.operations, self.with_memory
        first = (
            f"At {self.rate:.3f} spikes per neuron and step this network needs {_times(paper.gain)} the arithmetic of "
            f"its dense twin if both compute in 32-bit floats, and {_times(memory.gain)} its energy if both have int8 "
            f"weights and memory counts."
        )
        share = memory.spiking.membranes / memory.spiking.total
        return (
            f"{first} By arithmetic the advantage {_end(paper)}; with memory it {_end(memory)}. {100 * share:.0f} % of "
            "the second figure are membranes. Both are models of a 45 nm chip that nobody built for this network: "
            + ("what a device measured stands beside them." if self.measured else "nothing here was measured.")
        )


def energy(program: Program, clips: Mapping[str, Clip], name: str, measured: Sequence[Measured] = ()) -> EnergyReport:
    """The report of `program` on uint8 `clips` `[T, C, H, W]`; spikes are counted by the reference interpreter."""
    runs = [spikes_of(program, clip) for clip in clips.values()]
    mean = {lif.name: sum(spikes[lif.name] for spikes in runs) / len(runs) for lif in program.lifs}
    return report_of(count(program, mean), name, tuple(clips), measured)


def report_of(counts: Counts, name: str, clips: tuple[str, ...], measured: Sequence[Measured] = ()) -> EnergyReport:
    """The report of counted work."""
    return EnergyReport(
        program=name,
        clips=clips,
        macs=counts.macs,
        multiplied=counts.multiplied,
        additions=counts.additions,
        rate=counts.rate,
        operations=operations(counts),
        with_memory=with_memory(counts),
        measured=tuple(measured),
        layers=counts.layers,
    )


def measured_by(card: Path, fingerprint: str | None) -> list[Measured]:
    """Energy of a clip by the rails of a device card that `svf-edge bench --device` left.

    Raises `BadFile` for another file, a card of another bundle (where `fingerprint` is given), without rails, or of
    several runtimes (the rails saw them all).
    """
    from svf_edge.runtimes.devices.card import DeviceCard

    try:
        read = DeviceCard.model_validate_json(card.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise BadFile(f"{card}: not a device card; make one with `svf-edge bench BUNDLE --device ADDRESS`") from error
    if fingerprint is not None and read.fingerprint != fingerprint:
        raise BadFile(f"{card}: belongs to another bundle ({read.bundle}); measure this one")
    if not read.rails:
        raise BadFile(f"{card}: this device has no power rails that can be read")
    timed = [(v.runtime, v.measurement.timing) for v in read.variants if v.measurement and v.measurement.timing]
    if len(timed) != 1:
        raise BadFile(
            f"{card}: holds {len(timed)} timed runtimes, and rails see them together; bench one with --runtime"
        )
    runtime, timing = timed[0]
    seconds = timing.distribution.p50 / 1e3
    return [
        Measured(
            device=read.device,
            runtime=runtime,
            rail=rail.label,
            above_idle_mj=rail.above_idle_mw * seconds,
            whole_mj=rail.loaded_mw * seconds,
        )
        for rail in read.rails
    ]


def _times(gain: float) -> str:
    return f"1/{gain:.2f} of" if gain >= 1 else f"{1 / gain:.2f} times"


def _end(comparison: Comparison) -> str:
    if comparison.even_rate is not None:
        return f"ends at {comparison.even_rate:.3f} spikes per neuron"
    return "ends at no rate" if comparison.gain > 1 else "never begins"
