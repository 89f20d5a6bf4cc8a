"""Turn a finished training run into the shipped model: checkpoint and integer program with what they reach.

    python tools/make_shipped_model.py RUN assets/models

RUN is a folder that `svf-edge train` made. The integer program is run by the reference interpreter on the validation
clips, so its metrics are measured, not assumed equal to the quantised model's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from rich.progress import track

from svf_edge.data.synthetic import PoseSample
from svf_edge.model.config import PoseHead
from svf_edge.model_store import load_model, save_model
from svf_edge.program.freeze import freeze
from svf_edge.program.interpret import run
from svf_edge.program.ir import Program
from svf_edge.program.ranges import prove
from svf_edge.program.store import save_program
from svf_edge.tasks.pose import decode
from svf_edge.tasks.pose_evaluation import evaluate
from svf_edge.tasks.pose_metrics import mean_pose, pose_metrics
from svf_edge.training import dataset, stack
from svf_edge.training_config import TrainConfig


def integer_metrics(program: Program, clips: PoseSample, head: PoseHead) -> dict[str, float]:
    """Metrics of the integer program under the reference interpreter."""
    points = []
    (output,) = program.outputs
    exponent = program.types[output.source].exponent
    for frames in track(clips["frames"], "integer program"):
        scores = run(program, frames.numpy()).outputs[output.name][:, :, 0, 0]
        points.append(torch.from_numpy(decode(scores, head, program.frames.shape[2:], exponent).points))
    return pose_metrics(torch.stack(points), clips["joints"], clips["visible"])


def main(folder: Path, target: Path) -> None:
    """Evaluate, freeze and write `target/NAME.safetensors` and `target/NAME.program.safetensors`."""
    torch.set_num_threads(1)
    model, meta = load_model(folder / "model.safetensors")
    float_model, _ = load_model(folder / "float.safetensors")
    config = TrainConfig.model_validate(meta["training"])
    assert isinstance(config.model.head, PoseHead)
    clips = stack(dataset("val", config.validation_clips, config))
    known = stack(dataset("train", config.validation_clips, config))
    guess = mean_pose(known["joints"], known["visible"]).expand_as(clips["joints"])
    program = freeze(model)
    prove(program, "float32")
    result = evaluate(model, clips, config.batch_size)
    meta |= {
        "float": evaluate(float_model, clips, config.batch_size).metrics,
        "metrics": result.metrics,
        "firing_rates": result.rates,
        "integer_program": integer_metrics(program, clips, config.model.head),
        "mean_pose": pose_metrics(guess, clips["joints"], clips["visible"]),
        "validation": f"{len(clips['frames'])} synthetic clips of motions that training never shows",
    }
    save_model(model, target / f"{config.name}.safetensors", meta)
    save_program(program.with_meta(**meta), target / f"{config.name}.program.safetensors")
    for name in ("mean_pose", "float", "post_training_quantisation", "metrics", "integer_program"):
        print(name, {key: round(value, 3) for key, value in meta[name].items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
