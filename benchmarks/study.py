"""What makes the pose network learn: attention, levels, firing rates, and its dense twin, at equal budgets.

    python -m benchmarks.study [GROUP ...]

Every run is the recipe below with one thing changed, trained into `out/study/`; a run that is there is not repeated, so
the study goes on where it was stopped. The result file is written anew after every run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from svf_edge.errors import UnsupportedInput
from svf_edge.files import write_text
from svf_edge.model_store import load_model
from svf_edge.runtimes.machine import machine
from svf_edge.training import train
from svf_edge.training_config import TrainConfig, load_train_config

RESULT = Path(__file__).parent / "results" / "study.json"
RECIPE = Path(__file__).parent / "study.yaml"
FOLDER = Path("out/study")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Variant:
    """One thing that differs from the recipe: entries by dotted path."""

    group: str
    name: str
    changes: Mapping[str, Any]
    seeds: tuple[int, ...] = SEEDS


VARIANTS = (
    Variant("attention", "joint Hamming", {}),
    Variant("twin", "dense twin (ReLU)", {"model.neuron": "relu", "model.norm_gain": 2}),
    Variant("attention", "joint dot product", {"model.attention": "dot"}),
    Variant("attention", "spatial Hamming", {"model.space_time": "spatial"}),
    Variant("attention", "no attention", {"model.space_time": "none"}),
    Variant("levels", "levels 1", {"model.levels": 1, "model.norm_gain": 2}),
    Variant("levels", "levels 2", {"model.levels": 2}, (0,)),
    Variant("optimiser", "AdamW", {"optimiser": "adamw"}, (0,)),
    Variant("rate", "target 0.12", {"rate_target": 0.12, "rate_weight": 0.5}, (0,)),
    Variant("rate", "target 0.09", {"rate_target": 0.09, "rate_weight": 0.5}, (0,)),
    Variant("rate", "target 0.06", {"rate_target": 0.06, "rate_weight": 0.5}, (0,)),
    Variant("rate", "target 0.03", {"rate_target": 0.03, "rate_weight": 0.5}, (0,)),
)


def configuration(variant: Variant, seed: int) -> TrainConfig:
    """The recipe with the variant's changes."""
    name = f"{variant.group}-{variant.name}-{seed}".replace(" ", "-").translate({ord(c): None for c in "()"})
    changes = {**variant.changes, "seed": seed, "name": name.lower(), "data.folder": f"out/clips-64-{seed}"}
    return load_train_config(RECIPE, [f"{key}={json.dumps(value)}" for key, value in changes.items()])


def result(path: Path) -> dict[str, Any]:
    """What a finished run reached: float and, where there is one, integer metrics."""
    _, meta = load_model(path)
    return {
        "float": meta.get("float", meta["metrics"]),
        "integer": meta["metrics"] if "float" in meta else None,
        "firing_rate": meta["metrics"]["firing_rate"],
        "seconds": meta["training_seconds"],
    }


def main(
    groups: Annotated[list[str] | None, typer.Argument(help="attention, twin, levels, ... Default: all.")] = None,
) -> None:
    """Train what is missing and write the result file."""
    known = {variant.group for variant in VARIANTS}
    if groups and not set(groups) <= known:
        raise UnsupportedInput(f"unknown group among {', '.join(groups)}; there are {', '.join(sorted(known))}")
    rounds = [
        (variant, seed)
        for place in range(len(SEEDS))
        for variant in VARIANTS
        for seed in variant.seeds[place : place + 1]
    ]
    for variant, seed in rounds:
        config = configuration(variant, seed)
        if not groups or variant.group in groups:
            Console().print(f"{variant.group}: {variant.name}, seed {seed}", highlight=False)
            train(config, FOLDER / config.name)
            collect()


def collect() -> None:
    """Write the result file from the runs that are finished."""
    runs = []
    for variant in VARIANTS:
        for seed in variant.seeds:
            config = configuration(variant, seed)
            stage = "float" if config.model.neuron == "relu" else "model"
            path = FOLDER / config.name / f"{stage}.safetensors"
            if path.exists():
                runs.append({"group": variant.group, "variant": variant.name, "seed": seed, **result(path)})
    recipe = load_train_config(RECIPE)
    entries = {
        "base": VARIANTS[0].name,
        "recipe": recipe.model_dump(mode="json"),
        "machine": machine().model_dump(mode="json"),
        "runs": runs,
    }
    write_text(RESULT, json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
