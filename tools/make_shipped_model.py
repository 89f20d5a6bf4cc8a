"""Turn a finished training run into the shipped model: checkpoint and integer program with what they reach.

    python tools/make_shipped_model.py RUN svf_edge/assets/models

RUN is a folder that `svf-edge train` made. The integer program is run by the reference interpreter on the validation
clips, so its metrics are measured, not assumed equal to the quantised model's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from svf_edge.data.sample import PoseSample, stack_samples
from svf_edge.files import write_text
from svf_edge.model.config import PoseHead
from svf_edge.model.network import parameter_count
from svf_edge.model_store import load_model, save_model
from svf_edge.program.freeze import freeze
from svf_edge.program.interpret import run
from svf_edge.program.ir import Program
from svf_edge.program.ranges import prove
from svf_edge.program.store import save_program
from svf_edge.tasks.pose import decode
from svf_edge.tasks.pose_evaluation import evaluate
from svf_edge.tasks.pose_metrics import mean_pose, pose_metrics
from svf_edge.training import dataset
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
    clips = stack_samples(dataset("val", config.validation_clips, config))
    known = stack_samples(dataset("train", config.validation_clips, config))
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
    write_text(target / "README.md", describe(config, meta, parameter_count(float_model)))


STAGES = {
    "mean_pose": "mean pose of the training set (no network)",
    "float": "float",
    "post_training_quantisation": "quantised, before QAT",
    "metrics": "quantised, after QAT",
    "integer_program": "integer program (reference interpreter)",
}


def describe(config: TrainConfig, meta: dict[str, Any], parameters: int) -> str:
    """A page on the model, all of its numbers taken from `meta`."""
    names = [name for name in meta["metrics"] if name in meta["mean_pose"]]
    rows = [
        f"| {text} | " + " | ".join(f"{meta[stage][name]:.3f}" for name in names) + " |"
        for stage, text in STAGES.items()
    ]
    shown = [phase.epochs * phase.clips_per_epoch for phase in (config.float_phase, config.qat_phase)]
    low, high = (pick(meta["firing_rates"].items(), key=lambda item: item[1]) for pick in (min, max))
    return "\n".join(
        [
            f"# {config.name}",
            "",
            "Written by `tools/make_shipped_model.py`; the same numbers are in the files.",
            "",
            f"`{config.name}.safetensors` is the quantised checkpoint, `{config.name}.program.safetensors` the integer "
            f"program frozen from it. {parameters:,} parameters; clips of {config.model.frames} frames of "
            f"{config.model.frame_size[0]}x{config.model.frame_size[1]} pixels; {config.model.head.joints} joints.",
            "",
            f"Trained from the recipe `{config.name}`: {shown[0]:,} synthetic clips in float, {shown[1]:,} more with "
            f"quantisation (generator version {meta['generator_version']}, seed {config.seed}), none shown twice.",
            "",
            f"Measured on {meta['validation']}; PCK is relative to the longer side of the person's box, errors are in "
            "pixels:",
            "",
            "| | " + " | ".join(names) + " |",
            "|---|" + "---|" * len(names),
            *rows,
            "",
            f"Mean firing rate over layers {meta['metrics']['firing_rate']:.3f}; lowest {low[1]:.3f} (`{low[0]}`), "
            f"highest {high[1]:.3f} (`{high[0]}`).",
            "",
            "It is trained on rendered people only and is a first model: it shows the tool chain, it is not a product.",
            "",
        ]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
