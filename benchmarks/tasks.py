"""What the small recipes of each task reach, with several levels of spikes and with binary ones, at equal budgets.

    python -m benchmarks.tasks [NAME ...]

Every run is a recipe as it is or with a few things changed, trained into `out/tasks/`; one that is there is not
repeated. Classes of clips are learnt on the backbone that learnt to tell parts of a body, and once without. The integer
program is evaluated on held-out rendered clips. The result file is written anew from all runs that are finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from svf_edge.errors import UnsupportedInput
from svf_edge.files import write_text
from svf_edge.model_store import load_model
from svf_edge.program.freeze import freeze
from svf_edge.runtimes.energy.counts import count, spikes_at
from svf_edge.runtimes.evaluation import evaluate_model
from svf_edge.runtimes.machine import machine
from svf_edge.training import train
from svf_edge.training_config import TrainConfig, load_train_config, recipe_path

RESULT = Path(__file__).parent / "results" / "tasks.json"
FOLDER = Path("out/tasks")
CLIPS: Final = 500
BINARY: Final = {"model.levels": 1, "model.norm_gain": 2}
"""A binary spike wants half the gain (docs/experiments.md)."""


@dataclass(frozen=True)
class Variant:
    """A recipe with entries that differ, by dotted path."""

    recipe: str
    name: str
    changes: Mapping[str, Any]


VARIANTS = (
    Variant("parts-small", "levels 0 to 3", {}),
    Variant("parts-small", "binary", BINARY),
    Variant("action-small", "levels 0 to 3", {"initial": "out/tasks/parts-small-levels-0-to-3/float.safetensors"}),
    Variant("action-small", "binary", {**BINARY, "initial": "out/tasks/parts-small-binary/float.safetensors"}),
    Variant("action-small", "levels 0 to 3, nothing lent", {}),
)


def configuration(variant: Variant) -> TrainConfig:
    """The recipe with the variant's changes."""
    return load_train_config(
        recipe_path(variant.recipe), [f"{key}={json.dumps(value)}" for key, value in variant.changes.items()]
    )


def folder(variant: Variant) -> Path:
    """Where the variant is trained."""
    return FOLDER / f"{variant.recipe}-{variant.name}".replace(" ", "-").replace(",", "")


def result(variant: Variant) -> dict[str, Any]:
    """What a finished run reached: its curve, its integer program on held-out clips, and what a clip costs."""
    path = folder(variant) / "model.safetensors"
    model, meta = load_model(path)
    report = evaluate_model(path, runtime="onnxruntime packed", clips=CLIPS).report
    program = freeze(model)
    work = count(program, spikes_at(program, meta["firing_rates"]))
    rows = json.loads((folder(variant) / "metrics.json").read_text(encoding="utf-8"))["epochs"]
    return {
        "recipe": variant.recipe,
        "variant": variant.name,
        "headline": report.headline,
        "scores": {name: score.model_dump() for name, score in report.scores.overall.items()},
        "baselines": {
            name: {metric: score.value for metric, score in scores.items()} for name, scores in report.baselines.items()
        },
        "advantage": report.advantage[report.headline].model_dump(),
        "clips": report.clips,
        "description": report.description,
        "float": meta["float"],
        "spikes_per_neuron": work.rate,
        "additions": work.additions,
        "macs": work.macs,
        "curve": [
            {
                "phase": row["phase"],
                "step": row["step"],
                "loss": row["loss"],
                "reached": row[f"val/{report.headline}"],
            }
            for row in rows
        ],
        "seconds": meta["training_seconds"],
    }


def main(names: Annotated[list[str] | None, typer.Argument(help="Recipes. Default: all.")] = None) -> None:
    """Train what is missing and write the result file."""
    known = {variant.recipe for variant in VARIANTS}
    if names and not set(names) <= known:
        raise UnsupportedInput(f"unknown recipe among {', '.join(names)}; there are {', '.join(sorted(known))}")
    for variant in VARIANTS:
        if not names or variant.recipe in names:
            Console().print(f"{variant.recipe}: {variant.name}", highlight=False)
            train(configuration(variant), folder(variant))
    collect()


def collect() -> None:
    """Write the result file from the runs that are finished."""
    done = [variant for variant in VARIANTS if (folder(variant) / "model.safetensors").exists()]
    entries = {"machine": machine().model_dump(mode="json"), "runs": [result(variant) for variant in done]}
    write_text(RESULT, json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
