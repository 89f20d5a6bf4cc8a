"""`svf-edge energy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svf_edge.runtimes.commands import ClipOption, JsonOption, WindowsOption

if TYPE_CHECKING:
    from rich.table import Table

    from svf_edge.program import Program
    from svf_edge.runtimes.base import Clip
    from svf_edge.runtimes.energy.models import Comparison
    from svf_edge.runtimes.energy.report import EnergyReport


def energy(
    source: Annotated[Path, typer.Argument(help="Program file of `svf-edge freeze`, or a bundle.")],
    clip: ClipOption = None,
    windows: WindowsOption = 1,
    card: Annotated[
        Path | None,
        typer.Option("--card", help="Device card of this bundle, whose power rails stand beside the models."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer.")] = False,
    json: JsonOption = None,
) -> None:
    """Count what a clip costs: the paper's operations, a model with memory, and measured rails, beside the dense twin.

    Firing rates are those of the clip. Models say what a chip could do, not what yours does.

    Example: `svf-edge energy bundle --clip person.mp4 --layers`
    """
    from rich.console import Console

    from svf_edge.files import write_text
    from svf_edge.runtimes.energy import report as reports

    program, clips, mark = _open(source, clip or [], windows)
    measured = [] if card is None else reports.measured_by(card, mark)
    result = reports.energy(program, clips, source.name, measured)
    console = Console(highlight=False, soft_wrap=True)
    console.print(_summary(result))
    if layers:
        console.print(_layers(result))
    console.print(result.sentence)
    if json is not None:
        write_text(json, result.model_dump_json(indent=1) + "\n")


def _open(source: Path, wanted: list[str], windows: int) -> tuple[Program, dict[str, Clip], str | None]:
    from svf_edge.program import load_program
    from svf_edge.runtimes.base import fingerprint
    from svf_edge.runtimes.clips import load_clips, program_clips

    if source.is_dir():
        from svf_edge.export.bundle import Bundle

        bundle = Bundle.open(source)
        return bundle.program(), load_clips(bundle, wanted, windows=windows), fingerprint(bundle)
    program = load_program(source)
    return program, program_clips(program, wanted, windows=windows), None


def _summary(result: EnergyReport) -> Table:
    from rich.table import Table

    table = Table("", "spiking uJ", "dense twin uJ", "times less", "even at spikes per neuron", title=result.program)

    def row(name: str, one: Comparison) -> None:
        even = "" if one.even_rate is None else f"{one.even_rate:.3f}"
        table.add_row(name, f"{one.spiking.total / 1e6:.2f}", f"{one.dense.total / 1e6:.2f}", f"{one.gain:.2f}", even)

    row("operations (paper)", result.operations)
    row("with memory", result.with_memory)
    for one in result.measured:
        name = f"{one.device}, {one.runtime}, {one.rail}"
        table.add_row(name, f"{1e3 * one.above_idle_mj:.0f} above idle, {1e3 * one.whole_mj:.0f} in all", "", "", "")
    if not result.measured:
        table.add_row("measured rails", "none: give a device card with --card", "", "", "")
    return table


def _layers(result: EnergyReport) -> Table:
    from rich.table import Table

    from svf_edge.runtimes.energy.models import layer_energy

    table = Table("layer", "reads", "M MACs", "spikes per neuron", "M additions", "spiking uJ", "dense uJ")
    for layer in result.layers:
        spiking, dense = layer_energy(layer)
        gated = layer.kind in ("spikes", "attention")
        table.add_row(
            layer.name,
            layer.kind,
            f"{layer.macs / 1e6:.3f}",
            f"{layer.rate:.4f}" if gated else "",
            f"{layer.additions / 1e6:.3f}" if gated else "",
            f"{spiking / 1e6:.3f}",
            f"{dense / 1e6:.3f}",
        )
    return table
