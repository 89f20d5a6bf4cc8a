"""The shipped network trained by way of its dense twin, the twin itself, and what fewer spikes cost.

    svf-edge train --recipe pose-mobile-s-dense -o RUN
    python -m benchmarks.pose_runs RUN

The twin shares the dense phase of RUN and goes on without neurons for as long; the targets share its image phase, in
which nothing is charged. Runs go to `out/pose-runs/`; one that is there is not repeated, and the result file is written
anew after every run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from svf_edge.files import write_text
from svf_edge.model_store import load_model
from svf_edge.runtimes.machine import machine
from svf_edge.training import train
from svf_edge.training_config import TrainConfig, load_train_config, recipe_path

RESULT = Path(__file__).parent / "results" / "pose_runs.json"
RECIPE = "pose-mobile-s-dense"
FOLDER = Path("out/pose-runs")
SPIKING = "neurons after the dense phase"
TWIN = "dense twin (ReLU)"
TARGETS = (None, 0.1, 0.08, 0.06, 0.04)
"""Charged rates; None charges nothing."""
CHARGE = 5.0
"""`rate_weight` of the targets: ten times the recipe's, so that rates move in so short a run."""
SHORTER = {
    "float_phase.epochs": 1,
    "float_phase.clips_per_epoch": 6144,
    "qat_phase.epochs": 1,
    "qat_phase.clips_per_epoch": 128,
}


def configurations(run: Path) -> Mapping[str, TrainConfig]:
    """What is trained, by name."""
    changes: dict[str, dict[str, Any]] = {TWIN: {"model.neuron": "relu", "fused_neurons": False}}
    for target in TARGETS:
        charge = {"rate_weight": 0} if target is None else {"rate_target": target, "rate_weight": CHARGE}
        start = {"dense_phase": None, "image_phase": None, "initial": str(run / "image.safetensors")}
        changes["no charge" if target is None else f"target {target:.2f}"] = {**start, **SHORTER, **charge}
    return {
        name: load_train_config(recipe_path(RECIPE), [f"{key}={json.dumps(value)}" for key, value in entries.items()])
        for name, entries in changes.items()
    }


def folder(name: str) -> Path:
    """Where a run goes."""
    return FOLDER / name.translate(str.maketrans(" ", "-", "()")).lower()


def main(
    run: Annotated[Path, typer.Argument(help="Run folder with dense.safetensors and image.safetensors.")],
    names: Annotated[list[str] | None, typer.Argument(help="Runs by name. Default: all.")] = None,
) -> None:
    """Train what is missing and write the result file."""
    configs = configurations(run)
    for name in names or configs:
        Console().print(name, highlight=False)
        target = folder(name)
        if configs[name].dense_phase is not None and not target.exists():
            target.mkdir(parents=True)
            shutil.copy(run / "dense.safetensors", target)
        train(configs[name], target)
        collect(run)


def collect(run: Path) -> None:
    """Write the result file from the runs that are finished."""
    dense = [row for row in _curve(run) if row["phase"] == "dense"]
    runs = [{"name": SPIKING, **_reached(run), "curve": _curve(run)}]
    for name, config in configurations(run).items():
        if (folder(name) / f"{_last(config)}.safetensors").exists():
            shared = dense if name == TWIN else []
            runs.append({"name": name, **_reached(folder(name)), "curve": [*shared, *_curve(folder(name))]})
    entries = {
        "spiking": SPIKING,
        "twin": TWIN,
        "machine": machine().model_dump(mode="json"),
        "runs": runs,
    }
    write_text(RESULT, json.dumps(entries, indent=1) + "\n")


def _last(config: TrainConfig) -> str:
    return "model" if config.model.neuron == "lif" else "float"


def _reached(run: Path) -> dict[str, Any]:
    """Metrics of the float network, and of the quantised one where there is one."""
    reached = {}
    for stage in ("float", "model"):
        path = run / f"{stage}.safetensors"
        if path.exists():
            _, meta = load_model(path)
            reached[stage] = meta["metrics"]
    return reached


def _curve(run: Path) -> list[dict[str, Any]]:
    """PCK and rate after every epoch, with the frames that it showed."""
    recorded = TrainConfig.model_validate_json((run / "config.json").read_text(encoding="utf-8"))
    rows = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["epochs"]
    return [
        {
            "phase": row["phase"],
            "frames": recorded.phases[row["phase"]].clips_per_epoch
            * (1 if row["phase"] in ("dense", "image") else recorded.model.frames),
            "pck@0.1": row["val/pck@0.1"],
            "pck@0.2": row["val/pck@0.2"],
            "firing_rate": row["val/firing_rate"],
        }
        for row in rows
    ]


if __name__ == "__main__":
    typer.run(main)
