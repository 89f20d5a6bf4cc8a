"""`svf-edge eval`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from svf_edge.runtimes.evaluation import EvalReport
    from svf_edge.tasks.scores import Score


JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the result as JSON.", show_default=False)]

_HEADINGS = {
    "pck@0.1": "PCK\n@0.1",
    "pck@0.2": "PCK\n@0.2",
    "mpjpe_px": "MPJPE\npx",
    "pa_mpjpe_px": "PA-\nMPJPE",
    "pel_mpjpe_px": "PEL-\nMPJPE",
    "jitter_px": "jitter\npx/fr.²",
    "pck@150mm": "PCK\n@150mm",
    "pel_mpjpe_mm": "PEL-\nMPJPE",
    "pa_mpjpe_mm": "PA-\nMPJPE",
    "jitter_mm": "jitter\nmm/fr.²",
}
_SHARES = ("pck", "top", "video_top", "miou", "iou", "pixel", "vc")
"""How the names of metrics between 0 and 1 begin."""


def evaluate(
    model: Annotated[Path, typer.Argument(help="Checkpoint (float or quantised), program, or bundle folder.")],
    data: Annotated[
        str,
        typer.Option(
            help="synthetic, real (shipped videos, pseudo-labels), KIND:FOLDER of a data set, or a COCO key point JSON "
            "or its folder."
        ),
    ] = "synthetic",
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            "-r",
            help='Runtime, e.g. "onnxruntime packed", or torch. Default: torch for a checkpoint, else the fastest '
            "that can.",
            show_default=False,
        ),
    ] = None,
    clips: Annotated[
        int | None, typer.Option(min=1, help="Clips to use. Default: 500 synthetic ones, else all.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the result as JSON.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for pictures.", show_default=False)
    ] = None,
) -> None:
    """Measure a model's accuracy by its task (joints, classes, masks), with 95 % bootstrap intervals.

    Beside it stand guesses that look at no frame. Intervals draw whole clips (whole videos of real ones).

    Example: `svf-edge eval runs/tiny/model.safetensors --data real -o runs/tiny/eval`
    """
    from rich.console import Console

    from svf_edge.files import write_text
    from svf_edge.runtimes.commands import progress_bar
    from svf_edge.runtimes.evaluation import evaluate_model
    from svf_edge.runtimes.evaluation_plots import write_pictures

    with progress_bar() as progress:
        result = evaluate_model(model, data, runtime, clips, threads, progress)
    console = Console()
    for table in tables(result.report):
        console.print(table)
    if json is not None:
        write_text(json, result.report.model_dump_json(indent=1) + "\n")
    if output is not None:
        paths = write_pictures(result, output)
        console.print(f"{len(paths)} pictures in {output}", highlight=False)


def tables(report: EvalReport) -> list[Table]:
    """The result for people: against the baselines, per kind of clip, per part."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    def table(title: str, first: str, names: Iterable[str], caption: str | None = None) -> Table:
        made = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        made.title_style, made.title_justify, made.caption_justify = "bold", "left", "left"
        made.add_column(first, min_width=13)
        for name in names:
            made.add_column(_HEADINGS.get(name, name), justify="right", no_wrap=True)
        return made

    notes = [
        f"{report.clips} {report.description}, {report.frames} frames of {report.size[0]}x{report.size[1]}",
        f"{report.interval_level:.0%} intervals draw {report.groups} groups of clips {report.interval_resamples} times",
    ]
    if report.firing_rate is not None:
        notes.append(f"mean firing rate over layers {report.firing_rate:.3f}")
    whole = table(
        escape(f"{report.model} ({report.kind}) on {report.runtime}"),
        "",
        report.scores.overall,
        escape("\n".join(notes)),
    )
    plainest = next(iter(report.baselines))
    rows = {"model": report.scores.overall, **report.baselines, f"model - {plainest}": report.advantage}
    for name, scores in rows.items():
        whole.add_row(name, *_cells(scores))
    kinds = table("By kind of clip", "kind", report.scores.overall)
    for kind, scores in report.scores.per_kind.items():
        kinds.add_row(escape(kind), *(_number(name, score.value) for name, score in scores.items()))
    per_part = report.scores.per_part
    parts = table("By part", "joint" if report.task.startswith("pose") else "class", per_part)
    for part in next(iter(per_part.values())):
        parts.add_row(escape(part), *(_number(name, per_part[name][part]) for name in per_part))
    return [whole, kinds, parts]


def _cells(scores: Mapping[str, Score]) -> list[str]:
    cells = []
    for name, score in scores.items():
        cell = _number(name, score.value)
        if score.low is not None:
            cell += f"\n[dim]{_number(name, score.low)} {_number(name, score.high)}[/]"
        cells.append(cell)
    return cells


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if name.startswith(_SHARES) else f"{value:.1f}"
