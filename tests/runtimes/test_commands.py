from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes import commands
from svf_edge.runtimes.parity import ParityReport
from tests.runtimes.bundles import edit_initializer, forge, rewrite


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


def test_report_refuses_the_name_of_its_json_at_once(app: typer.Typer, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", "no/bundle", "-o", str(tmp_path / "r.json")])
    assert isinstance(done.exception, UnsupportedInput) and "r.json" in str(done.exception)


def test_report_from_stored_results(app: typer.Typer, bundle: Bundle, tmp_path: Path) -> None:
    for command in ("parity", "bench"):
        stored = str(tmp_path / f"{command}.json")
        done = CliRunner().invoke(app, [command, str(bundle.folder), "-r", "onnxruntime portable", "--json", stored])
        assert done.exit_code == 0, done.output
    options = ["--parity", str(tmp_path / "parity.json"), "--bench", str(tmp_path / "bench.json")]
    page = ["-o", str(tmp_path / "page.html")]
    done = CliRunner().invoke(app, ["report", str(bundle.folder), *options, *page])
    assert done.exit_code == 0, done.output
    measured = json.loads((tmp_path / "page.json").read_text())["bench"]
    assert measured == json.loads((tmp_path / "bench.json").read_text())

    other = forge(bundle, tmp_path / "b", "onnx/packed.onnx", lambda path: None)
    other = rewrite(other.folder, other.manifest.model_copy(update={"svf_edge": "another"}))
    done = CliRunner().invoke(app, ["report", str(other.folder), *options, *page])
    assert isinstance(done.exception, UnsupportedInput) and str(other.folder) in str(done.exception)
    swapped = ["--parity", str(tmp_path / "bench.json")]
    done = CliRunner().invoke(app, ["report", str(bundle.folder), *swapped, *page])
    assert isinstance(done.exception, BadFile) and "bench.json: not a ParityReport" in str(done.exception)


@pytest.mark.parametrize("command", ["parity", "bench", "report"])
def test_help_has_an_example(app: typer.Typer, command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"svf-edge {command} bundle" in done.output
