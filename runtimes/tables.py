"""Results as tables for people. Explanations stand under a table, so that it fits a narrow terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from svf_edge.runtimes.latency import BenchReport, VariantBench
from svf_edge.runtimes.parity import ParityReport, RuntimeParity

_COLOURS = {
    "equal": "green",
    "good": "green",
    "differs": "bold red",
    "failed": "bold red",
    "vacuous": "yellow",
    "yardstick": "dim",
    "noisy": "yellow",
    "throttled": "yellow",
    "not run": "dim",
    "emulated": "dim",
}
_PARITY = ("spikes\nM", "differ", "outputs")
_SIZE = ("file\nkB", "peak\nMiB")


def millions(count: int) -> str:
    """A count in millions."""
    return f"{count / 1e6:.2f}"


def kilobytes(size: int) -> str:
    """A file size in kB."""
    return f"{size / 1e3:,.0f}"


def mebibytes(size: int) -> str:
    """An amount of memory in MiB."""
    return f"{size / 2**20:,.0f}"


def milliseconds(value: float) -> str:
    """A time in ms, with three or four digits that mean something."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def parity_table(report: ParityReport) -> Table:
    """One row a runtime: spikes compared, spikes differing, outputs, verdict."""
    notes = [f"clips: {', '.join(report.clips)}", *_parity_notes(report)]
    table = runtime_table("Parity with the reference", _PARITY, "verdict", notes)
    for entry in report.runtimes:
        table.add_row(entry.runtime, *_parity_cells(entry), coloured(entry.verdict))
    return table


def bench_tables(report: BenchReport) -> Group:
    """Run times, then cold start, sizes and outputs; one row a runtime each."""
    times = runtime_table("Latency of one clip, ms", ("min", "p50", "p90", "p99", "max", "vary"), "measured", [])
    notes = [*conditions(report), *_bench_notes(report.variants)]
    rest = runtime_table("Cold start, ms, and size", ("import", "load", "first\nrun", *_SIZE), "outputs", notes)
    for variant in report.variants:
        found = variant.measurement
        if found is None:
            word = coloured("failed" if variant.failure else "not run")
            times.add_row(variant.runtime, *["-"] * 6, word)
            rest.add_row(variant.runtime, *["-"] * 5, "-")
            continue
        stats = found.distribution
        cells = [milliseconds(value) for value in (stats.min, stats.p50, stats.p90, stats.p99, stats.max)]
        times.add_row(variant.runtime, *cells, f"{stats.variation:.0%}", coloured(found.judgement[0]))
        cells = [milliseconds(value) for value in (found.import_ms, found.load_ms, found.first_run_ms)]
        cells += [kilobytes(found.file_bytes), mebibytes(found.peak_memory)]
        exact = {True: "exact", False: "[bold red]differ[/]", None: "unchecked"}[found.outputs_exact]
        rest.add_row(variant.runtime, *cells, exact)
    return Group(times, rest)


def summary_table(parity: ParityReport, bench: BenchReport) -> Table:
    """Parity and latency side by side, one row a runtime."""
    notes = [f"clips: {', '.join(parity.clips)}", *conditions(bench), *_parity_notes(parity)]
    notes += _bench_notes(variant for variant in bench.variants if variant.reason is None)
    headings = (*_PARITY, "p50\nms", "p90\nms", "p99\nms", *_SIZE)
    table = runtime_table("Every runtime against the reference", headings, "verdict", notes)
    measured = {variant.runtime: variant.measurement for variant in bench.variants}
    for entry in parity.runtimes:
        found = measured.get(entry.runtime)
        cells = ["-"] * 5
        if found is not None:
            stats = found.distribution
            cells = [milliseconds(value) for value in (stats.p50, stats.p90, stats.p99)]
            cells += [kilobytes(found.file_bytes), mebibytes(found.peak_memory)]
        table.add_row(entry.runtime, *_parity_cells(entry), *cells, coloured(entry.verdict))
    return table


def conditions(report: BenchReport) -> list[str]:
    """Where and how a measurement was taken, in words."""
    machine = report.machine
    threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
    lines = [f"{machine.cpu}, {machine.cores} cores, {threads}, {report.when}"]
    return [*lines, report.busy] if report.busy else lines


def runtime_table(title: str, headings: Iterable[str], last: str, notes: Sequence[str]) -> Table:
    """An empty table with a row for every runtime: its name, numbers under `headings`, and `last`; notes below."""
    table = plain_table(title, notes)
    table.add_column("runtime", min_width=11)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(last, no_wrap=True)
    return table


def plain_table(title: str, notes: Sequence[str]) -> Table:
    """A table without columns, with notes below."""
    return Table(
        title=escape(title),
        caption=escape("\n".join(notes)) or None,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
    )


def _parity_cells(entry: RuntimeParity) -> tuple[str, str, str]:
    if not entry.clips or entry.verdict == "yardstick":
        return "-", "-", "-"
    differing = "0" if not entry.differing else f"[bold red]{entry.differing}[/]"
    return millions(entry.compared), differing, "exact" if entry.outputs_exact else "[bold red]differ[/]"


def coloured(word: str) -> str:
    """A verdict or judgement in its colour."""
    return f"[{_COLOURS[word]}]{word}[/]"


def _parity_notes(report: ParityReport) -> list[str]:
    wordless = ("equal", "differs", "vacuous")
    notes = [str(entry) for entry in report.runtimes if entry.verdict not in wordless]
    return [*([report.activity] if report.activity else []), *notes]


def _bench_notes(variants: Iterable[VariantBench]) -> list[str]:
    notes = []
    for variant in variants:
        if variant.measurement is None:
            notes.append(f"{variant.runtime}: {variant.failure or f'not run: {variant.reason}'}")
            continue
        judgement, reasons = variant.measurement.judgement
        if reasons:
            notes.append(f"{variant.runtime}: measurement is {judgement}: {'; '.join(reasons)}")
    return notes
