"""Turn a finished training run into the shipped model: checkpoint and integer programs with what they reach.

    python tools/make_shipped_model.py RUN svf_edge/assets/models              # everything
    python tools/make_shipped_model.py --card svf_edge/assets/models NAME      # measure again what is there
    python tools/make_shipped_model.py --render svf_edge/assets/models NAME    # the page from its result file
    python tools/make_shipped_model.py --check svf_edge/assets/models NAME     # fails when the page is out of date

RUN is a folder that `svf-edge train` made. Beside checkpoint and program stand the model card, `README.md`, and the
results it is generated from, `NAME.json`. The integer program is run by the reference interpreter on the validation
clips, so its metrics are measured, not assumed equal to the quantised model's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from rich.progress import track

from svf_edge.calib.calibrate import calibrate
from svf_edge.calib.clips import synthetic_clips
from svf_edge.data.sample import Sample, stack_samples
from svf_edge.files import write_text
from svf_edge.model_store import load_model, save_model
from svf_edge.program.freeze import freeze
from svf_edge.program.interpret import run
from svf_edge.program.ir import Program
from svf_edge.program.ranges import prove
from svf_edge.program.store import save_program
from svf_edge.runtimes.commands import progress_bar
from svf_edge.runtimes.model_card import ModelCard, float_parameters, measure, render
from svf_edge.tasks.evaluation import evaluate
from svf_edge.tasks.registry import make_task
from svf_edge.tasks.task import Task
from svf_edge.training import dataset
from svf_edge.training_config import TrainConfig

CLIPS = 64
"""Unlabelled clips that the 4-bit program is calibrated on."""


def integer_metrics(program: Program, clips: Sample, task: Task) -> dict[str, float]:
    """Metrics of the integer program under the reference interpreter."""
    joints = []
    (output,) = program.outputs
    exponent = program.types[output.source].exponent
    for frames in track(clips["frames"], "integer program"):
        scores = run(program, frames.numpy()).outputs[output.name][:, :, 0, 0]
        joints.append(task.read(scores, exponent))
    return task.metrics(torch.stack(joints), clips)


def main(folder: Path, target: Path) -> None:
    """Evaluate, freeze and write `target/NAME.safetensors`, `.program.safetensors` and `.int4.program.safetensors`."""
    torch.set_num_threads(1)
    model, meta = load_model(folder / "model.safetensors")
    float_model, _ = load_model(folder / "float.safetensors")
    config = TrainConfig.model_validate(meta["training"])
    task = make_task(config.model)
    clips = stack_samples(dataset("val", config.validation_clips, config))
    known = stack_samples(dataset("train", config.validation_clips, config))
    guess = task.baselines(clips, known)["mean pose"]
    program = freeze(model)
    prove(program, "float32")
    result = evaluate(model, clips, config.batch_size)
    calibrated = calibrate(float_model.eval(), synthetic_clips(config.model, CLIPS), bits=4)
    narrow = freeze(calibrated.model)
    prove(narrow, "float32")
    meta |= {
        "float": evaluate(float_model, clips, config.batch_size).metrics,
        "metrics": result.metrics,
        "firing_rates": result.rates,
        "integer_program": integer_metrics(program, clips, task),
        "narrow_program": integer_metrics(narrow, clips, task),
        "mean_pose": task.metrics(guess, clips),
        "validation": f"{len(clips['frames'])} synthetic clips of motions that training never shows",
    }
    if config.initial is not None:
        _, before = load_model(config.initial)
        kept = ("training", "generator_version", "training_seconds", "hardware", "metrics")
        meta["started_from"] = {name: before[name] for name in kept}
    save_model(model, target / f"{config.name}.safetensors", meta)
    save_program(program.with_meta(**meta), target / f"{config.name}.program.safetensors")
    save_program(narrow.with_meta(**meta), target / f"{config.name}.int4.program.safetensors")
    write_card(target, config.name)


def write_card(target: Path, name: str) -> None:
    """Evaluate the model in `target` and write `NAME.json` and `README.md` beside it."""
    checkpoint, program, narrow = (target / f"{name}.{kind}safetensors" for kind in ("", "program.", "int4.program."))
    with progress_bar() as progress:
        card = measure(name, checkpoint, program, narrow, float_parameters(checkpoint), progress=progress)
    write_text(target / f"{name}.json", card.model_dump_json(indent=1) + "\n")
    write_text(target / "README.md", render(card))


def check_card(target: Path, name: str, write: bool) -> bool:
    """Whether `README.md` is what `NAME.json` gives; with `write` it is made so first."""
    text = render(ModelCard.model_validate_json((target / f"{name}.json").read_text(encoding="utf-8")))
    if write:
        write_text(target / "README.md", text)
    return (target / "README.md").read_text(encoding="utf-8") == text


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "--card":
        write_card(Path(rest[0]), rest[1])
    elif command in ("--check", "--render"):
        sys.exit(not check_card(Path(rest[0]), rest[1], write=command == "--render"))
    else:
        main(Path(command), Path(rest[0]))
