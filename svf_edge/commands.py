"""Commands of the training side: train and freeze."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def train(
    config: Annotated[
        Path | None, typer.Argument(help="Training configuration (YAML or JSON).", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the run; an interrupted run goes on from it. Default: runs/NAME.",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="A configuration in the package, by name.", show_default=False)
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change an entry: key=value, dots into sections.", show_default=False),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Show in two minutes that training learns; exit with 1 where not.")
    ] = False,
    list_recipes: Annotated[bool, typer.Option("--list-recipes", help="Name the recipes and stop.")] = False,
) -> None:
    """Train a model for its task: float, then quantisation-aware.

    Leaves `OUTPUT/model.safetensors`, the checkpoint that `svf-edge freeze` takes, and curves and metrics beside it.

    Example: `svf-edge train --recipe pose-tiny --set float_phase.epochs=8 -o runs/tiny`
    """
    from svf_edge.errors import UnsupportedInput
    from svf_edge.model_store import load_model
    from svf_edge.training_config import load_train_config, recipe_path, recipe_summary, recipes

    if list_recipes:
        table = Table("recipe", "what it trains")
        for name, path in recipes().items():
            table.add_row(name, recipe_summary(path))
        Console().print(table)
        return
    if (config is not None) + (recipe is not None) + smoke != 1:
        raise UnsupportedInput("svf-edge train: give one of a configuration file, --recipe NAME or --smoke")
    path = config if config is not None else recipe_path(recipe or "smoke")
    chosen = load_train_config(path, change or ())
    folder = output if output is not None else Path("runs") / chosen.name
    from svf_edge.training import train as run

    try:
        if smoke:
            from svf_edge.training.smoke import smoke as try_out

            result = try_out(chosen, folder)
            Console().print(result.sentence(), highlight=False, soft_wrap=True)
            raise typer.Exit(0 if result.learned else 1)
        checkpoint = run(chosen, folder)
    except KeyboardInterrupt:  # typer exits with 130 and says nothing
        Console(stderr=True).print("interrupted; the same command goes on from the last finished epoch")
        raise
    _, meta = load_model(checkpoint)
    if "float" in meta:
        results = {
            "float": meta["float"],
            "after quantisation": meta["post_training_quantisation"],
            "after QAT": meta["metrics"],
        }
    else:  # a dense twin stays as it is
        results = {"float": meta["metrics"]}
    table = Table("", *results, title=f"{checkpoint}: {chosen.name}")
    for name in meta["metrics"]:
        table.add_row(name, *(f"{result[name]:.3f}" for result in results.values()))
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
    if model.config.neuron != "lif":
        raise BadFile(f"{checkpoint}: a dense twin, which has no integer program; train with neuron: lif")
    if not is_quantised(model):
        raise BadFile(
            f"{checkpoint}: a float checkpoint; give the run's model.safetensors, which QAT leaves, or quantise this "
            "one with `svf-edge calibrate`"
        )
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
