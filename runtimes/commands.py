"""`svf-edge parity`, `svf-edge bench` and `svf-edge report`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from svf_edge.errors import BadFile, SvfError, UnsupportedInput
from svf_edge.runtimes.devices.commands import (
    CARDS,
    CardsOption,
    CleanOption,
    DeviceOption,
    SshConfigOption,
    on_devices,
    refuse_with_device,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.base import Progress
    from svf_edge.runtimes.latency import BenchReport
    from svf_edge.runtimes.parity import ParityReport
    from svf_edge.runtimes.tracking.measures import Summary

Stored = TypeVar("Stored", bound="BaseModel")

BundleArgument = Annotated[Path, typer.Argument(help="Bundle folder made by `svf-edge export`.", show_default=False)]
RuntimeOption = Annotated[
    list[str] | None,
    typer.Option("--runtime", "-r", help='Runtime, e.g. "onnxruntime packed". Repeat for several; default all.'),
]
ClipOption = Annotated[
    list[str] | None,
    typer.Option(
        "--clip",
        "-c",
        help="Video file, else golden clip of the bundle, or noise, black, white, hot-pixel. Repeatable; default the "
        "golden clips.",
    ),
]
WindowsOption = Annotated[int, typer.Option(min=1, help="How many clips to cut from the start of every video file.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of each runtime.")]
RunsOption = Annotated[int, typer.Option(min=1, help="Timed runs of each runtime.")]
SecondsOption = Annotated[float, typer.Option(min=0.1, help="Stop a runtime's timed runs after this long.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the result as JSON.", show_default=False)]


def parity(
    bundle: BundleArgument,
    clip: ClipOption = None,
    runtime: RuntimeOption = None,
    windows: WindowsOption = 1,
    threads: ThreadsOption = 1,
    json: JsonOption = None,
    device: DeviceOption = None,
    cards: CardsOption = CARDS,
    clean: CleanOption = False,
    ssh_config: SshConfigOption = None,
) -> None:
    """Compare every spike and every output of all runtimes with the reference.

    Prints the address of the first spike that differs. Exit code 1 when anything differs, fails, or was asked for by
    name and cannot run here.

    With --device the bundle tests itself there on its golden clips, and the result is kept as a device card.

    Example: `svf-edge parity bundle --clip person.mp4 --clip noise`, and on a Jetson
    `svf-edge parity bundle --device ssh://user@jetson`
    """
    if device:
        from svf_edge.runtimes.devices.examine import Task

        refuse_with_device(clip=clip, windows=windows > 1)
        task = Task("parity", tuple(runtime or ()), threads, clean=clean, ssh_config=ssh_config)
        on_devices(bundle, device, task, cards, json)
        return

    from rich.console import Console
    from rich.markup import escape

    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.clips import load_clips
    from svf_edge.runtimes.parity import run_parity
    from svf_edge.runtimes.tables import parity_table

    opened = Bundle.open(bundle)
    clips = load_clips(opened, clip or [], windows=windows)
    with progress_bar() as progress:
        result = run_parity(opened, clips, runtime, progress, threads=threads)
    console = Console()
    console.print(parity_table(result))
    for entry in result.runtimes:
        if entry.verdict in ("differs", "vacuous"):
            console.print(escape(str(entry)), soft_wrap=True)
    _store(result, json)
    if not result:
        raise typer.Exit(1)


def bench(
    bundle: BundleArgument,
    runtime: RuntimeOption = None,
    threads: ThreadsOption = 1,
    runs: RunsOption = 100,
    seconds: SecondsOption = 20.0,
    json: JsonOption = None,
    device: DeviceOption = None,
    sustained: Annotated[
        float | None,
        typer.Option(help="With --device: run each --runtime this many seconds (60 or more), compare its ends."),
    ] = None,
    per_layer: Annotated[
        bool,
        typer.Option("--per-layer", help="With --device: also what every layer takes, by the runtimes' profilers."),
    ] = False,
    cards: CardsOption = CARDS,
    clean: CleanOption = False,
    ssh_config: SshConfigOption = None,
) -> None:
    """Measure latency, cold start and peak memory of all runtimes on a golden clip.

    Each runtime has a process of its own, and they take turns. The measurement judges itself: noisy or throttled ones
    say so. Exit code 1 when a runtime that can run here fails or gives other outputs.

    With --device it is measured there, with the device's clocks, temperatures and power beside it.

    Example: `svf-edge bench bundle --runtime "onnxruntime packed" --threads 2 --runs 200`
    """
    if device:
        from svf_edge.runtimes.devices.examine import Task

        wanted = tuple(runtime or ())
        task = Task("bench", wanted, threads, runs, seconds, sustained, per_layer, clean=clean, ssh_config=ssh_config)
        on_devices(bundle, device, task, cards, json)
        return
    for option, given in (("--sustained", sustained is not None), ("--per-layer", per_layer)):
        if given:
            raise UnsupportedInput(f"{option} needs --device; write --device local for this machine")

    from rich.console import Console

    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.latency import run_bench
    from svf_edge.runtimes.tables import bench_tables

    opened = Bundle.open(bundle)
    with progress_bar() as progress:
        result = run_bench(opened, runtime, progress, threads=threads, runs=runs, seconds=seconds)
    Console().print(bench_tables(result))
    _store(result, json)
    if not result:
        raise typer.Exit(1)


def report(
    bundle: BundleArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file; the JSON is written beside it.")] = Path(
        "report.html"
    ),
    clip: ClipOption = None,
    runtime: RuntimeOption = None,
    windows: WindowsOption = 1,
    threads: ThreadsOption = 1,
    runs: RunsOption = 100,
    seconds: SecondsOption = 20.0,
    parity_result: Annotated[
        Path | None, typer.Option("--parity", help="Result of `svf-edge parity --json`, instead of a new run.")
    ] = None,
    bench_result: Annotated[
        Path | None, typer.Option("--bench", help="Result of `svf-edge bench --json`, instead of a new run.")
    ] = None,
    track_result: Annotated[
        Path | None, typer.Option("--track", help="Lines of `svf-edge track --json` with this bundle, to show as well.")
    ] = None,
) -> None:
    """Write one self-contained HTML page: parity, latency, sizes, firing rates, frames with what was seen.

    Exit code 1 when parity or a measurement fails; the page is written all the same.

    Example: `svf-edge report bundle --clip person.mp4 -o report.html`
    """
    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.clips import load_clips
    from svf_edge.runtimes.latency import BenchReport, run_bench
    from svf_edge.runtimes.parity import ParityReport, run_parity
    from svf_edge.runtimes.report.page import json_beside
    from svf_edge.runtimes.tracking.json_lines import read_summary

    json_beside(output)  # refuses before the long part
    opened = Bundle.open(bundle)
    tracked = read_summary(track_result) if track_result is not None else None
    with progress_bar() as progress:
        if parity_result is not None:
            compared = _stored(parity_result, ParityReport)
        else:
            clips = load_clips(opened, clip or [], windows=windows)
            compared = run_parity(opened, clips, runtime, progress, threads=threads)
        if bench_result is not None:
            measured = _stored(bench_result, BenchReport)
        else:
            measured = run_bench(opened, runtime, progress, threads=threads, runs=runs, seconds=seconds)
    if not publish(opened, compared, measured, output, tracked):
        raise typer.Exit(1)


def publish(
    bundle: Bundle, parity: ParityReport, bench: BenchReport, output: Path, tracked: Summary | None = None
) -> bool:
    """Write the page, print the table, what became of TensorRT, and the page's path; whether all of it passed."""
    from rich.console import Console

    from svf_edge.runtimes.report import write_report
    from svf_edge.runtimes.tables import summary_table

    notes = _tensorrt_note(bundle)
    write_report(bundle, parity, bench, output, notes=notes, tracked=tracked)
    console = Console(highlight=False, soft_wrap=True)
    console.print(summary_table(parity, bench))
    for line in (*notes, f"report: {output}"):
        console.print(line, markup=False)
    return bool(parity and bench)


def _tensorrt_note(bundle: Bundle) -> list[str]:
    """What TensorRT made of the bundle, also where its engine cannot run."""
    from svf_edge.runtimes.base import bundled_graph
    from svf_edge.runtimes.tensorrt import tensorrt_report

    if bundled_graph(bundle, "tensorrt", "qdq") is None:
        return []
    try:
        return [f"tensorrt: {tensorrt_report(bundle)}"]
    except SvfError as error:
        return [f"tensorrt: failed: {error}"]


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on standard error, gone when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def show(what: str, part: float) -> None:
            bar.update(task, description=what, completed=part)

        yield show


def _store(result: BaseModel, path: Path | None) -> None:
    from svf_edge.files import write_text

    if path is not None:
        write_text(path, result.model_dump_json(indent=1) + "\n")


def _stored(path: Path, kind: type[Stored]) -> Stored:
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror}); make it with --json") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise BadFile(
            f"{path}: not a {kind.__name__} ({where}: {problem['msg']}); make it again with --json"
        ) from error
