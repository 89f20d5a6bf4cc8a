from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes import commands
from svf_edge.runtimes.parity import ParityReport
from typer.testing import CliRunner

from tests.runtimes.bundles import edit_initializer, forge


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    for command in (commands.parity, commands.bench, commands.report):
        app.command()(command)
    return app


def test_parity_passes_and_stores_its_result(app: typer.Typer, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    arguments = ["parity", str(bundle.folder), "-r", "onnxruntime portable", "-c", "noise", "-c", "golden"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(path)])
    assert done.exit_code == 0, done.output
    report = ParityReport.model_validate_json(path.read_text())
    assert report and report.clips == ("noise", "golden")
    assert "equal" in done.output


def test_parity_fails_with_the_address(app: typer.Typer, bundle: Bundle, tmp_path: Path) -> None:
    def silence(theta: np.ndarray) -> None:
        theta[:] = 2**20

    forged = forge(bundle, tmp_path / "b", "onnx/portable.onnx", edit_initializer("q.lif:theta", silence))
    done = CliRunner().invoke(app, ["parity", str(forged.folder), "-r", "onnxruntime portable"])
    assert done.exit_code == 1
    assert "layer 'q.lif', t=" in done.output and "margin +" in done.output


def test_bench_prints_and_stores(app: typer.Typer, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    arguments = ["bench", str(bundle.folder), "-r", "onnxruntime portable", "--runs", "10", "--json", str(path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "p99" in done.output
    (variant,) = json.loads(path.read_text())["variants"]
    assert sum(map(len, variant["measurement"]["rounds"])) == 10


def test_report_writes_the_page(app: typer.Typer, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    arguments = ["report", str(bundle.folder), "-o", str(path), "-r", "reference", "-r", "onnxruntime portable"]
    done = CliRunner().invoke(app, [*arguments, "--runs", "5"])
    assert done.exit_code == 0, done.output
    assert path.read_text().startswith("<!doctype html>")
    assert path.with_suffix(".json").is_file()


@pytest.mark.parametrize("command", ["parity", "bench", "report"])
def test_help_has_an_example(app: typer.Typer, command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"svf-edge {command} bundle" in done.output
