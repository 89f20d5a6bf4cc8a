"""The commands of the training side, run as the command line runs them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from svf_edge import commands, training
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.model.config import model_config
from svf_edge.model_store import save_model
from svf_edge.program import load_program, run
from svf_edge.training_config import recipes
from tests.models import float_model, quantised_model, random_clips, spikes_of


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("train")(commands.train)
    app.command("freeze")(commands.freeze)
    return app


@pytest.mark.parametrize("steps", [None, 7])
def test_freeze_writes_a_program(app: typer.Typer, tmp_path: Path, steps: int | None) -> None:
    model = quantised_model(model_config("tiny", frame_size=(40, 40)))
    checkpoint, out = tmp_path / "model.safetensors", tmp_path / "program.safetensors"
    save_model(model, checkpoint, {"metrics": {"pck": 0.5}})
    more = [] if steps is None else ["--steps", str(steps)]
    result = CliRunner().invoke(app, ["freeze", str(checkpoint), "--output", str(out), *more])
    assert result.exit_code == 0, result.exception
    assert f"clips of {steps or 4}x3x40x40" in result.output
    program = load_program(out)
    assert program.meta["metrics"] == {"pck": 0.5}
    clip = random_clips(model.config, 2, 1).numpy().reshape(8, 3, 40, 40)[: steps or 4]
    scores, _ = spikes_of(model, clip)
    np.testing.assert_array_equal(scores.numpy() * 256, run(program, clip).outputs["pose"][:, :, 0, 0])


def test_freeze_names_a_float_checkpoint(app: typer.Typer, tmp_path: Path) -> None:
    checkpoint, out = tmp_path / "float.safetensors", tmp_path / "program.safetensors"
    save_model(float_model(model_config("tiny")), checkpoint, {})
    result = CliRunner().invoke(app, ["freeze", str(checkpoint), "--output", str(out)])
    assert isinstance(result.exception, BadFile)
    for named in (str(checkpoint), "model.safetensors", "svf-edge calibrate"):
        assert named in str(result.exception)
    assert not out.exists()


def test_freeze_names_a_dense_twin(app: typer.Typer, tmp_path: Path) -> None:
    checkpoint, out = tmp_path / "float.safetensors", tmp_path / "program.safetensors"
    save_model(float_model(model_config("tiny", neuron="relu")), checkpoint, {})
    result = CliRunner().invoke(app, ["freeze", str(checkpoint), "--output", str(out)])
    assert isinstance(result.exception, BadFile) and f"{checkpoint}: a dense twin" in str(result.exception)
    assert not out.exists()


def test_an_interrupted_training_says_how_to_go_on(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.TaskTraining, "training_step", press)
    result = CliRunner().invoke(app, ["train", "--recipe", "pose-tiny", "--output", str(tmp_path)])
    assert result.exit_code == 130 and "goes on from the last finished epoch" in result.output


SMALL = [
    "model.frame_size=[32, 32]",
    "model.frames=1",
    "float_phase={epochs: 2, clips_per_epoch: 192, learning_rate: 0.01}",
    "qat_phase.clips_per_epoch=32",
    "validation_clips=32",
    "workers=0",
    "pictures=false",
]


def changes(*entries: str) -> list[str]:
    return [word for entry in entries for word in ("--set", entry)]


def test_smoke_says_whether_it_learnt(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--smoke", "-o", str(tmp_path / "a"), *changes(*SMALL)])
    assert result.exit_code == 0 and "it learns: loss " in result.output, (result.output, result.exception)
    lazy = ["float_phase.learning_rate=1e-9", "qat_phase.learning_rate=1e-9", "float_phase.epochs=1"]
    result = CliRunner().invoke(app, ["train", "--smoke", "-o", str(tmp_path / "b"), *changes(*SMALL, *lazy)])
    assert result.exit_code == 1 and "it did NOT learn: loss " in result.output, result.output


def test_recipes_are_listed(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["train", "--list-recipes"])
    assert result.exit_code == 0 and all(name in result.output for name in recipes())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ([], UnsupportedInput, "give one of"),
        (["--recipe", "pose-tiny", "--smoke"], UnsupportedInput, "give one of"),
        (["--recipe", "pose-tinny"], UnsupportedInput, "unknown recipe 'pose-tinny'; did you mean 'pose-tiny'"),
        (["--recipe", "pose-tiny", *changes("seed")], UnsupportedInput, "--set seed: write key=value"),
        (["--recipe", "pose-tiny", *changes("name.x=1")], UnsupportedInput, "--set name.x=1: write key=value"),
        (["--recipe", "pose-tiny", *changes("seed=[")], UnsupportedInput, r"'\[' is not a YAML value"),
        (["--recipe", "pose-tiny", *changes("seed=-1")], BadFile, "pose-tiny.yaml with --set seed=-1: seed: "),
        (["--recipe", "pose-tiny", *changes("colour=1")], BadFile, "--set colour=1: colour: Extra inputs"),
        (["--recipe", "pose-tiny", *changes("model.levles=4")], BadFile, "model: levles: Extra inputs"),
        (["--recipe", "pose-tiny", *changes("devices=3")], BadFile, "batch_size: 16 does not divide among 3"),
    ],
)
def test_wrong_arguments_are_named(
    app: typer.Typer, tmp_path: Path, arguments: list[str], error: type[Exception], words: str
) -> None:
    result = CliRunner().invoke(app, ["train", "-o", str(tmp_path / "run"), *arguments])
    assert isinstance(result.exception, error)
    assert re.search(words, str(result.exception)), result.exception
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "freeze"])
def test_help_shows_an_example(app: typer.Typer, command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0 and f"svf-edge {command} " in result.output
