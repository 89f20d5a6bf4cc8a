"""Gathers what a report shows and fills the template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from svf_edge.errors import MissingPackage, UnsupportedInput
from svf_edge.files import atomic_write, write_text
from svf_edge.runtimes.base import fingerprint
from svf_edge.runtimes.energy.counts import Counts, count, spikes_at
from svf_edge.runtimes.energy.report import report_of
from svf_edge.runtimes.latency import BenchReport
from svf_edge.runtimes.parity import ParityReport, RuntimeParity
from svf_edge.runtimes.report import plots
from svf_edge.runtimes.tables import conditions, kilobytes, mebibytes, millions, milliseconds
from svf_edge.runtimes.tracking.measures import Summary
from svf_edge.runtimes.tracking.report import rows as tracking_rows
from svf_edge.runtimes.tracking.report import sentences

if TYPE_CHECKING:
    import jinja2

    from svf_edge.export.bundle import Bundle
    from svf_edge.tasks.decoding import Read

_VERDICTS = {
    True: ("pass", "Same spikes on every runtime that ran"),
    False: ("fail", "Parity is not shown"),
}


def write_report(
    bundle: Bundle,
    parity: ParityReport,
    bench: BenchReport,
    path: str | Path,
    *,
    notes: Sequence[str] = (),
    tracked: Summary | None = None,
) -> None:
    """Write an HTML page to `path` and its JSON beside it (`.json`), each atomically.

    The page has its styles, plots and pictures inside and asks for nothing over the network. `notes` are further
    sentences to show under the summary, such as what a runtime that did not run was seen to do. `tracked` is a run of
    `svf-edge track` to show.

    Raises `MissingPackage` without jinja2 or matplotlib, and `UnsupportedInput` when no runtime was compared,
    a result is of another bundle, or `path` is that of the JSON.
    """
    path = Path(path)
    beside = json_beside(path)
    for result in (parity, bench, *((tracked,) if tracked is not None else ())):
        if result.fingerprint != fingerprint(bundle):
            raise UnsupportedInput(
                f"a result of {result.bundle} is not one of {bundle.folder} as it is now; run it again"
            )
    rates = firing_rates(parity)
    program = bundle.program()
    counts = count(program, spikes_at(program, rates))
    cost = report_of(counts, bundle.folder.name, tuple(entry.name for entry in bundle.manifest.golden))
    samples = {variant.runtime: variant.measurement.samples for variant in bench.variants if variant.measurement}
    page = _template().render(
        bundle=bundle,
        manifest=bundle.manifest,
        parity=parity,
        bench=bench,
        verdict=_VERDICTS[bool(parity)],
        figures=_figures(parity, bench, counts),
        notes=notes,
        groups=layer_groups([tap.layer for tap in bundle.manifest.taps]),
        matrix=matrix(parity, bundle),
        latency_plot=plots.latency_plot(samples) if samples else "",
        rates_plot=plots.rates_plot(rates),
        frames=_frames(bundle),
        card=_card(bundle.manifest.model),
        work=counts,
        energy=cost,
        conditions=conditions(bench),
        tracked=None if tracked is None else (tracking_rows(tracked), sentences(tracked)),
        measured={variant.runtime: variant for variant in bench.variants},
    )
    document = {
        "parity": parity.model_dump(mode="json"),
        "bench": bench.model_dump(mode="json"),
        "firing_rates": rates,
        "energy": cost.model_dump(mode="json"),
        "model": bundle.manifest.model,
        "notes": list(notes),
        "tracking": None if tracked is None else tracked.model_dump(mode="json"),
    }
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_text(beside, json.dumps(document, indent=1) + "\n")


def json_beside(page: Path) -> Path:
    """Where the JSON of `page` goes. Raises `UnsupportedInput` for a page that it would replace."""
    path = page.with_suffix(".json")
    if path == page:
        raise UnsupportedInput(f"{page}: the JSON is written beside the page under this name; call the page .html")
    return path


def firing_rates(parity: ParityReport) -> dict[str, float]:
    """Spikes per neuron, time step and level of every layer, over all clips, as the reference fired them."""
    source = next((entry for entry in parity.runtimes if entry.clips), None)
    if source is None:
        raise UnsupportedInput("no runtime was compared, so there is nothing to report; add --runtime reference")
    fired: dict[str, int] = {}
    total: dict[str, int] = {}
    for clip in source.clips:
        for layer in clip.layers:
            fired[layer.layer] = fired.get(layer.layer, 0) + layer.fired
            total[layer.layer] = total.get(layer.layer, 0) + layer.size
    return {layer: fired[layer] / total[layer] for layer in total}


def layer_groups(layers: Sequence[str]) -> dict[str, list[str]]:
    """Layers by the block they belong to: the longest name prefix that makes at most 12 groups."""
    for depth in (3, 2, 1):
        groups: dict[str, list[str]] = {}
        for layer in layers:
            parts = layer.split(".")
            groups.setdefault(".".join(parts[: min(depth, max(len(parts) - 1, 1))]), []).append(layer)
        if len(groups) <= 12:
            break
    return groups


def matrix(parity: ParityReport, bundle: Bundle) -> dict[str, dict[str, tuple[int, int]]]:
    """Spikes compared and differing by runtime and layer group."""
    groups = layer_groups([tap.layer for tap in bundle.manifest.taps])
    return {
        entry.runtime: {name: _sums(entry, set(group)) for name, group in groups.items()} for entry in parity.runtimes
    }


def _sums(entry: RuntimeParity, group: set[str]) -> tuple[int, int]:
    layers = [layer for clip in entry.clips for layer in clip.layers if layer.layer in group]
    return sum(layer.compared for layer in layers), sum(layer.differing for layer in layers)


def _figures(parity: ParityReport, bench: BenchReport, counts: Counts) -> list[tuple[str, str]]:
    """The few numbers that stand at the top."""
    others = [entry for entry in parity.runtimes if entry.runtime != "reference" and entry.clips]
    figures = [
        (millions(sum(entry.compared for entry in others)) + " M", f"spikes compared on {len(others)} runtimes"),
        (f"{sum(entry.differing for entry in others):,}", "spikes differ"),
    ]
    timed = [v for v in bench.variants if v.measurement and v.runtime != "reference"]
    if timed:
        best = min(timed, key=lambda v: v.measurement.distribution.p50 if v.measurement else 0.0)
        assert best.measurement is not None
        figures.append((f"{milliseconds(best.measurement.distribution.p50)} ms", f"median, {best.runtime}"))
        figures.append((f"{kilobytes(best.measurement.file_bytes)} kB", f"graph, {best.runtime}"))
    figures.append((f"{counts.packed_share:.0%}", "of the work is on packed spikes"))
    return figures


def _frames(bundle: Bundle) -> list[tuple[str, str]]:
    """Golden clips, with what their outputs stand for where the model's head is known."""
    pictures = []
    for entry in bundle.manifest.golden[:3]:
        clip, outputs = bundle.golden(entry.name)
        pictures.append((entry.name, plots.frames_image(clip, _read(bundle, outputs), _classes(bundle))))
    return pictures


