"""The numbers of a run as a table for people."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from svf_edge.runtimes.tables import mebibytes, milliseconds
from svf_edge.runtimes.tracking.measures import Spread, Summary

AGE = "age when drawn"
AGE_UNDRAWN = "age of the joints"


def rows(summary: Summary) -> list[tuple[str, Spread]]:
    """The age, then the stages that make it up, in order."""
    age = [(AGE if summary.drawn else AGE_UNDRAWN, summary.age_ms)] if summary.age_ms is not None else []
    return [*age, *summary.stages_ms.items()]


def sentences(summary: Summary) -> list[str]:
    """Everything that is no distribution."""
    found = f"{summary.found / summary.frames:.0%}" if summary.frames else "none"
    lines = [
        f"{summary.frames} frames tracked in {summary.seconds:.1f} s ({summary.frames_per_second:.1f} a second), "
        f"{summary.dropped} dropped, {summary.damaged} damaged; a person found in {found}",
        f"{summary.runtime}, {summary.threads} thread{'s' if summary.threads > 1 else ''}; {summary.cpu_cores:.2f} "
        f"cores ({summary.cpu_share:.0%} of the machine), {mebibytes(summary.peak_memory)} MiB at most",
    ]
    if summary.jitter is not None:
        smoothing = "no smoothing" if summary.smoothing is None else "smoothed"
        lines.append(
            f"jitter {summary.jitter.shown_px:.2f} px/frame² shown ({smoothing}), {summary.jitter.raw_px:.2f} raw; of "
            "a person at rest all of it is noise"
        )
    return [*lines, f"ended: {summary.ended}"]


def summary_table(summary: Summary) -> Group:
    """Ages and stages as a table, the rest below it."""
    table = Table(title=escape(summary.source), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("ms")
    for name in ("p50", "p90", "p99", "max"):
        table.add_column(name, justify="right")
    for name, spread in rows(summary):
        table.add_row(name, *map(milliseconds, (spread.p50, spread.p90, spread.p99, spread.max)))
    return Group(table, *map(Text, sentences(summary)))
