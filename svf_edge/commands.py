"""Commands of the training side: train and freeze."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def train(
    config: Annotated[Path, typer.Argument(help="Training configuration (YAML or JSON), see configs/.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an interrupted run goes on from it.")
    ],
) -> None:
    """Train a pose model: float, then quantisation-aware.

    Leaves `OUTPUT/model.safetensors`, the checkpoint that `svf-edge freeze` takes, and CSV logs beside it.

    Example: `svf-edge train configs/pose-tiny.yaml -o runs/tiny`
    """
    from svf_edge.model_store import load_model
    from svf_edge.training import train as run
    from svf_edge.training_config import load_train_config

    try:
        path = run(load_train_config(config), output)
    except KeyboardInterrupt:  # typer exits with 130 and says nothing
        Console(stderr=True).print("interrupted; the same command goes on from the last finished epoch")
        raise
    _, meta = load_model(path)
    table = Table("", "float", "after quantisation", "after QAT", title=f"{path}: {meta['training']['name']}")
    stages = (meta["float"], meta["post_training_quantisation"], meta["metrics"])
    for name in meta["metrics"]:
        table.add_row(name, *(f"{stage[name]:.3f}" for stage in stages))
    Console().print(table)


def freeze(
    checkpoint: Annotated[Path, typer.Argument(help="Quantised checkpoint made by `svf-edge train`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Program file to write.")],
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Frames of a clip. Default: as trained.", show_default=False)
    ] = None,
) -> None:
    """Freeze a checkpoint into the integer program that every exporter translates.

    Example: `svf-edge freeze runs/tiny/model.safetensors -o runs/tiny/program.safetensors`
    """
    from svf_edge.errors import BadFile
    from svf_edge.model_store import load_model
    from svf_edge.program.freeze import freeze as make
    from svf_edge.program.ranges import bounds
    from svf_edge.program.store import save_program
    from svf_edge.quant import is_quantised

    model, meta = load_model(checkpoint)
    if not is_quantised(model):
        raise BadFile(f"{checkpoint}: a float checkpoint; give the run's model.safetensors, which QAT leaves")
    program = make(model, steps=steps, meta=meta)
    save_program(program, output)
    widest = max(bounds(program), key=lambda bound: bound.value)
    shape = "x".join(str(size) for size in program.frames.shape)
    Console().print(
        f"{output}: {len(program.nodes)} nodes for clips of {shape} (TxCxHxW); largest accumulator "
        f"{widest.value} ({widest.layer}, {widest.quantity})",
        highlight=False,
        soft_wrap=True,
    )
