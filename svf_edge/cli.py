"""The `svf-edge` command line.

Every folder owns its commands and announces them as entry points of the group `svf_edge.commands`; this module only
collects them, so nothing here imports upward.
"""

from __future__ import annotations

import signal
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import svf_edge
from svf_edge.errors import SvfError

GROUP = "svf_edge.commands"
ORDER = (
    "data",
    "train",
    "import",
    "calibrate",
    "eval",
    "freeze",
    "export",
    "parity",
    "bench",
    "report",
    "energy",
    "devices",
    "demo",
    "track",
)

_HELP = """Take SpikeVideoFormer from training to a Jetson or a phone, with the same spikes everywhere.

The usual way: train -> freeze -> export -> parity, bench, report. `svf-edge demo` runs all of it on the shipped
model and clip; `svf-edge track` shows the shipped model on a camera or a video.
"""


def build_app() -> typer.Typer:
    """The application with every installed command."""
    app = typer.Typer(
        name="svf-edge",
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(
        traceback: Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of an error.")] = False,
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
        ] = False,
    ) -> None:
        """Options of every command; `main` takes --traceback from anywhere in the arguments."""

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for name in sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        command = found[name].load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    """Run the command line; an error becomes one sentence on standard error and exit code 1; Ctrl-C ends with 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: half-made folders are removed
    arguments = [word for word in sys.argv[1:] if word != "--traceback"]
    try:
        build_app()(arguments)
    except (SvfError, OSError) as error:
        if "--traceback" in sys.argv:
            raise
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print("[bold red]error:[/]", escape(_sentence(error)))
        sys.exit(1)


def _sentence(error: SvfError | OSError) -> str:
    if isinstance(error, SvfError):
        return str(error)
    where = error.filename if error.filename is not None else "reading or writing"
    return f"{where}: {error.strerror or error}; check the path, its permissions and the free space"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"svf-edge {svf_edge.__version__}")
        raise typer.Exit
