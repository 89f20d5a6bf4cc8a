"""What integers cost the shipped model in accuracy: calibrated without training at 8 and 4 bits, and trained.

    python -m benchmarks.calibration RUN

RUN is the run folder that the shipped model was made from; its float checkpoint is calibrated on 64 unlabelled clips.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import track

from svf_edge.calib.calibrate import calibrate, model_bytes
from svf_edge.calib.clips import synthetic_clips
from svf_edge.data.sample import stack_samples
from svf_edge.files import write_text
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model
from svf_edge.runtimes.machine import machine
from svf_edge.tasks.evaluation import evaluate
from svf_edge.training import dataset
from svf_edge.training_config import TrainConfig

RESULT = Path(__file__).parent / "results" / "calibration.json"
CLIPS = 64


def main(run: Annotated[Path, typer.Argument(help="Run folder with float.safetensors and model.safetensors.")]) -> None:
    """Calibrate, evaluate, write the result file."""
    torch.set_num_threads(1)
    float_model, _ = load_model(run / "float.safetensors")
    trained, meta = load_model(run / "model.safetensors")
    config = TrainConfig.model_validate(meta["training"])
    labelled = stack_samples(dataset("val", config.validation_clips, config))
    clips = synthetic_clips(config.model, CLIPS)
    rows: list[dict[str, Any]] = []

    def add(name: str, model: SpikeVideoFormer, seconds: float | None, size: int | None) -> None:
        metrics = evaluate(model.eval(), labelled, config.batch_size).metrics
        rows.append({"name": name, "metrics": metrics, "seconds": seconds, "bytes": size})

    add("float", float_model, None, None)
    for bits in track((8, 4), "calibrating"):
        start = time.monotonic()
        calibrated = calibrate(float_model.eval(), clips, bits=bits)
        add(f"calibrated, {bits} bits", calibrated.model, time.monotonic() - start, calibrated.bytes)
    add("quantisation-aware training, 8 bits", trained, None, model_bytes(trained))
    entries = {"clips": CLIPS, "labelled": len(labelled["frames"]), "machine": machine().model_dump(mode="json")}
    write_text(RESULT, json.dumps({**entries, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
