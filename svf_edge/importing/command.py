"""The import command."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from svf_edge.errors import UnsupportedInput

_SHOWN = 20


class SpaceTime(StrEnum):
    """The authors' two forms of attention over a clip."""

    JOINT = "joint"
    SPATIAL = "spatial"


def import_weights(
    weights: Annotated[Path, typer.Argument(help="State dict: .safetensors, or a file of torch.save.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Float checkpoint to write.")],
    size: Annotated[
        str | None,
        typer.Option("--size", help="15M, 31M or 55M; custom takes any widths. Default: the size that fits."),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of a clip.")] = 4,
    frame_size: Annotated[str, typer.Option("--frame-size", help="Height and width of a frame.")] = "224x224",
    space_time: Annotated[
        SpaceTime | None,
        typer.Option("--space-time", help="Form of attention, where the weights leave it open (dot products)."),
    ] = None,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Attention heads of every block.")] = 8,
    head: Annotated[
        str | None, typer.Option("--head", help="Name of the linear layer that gives the classes. Default: head.")
    ] = None,
    new_head: Annotated[
        str | None, typer.Option("--new-head", help="Take no head: start an untrained one, such as pose.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option("--mean", help="Mean by channel, of pixels from 0 to 1. Default: ImageNet's; events: 0."),
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", help="Deviation by channel. Default: ImageNet's; events: 1.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge-rep-conv", help="Make every RepConv the 3x3 convolution that it amounts to.")
    ] = False,
    entry: Annotated[
        str | None, typer.Option("--entry", help="Which network of the file, where it holds several.")
    ] = None,
) -> None:
    """Take the authors' weights (SpikeVideoFormer, Meta-SpikeFormer) as a float checkpoint.

    Reads tensors only; a file that asks for code to be run is refused. What was not used is listed.

    Example: `svf-edge import 15M_ham.pth -o runs/authors/float.safetensors`, then
    `svf-edge calibrate runs/authors/float.safetensors --clips videos/ -o runs/authors/model.safetensors`
    """
    from rich.console import Console
    from rich.markup import escape

    from svf_edge.files import sha256
    from svf_edge.importing.authors import Choices, import_state
    from svf_edge.importing.reading import read_state
    from svf_edge.model.network import parameter_count
    from svf_edge.model_store import save_model

    choices = Choices(
        frames=frames,
        frame_size=_size(frame_size),
        size=size,
        heads=heads,
        space_time=None if space_time is None else space_time.value,
        head=head,
        new_head=new_head,
        mean=_values("--mean", mean),
        std=_values("--std", std),
        merge=merge,
    )
    state = read_state(weights, entry)
    imported = import_state(state, choices)
    source = {"file": weights.name, "sha256": sha256(weights), "place": state.place, "unused": list(imported.unused)}
    save_model(imported.model, output, {"imported": {**source, "notes": list(imported.notes)}})
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{escape(str(output))}: {parameter_count(imported.model):,} parameters; {'; '.join(imported.notes)}")
    if imported.unused:
        shown = ", ".join(imported.unused[:_SHOWN]) + (", ..." if len(imported.unused) > _SHOWN else "")
        console.print(f"not used ({len(imported.unused)} tensors): {escape(shown)}")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise UnsupportedInput(f"--frame-size {text}: give height and width, such as 224x224")
    return int(match[1]), int(match[2])


def _values(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UnsupportedInput(f"{option} {text}: give numbers with commas between, such as 0.5,0.5,0.5") from error
