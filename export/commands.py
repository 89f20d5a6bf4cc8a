"""`svf-edge export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    program: Annotated[Path, typer.Argument(help="Program made by `svf-edge freeze`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle folder to write.")] = Path("bundle"),
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="Target: onnx, executorch or tensorrt. Repeatable; default all."),
    ] = None,
    clip: Annotated[
        list[Path] | None, typer.Option("--clip", help="Video whose first frames become a golden vector. Repeatable.")
    ] = None,
    native: Annotated[
        list[Path] | None,
        typer.Option(
            "--native",
            help="Folder of native files for a device, such as kits/linux-aarch64, made by tools/device_kit.py. "
            "Repeatable.",
        ),
    ] = None,
    form: Annotated[
        Literal["clip", "stream"],
        typer.Option(help="clip: graphs take all frames of a clip. stream: one frame, and the state of a stream."),
    ] = "clip",
    bundled_program: Annotated[
        bool,
        typer.Option(
            "--bundled-program", help="Also write ExecuTorch programs with the golden clips inside, for its own tools."
        ),
    ] = False,
) -> None:
    """Export an integer program as a bundle: graphs, operator libraries, golden vectors.

    The exporters translate the program and never quantise again; a range proof of every accumulator comes first and
    refuses what a carrier could not hold exactly. Without --clip the golden vector is seeded noise.

    The bundle carries the operator libraries and svf-run as they were built on this machine; --native adds those of
    other platforms, with the runtimes they need.

    Example: `svf-edge export program.safetensors -o bundle --clip person.mp4 --native kits/linux-aarch64`
    """
    from rich.console import Console

    from svf_edge.export.bundle import LIBRARIES, write_bundle
    from svf_edge.export.golden import golden_clips
    from svf_edge.program import load_program

    console = Console()
    loaded = load_program(program)
    clips = golden_clips(loaded.frames, clip or [])
    with console.status("export") as status:
        bundle = write_bundle(
            loaded,
            output,
            clips,
            form=form,
            targets=to,
            native=native or (),
            typical=bool(clip),
            bundled_program=bundled_program,
            progress=lambda step: status.update(step),
        )
    for artefact in bundle.manifest.artefacts:
        size = bundle.manifest.files[artefact.path].size
        console.print(f"{artefact.runtime:12} {artefact.dialect:9} {size / 1e3:8.0f} kB  {output / artefact.path}")
    built = {library.name for library in bundle.manifest.libraries}
    platforms = sorted({library.platform for library in bundle.manifest.libraries})
    missing = [name for name in LIBRARIES if name not in built]
    if missing:
        console.print(f"[yellow]without operator libraries that were not built here:[/] {', '.join(missing)}")
    if all(artefact.dialect != "packed" for artefact in bundle.manifest.artefacts):
        console.print("[yellow]portable graphs only:[/] the packed operators do not take this program")
    console.print(f"bundle: {output} ({len(bundle.manifest.taps)} layers of spikes, golden: {', '.join(clips)})")
    if any(artefact.runtime == "tensorrt" for artefact in bundle.manifest.artefacts):
        console.print(f"on a machine with TensorRT: python3 {output}/tensorrt/run.py builds, compares and measures")
    console.print(f"native files for: {', '.join(platforms) or 'no platform'}")
