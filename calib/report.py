"""What calibration did, as JSON and as one HTML page that needs nothing but itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from svf_edge.calib.calibrate import Calibrated
from svf_edge.contract import WEIGHT_BITS
from svf_edge.errors import MissingPackage
from svf_edge.files import write_text


def calibration_record(
    result: Calibrated,
    *,
    checkpoint: str,
    source: str,
    clips: int,
    warnings: Sequence[str],
    seconds: float,
    metrics: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """The report as JSON-able entries; `metrics` holds accuracies of the float and the quantised model, if measured."""
    widths = list(result.bits.values())
    return {
        "checkpoint": checkpoint,
        "clips": {"source": source, "count": clips, "warnings": list(warnings)},
        "seconds": seconds,
        "fraction_bits": result.model.config.fraction_bits,
        "bytes": result.bytes,
        "layers_by_bits": {str(bits): widths.count(bits) for bits in WEIGHT_BITS},
        "divergence": result.difference.divergence,
        "flip_rate": result.difference.flip_rate,
        "metrics": {name: dict(values) for name, values in metrics.items()},
        "bits": dict(result.bits),
        "exponents": dict(result.exponents),
        "reconstruction_errors": dict(result.errors),
        "neurons": [
            {
                "layer": name,
                "flips": flips,
                "float_rate": result.float_rates[name],
                "rate": result.difference.rates[name],
            }
            for name, flips in result.difference.flips.items()
        ],
        "sensitivity": [dataclasses.asdict(cost) for cost in result.costs],
    }


def write_report(record: Mapping[str, Any], path: str | Path) -> tuple[Path, Path]:
    """Write `record` to `path`.json and `path`.html, atomically; returns both paths.

    Raises `MissingPackage` without jinja2.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingPackage("jinja2", "report") from error
    environment = Environment(
        loader=PackageLoader("svf_edge.calib", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(record=record, layers=_by_layer(record["sensitivity"]))
    json_path, html_path = Path(f"{path}.json"), Path(f"{path}.html")
    write_text(json_path, json.dumps(record, indent=2, sort_keys=True) + "\n")
    write_text(html_path, page)
    return json_path, html_path


def _by_layer(costs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the sensitivity table: a layer with its cost at each width, bars relative to the largest divergence."""
    largest = max((cost["divergence"] for cost in costs), default=1.0) or 1.0
    rows: dict[str, dict[str, Any]] = {}
    for cost in costs:
        row = rows.setdefault(cost["layer"], {"layer": cost["layer"], "at": {}})
        row["at"][cost["bits"]] = {**cost, "bar": 100 * cost["divergence"] / largest}
    return list(rows.values())
