"""The calibrate command."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from svf_edge.calib.calibrate import Calibrated
    from svf_edge.data.sample import Sample
    from svf_edge.model.config import ModelConfig


class Bits(StrEnum):
    """Widths of weights that `calibrate` takes."""

    EIGHT = "8"
    FOUR = "4"
    TWO = "2"
    AUTO = "auto"


def calibrate(
    checkpoint: Annotated[Path, typer.Argument(help="Float checkpoint: float.safetensors of a training run.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Quantised checkpoint to write; the report goes beside it.")
    ],
    clips: Annotated[
        Path | None,
        typer.Option("--clips", help="Folder of videos to calibrate on. Default: synthetic clips.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Clips to calibrate on, at most.")] = 64,
    bits: Annotated[
        Bits, typer.Option("--bits", help="Bits of weights; auto chooses them per layer for --budget-kb.")
    ] = Bits.EIGHT,
    budget_kb: Annotated[
        float | None,
        typer.Option("--budget-kb", min=0, help="Size of weights, biases and shifts in kB, with --bits auto."),
    ] = None,
    layer_bits: Annotated[
        list[str] | None,
        typer.Option("--layer-bits", help="PATTERN=BITS: other bits for layers by path, such as 'head.*=8'."),
    ] = None,
    fraction_bits: Annotated[
        str | None,
        typer.Option("--fraction-bits", help="Fraction bits of membranes, 4 to 12, or auto. Default: as configured."),
    ] = None,
    norms: Annotated[bool, typer.Option("--reestimate", help="Take BatchNorm statistics anew from the clips.")] = False,
    labelled: Annotated[
        int, typer.Option("--labelled", min=0, help="Unseen synthetic clips to measure accuracy on; 0: none.")
    ] = 64,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 2,
) -> None:
    """Quantise a float checkpoint without training, on a few clips that need no labels.

    Writes the checkpoint that `svf-edge freeze` takes, and a report as .report.json and .report.html beside it.

    Example: `svf-edge calibrate runs/mine/float.safetensors --clips videos/ --bits 4 -o runs/mine/int4.safetensors`
    """
    import torch

    from svf_edge.calib.calibrate import calibrate as run
    from svf_edge.calib.clips import complaints, synthetic_clips, video_clips
    from svf_edge.calib.report import calibration_record, write_report
    from svf_edge.errors import BadFile, UnsupportedInput
    from svf_edge.model_store import load_model, save_model
    from svf_edge.quant import is_quantised
    from svf_edge.tasks.evaluation import evaluate
    from svf_edge.tasks.registry import TASKS

    if (bits is Bits.AUTO) != (budget_kb is not None):
        raise UnsupportedInput("--bits auto and --budget-kb go together: the budget is what the bits are chosen for")
    started = time.monotonic()
    torch.set_num_threads(threads)
    model, meta = load_model(checkpoint)
    if is_quantised(model):
        raise BadFile(f"{checkpoint}: quantised already; give the run's float.safetensors")
    config = model.config
    with _Bars() as advance:
        advance("clips", 0, 1)
        frames = synthetic_clips(config, count) if clips is None else video_clips(clips, config, count)
        samples = _labelled(config, labelled)
        advance("clips", 1, 1)
        result = run(
            model,
            frames,
            bits=_patterns(bits, layer_bits or []),
            budget=None if budget_kb is None else round(1000 * budget_kb),
            fraction_bits=_fraction(fraction_bits),
            smallest_fraction=fraction_bits == "auto",
            reestimate_norms=norms,
            accuracy=None
            if samples is None
            else lambda m: evaluate(m, samples).metrics[TASKS[config.head.kind].headline],
            advance=advance,
        )
        stages = {"float": model, "quantised": result.model}
        metrics = {} if samples is None else {name: dict(evaluate(m, samples).metrics) for name, m in stages.items()}
    source = "synthetic" if clips is None else str(clips.name)
    warnings = complaints(frames, result.float_rates, meta.get("firing_rates", {}))
    record = calibration_record(
        result,
        checkpoint=checkpoint.name,
        source=source,
        clips=len(frames),
        warnings=warnings,
        seconds=time.monotonic() - started,
        metrics=metrics,
    )
    kept = ("bytes", "clips", "divergence", "flip_rate", "layers_by_bits", "metrics")
    save_model(
        result.model,
        output,
        {
            **{name: value for name, value in meta.items() if name != "integer_program"},
            "float": meta.get("metrics", {}),
            "metrics": metrics.get("quantised", {}),
            "firing_rates": result.difference.rates,
            "calibration": {name: record[name] for name in kept},
        },
    )
    paths = write_report(record, output.with_suffix(".report"))
    _show(output, paths[1], result, record)


def _patterns(bits: Bits, layer_bits: list[str]) -> dict[str, int]:
    from svf_edge.errors import UnsupportedInput

    patterns: dict[str, int] = {}
    for entry in layer_bits:
        pattern, _, width = entry.rpartition("=")
        if not pattern or not width.isdigit():
            raise UnsupportedInput(f"--layer-bits {entry}: not PATTERN=BITS, such as 'head.*=8'")
        patterns[pattern] = int(width)
    if bits is Bits.AUTO and patterns:
        raise UnsupportedInput("--layer-bits with --bits auto: auto chooses the bits of every layer; leave one out")
    return patterns | ({} if bits is Bits.AUTO else {"*": int(bits)})


def _fraction(text: str | None) -> int | None:
    from svf_edge.errors import UnsupportedInput

    if text is None or text == "auto":
        return None
    if not text.isdigit():
        raise UnsupportedInput(f"--fraction-bits {text}: give a number from 4 to 12, or auto")
    return int(text)


def _labelled(config: ModelConfig, count: int) -> Sample | None:
    """Unseen synthetic clips with their labels, where the model takes such clips and has such classes."""
    from svf_edge.data.sample import stack_samples
    from svf_edge.data.skeleton import JOINT_NAMES
    from svf_edge.data.source import SyntheticSource
    from svf_edge.errors import UnsupportedInput
    from svf_edge.tasks.registry import make_task
    from svf_edge.tasks.task import require_labels

    source = SyntheticSource(motions="classes" if config.head.kind == "classification" else "split")
    try:
        require_labels(make_task(config), source, "synthetic clips")
    except UnsupportedInput:
        return None
    joints = getattr(config.head, "joints", len(JOINT_NAMES))
    if not count or joints != len(JOINT_NAMES) or config.channels != 3 or config.input != "pixels":
        return None
    return stack_samples(source.open("val", config.frames, config.frame_size, clips=count))


class _Bars:
    """A progress bar per thing that is done; gives the function that `calibrate.Advance` describes."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True)
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Any:
        self._bars.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _advance(self, what: str, done: int, of: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=of)
        self._bars.update(self._tasks[what], completed=done)


def _show(output: Path, page: Path, result: Calibrated, record: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for warning in record["clips"]["warnings"]:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold yellow]warning:[/] {warning}")
    widths = ", ".join(f"{count} layers at {bits} bits" for bits, count in record["layers_by_bits"].items() if count)
    if record["metrics"]:
        table = Table("", "float", "quantised", title=f"{output}: accuracy on unseen synthetic clips")
        for name, value in record["metrics"]["float"].items():
            table.add_row(name, f"{value:.3f}", f"{record['metrics']['quantised'][name]:.3f}")
        console.print(table)
    console.print(
        f"{output}: {widths}; {result.bytes / 1000:.1f} kB of weights; {100 * result.difference.flip_rate:.2f} % of "
        f"spikes differ from the float model's; report: {page}"
    )
