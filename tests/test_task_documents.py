"""What docs/tasks tells its reader to write works, on small data and with short training."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from svf_edge.cli import build_app
from svf_edge.training_config import load_train_config
from tests.runtimes.bundles import needs_library

FOLDER = Path(__file__).parents[1] / "docs" / "tasks"
PAGES = ("classification", "segmentation", "pose")
SHORT = {
    "model.frame_size": "[32, 32]",
    "image_phase": "null",
    "float_phase": "{epochs: 1, clips_per_epoch: 32, learning_rate: 0.003}",
    "qat_phase": "{epochs: 1, clips_per_epoch: 8, learning_rate: 0.0005}",
    "batch_size": "8",
    "validation_clips": "8",
    "calibration_clips": "8",
    "fused_neurons": "false",
    "precision": "32-true",
    "pictures": "false",
    "workers": "0",
}
LESS = {"eval": ["--clips", "4"], "bench": ["--runs", "2"], "report": ["--runs", "2"], "data": []}


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.M | re.S)


def short(words: list[str]) -> list[str]:
    """A command with less of everything; training renders its clips as it goes."""
    command = words[1]
    if command == "train":
        motions = "{kind: synthetic, motions: classes}" if "action-small" in words else "{kind: synthetic}"
        changes = {**SHORT, "data": motions}
        return [*words[1:], *(word for key, value in changes.items() for word in ("--set", f"{key}={value}"))]
    if words[1:3] == ["data", "write"]:
        return [*words[1:], "--frames", "6", "--size", "32x32"]
    return [*words[1:], *LESS.get(command, [])]


@pytest.mark.slow
@needs_library("svf_ort")
@pytest.mark.parametrize("name", PAGES)
def test_commands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = build_app()
    commands = [shlex.split(line) for block in blocks(name, "sh") for line in block.splitlines()]
    assert len(commands) > 5 and all(words[0] == "svf-edge" for words in commands)
    for words in commands:
        done = CliRunner().invoke(app, short(words), catch_exceptions=False)
        assert done.exit_code == 0, (words, done.output)
    if name != "pose":
        run = tmp_path / "runs" / ("action" if name == "classification" else "parts")
        assert "data:image/png" in (run / "report.html").read_text(encoding="utf-8")
        assert len(list((run / "pictures").glob("*.png"))) == 5


@pytest.mark.parametrize("name", PAGES)
def test_configurations_load(name: str, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(name, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        load_train_config(path)


def test_the_python_example(tmp_path: Path) -> None:
    [script] = blocks("segmentation", "python")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "(4, 64, 64) uint8\n", done.stderr


@pytest.mark.parametrize("name", ["README", *PAGES])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page(name))
    assert links and all((FOLDER / link).exists() for link in links)
