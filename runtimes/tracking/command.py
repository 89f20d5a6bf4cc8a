"""`svf-edge track`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.tracking.pipeline import Outputs
    from svf_edge.runtimes.tracking.tracker import PoseTracker


def track(
    source: Annotated[
        str,
        typer.Argument(
            help="Camera index or device, video file, folder of images, or URL (rtsp, http).", show_default=False
        ),
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", "-b", help="Bundle folder. Default: the shipped model, exported once.", show_default=False
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime", "-r", help='Runtime, e.g. "onnxruntime packed". Default: the best.', show_default=False
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    save: Annotated[
        Path | None, typer.Option("--save", help="Save the drawn frames as a video (.mp4).", show_default=False)
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", help='Write a JSON line a frame, and a summary; "-" is standard output.'),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    serve: Annotated[
        str | None,
        typer.Option("--serve", metavar="[HOST:]PORT", help="Show a live page instead of a window."),
    ] = None,
    realtime: Annotated[
        bool | None,
        typer.Option(
            "--realtime/--every-frame",
            help="Play a file at its own speed and drop what comes too fast, or track all of it. Default: all of it "
            "when nobody watches.",
            show_default=False,
        ),
    ] = None,
    smooth: Annotated[bool, typer.Option("--smooth/--no-smooth", help="One-Euro smoothing of the joints.")] = True,
    min_cutoff: Annotated[float, typer.Option(help="One-Euro: cut-off at rest in Hz; lower is smoother.")] = 1.0,
    beta: Annotated[float, typer.Option(help="One-Euro: how much speed raises it; higher lags less.")] = 4.0,
) -> None:
    """Track the pose of one person in real time: overlay window, video, JSON lines or a live page.

    The newest frame is tracked and older ones are dropped and counted, so what you see is never far behind. Ends with
    the numbers of the run. q, Escape or Ctrl-C stop it; what was to be saved is saved.

    Example: `svf-edge track person.mp4 --save overlay.mp4 --headless`
    """
    from rich.console import Console

    from svf_edge.runtimes.tracking.capture import Capture
    from svf_edge.runtimes.tracking.pipeline import INTERRUPTED, Run
    from svf_edge.runtimes.tracking.report import summary_table
    from svf_edge.runtimes.tracking.smoothing import OneEuro
    from svf_edge.runtimes.tracking.sources import open_source
    from svf_edge.runtimes.tracking.tracker import PoseTracker

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    smoothing = OneEuro(min_cutoff, beta) if smooth else None
    opened = open_source(source)
    watched = serve is not None or not headless
    every = not opened.live and not (watched if realtime is None else realtime)
    with ExitStack() as stack:
        tracker = stack.enter_context(PoseTracker(_bundle(bundle, console), runtime, threads))
        outputs = _outputs(stack, console, tracker, threads, save, json, headless, serve)
        run = Run(tracker, Capture(opened, every=every), threads, every, smoothing, outputs)
        summary = run.until_the_end()
    console.print(summary_table(summary))
    for path in (save, json):
        if path not in (None, "-"):
            console.print(f"wrote {path}")
    if summary.ended == INTERRUPTED and not opened.live:
        raise typer.Exit(130)


def _bundle(path: Path | None, console: Console) -> Bundle:
    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.tracking.shipped_bundle import shipped_bundle

    if path is not None:
        return Bundle.open(path)
    with console.status("the shipped model") as status:
        return shipped_bundle(status.update)


def _outputs(
    stack: ExitStack,
    console: Console,
    tracker: PoseTracker,
    threads: int,
    save: Path | None,
    json: str | None,
    headless: bool,
    serve: str | None,
) -> Outputs:
    """Open what was asked for; a window where nothing else shows the result and a screen is there."""
    from svf_edge.runtimes.tracking.json_lines import JsonLines
    from svf_edge.runtimes.tracking.pipeline import Outputs
    from svf_edge.runtimes.tracking.recorder import Recorder

    outputs = Outputs()
    if serve is None and not headless:
        from svf_edge.runtimes.tracking.window import Window

        outputs.window = Window("svf-edge track")
        stack.callback(outputs.window.close)
    if serve is not None:
        from svf_edge.runtimes.tracking.page import LivePage

        outputs.page = stack.enter_context(LivePage(serve, tracker.bundle, tracker.runtime, threads))
        console.print(f"live page: {outputs.page.url}", markup=False)
    if save is not None:
        outputs.record = Recorder(save)
    if json is not None:
        outputs.json = JsonLines(json)
        stack.callback(outputs.json.release)
    return outputs
