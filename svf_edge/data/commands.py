"""Commands for data sets: `svf-edge data check`, `svf-edge data shard` and `svf-edge data write`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from svf_edge.errors import UnsupportedInput

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from svf_edge.data.sample import Sample

_HELP: Final = """Look at data sets and write them.

Example: `svf-edge data write coco /tmp/recordings`
"""

data = typer.Typer(name="data", help=_HELP, no_args_is_help=True)

Kind = Literal["coco", "mmhpsd", "eventhpe", "dhp19", "kinetics", "cityscapes", "vspw", "cached", "shards"]
Layout = Literal["coco", "coco-images", "mmhpsd", "eventhpe", "dhp19", "kinetics", "cityscapes", "vspw"]

_SHOWN: Final = 50
"""Problems that are printed for each split; the number of all is always said."""


@data.command("check")
def check(
    kind: Annotated[Kind, typer.Argument(help="Format of the data set.")],
    folder: Annotated[Path, typer.Argument(help="Its folder.")],
    annotations: Annotated[
        Path | None, typer.Option("--annotations", "-a", help="Key points (coco). Default: FOLDER/annotations.json.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="KEY=VALUE of the data source, as in a training configuration; repeatable."),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of a clip.")] = 8,
    size: Annotated[str, typer.Option("--size", help="Height and width of a clip.")] = "128x128",
) -> None:
    """Read a whole data set; print what is there and every problem. Ends with 1 if there is one.

    Example: `svf-edge data check coco recordings/videos -a recordings/annotations.json`
    """
    from svf_edge.data.check import check as walk
    from svf_edge.data.source import parse_source

    entries: dict[str, Any] = {"kind": kind, "folder": str(folder), **_options(option or [])}
    if kind == "coco":
        entries.setdefault("annotations", str(annotations or folder / "annotations.json"))
    elif annotations is not None:
        raise UnsupportedInput(f"--annotations is for coco; {kind} has its labels in its own files")
    reports = walk(parse_source(entries), frames, _size(size))
    labels = ("joints in frame", "visible", "with 3-D", "classes", "pixels with class")
    table = Table("split", "clips", "readable", *labels, "values not 0", "problems")
    for report in reports:
        joints = [f"{report.share(count):.1%}" for count in (report.inside, report.visible, report.solid)]
        pixels = [str(len(report.classes)), f"{report.covered:.1%}", f"{report.density:.1%}"]
        row = (report.split, str(report.clips), str(report.readable), *joints, *pixels, str(len(report.problems)))
        table.add_row(*row)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for report in reports:
        for note in report.notes:
            console.print(f"[yellow]note[/] ({report.split}):", escape(note))
        for problem in report.problems[:_SHOWN]:
            console.print(f"[red]problem[/] ({report.split}):", escape(problem))
        if len(report.problems) > _SHOWN:
            console.print(f"[red]and {len(report.problems) - _SHOWN} more[/] ({report.split})")
    if any(report.problems for report in reports):
        raise typer.Exit(1)


@data.command("shard")
def shard(
    kind: Annotated[
        Literal["coco", "mmhpsd", "kinetics", "cityscapes", "vspw", "cached", "synthetic"],
        typer.Argument(help="Format of the data set."),
    ],
    source: Annotated[Path, typer.Argument(help="Its folder (for synthetic: anything).")],
    output: Annotated[Path, typer.Argument(help="Folder of the shards.")],
    annotations: Annotated[
        Path | None, typer.Option("--annotations", "-a", help="Key points (coco). Default: SOURCE/annotations.json.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="KEY=VALUE of the data source, as in a training configuration; repeatable."),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of a clip.")] = 8,
    size: Annotated[str, typer.Option("--size", help="Height and width of a clip.")] = "128x128",
    per_shard: Annotated[int, typer.Option("--per-shard", min=1, help="Clips in a shard.")] = 1000,
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Of the JPEG pictures.")] = 95,
    part: Annotated[
        str, typer.Option("--part", help="I/N: this process writes every N-th shard, from the I-th on.")
    ] = "0/1",
) -> None:
    """Cut a data set into tar files that many processes read well; what is there already stays.

    Example: `svf-edge data shard coco recordings/videos /data/shards -a recordings/annotations.json --size 224x224`
    """
    from svf_edge.data.formats.clips import SPLITS
    from svf_edge.data.shards import Description, write_shards
    from svf_edge.data.source import parse_source

    entries: dict[str, Any] = {"kind": kind, **_options(option or [])}
    if kind != "synthetic":
        entries["folder"] = str(source)
    if kind == "coco":
        entries.setdefault("annotations", str(annotations or source / "annotations.json"))
    height, width = _size(size)
    opened = parse_source(entries)
    if opened.channels != 3:
        raise UnsupportedInput(f"clips of {opened.channels} channels: shards hold RGB; keep event files as they are")
    clips = {split: opened.clips(split, frames, (height, width), 0) for split in SPLITS}
    counts = {split: len(of) for split, of in clips.items()}  # type: ignore[arg-type]
    description = Description(
        frames=frames,
        height=height,
        width=width,
        per_shard=per_shard,
        quality=quality,
        clips=counts,
        source=opened.model_dump(mode="json"),
    )
    written = write_shards(clips, output, description, _part(part))
    total = sum(description.shards(split) for split in SPLITS)
    Console(highlight=False, soft_wrap=True).print(
        f"{output}: {written} of {total} shards written, {' and '.join(f'{n} {split}' for split, n in counts.items())} "
        f"clips in all; train with data: {{kind: shards, folder: {output}}}"
    )


@data.command("write")
def write(
    layout: Annotated[Layout, typer.Argument(help="Format to write.")],
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    clips: Annotated[int, typer.Option("--clips", min=1, help="Rendered clips.")] = 4,
    frames: Annotated[int, typer.Option("--frames", min=2, help="Frames of a clip.")] = 16,
    size: Annotated[str, typer.Option("--size", help="Height and width of a clip.")] = "128x128",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed gives other clips.")] = 0,
) -> None:
    """Render clips and write them as a data set, to see the layout or to try a set-up without the real files.

    Example: `svf-edge data write mmhpsd /tmp/mmhpsd --clips 4`
    """
    from svf_edge.data.synthetic import Motions, SyntheticPoseDataset

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UnsupportedInput(f"{folder}: exists and is not an empty folder; give a new one")
    motions: Motions = "classes" if layout == "kinetics" else "split"
    _write(layout, SyntheticPoseDataset("train", clips, frames, _size(size), seed, motions), folder)
    kind = layout.removesuffix("-images")
    where = folder / ("images" if layout == "coco-images" else "videos") if kind == "coco" else folder
    labels = f" -a {folder / 'annotations.json'}" if kind == "coco" else ""
    Console(highlight=False, soft_wrap=True).print(
        f"{folder}: {clips} clips of {frames} frames; look at them with `svf-edge data check {kind} {where}{labels}`"
    )


def _write(layout: Layout, clips: Dataset[Sample], folder: Path) -> None:
    if layout in ("coco", "coco-images"):
        from svf_edge.data.formats.coco import write_coco

        write_coco(clips, folder, images=layout == "coco-images")
    elif layout == "mmhpsd":
        from svf_edge.data.formats.mmhpsd import write_mmhpsd

        write_mmhpsd(clips, folder)
    elif layout == "eventhpe":
        from svf_edge.data.formats.eventhpe import write_eventhpe

        write_eventhpe(clips, folder)
    elif layout == "dhp19":
        from svf_edge.data.formats.dhp19 import write_dhp19

        write_dhp19(clips, folder)
    elif layout == "kinetics":
        from svf_edge.data.formats.kinetics import write_kinetics
        from svf_edge.data.mocap import MOTION_NAMES

        write_kinetics(clips, folder, MOTION_NAMES)
    elif layout == "cityscapes":
        from svf_edge.data.formats.cityscapes import write_cityscapes

        write_cityscapes(clips, folder)
    else:
        from svf_edge.data.formats.vspw import write_vspw

        write_vspw(clips, folder)


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not int(match[1]) < int(match[2]):
        raise UnsupportedInput(f"--part {text}: give I/N with I below N, such as 0/8")
    return int(match[1]), int(match[2])


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise UnsupportedInput(f"--size {text}: give height and width, such as 128x128")
    return int(match[1]), int(match[2])


def _options(pairs: list[str]) -> dict[str, Any]:
    """Entries from KEY=VALUE; values are JSON where they can be, else text."""
    entries: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UnsupportedInput(f"--option {pair}: write KEY=VALUE, such as --option val_share=0")
        try:
            entries[key] = json.loads(value)
        except ValueError:
            entries[key] = value
    return entries
