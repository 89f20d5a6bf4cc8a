"""`svf-edge demo`: the main job on the shipped model and clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the program, bundle and report.")] = Path(
        "out/demo"
    ),
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each runtime.")] = 100,
) -> None:
    """Run the main job on the shipped model and clip: freeze, export, prove parity, measure, report.

    Ends with a table of every runtime and the path of an HTML report. Exit code 1 when any spike or output differs.

    Example: `svf-edge demo -o out/demo`
    """
    from rich.console import Console

    from svf_edge.export.bundle import write_bundle
    from svf_edge.export.golden import golden_clips
    from svf_edge.model_store import load_model
    from svf_edge.program import save_program
    from svf_edge.program.freeze import freeze
    from svf_edge.runtimes.clips import load_clips
    from svf_edge.runtimes.commands import progress_bar, publish
    from svf_edge.runtimes.latency import run_bench
    from svf_edge.runtimes.parity import run_parity
    from svf_edge.shipped import CHECKPOINT, CLIP

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]1/4[/] freeze {CHECKPOINT.name}")
    model, meta = load_model(CHECKPOINT)
    program = freeze(model, meta=meta)
    save_program(program, output / "program.safetensors")

    console.print("[bold]2/4[/] export to ONNX, ExecuTorch and TensorRT (the slowest step, a few minutes)")
    with console.status("export") as status:
        bundle = write_bundle(
            program, output / "bundle", golden_clips(program.frames, [CLIP]), typical=True, progress=status.update
        )

    console.print(f"[bold]3/4[/] parity on {CLIP.name} and noise")
    clips = load_clips(bundle, [CLIP.name, str(CLIP), "noise"], windows=8)
    with progress_bar() as progress:
        compared = run_parity(bundle, clips, progress=progress, threads=threads)

    console.print("[bold]4/4[/] latency, and the report")
    with progress_bar() as progress:
        measured = run_bench(bundle, progress=progress, threads=threads, runs=runs)
    if not publish(bundle, compared, measured, output / "report.html"):
        raise typer.Exit(1)