def _read(bundle: Bundle, outputs: Mapping[str, Any]) -> Read | None:
    """What the output stands for, where the model's meta, which may hold anything, describes a head that fits it."""
    from svf_edge.model.config import AnyHead, Head
    from svf_edge.tasks.decoding import read

    model = bundle.manifest.model.get("model")
    described = model.get("head") if isinstance(model, Mapping) else None
    try:
        head: AnyHead = TypeAdapter(Head).validate_python(described)
    except ValidationError:
        return None
    spec = bundle.manifest.outputs[0]
    if spec.shape[1] != head.scores or (head.kind != "segmentation" and spec.shape[2:] != (1, 1)):
        return None
    _steps, _channels, height, width = bundle.manifest.frames.shape
    return read(outputs[spec.name].reshape(spec.shape), head, (height, width), spec.exponent)


def _classes(bundle: Bundle) -> tuple[str, ...]:
    """The names of the model's classes, where its meta holds them."""
    names = bundle.manifest.model.get("classes")
    return tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else ()


def _card(meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The program's meta as rows, what it reaches first; firing rates have a plot of their own."""
    first = {key: meta[key] for key in ("metrics",) if key in meta}
    return _flatten({**first, **{key: value for key, value in meta.items() if key != "firing_rates"}})


def _flatten(card: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in card.items():
        name = f"{prefix}{key}".replace("_", " ")
        if prefix and key == "model":
            continue  # the configuration again, as part of the training's
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{name} / ")
        elif isinstance(value, float):
            rows.append((name, f"{value:.4g}"))
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(map(str, value))))
        elif value is not None:
            rows.append((name, str(value)))
    return rows


def _template() -> jinja2.Template:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingPackage("jinja2", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(millions=millions, kilobytes=kilobytes, mebibytes=mebibytes, milliseconds=milliseconds)
    return environment.get_template("template.html.j2")
